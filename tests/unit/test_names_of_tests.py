"""No two files of tests have one name: a name in a report is enough to find the file."""

from __future__ import annotations

from collections import Counter

from tests.equipment.support import ROOT


def test_each_file_of_tests_has_a_name_of_its_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
