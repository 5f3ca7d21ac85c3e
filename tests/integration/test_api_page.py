"""The commands of docs/api.md work as they are pasted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.equipment.api import SIZE, picture, running_api
from tests.equipment.pages import blocks, prose
from tests.equipment.support import ROOT, STUCK
from watcher.web.api import openapi
from watcher.web.api.cutting import BATCH
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.removebg_options import RemovebgOptions

PAGE = ROOT / "docs" / "api.md"


def test_the_commands_of_the_page_work_as_they_are_pasted(tmp_path: Path) -> None:
    (tmp_path / "shoe.jpg").write_bytes(picture(format="JPEG"))
    script = "\n".join(block.text for block in blocks(PAGE, "bash"))
    with running_api(tmp_path, api_token=()) as api:
        environment = {"API": str(api.client.base_url), "PATH": "/usr/bin:/bin", "NO_PROXY": "*"}
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=STUCK,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert {key.split("/")[1] for key in api.sources} >= {"summer", BATCH}
    for name, format in (("shoe.png", "PNG"), ("no-bg.png", "PNG"), ("mask.png", "PNG"), ("shop.jpg", "JPEG")):
        with Image.open(tmp_path / name) as image:
            assert image.format == format
            assert image.size == SIZE or name == "shop.jpg"


def test_every_request_is_explained() -> None:
    text = prose(PAGE)
    assert [path for path in openapi.document()["paths"] if f"{path}`" not in text] == []


@pytest.mark.parametrize("options", [RemovebgOptions, RembgOptions])
def test_every_option_is_explained(options: type[RemovebgOptions] | type[RembgOptions]) -> None:
    text = prose(PAGE)
    assert [name for name in options.model_fields if f"`{name}" not in text] == []
