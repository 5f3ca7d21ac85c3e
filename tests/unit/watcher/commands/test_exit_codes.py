"""Exit code 4 is in the help of every command that lists its exit codes and may end with it."""

from pathlib import Path

import pytest

from watcher.cli import COMMANDS, main

ENDS_WITH_4 = ("once", "run", "watch", "work", "review", "inspect", "evaluate", "compare")


@pytest.mark.parametrize("name", ENDS_WITH_4)
def test_the_help_lists_the_exit_code_of_what_could_not_finish(name: str) -> None:
    (entry,) = (entry for entry in COMMANDS if entry.name == name)
    assert "\n  4  " in entry.load().examples.partition("Exit code:")[2]


def test_a_review_of_a_missing_sink_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", str(tmp_path / "missing")]) == 4
    assert "does not exist; mount or create it" in capsys.readouterr().err
