"""docs/outputs.md says of options and presets what the code does."""

import re

from inference.compose import PRESETS, OutputSpec
from inference.compose.encoding import LEAST_QUALITY, QUALITIES
from inference.compose.metadata import MAX_EXIF
from tests.equipment.support import ROOT

PAGE = (ROOT / "docs" / "outputs.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_option_is_on_the_page_and_no_other():
    named = [re.fullmatch(r"`(\w+)`", name) for name, *_ in rows("How an output looks")]
    assert {match[1] for match in named if match} == set(OutputSpec.model_fields)
    assert all(named)


def test_the_defaults_on_the_page_are_those_of_the_code():
    assert f"| {', '.join(map(str, QUALITIES.values()))} |" in PAGE
    assert f"down to {LEAST_QUALITY}" in PAGE
    assert f"over {MAX_EXIF // 1024} KiB" in PAGE


def test_every_preset_is_on_the_page_with_its_rule_source_and_day():
    table = {name.strip("`"): cells for name, *cells in rows("Presets")}
    assert list(table) == list(PRESETS)
    for name, preset in PRESETS.items():
        canvas, share, most, rule, source = table[name]
        assert preset.spec.canvas is not None and preset.spec.share is not None and preset.spec.max_bytes is not None
        assert canvas.replace(" ", "").startswith(preset.spec.canvas)
        assert share == f"{preset.spec.share:.0%}".replace("%", " %")
        assert most == f"{preset.spec.max_bytes // 1_000_000} MB"
        assert rule == preset.rule
        assert re.findall(r"\]\((\S+)\)", source) == list(preset.sources)
        assert source.endswith(preset.checked)
        assert ("its own page" in source) == preset.is_own_page
