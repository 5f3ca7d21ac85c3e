"""The demo: starts a daemon, drops a dozen pictures into its folder, and makes a contact sheet of the results.

Run it with `make demo`. All its files are in demo/.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from rich.console import Console
from rich.live import Live
from rich.table import Table

from inference.evaluation.contact_sheet import Row, contact_sheet
from inference.synthetic import render_sample

ROOT = Path("demo")
PICTURES, INBOX, OUTBOX = ROOT / "pictures", ROOT / "in", ROOT / "out"
LOG, SHEET = ROOT / "daemon.log", ROOT / "contact-sheet.png"

PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png", "coins.png")
"""Photographs inside the scikit-image package."""
DRAWN = ((720, 960), (960, 720), (900, 900), (720, 1080), (1000, 800), (800, 800))
"""Height and width of the drawn products."""
FORMATS = ("jpg", "png", "webp")

SECONDS_BETWEEN_DROPS = 0.3
SECONDS_FOR_ONE = 120
SECONDS_TO_STOP = 60
TICK = 0.02
LOG_TAIL = 25


class DemoFailed(Exception):
    """The daemon did not behave as expected."""


@dataclass
class Drop:
    """One picture on its way through the daemon."""

    file: Path
    width: int
    height: int
    method: str = ""
    at: float = 0.0
    seconds: float | None = None

    @property
    def cutout(self) -> Path:
        """Path at which the daemon writes the result."""
        return OUTBOX / f"{self.file.stem}.png"

    @property
    def error_record(self) -> Path:
        """Path at which the daemon writes why there is no result."""
        return OUTBOX / "_failed" / f"{self.file.name}.json"


def main() -> int:
    """Run the demo; returns the exit code."""
    console = Console(highlight=False)
    shutil.rmtree(ROOT, ignore_errors=True)
    for folder in (PICTURES, INBOX, OUTBOX):
        folder.mkdir(parents=True)
    try:
        drops = make_pictures(console)
        with daemon(console) as process:
            drop_all(console, process, drops)
        contact_sheet([row(drop) for drop in drops], ["before", "matte", "after"], SHEET)
    except DemoFailed as failure:
        console.print(f"{failure}\n", style="bold red", markup=False)
        if LOG.exists():
            lines = LOG.read_text(errors="replace").splitlines()[-LOG_TAIL:]
            console.print(f"The end of {LOG}:", *lines, sep="\n  ", markup=False, soft_wrap=True)
        return 1
    console.print(f"The cut-outs are in {OUTBOX}/.\nBefore, matte and after, side by side: [bold]{SHEET}[/]")
    return 0


def make_pictures(console: Console) -> list[Drop]:
    """Fetch some photographs and draw some products, as JPEG, PNG and WebP files."""
    console.print(f"Taking {len(PHOTOS)} photographs from scikit-image, and drawing {len(DRAWN)} products ...")
    folder = Path(skimage.__file__).parent / "data"
    pictures = [(Path(name).stem, Image.open(folder / name).convert("RGB")) for name in PHOTOS]
    pictures += [(f"product-{i}", drawn(i, *size)) for i, size in enumerate(DRAWN, 1)]
    drops = []
    for i, (stem, picture) in enumerate(pictures):
        file = PICTURES / f"{stem}.{FORMATS[i % len(FORMATS)]}"
        picture.save(file, quality=92)
        drops.append(Drop(file, *picture.size))
    return drops


def drawn(seed: int, height: int, width: int) -> Image.Image:
    """Draw one product."""
    return Image.fromarray(render_sample(np.random.default_rng(seed), height, width).image)


@contextmanager
def daemon(console: Console) -> Iterator[subprocess.Popen[bytes]]:
    """Run `alphadrop run` during the block, then send SIGTERM and expect exit code 0."""
    port = free_port()
    program = Path(sys.executable).with_name("alphadrop")
    command = [str(program), "run", str(INBOX), str(OUTBOX), "--http", f"127.0.0.1:{port}"]
    console.print("$", " ".join(["alphadrop", *command[1:]]), style="bold")
    with LOG.open("wb") as log:
        process = subprocess.Popen([*command, "--state", str(ROOT / "state")], stdout=log, stderr=log)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/readyz")
        yield process
        stop(process)
        console.print("\nSent SIGTERM: the daemon exited with code 0.")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port() -> int:
    """A free TCP port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the model is loaded, so that loading does not count as time of the first pictures."""
    deadline = time.monotonic() + SECONDS_FOR_ONE
    while not answers(url):
        check_alive(process)
        if time.monotonic() > deadline:
            raise DemoFailed(f"The daemon was not ready after {SECONDS_FOR_ONE} s.")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether the URL answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def check_alive(process: subprocess.Popen[bytes]) -> None:
    """Raise DemoFailed if the daemon has exited."""
    if process.poll() is not None:
        raise DemoFailed(f"The daemon exited unexpectedly with code {process.returncode}.")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, and wait for exit code 0. Raises DemoFailed."""
    process.terminate()
    try:
        code = process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"The daemon was still running {SECONDS_TO_STOP} s after SIGTERM.") from None
    if code:
        raise DemoFailed(f"The daemon exited with code {code} after SIGTERM.")


