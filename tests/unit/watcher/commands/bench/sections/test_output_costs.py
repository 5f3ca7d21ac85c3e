"""What each kind of output costs."""

from dataclasses import replace
from pathlib import Path

import pytest

from inference.compose import NO_METADATA, compose
from inference.picture import Cutout
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.photos import cutout_pixels, draw_sample, encode_photo
from watcher.commands.bench.sections import outputs
from watcher.commands.bench.timing import Times
from watcher.commands.bench.workload import QUICK

SIZE = (96, 64)


def test_every_kind_of_output_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = {name: spec for name, spec in outputs.KINDS.items() if "preset" not in name}
    monkeypatch.setattr(outputs, "KINDS", small)
    section = outputs.measure(BenchContext(replace(QUICK, hd=SIZE, repeats=2), (), "fake", None, 1, tmp_path))
    [table] = section.tables
    assert [row[0] for row in table.rows] == list(small)
    assert str(table.rows[0][2]).startswith("1 ")
    assert "times the codecs' own CPU time" in section.findings[0]


def test_an_output_that_differs_from_the_encoders_is_detected(monkeypatch: pytest.MonkeyPatch):
    cutout = Cutout(cutout_pixels(SIZE, 1))
    monkeypatch.setattr(outputs, "encode", lambda cutout, text: b"other")
    photo = encode_photo(draw_sample(SIZE, 1).image, "JPEG")
    with pytest.raises(AssertionError, match="differs from what its encoder writes"):
        outputs.measure_usual_path(photo, cutout, Times(), Times())


def test_no_kind_is_refused():
    cutout = Cutout(cutout_pixels(SIZE, 1))
    assert all(compose(cutout, spec, NO_METADATA, outputs.TEXT).data for spec in outputs.KINDS.values())
