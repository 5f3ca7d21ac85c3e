"""Whether settings work together: source, sink, state, queue and events; and whether the folders are there.

Looks at folders, and only at the addresses of buckets and queues. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, SourceMissing, Unavailable
from watcher.core.jobs import Mode
from watcher.notify.address import WebhookAddress, parse_target
from watcher.notify.signature import read_secret
from watcher.queues.brokers.address import parse_address
from watcher.sources.source_filter import SourceFilter


def check_settings(settings: Settings, mode: Mode = Mode.RUN, *, places: bool = True) -> None:
    """Check source, sink, state, queue and events together. Raises ConfigurationError, one line for each problem.

    Without `places`, it leaves out the checks of `require_places`, whose problems may pass by themselves.
    """
    problems = [
        *([*_source_problems(settings), *_target_problems(settings, mode)] if places else ()),
        *_folder_problems(settings),
        *_after_problems(settings),
        *_bucket_problems(settings.source_uri, settings.sink_uri, settings.exclude_sink),
        *_manifest_problems(settings.manifest_path),
        *_queue_problems(settings),
        *(_notify_problems(settings) if mode.works else ()),
        *(_event_problems(settings) if mode in (Mode.RUN, Mode.WATCH) else ()),
        *(_page_problems(settings) if mode in (Mode.RUN, Mode.WATCH) else ()),
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))


def require_places(settings: Settings, mode: Mode) -> None:
    """See that the source's folder is there, and that this user may write where a daemon writes.

    Raises SourceMissing or Unavailable: a disk may be mounted, or writable, again.
    """
    source, targets = [*_source_problems(settings)], [*_target_problems(settings, mode)]
    if source:
        raise SourceMissing("\n".join([*source, *targets]))
    if targets:
        raise Unavailable("\n".join(targets), public="a folder cannot be written to; the log says which")


# Folders.


def _source_problems(settings: Settings) -> Iterator[str]:
    source = settings.source_path
    if source is None:
        return
    if not os.path.lexists(source):
        yield f"SOURCE {source} does not exist: create the folder, or mount it, before starting."
    elif source.is_dir() and not os.access(source, os.R_OK | os.X_OK):
        yield f"SOURCE {source} is not readable by this user: give it read and search permission."


def _target_problems(settings: Settings, mode: Mode) -> Iterator[str]:
    """Folders that cannot be written to: those above them, where they still have to be created."""
    for name, path in _targets(settings):
        nearest = _nearest(path)
        if nearest.is_dir() and not os.access(nearest, os.W_OK | os.X_OK):
            yield f"{name} {path} is not writable by this user: {_remedy(nearest)}."
    manifest = settings.manifest_path
    if manifest and not manifest.is_dir() and manifest.parent.is_dir():
        place = manifest if manifest.exists() else manifest.parent
        if not os.access(place, os.W_OK):
            yield f"--manifest {manifest} is not writable by this user: {_remedy(place)}."
    uploads = settings.source_path if settings.serves_api and mode in (Mode.RUN, Mode.WATCH) else None
    if uploads and uploads.is_dir() and not os.access(uploads, os.W_OK | os.X_OK):
        flag = "--page" if settings.page else "--api"
        yield f"{flag} puts uploads into SOURCE {uploads}, which is not writable by this user: {_remedy(uploads)}."


def _remedy(path: Path) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"mount the file system of {path} writable"
    return f"give write permission on {path}"


def _targets(settings: Settings) -> list[tuple[str, Path]]:
    """The folders to write to, by their names in messages."""
    targets = {"SINK": settings.sink_path, "--state": None if settings.queue else settings.state_path}
    return [(name, path) for name, path in targets.items() if path]


def _nearest(path: Path) -> Path:
    """The path, or the first one above it that exists."""
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def _folder_problems(settings: Settings) -> Iterator[str]:
    source, sink = settings.source_path, settings.sink_path
    state = None if settings.queue else settings.state_path
    if source and os.path.lexists(source) and not source.is_dir():
        yield f"SOURCE {source} is not a folder: name the folder that images arrive in."
    for name, path in _targets(settings):
        if not (nearest := _nearest(path)).is_dir():
            yield f"{name} {path} cannot be a folder, since {nearest} is not one: choose another."
    if source and sink:
        yield from _nesting_problems(source, sink, settings.exclude_sink)
    if source and state and (_same(state, source) or _inside(state, source)):
        yield f"--state {state} is inside SOURCE {source}, so each write would be an arrival: choose another folder."


def _nesting_problems(source: Path, sink: Path, exclude_sink: bool) -> Iterator[str]:
    if _same(source, sink):
        yield f"SOURCE and SINK are the same folder, {sink}: choose another sink, or outputs would mix with originals."
    elif _inside(sink, source) and not exclude_sink:
        yield (
            f"SINK {sink} is inside SOURCE {source}, so outputs would be taken for new images: "
            "choose another folder, or give --exclude-sink to leave it unwatched."
        )
    elif _inside(source, sink):
        yield f"SOURCE {source} is inside SINK {sink}, so outputs could land among the images: choose another folder."


def _inside(path: Path, folder: Path) -> bool:
    return any(_same(parent, folder) for parent in path.parents)


def _same(one: Path, other: Path) -> bool:
    """By inode where both exist: a bind mount or a case-insensitive disk has two names for one folder."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False


