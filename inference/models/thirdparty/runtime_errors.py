"""Conversion of the runtimes' exceptions, which have no common base class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from inference.errors import ModelError

_OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory")
"""Parts of the messages of allocation failures; onnxruntime and torch have no exception class for them."""


@contextmanager
def as_model_errors(path: Path) -> Iterator[None]:
    """Convert a runtime's exceptions to ModelError, and those for lack of memory to OutOfMemoryError."""
    try:
        yield
    except (ModelError, torch.OutOfMemoryError, torch.AcceleratorError, MemoryError):
        raise
    except Exception as error:  # the runtimes' exceptions have no common base class
        text = " ".join(str(error).split())
        if any(word in text.lower() for word in _OUT_OF_MEMORY):
            raise torch.OutOfMemoryError(text) from error
        raise ModelError(f"{path} cannot be used ({type(error).__name__}): {text[:500]}") from error
