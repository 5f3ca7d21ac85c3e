"""What the API can do, without HTTP: take an upload, find out what became of an image, read it, decide about it.

An upload is a file in the source, so nothing is lost when the browser, this process or the machine goes away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from watcher.core.errors import Gone, Stale, Unavailable
from watcher.core.jobs import ImageRef, Job, Recipe, output_key
from watcher.ingest.retry import retry_image
from watcher.protocol import ImageReport
from watcher.queues.base import EmbeddedQueue, Queue
from watcher.sources.source_filter import is_picture
from watcher.stores.base import Store
from watcher.stores.decisions import Decision, Verdict, read_decision, write_decision
from watcher.web.archive import safe_path
from watcher.web.errors import ApiError, not_found
from watcher.web.finder import find
from watcher.web.history import Finished, History, Query, Record, Status, StoredOutput, item_id
from watcher.web.items import batch_of, finished_of, item_json
from watcher.web.uploads import numbered, sniff, upload_key

log = structlog.get_logger(__name__)

ATTEMPTS = 100
"""Names that are tried for an upload whose name is taken."""
LOOK_SECONDS = 2.0
"""Shortest time between two looks into the sink for one unfinished image."""
MOST_LOOKS = 50
"""Images of a list that are looked for in the sink."""


@dataclass(frozen=True)
class Backend:
    """The parts of the daemon that the API works on."""

    recipe: Recipe
    source: Store
    sink: Store
    queue: Queue
    embedded: EmbeddedQueue | None
    wake: Callable[[], None]
    """Called when jobs are pending."""
    hurry: Callable[[], None] = lambda: None
    """Called when a client waits for an image, so that its worker's report is read at once."""


