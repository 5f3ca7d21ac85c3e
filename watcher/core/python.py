"""How other processes of ours are started."""

from __future__ import annotations

import sys


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with `arguments`, such as `-m` and a module.

    With -P it imports nothing from the working folder, which is the user's: a `torch.py` or a folder `inference` may be
    there.
    """
    return [sys.executable, "-P", *arguments]
