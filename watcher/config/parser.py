"""The parser of all command lines, without the settings: whoever only wants help need not wait for them."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar, overload

N = TypeVar("N")

_SECRETS = re.compile(r"(?<=//)\S*(?=@)|(?<=token[= ])\S+", re.IGNORECASE)
_SIMILAR = 0.65
"""How similar a known flag must be to an unknown one to be named beside it, by `difflib`'s ratio."""
_MOST_USAGE_LINES = 3
"""A longer usage would hide the error below it."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest flag and the way to the help, and hold no passwords."""

    @overload
    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: None = None
    ) -> tuple[argparse.Namespace, list[str]]: ...
    @overload
    def parse_known_args(self, args: Iterable[str] | None, namespace: N) -> tuple[N, list[str]]: ...
    @overload
    def parse_known_args(self, *, namespace: N) -> tuple[N, list[str]]: ...
    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse what is left over here, where the command's own flags are known."""
        found, left_over = super().parse_known_args(args, namespace)
        if left_over:
            self.error(self._describe(left_over))
        return found, left_over

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit with code 2."""
        usage = self.format_usage()
        if usage.count("\n") > _MOST_USAGE_LINES:
            usage = ""
        said = _SECRETS.sub("...", message)
        self.exit(2, f"{usage}{self.prog}: error: {said}. See `{self.prog} --help`.\n")

    def _describe(self, left_over: Sequence[str]) -> str:
        """Name the unknown flags without their values, which may be secret; or else the first surplus argument."""
        unknown = [word.partition("=")[0] for word in left_over if word.startswith("-")]
        if not unknown:
            return f"unexpected argument {left_over[0]!r}"
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        nearest = difflib.get_close_matches(unknown[0].lower().replace("_", "-"), known, n=1, cutoff=_SIMILAR)
        hint = f"; the nearest one is {nearest[0]}" if nearest else ""
        return f"{unknown[0]} is not a flag of `{self.prog}`{hint}"
