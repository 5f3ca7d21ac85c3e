"""Models: each has its own file, and a case in `open_model`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.models.base import MattingModel
    from inference.models.entry import ModelEntry


def open_model(entry: ModelEntry) -> MattingModel:
    """Construct the model that a registry entry describes, without loading its weights."""
    if entry.contract:
        from inference.models.thirdparty.adapter import ThirdPartyModel
        from inference.models.thirdparty.runners import make_runner

        return ThirdPartyModel(entry, make_runner(entry))
    if entry.kind == "fake":
        from inference.models.fake import FakeModel
        from inference.models.fake_options import parse_options

        return FakeModel(parse_options(entry.name))
    from inference.models.native import CVUNetModel

    return CVUNetModel(entry)
