"""Conversion of the runtimes' exceptions, which have no common base class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from inference.errors import ModelError
from inference.models.memory_errors import is_out_of_memory


@contextmanager
def as_model_errors(path: Path) -> Iterator[None]:
    """Convert a runtime's exceptions to ModelError, and those for lack of memory to OutOfMemoryError."""
    try:
        yield
    except (ModelError, torch.OutOfMemoryError, MemoryError):
        raise
    except torch.AcceleratorError as error:  # the device is lost, unless only its memory has run out
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise
    except Exception as error:  # the runtimes' exceptions have no common base class
        text = " ".join(str(error).split())
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(text) from error
        raise ModelError(f"{path} cannot be used ({type(error).__name__}): {text[:500]}") from error
