"""The tests that docs/security.md names are there."""

from __future__ import annotations

import re

import pytest

from tests.equipment.support import ROOT

PAGE = ROOT / "docs" / "security.md"
NAMED = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", PAGE.read_text("utf-8"))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 25


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_each_test_that_the_page_names_is_in_the_file_that_it_links(name: str, path: str) -> None:
    assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