class Cutouts:
    """The operations of the API. Thread-safe; every method may block, and may raise ApiError or Unavailable."""

    def __init__(
        self,
        history: History,
        prefix: str,
        *,
        is_remade: Callable[[str], bool] = lambda id: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`prefix` is that of uploads; `is_remade` says which items are being made again."""
        self.history, self.prefix, self._is_remade, self._clock = history, prefix, is_remade, clock
        self._backend: Backend | None = None
        self._lock = threading.Lock()
        self._claims: set[str] = set()
        """Outputs of the uploads that are being written."""
        self._looked: dict[str, float] = {}
        self.listeners: list[Callable[[str], None]] = []
        """Called with the id of each item that has changed, from any thread; they return at once."""

    def open(self, backend: Backend) -> None:
        """Use the open source, sink and queue from now on."""
        self._backend = backend

    @property
    def backend(self) -> Backend:
        """The open source, sink and queue. Raises Unavailable while the daemon starts."""
        if self._backend is None:
            raise Unavailable("the daemon is starting", "the daemon is starting")
        return self._backend

    def recover(self) -> int:
        """Fill an empty list with the uploads that are in the source; returns how many. Raises Unavailable."""
        backend, found = self.backend, 0
        if self.history.count():
            return 0
        for ref in backend.source.list(self.prefix):
            batch = batch_of(ref.key, self.prefix)
            if batch is not None and is_picture(ref.key):
                job = backend.recipe.job(ref)
                self.history.recovered(ref.key, now=ref.modified, batch=batch, job=job.id, claim=job.output)
                found += 1
            if found % 1000 == 0:
                self.history.count()  # writes what waits
        return found

    # Uploads.

    def upload(self, data: bytes, path: str = "", batch: str = "", *, exact: bool = False) -> Record:
        """Put a picture into the source and its job into the queue; returns its item.

        The same bytes under the same name are the same upload. Another one gets a number, or is refused with `exact`.
        """
        backend = self.backend
        batch = batch or datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        wanted = upload_key(self.prefix, batch, path, sniff(data))
        with self._claimed(wanted, data, 1 if exact else ATTEMPTS) as (key, present):
            claim = backend.recipe.job(ImageRef(key, "", 0)).output
            known = self.history.of_key(key)
            if present is None or known is None:
                self.history.queued(key, now=self._clock(), batch=batch, claim=claim)
            try:
                ref = present or backend.source.put_image(key, data)
            except Exception:
                self.history.forget(key)
                raise
            job = backend.recipe.job(ref)
            if present is not None and known is not None and known.status is not Status.QUEUED and known.job == job.id:
                return known
            return self._enqueue(backend, job)

    def _enqueue(self, backend: Backend, job: Job) -> Record:
        self.history.set_job(job.ref.key, job.id)
        backend.queue.put([job], urgent=True)
        backend.wake()
        record = self.history.of_key(job.ref.key)
        assert record is not None, "it was queued above"
        self._announce(record.id)
        return record

    @contextmanager
    def _claimed(self, wanted: str, data: bytes, attempts: int) -> Iterator[tuple[str, ImageRef | None]]:
        """A key for an upload that nothing else uses, or the one at which the same bytes are already."""
        keys = [wanted, *(numbered(wanted, number) for number in range(2, attempts))]
        for key in keys:
            claim = self.backend.recipe.job(ImageRef(key, "", 0)).output
            with self._lock:
                if claim in self._claims:
                    continue
                self._claims.add(claim)
            try:
                present = self.backend.source.stat(key)
                if (present is None and self._is_free(key, claim)) or (present and self._is_same(present, data)):
                    yield key, present
                    return
            finally:
                with self._lock:
                    self._claims.discard(claim)
        raise ApiError(409, "name_taken", "Conflict", "this name is taken by other pictures; choose another")

    def _is_free(self, key: str, claim: str) -> bool:
        """Whether no other image has the outputs that this key would have."""
        holder = self.history.claimed_by(claim)
        if holder not in (None, key):
            return False
        return self.backend.sink.stat(claim) is None

    def _is_same(self, present: ImageRef, data: bytes) -> bool:
        try:
            return present.size == len(data) and self.backend.source.read(present) == data
        except (Gone, Stale):
            return False

    # Items.

    def get(self, id: str) -> Record:
        """The item with this id, as it is now. Raises ApiError where there is none."""
        record = self.history.get(id)
        if record is None:
            raise not_found(f"there is no picture with the id {id[:40]!r}")
        return self._refreshed([record])[0]

    def shown(self, id: str) -> Record:
        """The item with any decision by `alphadrop review` or the page of another machine. Raises ApiError."""
        record = self.get(id)
        if record.status is not Status.DONE:
            return record
        found = read_decision(self.backend.sink, record.key)
        holds = found is not None and found.job == record.job and found.verdict is not Verdict.REDONE
        decision = found.verdict.value if found and holds else None
        if decision != record.decision:
            self.history.set_decision(record.key, decision)
        return replace(record, decision=decision)

    def waiting(self) -> int:
        """How many uploads wait for their turn; 0 where that is not known, as of a broker's queue."""
        embedded = self.backend.embedded
        return embedded.urgent() if embedded else 0

    def current(self, record: Record) -> Record:
        """The record as queue and sink know it now, for a request that waits for this image. Raises Unavailable."""
        self._looked.pop(record.key, None)
        return self._refreshed([self.history.get(record.id) or record])[0]

    def page(self, query: Query) -> tuple[list[Record], tuple[float, int] | None, int | None]:
        """A part of the list, where the next one begins, and the length of the whole list if it is known."""
        found = self.history.page(query)
        records = self._refreshed(found.records)
        if query.status in (Status.QUEUED, Status.RUNNING):
            wanted = {query.status, *([Status.RUNNING] if query.unfinished else [])}
            records = [record for record in records if record.status in wanted]
            return records, found.next, None
        return records, found.next, found.total

    def items(self, ids: Sequence[str]) -> list[dict[str, object]]:
        """The items with these ids, as the API shows them; without those that are gone."""
        found = [record for record in map(self.history.get, ids) if record is not None]
        return [self.json(record) for record in self._refreshed(found)]

    def json(self, record: Record) -> dict[str, object]:
        """An item as the API shows it."""
        return item_json(record, self.prefix)

    def report(self, report: ImageReport) -> None:
        """Record a worker's report of a finished image. Costs microseconds."""
        end = finished_of(report, self.prefix, self._clock())
        if end is None:
            return
        self.history.finished(end)
        if self.listeners:
            self._announce(item_id(report.key))

    def remade(self, record: Record, answer: Mapping[str, Any]) -> None:
        """Record that an image was made again, or that this failed; see `redo.Remake`."""
        now = self._clock()
        end = Finished(record.key, record.job, Status.DONE, now, record.created, record.batch)
        if "problem" in answer:
            end = replace(end, message=f"It could not be made again: {answer['problem']}")
        else:
            outputs = {output.name: output for output in record.outputs}
            outputs |= {fields["name"]: StoredOutput(**fields) for fields in answer["outputs"]}
            facts = {"score": answer["score"], "doubts": tuple(answer["doubts"]), "model": answer["model"]}
            end = replace(end, outputs=tuple(outputs.values()), **facts)
        self.history.remade(end)
        self._announce(record.id)

    def _announce(self, id: str) -> None:
        for listener in list(self.listeners):
            listener(id)

    def _refreshed(self, records: Sequence[Record]) -> list[Record]:
        """The records with what queue and sink say about those that are not finished."""
        records = [replace(one, status=Status.RUNNING) if self._is_remade(one.id) else one for one in records]
        unfinished = [record for record in records if record.status is Status.QUEUED]
        if not unfinished or self._backend is None:
            return records
        states = self._states(unfinished)
        looks = 0
        result = []
        for record in records:
            state = states.get(record.job, "")
            if record.status is Status.QUEUED and state == "leased":
                record = replace(record, status=Status.RUNNING)
            elif record.status is Status.QUEUED and state != "pending" and looks < MOST_LOOKS:
                looks += 1
                record = self._look(record)
            result.append(record)
        return result

    def _states(self, records: Sequence[Record]) -> dict[str, str]:
        embedded = self.backend.embedded
        return embedded.known([record.job for record in records if record.job]) if embedded else {}

    def _look(self, record: Record) -> Record:
        """Look into the sink, unless that was just done: another machine may have finished the image."""
        now = self._clock()
        if now - self._looked.get(record.key, 0.0) < LOOK_SECONDS:
            return record
        if len(self._looked) > 10_000:
            self._looked.clear()
        self._looked[record.key] = now
        backend = self.backend
        found = find(record, backend.recipe, backend.source, backend.sink, now)
        if found is None:
            return record
        self.history.finished(found)
        return self.history.get(record.id) or record

    # Pictures.

    def output(self, id: str, name: str) -> tuple[str, str, bytes]:
        """Version, key and bytes of an output. Raises ApiError where it is not there."""
        record = self.get(id)
        stored = next((output for output in self.outputs_of(record) if output.name == name), None)
        if stored is None:
            names = ", ".join(output.name for output in record.outputs) or "none yet"
            raise not_found(f"this picture has no output {name[:40]!r}; it has: {names}")
        return self._read(self.backend.sink, stored.key, "the output is not in the sink any more")

    def picture(self, id: str, of: str) -> tuple[str, Callable[[], bytes]]:
        """Version of an image or of its first output, and a function that reads it. Raises ApiError if there is none.

        `of` is "original", "output", or "" for the output if there is one.
        """
        record = self.get(id)
        store, key = self.backend.source, record.key
        outputs = () if of == "original" else self.outputs_of(record)
        if outputs:
            store, key = self.backend.sink, outputs[0].key
        elif of == "output":
            raise not_found("this picture has no output yet")
        ref = store.stat(key)
        if ref is None:
            raise not_found("the picture is not there any more")
        return _tag(ref), lambda: store.read(ref)

    def entries(self, query: Query, ids: Sequence[str]) -> Iterator[tuple[str, bytes, float]]:
        """The outputs for a zip file: of the items with these ids, or of all that a query finds."""
        for record in map(self.get, ids) if ids else self._all(query):
            for output in self.outputs_of(record):
                try:
                    ref = self.backend.sink.stat(output.key)
                    data = self.backend.sink.read(ref) if ref else None
                except (Gone, Stale):
                    continue
                if ref is not None and data is not None:
                    yield self._path_of(output.key, query.batch), data, ref.modified

    def _all(self, query: Query) -> Iterator[Record]:
        if query.status not in (None, Status.DONE):
            return  # only what is finished has outputs
        query = replace(query, status=Status.DONE, limit=500)
        while True:
            found = self.history.page(query)
            yield from found.records
            if found.next is None:
                return
            query = replace(query, after=found.next)

    def _path_of(self, key: str, batch: str) -> str:
        """An output's path in a zip file: without the prefix of uploads, and without the batch if all are of one."""
        for known in (f"{self.prefix}{batch}/" if batch else self.prefix, self.prefix):
            before, found, after = key.partition(known)
            if found and (not before or before.endswith("/")):
                return safe_path(before + after)
        return safe_path(key)

    def original(self, id: str) -> tuple[str, str, bytes]:
        """Version, key and bytes of the image itself. Raises ApiError where it is gone, as after `--after delete`."""
        record = self.get(id)
        return self._read(self.backend.source, record.key, "the original is not in the source any more")

    def outputs_of(self, record: Record) -> tuple[StoredOutput, ...]:
        """The outputs of a finished image; those that its worker did not write are looked for in the sink."""
        if record.status is not Status.DONE:
            return ()
        recipe = self.backend.recipe
        known = {output.name: output for output in record.outputs}
        missing = [output for output in recipe.outputs if output.name not in known]
        if not missing:
            return record.outputs
        for output in missing:
            key = output_key(output.pattern, record.key)
            ref = self.backend.sink.stat(key)
            if ref is not None:
                known[output.name] = StoredOutput(output.name, key, ref.size)
        outputs = tuple(known.values())
        self.history.set_outputs(record.key, outputs)
        return outputs

    def _read(self, store: Store, key: str, gone: str) -> tuple[str, str, bytes]:
        try:
            ref = store.stat(key)
            if ref is not None:
                return _tag(ref), key, store.read(ref)
        except (Gone, Stale):
            pass
        raise not_found(gone)

    # Decisions.

    def decide(self, id: str, verdict: Verdict) -> Record:
        """Store a decision about a cut-out in the sink, as `alphadrop review` does. Raises ApiError."""
        record = self.get(id)
        if record.status is not Status.DONE:
            raise ApiError(409, "not_done", "Conflict", "only a finished cut-out can be accepted or rejected")
        write_decision(self.backend.sink, Decision(record.key, record.job, verdict, record.score))
        self.history.set_decision(record.key, verdict.value)
        self._announce(id)
        return replace(record, decision=verdict.value)

    def retry(self, id: str) -> Record:
        """Process a rejected image again, as `alphadrop retry` does. Raises ApiError where it is not rejected."""
        record = self.get(id)
        if record.status is not Status.REJECTED:
            raise ApiError(409, "not_rejected", "Conflict", "only a rejected picture can be retried")
        backend = self.backend
        ref = backend.source.stat(record.key)
        if ref is None:
            raise ApiError(410, "gone", "Gone", "the picture is not in the source any more: upload it again")
        job = backend.recipe.job(ref)
        retry_image(job, backend.sink, backend.queue, backend.embedded)
        self.history.queued(record.key, now=self._clock(), batch=record.batch)
        return self._enqueue(backend, job)


def _tag(ref: ImageRef) -> str:
    """A version as an ETag: 20 letters and digits."""
    return item_id(f"{ref.key}:{ref.version}")
