"""`python -m inference.models.smoke_test`: loads a model in a process of its own, so that the caller needs no torch.

Reads an entry as JSON from standard input. Exits with 0, or with 1 and a sentence on standard error.
"""

from __future__ import annotations

import json
import sys

import torch

from inference.errors import ModelError
from inference.models import open_model
from inference.models.entry import ModelEntry


def main() -> int:
    """With `--run`, a picture is put through it as well."""
    entry = ModelEntry.from_dict(json.load(sys.stdin))
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
