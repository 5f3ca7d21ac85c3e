"""Outputs by the rules of large marketplaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inference.compose.spec import OutputSpec


@dataclass(frozen=True)
class Preset:
    """An output by name, and the rule that it follows."""

    name: str
    spec: OutputSpec
    rule: str
    """What the marketplace asks for, in one sentence."""
    source: str
    """The address of the page that says so."""
    checked: str
    """The day on which the page was read, as YYYY-MM-DD."""


PRESETS: Mapping[str, Preset] = MappingProxyType({})
"""By name."""