def drop_all(console: Console, process: subprocess.Popen[bytes], drops: list[Drop]) -> None:
    """Drop the pictures one after another, and show each result as it arrives."""
    waiting = list(drops)
    next_drop = time.monotonic()
    with Live(table(drops), console=console, auto_refresh=False) as live:
        while any(drop.seconds is None for drop in drops):
            check_alive(process)
            if waiting and time.monotonic() >= next_drop:
                put_in(waiting.pop(0), renamed=len(waiting) % 2 == 0)
                next_drop = time.monotonic() + SECONDS_BETWEEN_DROPS
                live.update(table(drops), refresh=True)
            for drop in drops:
                if drop.method and drop.seconds is None and look_for(drop):
                    live.update(table(drops), refresh=True)
            time.sleep(TICK)


def put_in(drop: Drop, *, renamed: bool) -> None:
    """Put a picture into the daemon's folder: by copying, or by renaming a finished copy."""
    target = INBOX / drop.file.name
    drop.at = time.monotonic()
    if renamed:
        temporary = target.with_name(f".{target.name}.part")
        shutil.copyfile(drop.file, temporary)
        os.replace(temporary, target)
    else:
        shutil.copyfile(drop.file, target)
    drop.method = "renamed into place" if renamed else "copied"


def look_for(drop: Drop) -> bool:
    """Record the time if the cut-out exists. Raises DemoFailed if the picture was rejected or took too long."""
    elapsed = time.monotonic() - drop.at
    if drop.cutout.exists():
        drop.seconds = elapsed
        return True
    if drop.error_record.exists():
        record = json.loads(drop.error_record.read_text())
        raise DemoFailed(f"{drop.file.name} was rejected: {record.get('detail', record)}")
    if elapsed > SECONDS_FOR_ONE:
        raise DemoFailed(f"No cut-out of {drop.file.name} after {SECONDS_FOR_ONE} s.")
    return False


def table(drops: list[Drop]) -> Table:
    """A table of the dropped pictures, with the time that each took."""
    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column("picture")
    shown.add_column("pixels", justify="right")
    shown.add_column("dropped")
    shown.add_column("seconds", justify="right")
    for drop in drops:
        if drop.method:
            seconds = "..." if drop.seconds is None else f"{drop.seconds:.2f}"
            shown.add_row(drop.file.name, f"{drop.width} x {drop.height}", drop.method, seconds)
    return shown


def row(drop: Drop) -> Row:
    """Picture, matte and cut-out as a row of the contact sheet."""
    with Image.open(drop.file) as before, Image.open(drop.cutout) as after:
        if after.mode != "RGBA" or after.size != before.size:
            raise DemoFailed(f"{drop.cutout} is {after.mode}, {after.size}; its picture is {before.size}.")
        label = f"{drop.file.name}\n{drop.width} x {drop.height}"
        return Row(label, [before.convert("RGB"), after.getchannel("A"), after.copy()])


if __name__ == "__main__":
    raise SystemExit(main())
