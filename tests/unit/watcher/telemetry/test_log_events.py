"""Every log event is documented in docs/observability.md with its level, and every documented event exists."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import watcher

PAGE = Path(__file__).parents[4] / "docs" / "observability.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
SOURCE_PARTS = ("source", "reconcile", "events")
"""The parts of the daemon that have a thread in `watcher.ingest.intake`, which names its events after them."""


def logged() -> set[tuple[str, str]]:
    """Every event that the code logs, with its level."""
    [package] = watcher.__path__
    trees = [ast.parse(file.read_text()) for file in sorted(Path(package).rglob("*.py"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {event for call in calls for event in events_of(call)}


def events_of(call: ast.Call) -> Iterator[tuple[str, str]]:
    """The events of `log.LEVEL("event")`, `Outage(log, "failed", "recovered")` or `self._warnings.warn("event")`."""
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=method), args=[event, *_]) if method in LEVELS:
            yield from ((name, LEVELS[method]) for name in names(event))
        case ast.Call(func=ast.Name(id="Outage"), args=[_, failed, recovered, *_]):
            yield from ((name, "warning") for name in names(failed))
            yield from ((name, "info") for name in names(recovered))
        case ast.Call(func=ast.Attribute(value=warnings, attr="warn"), args=[event, *_]) if "_warn" in ast.dump(
            warnings
        ):
            yield from ((name, "warning") for name in names(event))


def names(event: ast.expr) -> Iterator[str]:
    """The event's name. A parameter has none: its callers are found instead."""
    match event:
        case ast.Constant(value=str(name)):
            yield name
        case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id="part")), ast.Constant(value=str(ending))]):
            yield from (f"{part}{ending}" for part in SOURCE_PARTS)
        case ast.Name(id="event"):
            pass
        case _:
            raise AssertionError(f"unknown way to name an event: {ast.unparse(event)}")


def documented() -> set[tuple[str, str]]:
    """Every event in the page's table, with its level."""
    section = PAGE.read_text("utf-8").split("\n### Events\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    pairs = [(events.split(", "), levels.split(", ")) for events, levels, _ in rows]
    return {(event.strip("`"), level) for events, levels in pairs for event in events for level in levels}


def test_the_page_documents_every_log_event_with_its_level() -> None:
    assert documented() == logged()
    assert len(logged()) > 40
