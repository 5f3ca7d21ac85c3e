"""What an output says of itself: its job, the image it was made from, how much it shows; as text inside the PNG."""

from __future__ import annotations

import hashlib

from inference.codec import HEAD_BYTES, is_complete_png, read_text
from inference.codec.png import SIGNATURE
from watcher.core.jobs import Facts, Job
from watcher.stores.base import Held

JOB = "alphadrop:job"
SOURCE = "alphadrop:source"
MATTE_COVERAGE = "alphadrop:matte_coverage"
TAIL_BYTES = 12
_LONGEST_KEY = HEAD_BYTES // 2


def stamp(job: Job, facts: Facts | None = None) -> dict[str, str]:
    """The text to be written into the output of a job."""
    said = {JOB: job.id, SOURCE: source_text(job.ref.key)}
    return said | {MATTE_COVERAGE: facts.matte_coverage_text} if facts else said


def source_text(key: str) -> str:
    """The key as outputs carry it: itself, or its start and digest where it would not fit into the head of a PNG."""
    raw = key.encode()
    if len(raw) <= _LONGEST_KEY:
        return key
    return raw[: _LONGEST_KEY - 70].decode(errors="ignore") + "#" + hashlib.sha256(raw).hexdigest()


def read_stamp(head: bytes, tail: bytes) -> Held | None:
    """What a file says of itself by its first HEAD_BYTES and last TAIL_BYTES bytes.

    None where there is no whole file: nothing in it, or a PNG without its end. Held(None, None) for anybody else's.
    """
    if SIGNATURE.startswith(head[: len(SIGNATURE)]) and not is_complete_png(tail):
        return None
    text = read_text(head)
    return Held(text.get(JOB), text.get(SOURCE))
