"""`make gpu-check`: ten minutes on a fresh machine with a GPU, and one report about it.

Each step is a process with a time limit; what fails or takes too long is reported, and the next step begins. Without a
GPU every step says so, and those that can run over the stand-in are rehearsed there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts import gpu_steps

NO_CARD = "no card"


@dataclass(frozen=True)
class Step:
    """A part of the report."""

    name: str
    title: str
    seconds: float
    """Time limit."""
    command: tuple[str, ...] = ()
    """What is run; by default, the step of this name in `gpu_steps`."""
    report: str = ""
    """A file that the command writes, in the folder that stands for FOLDER; by default its standard output counts."""


BENCH = ("-m", "watcher", "bench", "--quick", "--only", "single,folder,batches,launches", "--out", "FOLDER/bench")
STEPS = (
    Step("machine", "The machine", 30),
    Step("tests", "The tests of the GPU code", 120, ("-m", "pytest", "-q", "-m", "gpu", "-n", "0", "-rA", "tests")),
    Step("rate", "Rate and launches, without codecs", 60),
    Step("codecs", "The same with codecs beside", 60),
    Step("workers", "One worker against three on the card", 75),
    Step("plans", "Shapes that the warm-up has not seen", 30),
    Step("stranger", "A card that another process fills", 45),
    Step("accuracy", "16 bits on the card against 32 on the CPU", 60),
    Step("article", "The article's four tables", 150, BENCH, "bench/report.md"),
)
"""In the order of the report; together they take ten and a half minutes at most."""


def main() -> int:
    """Run every step, print what is happening, and write the report. Returns 0: what failed is in the report."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("--out", type=Path, default=Path(f"docs/bench/gpu-{datetime.now(UTC):%Y%m%d-%H%M}.md"))
    out: Path = arguments.parse_args().out
    card = has_card()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(sections(card, print)) + "\n", "utf-8")
    print(f"The report is {out}")
    return 0


def has_card() -> bool:
    """Whether torch sees a GPU; asked in a process of its own, which a broken driver may end."""
    asked = [sys.executable, "-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]
    try:
        return subprocess.run(asked, capture_output=True, check=False, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def sections(card: bool, show: Callable[[str], object], steps: Sequence[Step] = STEPS) -> Iterator[str]:
    """Yield the title, and one section for each step when it has ended."""
    yield f"# GPU check, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    yield "Written by `make gpu-check`; [README.md](README.md#on-a-fresh-gpu) explains its parts."
    for step in steps:
        started = time.monotonic()
        result = run(step) if card else rehearse(step)
        seconds = time.monotonic() - started
        show(f"{step.title}: {result.splitlines()[0] if not card else 'done'} ({seconds:.0f} s)")
        yield f"## {step.title}\n\n{result}\n\n({seconds:.0f} s of at most {step.seconds:.0f})"


def run(step: Step) -> str:
    """Run a step within its time; what it found, or why it failed."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        arguments = [word.replace("FOLDER", folder) for word in step.command or ("-m", "scripts.gpu_steps", step.name)]
        try:
            done = subprocess.run(
                [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=step.seconds
            )
        except subprocess.TimeoutExpired as error:
            return f"**Not finished in {step.seconds:.0f} s.** Its output so far:\n\n{_quoted(error.stdout)}"
        written = Path(folder) / step.report
        if done.returncode and not step.command:
            return f"**Failed with exit code {done.returncode}.**\n\n{_quoted(done.stdout + done.stderr)}"
        if step.report and written.is_file():
            return written.read_text("utf-8").replace("\n#", "\n##")
        return _quoted(done.stdout + done.stderr) if step.command else done.stdout.strip()


def rehearse(step: Step) -> str:
    """Say that there is no card; where the step is ours, see that its code runs over the stand-in."""
    if step.name not in gpu_steps.STEPS:
        return f"{NO_CARD}: not run"
    try:
        gpu_steps.STEPS[step.name](gpu_steps.STAND_IN)
    except Exception as error:
        return f"{NO_CARD}: the rehearsal over the stand-in failed: {type(error).__name__}: {error}"
    return f"{NO_CARD}: rehearsed over the stand-in"


def _quoted(output: str | bytes | None) -> str:
    """The last lines of an output, as a block of text."""
    text = output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""
    return "```\n" + "\n".join(text.strip().splitlines()[-80:]) + "\n```"


if __name__ == "__main__":
    sys.exit(main())
