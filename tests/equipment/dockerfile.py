"""Reads the Dockerfile as far as tests need it: its stages, and what each inherits from its base."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.equipment.support import ROOT

DOCKERFILE = ROOT / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction of the Dockerfile, on one line."""

    word: str
    rest: str

    @property
    def exec_form(self) -> list[str] | None:
        """The words of `["a", "b"]`; None where it is a line for a shell."""
        try:
            words = json.loads(self.rest[self.rest.index("[") :])
        except ValueError:
            return None
        return words if isinstance(words, list) else None

    @property
    def pairs(self) -> dict[str, str]:
        """Names and values of ENV, LABEL and ARG."""
        return dict(word.partition("=")[::2] for word in shlex.split(self.rest))


@dataclass(frozen=True)
class Stage:
    """A stage: the instructions from one FROM to the next."""

    name: str
    parent: str
    instructions: list[Instruction] = field(default_factory=list)


def stages(path: Path = DOCKERFILE) -> dict[str, Stage]:
    """The stages by name, in order; instructions before the first FROM are the stage ''."""
    found = {"": Stage("", "")}
    for instruction in instructions(path.read_text("utf-8")):
        if instruction.word == "FROM":
            parent, _, name = instruction.rest.split()
            found[name] = Stage(name, parent)
        else:
            list(found.values())[-1].instructions.append(instruction)
    return found


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a text, without comments; continued lines are joined."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in plain.replace("\\\n", "").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Instruction(word, rest.strip())


def image(target: str) -> list[Instruction]:
    """All instructions that a target's image comes from, from its base on."""
    found = stages()
    made: list[Instruction] = []
    while target in found:
        made = found[target].instructions + made
        target = found[target].parent
    return made


def last(target: str, word: str) -> Instruction:
    """The last instruction with this word, which is the one that counts."""
    return [instruction for instruction in image(target) if instruction.word == word][-1]


def environment(target: str) -> dict[str, str]:
    """What ENV sets in the image."""
    found: dict[str, str] = {}
    for instruction in image(target):
        if instruction.word == "ENV":
            found |= instruction.pairs
    return found
