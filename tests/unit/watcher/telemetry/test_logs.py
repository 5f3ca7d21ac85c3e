"""The log: one JSON object per line in a container, readable text on a terminal, for all libraries."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from watcher.telemetry.logs import OWN_PACKAGES, configure


class Terminal(io.StringIO):
    """A stream that pretends to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Restore the logging configuration, which is global to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level
    for name in OWN_PACKAGES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def container() -> io.StringIO:
    """The log stream of a container."""
    stream = io.StringIO()
    configure("auto", "info", stream)
    return stream


def test_a_log_line_has_the_fields_level_logger_and_time(container: io.StringIO) -> None:
    structlog.get_logger("watcher.fleet.keeper").info("worker_died", device="cuda:0", pid=7)
    (line,) = lines(container)
    time = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert time.utcoffset() == timedelta(0)
    assert line == {
        "event": "worker_died",
        "level": "info",
        "logger": "watcher.fleet.keeper",
        "device": "cuda:0",
        "pid": 7,
    }


def test_lines_of_other_libraries_have_the_same_format_and_start_at_warning(container: io.StringIO) -> None:
    logging.getLogger("watchdog.observers").info("chatter")
    logging.getLogger("watchdog.observers").warning("lost %d events", 3)
    (line,) = lines(container)
    assert (line["event"], line["level"], line["logger"]) == ("lost 3 events", "warning", "watchdog.observers")


def test_the_level_applies_to_our_own_packages(container: io.StringIO) -> None:
    structlog.get_logger("watcher.x").debug("hidden")
    configure("json", "debug", container)
    structlog.get_logger("watcher.x").debug("shown")
    logging.getLogger("watchdog.x").info("hidden")
    configure("json", "error", container)
    structlog.get_logger("watcher.x").warning("hidden")
    logging.getLogger("watchdog.x").warning("hidden")
    assert [line["event"] for line in lines(container)] == ["shown"]


@pytest.mark.parametrize("name", ["watcher.worker.process", "watchdog"])
def test_an_exception_is_part_of_its_line(container: io.StringIO, name: str) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger(name).exception("failed", key="a.jpg")
        logging.getLogger(name).exception("failed")
    for line in lines(container):
        assert line["event"] == "failed"
        assert line["level"] == "error"
        assert "Traceback" in line["exception"]
        assert "ValueError: broken" in line["exception"]
    assert len(lines(container)) == 2


def test_bytes_are_replaced_by_their_length(container: io.StringIO) -> None:
    structlog.get_logger("watcher.x").info("read", data=b"\x89PNG" * 1000, view=memoryview(b"abc"))
    (line,) = lines(container)
    assert (line["data"], line["view"]) == ("<4000 bytes>", "<3 bytes>")


def test_names_that_are_not_valid_unicode_can_be_logged(container: io.StringIO) -> None:
    structlog.get_logger("watcher.x").info("found", key="k\udcffse.jpg", odd=object)
    (line,) = lines(container)
    assert line["key"] == "k\udcffse.jpg"


def test_fields_bound_to_a_context_are_in_its_lines(container: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(job="j1"):
        structlog.get_logger("watcher.x").info("one")
    assert lines(container)[0]["job"] == "j1"


def test_a_python_warning_is_logged(container: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        configure("json", "info", container)
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(container)
    assert "UserWarning: old ways" in line["event"]
    assert line["logger"] == "py.warnings"


def test_a_terminal_gets_colours_and_text() -> None:
    terminal = Terminal()
    configure("auto", "info", terminal)
    structlog.get_logger("watcher.x").info("started", devices=2)
    text = terminal.getvalue()
    assert "\x1b[" in text
    assert "started" in text
    assert "devices" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_name_cannot_forge_lines_or_control_the_terminal(format: str) -> None:
    stream = io.StringIO()
    configure(format, "info", stream)
    log = structlog.get_logger("watcher.telemetry.run_summary")
    log.warning("image", key="a\x1b[2J\n2026-01-01 forged.jpg", detail="b\r\x9b31m", nested={"c\n": ["d\x1b"]})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().rstrip("\n").isprintable()


def test_text_in_a_file_has_no_colours_and_json_on_a_terminal_is_json() -> None:
    file, terminal = io.StringIO(), Terminal()
    configure("text", "info", file)
    structlog.get_logger("watcher.x").info("started", devices=2)
    assert "\x1b[" not in file.getvalue()
    assert "devices=2" in file.getvalue()
    configure("json", "info", terminal)
    structlog.get_logger("watcher.x").info("started", devices=2)
    assert lines(terminal)[0]["devices"] == 2


def test_nested_fields_are_short_in_text_and_an_object_in_json() -> None:
    text, container = io.StringIO(), io.StringIO()
    configure("text", "info", text)
    structlog.get_logger("watcher.x").info("image", stages={"read": 0.003, "decode": 0.012})
    assert "stages=read:0.003,decode:0.012" in text.getvalue()
    configure("json", "info", container)
    structlog.get_logger("watcher.x").info("image", stages={"read": 0.003, "decode": 0.012})
    assert lines(container)[0]["stages"] == {"read": 0.003, "decode": 0.012}


def test_a_traceback_in_text_shows_no_local_variables() -> None:
    stream = io.StringIO()
    configure("text", "info", stream)
    secret = "pixels" + "-of-a-customer"
    try:
        raise ValueError(len(secret))
    except ValueError:
        structlog.get_logger("watcher.x").exception("failed")
    assert "ValueError: 20" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_configuring_twice_does_not_duplicate_lines(container: io.StringIO) -> None:
    configure("json", "info", container)
    structlog.get_logger("watcher.x").info("once")
    logging.getLogger("x").error("once")
    assert len(lines(container)) == 2


def test_the_default_stream_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("auto", "info")
    structlog.get_logger("watcher.x").info("here")
    captured = capsys.readouterr()
    assert json.loads(captured.err)["event"] == "here"
    assert not captured.out
