"""What a worker may replace in the sink: outputs of its own source, and those of an older version of alphadrop."""

from __future__ import annotations

import numpy as np
import pytest

from inference.codec import encode_png
from watcher.core.errors import Rejected
from watcher.core.jobs import Facts, Output, Recipe, fingerprint
from watcher.core.reasons import Reason
from watcher.stores.output_metadata import output_text
from watcher.testing import MemoryStore
from watcher.worker.output_writer import OutputWriter

HERE, THERE = "s3://shop/in/", "s3://archive/in/"


class Pair:
    """A source and the sink that it shares with others."""

    def __init__(self, uri: str, sink: MemoryStore, moved_from: str = "", model: str = "m") -> None:
        source = MemoryStore(uri)
        ref = source.write("a.jpg", b"the same key")
        (self.output,) = Recipe(uri, model, {}, moved_from=moved_from).outputs_of(ref)
        self.writer, self.sink = OutputWriter(source, sink), sink

    def write(self, output: Output | None = None) -> None:
        """As a worker does: look, then put."""
        output = output or self.output
        outdated = self.writer.outdated([output])
        data = encode_png(np.zeros((4, 5, 4), np.uint8), text=output_text(output))
        self.writer.put(output, data, Facts(0.0), outdated[output])


@pytest.fixture
def sink() -> MemoryStore:
    return MemoryStore("s3://shop/out/")


def test_the_output_of_another_source_is_not_replaced_and_both_sources_are_told_apart(sink: MemoryStore) -> None:
    first = Pair(THERE, sink)
    first.write()
    with pytest.raises(Rejected) as caught:
        Pair(HERE, sink).write()
    assert caught.value.rejection.reason is Reason.OUTPUT_TAKEN
    for said in ("a.png is made from a.jpg of another source", fingerprint(THERE), HERE, "--moved-from"):
        assert said in caught.value.rejection.detail
    assert sink.output_info("a.png") == first.sink.output_info("a.png")
    assert first.writer.outdated([first.output]) == {}


def test_a_source_that_has_moved_replaces_the_outputs_of_its_former_address(sink: MemoryStore) -> None:
    Pair(THERE, sink).write()
    moved = Pair(HERE, sink, moved_from=THERE)
    moved.write()
    assert moved.writer.outdated([moved.output]) == {}


def test_outputs_that_name_no_source_belong_to_whoever_has_the_key(sink: MemoryStore) -> None:
    old = Pair(THERE, sink).output
    sink.write("a.png", encode_png(np.zeros((4, 5, 4), np.uint8), text=output_text(Output(old.id, old.ref, old.key))))
    here = Pair(HERE, sink)
    here.write()
    assert here.writer.outdated([here.output]) == {}


def test_another_model_replaces_the_outputs_of_the_same_source(sink: MemoryStore) -> None:
    Pair(HERE, sink).write()
    other = Pair(HERE, sink, model="n")
    other.write()
    assert other.writer.outdated([other.output]) == {}
