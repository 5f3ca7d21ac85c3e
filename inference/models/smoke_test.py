"""`python -m inference.models.smoke_test [--run]`: loads a model on the CPU, for callers that do not import torch.

Reads a `ModelEntry` as JSON from standard input. Exits with 0, or with 1 and an error message on standard error.
"""

from __future__ import annotations

import json
import sys

import torch
from pydantic import TypeAdapter

from inference.errors import ModelError
from inference.models import open_model
from inference.models.entry import ModelEntry


def main() -> int:
    """Load the model and, with `--run`, run one black picture through it. Returns the exit code."""
    entry = TypeAdapter(ModelEntry).validate_python(json.load(sys.stdin))
    try:
        model = open_model(entry)
        with torch.inference_mode():
            model.load(torch.device("cpu"))
            if "--run" in sys.argv:
                model.coarse(torch.zeros((1, 3, *model.canvases()[0]), dtype=model.dtype))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