def _manifest_problems(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    if path.is_dir():
        yield f"--manifest {path} is a folder: name a file in it, such as {path / 'manifest.jsonl'}."
    elif not path.parent.is_dir():
        yield f"--manifest {path}: the folder {path.parent} does not exist; create it."


# Buckets.


def _bucket_problems(source: str, sink: str, exclude_sink: bool) -> Iterator[str]:
    if not source.startswith("s3://"):
        return
    if sink == source:
        yield f"SOURCE and SINK are the same, {sink}: choose another prefix, or outputs would mix with originals."
    elif sink.startswith(source) and not exclude_sink:
        yield (
            f"SINK {sink} is inside SOURCE {source}, so outputs would be taken for new images: "
            "choose another prefix, or give --exclude-sink to leave it unwatched."
        )
    elif source.startswith(sink):
        yield f"SOURCE {source} is inside SINK {sink}, so outputs could land among the images: choose another prefix."


def _after_problems(settings: Settings) -> Iterator[str]:
    source, sink, after = settings.source_uri, settings.sink_uri, settings.after
    if settings.source_path is not None:
        if after != "keep":
            yield "--after needs a bucket as SOURCE: images in a folder are never touched."
        return
    moved = moved_to(source, after)
    if moved and source.startswith(moved):
        yield f"--after {after} would move images to a prefix that is watched for new ones: choose another prefix."
    if moved and (sink.startswith(moved) or moved.startswith(sink)):
        yield f"--after {after} would move images to where outputs are, and over them: choose another prefix."


def moved_to(source: str, after: str) -> str:
    """The address below which `move:PREFIX` moves images; "" for any other `after`."""
    if not after.startswith("move:"):
        return ""
    bucket = source.removeprefix("s3://").partition("/")[0]
    return f"s3://{bucket}/{after.removeprefix('move:')}"


def key_inside(source: str, other: str) -> str | None:
    """The key, below the source, of a place inside it; "" for the source itself, None for a place elsewhere."""
    source, other = unquote(source), unquote(other)
    return other[len(source) :] if other.startswith(source) else None


# Queue and events.


def _queue_problems(settings: Settings) -> Iterator[str]:
    for flag, address in (("--queue", settings.queue), ("--events", settings.events)):
        try:
            if "://" in address:
                parse_address(address)
        except ConfigurationError as error:
            yield f"{flag}: {error}"


def _notify_problems(settings: Settings) -> Iterator[str]:
    if not settings.notify:
        return
    try:
        address = parse_target(settings.notify)
    except ConfigurationError as error:
        yield f"--notify: {error}"
        return
    if settings.notify in (settings.queue, settings.events):
        yield "--notify names the queue that alphadrop itself reads: name another one."
    if isinstance(address, WebhookAddress):
        try:
            read_secret(settings.notify_secret)
        except ConfigurationError as error:
            unset = "a webhook needs it, to see that requests come from here; set ALPHADROP_NOTIFY_SECRET. Otherwise, "
            yield f"--notify-secret: {'' if settings.notify_secret else unset}{error}"


def _page_problems(settings: Settings) -> Iterator[str]:
    if not settings.serves_api:
        return
    flag, address = "--page" if settings.page else "--api", settings.http_address
    if address is None:
        yield f"{flag} needs an address to be served at: give --http 127.0.0.1:9464."
    elif not settings.api_token and not is_loopback(address[0]):
        yield (
            f"{flag} at --http {settings.http} can be reached from other machines, so it needs a token: set "
            "ALPHADROP_API_TOKEN to a long random text, such as `openssl rand -hex 24` prints."
        )
    if not SourceFilter(_sink_inside(settings), settings.exclude).accepts(f"{settings.upload_prefix}b/a.jpg"):
        yield f"--upload-prefix {settings.upload_prefix} is left out of the source: name another, or change --exclude."


def _sink_inside(settings: Settings) -> list[str]:
    """The sink's key below the source, if it is there."""
    key = key_inside(settings.source_uri.rstrip("/") + "/", settings.sink_uri.rstrip("/") + "/")
    return [key] if key else []


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _event_problems(settings: Settings) -> Iterator[str]:
    if settings.source_path is not None and settings.events != "listing":
        yield "--events needs a bucket as SOURCE: for a folder the kernel reports new files, see --watch."
    if settings.events == "queue" and not settings.queue:
        yield "--events queue needs --queue, the queue to which the store sends its events."
    if settings.queue and settings.events == settings.queue:
        yield "--events and --queue name the same queue, which would fill itself: use --events queue."
    if settings.events == "webhook" and not settings.events_token:
        yield "--events webhook needs a token: set ALPHADROP_EVENTS_TOKEN to a long random text."
    if settings.events == "webhook" and settings.http_address is None:
        yield "--events webhook needs a port to be called on: give --http 0.0.0.0:9464."
