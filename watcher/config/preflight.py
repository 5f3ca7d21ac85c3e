"""Whether source, sink, state and the ways that images arrive by can work together."""

from __future__ import annotations

from collections.abc import Iterator

from watcher.config import buckets, folders
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode
from watcher.queues.brokers.address import parse_address


def check_places(settings: Settings, mode: Mode = Mode.RUN) -> None:
    """Look whether source, sink and state can work together. Raises ConfigurationError with one line a problem.

    Folders are looked at; of buckets and brokers only the addresses are.
    """
    state = None if settings.queue else settings.state_path
    problems = folders.problems(settings.source_path, settings.sink_path, state, exclude_sink=settings.exclude_sink)
    problems += buckets.problems(settings.source_uri, settings.sink_uri, settings.after, settings.exclude_sink)
    problems += _broker_problems(settings)
    problems += _event_problems(settings) if mode in (Mode.RUN, Mode.WATCH) else []
    if problems:
        raise ConfigurationError("\n".join(problems))


def _broker_problems(settings: Settings) -> Iterator[str]:
    for flag, address in (("--queue", settings.queue), ("--events", settings.events)):
        try:
            if "://" in address:
                parse_address(address)
        except ConfigurationError as error:
            yield f"{flag}: {error}"


def _event_problems(settings: Settings) -> Iterator[str]:
    """Of settings that only make sense together."""
    if settings.source_path is not None and settings.events != "listing":
        yield "--events is for a bucket: a folder's events come from the system, see --watch."
    if settings.events == "queue" and not settings.queue:
        yield "--events queue needs --queue: the one that the store sends its events to."
    if settings.queue and settings.events == settings.queue:
        yield "--events and --queue are one queue, which would fill itself: say --events queue."
    if settings.events == "webhook" and not settings.events_token:
        yield "--events webhook needs a token: set ALPHADROP_EVENTS_TOKEN to a long random text."
    if settings.events == "webhook" and settings.http_address is None:
        yield "--events webhook needs a port to be called on: --http 0.0.0.0:9464."
