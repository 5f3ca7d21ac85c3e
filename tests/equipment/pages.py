"""Reads README.md and the pages in docs/: their blocks of commands, command lines, names and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tests.equipment.support import ROOT

USERS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
"""The pages that tell users what to type."""
ALL = (
    *USERS,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
)
VALUES = {
    "BUCKET": "photos",
    "QUEUE": "alphadrop",
    "TOKEN": "secret",
    "PASSWORD": "secret",
    "RGW": "https://ceph.example",
}
"""What stands in for variables of the shell."""

_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\S*/)?alphadrop ([a-z].*)")
"""Variables and a path may stand before it."""
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block between two fences."""

    language: str
    """`bash` is run by the tests, in order; `sh` is only read."""
    label: str
    """A second word on the fence: the block is an alternative, which only a test of its own runs."""
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page, in order."""
    found = (Block(*match.groups()) for match in _FENCE.finditer(page.read_text("utf-8")))
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def code(page: Path) -> list[str]:
    """The texts between backticks, outside of blocks."""
    return _CODE.findall(prose(page))


def links(page: Path) -> list[str]:
    """The targets of links within the repository."""
    return [target for target in _LINK.findall(prose(page)) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, to which links may lead."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Every `alphadrop ...` of a page, in blocks and in the text, as the words after that."""
    lines = [line for block in blocks(page, "sh", "bash") for line in block.text.replace("\\\n", " ").splitlines()]
    texts = [text.replace("[", "").replace("]", "") for text in code(page)]
    for match in filter(None, map(_COMMAND.fullmatch, (*lines, *texts))):
        yield shlex.split(Template(match[1]).safe_substitute(VALUES), comments=True)
