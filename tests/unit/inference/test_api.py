"""The package's public names, and the example in its docstring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import inference
from inference.codec import decode
from tests.equipment.pictures import photo as encode_photo
from tests.equipment.pictures import place


def test_the_example_in_the_packages_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inference.__doc__ is not None
    example = dedent(inference.__doc__.split("\n\n", 1)[1].split("\n\n* ")[0])
    place(tmp_path, "photos/a.jpg", encode_photo("a.jpg", (60, 40)))
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docstring", "exec"), {})
    assert decode((tmp_path / "photos" / "a.png").read_bytes()).pixels.shape == (40, 60, 3)


def test_every_public_name_can_be_imported_and_no_other() -> None:
    assert all(hasattr(inference, name) for name in inference.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        _ = inference.Motor


def test_codecs_and_registry_do_not_import_torch() -> None:
    code = "import sys, inference, inference.codec, inference.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
