"""Every package is pinned, and docs/dependencies.md says why it is there."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import distribution, metadata
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.image_checks import constraints
from tests.equipment.support import ROOT

PAGE = ROOT / "docs" / "dependencies.md"
NO_BUILD = re.compile(r"\+.*")
"""What a version's end says of how it was built: any build of torch will do."""
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What the page says of a package."""

    part: str
    why: str
    licence: str


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def parts() -> dict[str, list[Requirement]]:
    """The direct dependencies by the part of alphadrop that wants them."""
    found = project()
    lines = {"all": found["project"]["dependencies"], **found["project"]["optional-dependencies"]}
    lines["build"] = found["build-system"]["requires"]
    wanted = {part: map(Requirement, some) for part, some in lines.items()}
    return {part: [one for one in some if one.name != "alphadrop"] for part, some in wanted.items()}


def declared() -> dict[str, str]:
    """Which part each of them belongs to."""
    return {one.name: part for part, some in parts().items() for one in some}


def rows() -> dict[str, Row]:
    return {name: Row(*words) for name, *words in _ROW.findall(PAGE.read_text("utf-8"))}


def licence(name: str) -> str:
    """As the package says it: an expression, the classifiers' words, or the first line of free text or of its file."""
    said = metadata(name)
    kinds = [kind.rpartition(" :: ")[2] for kind in said.get_all("Classifier") or () if kind.startswith("License ::")]
    known = [kind for kind in kinds if kind not in ("OSI Approved", "DFSG approved")]
    expression, text = (said.get_all(field) or [""] for field in ("License-Expression", "License"))
    return expression[0] or " or ".join(known) or text[0].partition("\n")[0] or licence_file(name)


def licence_file(name: str) -> str:
    [path] = [path for path in distribution(name).files or () if "licenses" in path.parts]
    return path.read_text("utf-8").strip().partition("\n")[0]


def closure() -> set[str]:
    """Every package that `make setup` installs on this machine beside alphadrop."""
    seen: set[tuple[str, str]] = set()
    ahead = [one for part, some in parts().items() for one in some if part != "build"]
    while ahead:
        one = ahead.pop()
        for extra in {"", *one.extras}:
            if (one.name, extra) not in seen:
                seen.add((one.name, extra))
                lines = map(Requirement, distribution(one.name).requires or ())
                ahead += [line for line in lines if not line.marker or line.marker.evaluate({"extra": extra})]
    return {str(canonicalize_name(name)) for name, _ in seen}


def test_the_page_names_what_is_declared_and_nothing_else() -> None:
    found, known = declared(), rows()
    missing = [f"| `{name}` | {part} | WHY | LICENCE |" for name, part in found.items() if name not in known]
    assert missing == [], "rows that docs/dependencies.md lacks"
    assert {name: row.part for name, row in known.items()} == found


@pytest.mark.parametrize("name", [name for name, part in declared().items() if part != "build"])
def test_the_page_has_a_reason_and_the_licence_that_the_package_names(name: str) -> None:
    row = rows()[name]
    assert len(row.why) > 10
    assert row.licence == licence(name)


def test_all_that_an_installation_gets_is_pinned_to_what_is_installed() -> None:
    pins = constraints(str(ROOT / "constraints.txt"), str(ROOT / "constraints-image.txt"))
    here = {name: NO_BUILD.sub("", distribution(name).version) for name in closure()}
    assert {name: version for name, version in here.items() if pins.get(name) != version} == {}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins are those of Python 3.11")
def test_nothing_is_pinned_that_nobody_gets() -> None:
    assert set(constraints(str(ROOT / "constraints.txt"))) - closure() == set()


def test_what_builds_the_package_is_pinned() -> None:
    pins = constraints(str(ROOT / "constraints-image.txt"))
    names = {str(canonicalize_name(Requirement(line).name)) for line in project()["build-system"]["requires"]}
    assert names | {"editables", "trove-classifiers"} <= set(pins)
