"""Finds out from source and sink what became of an image: for one that another machine finished, or an earlier run."""

from __future__ import annotations

import json

from inference.review.doubts import Review
from watcher.core.errors import Gone, Stale
from watcher.core.jobs import ImageRef, Recipe
from watcher.stores.base import OutputInfo, Store, is_output
from watcher.stores.error_records import record_key
from watcher.stores.output_metadata import recorded_source
from watcher.stores.recorded import texts_of
from watcher.web.history import Finished, Record, Status, StoredOutput


def find(record: Record, recipe: Recipe, source: Store, sink: Store, now: float) -> Finished | None:
    """What became of a record's image; None while it is not finished. Raises Unavailable."""
    ref = source.stat(record.key)
    outputs = recipe.outputs_of(ref or ImageRef(record.key, "", 0))
    infos = [sink.output_info(output.key) for output in outputs]
    done = (
        all(is_output(info, output) for info, output in zip(infos, outputs, strict=True))
        if ref
        else all(_is_of(info, record.key) for info in infos)
    )
    end = Finished(record.key, record.job, Status.DONE, now, record.created, record.batch)
    if done:
        stored = (_stored(recipe.outputs[at].name, output.key, sink) for at, output in enumerate(outputs))
        return _with_review(end, tuple(stored), sink)
    return _rejection(end, ref, sink) or (None if ref else _gone(end))


def _is_of(info: OutputInfo | None, key: str) -> bool:
    """Whether an output is of this image, in whichever version: the image itself is gone, as with --after delete."""
    return info is not None and info.id is not None and info.source_key == recorded_source(key)


def _stored(name: str, key: str, sink: Store) -> StoredOutput:
    ref = sink.stat(key)
    return StoredOutput(name, key, ref.size if ref else None)


def _with_review(end: Finished, outputs: tuple[StoredOutput, ...], sink: Store) -> Finished:
    ref = sink.stat(outputs[0].key)
    try:
        texts = texts_of(sink, ref) if ref else {}
        review = Review.parse(texts["confidence"], texts.get("doubts", "")) if "confidence" in texts else None
    except (Gone, Stale, OSError, ValueError):
        texts, review = {}, None
    return Finished(
        end.key,
        texts.get("job", end.job),
        end.status,
        ref.modified if ref and ref.modified else end.now,
        end.created,
        end.batch,
        outputs=outputs,
        score=review.confidence if review else None,
        doubts=tuple(doubt.value for doubt in review.doubts) if review else (),
        model=texts.get("model", ""),
    )


def _rejection(end: Finished, ref: ImageRef | None, sink: Store) -> Finished | None:
    """What the error record says, if it is about this version of the image."""
    found = sink.stat(sink.record_location(record_key(end.key)))
    if found is None or (ref is not None and found.modified < ref.modified):
        return None
    try:
        fields = json.loads(sink.read(found))
        reason, detail = str(fields["reason"]), str(fields["detail"])
    except (Gone, Stale, ValueError, KeyError, TypeError):
        return None
    return Finished(
        end.key, end.job, Status.REJECTED, found.modified or end.now, end.created, end.batch, reason, detail
    )


def _gone(end: Finished) -> Finished:
    message = "The image is not in the source any more, and its outputs are not in the sink."
    return Finished(end.key, end.job, Status.REJECTED, end.now, end.created, end.batch, "gone", message)
