"""What is reported of an output: of one that was just written, and of one that was in the sink already."""

from __future__ import annotations

import hashlib

from inference.codec import probe
from inference.compose import read_text
from inference.errors import PictureError
from watcher.core.errors import Gone, Stale, Unavailable
from watcher.protocol import OutputReport
from watcher.stores.base import Store
from watcher.stores.output_metadata import read_box
from watcher.worker.output_maker import EncodedOutput, PlannedOutput


def report_of(made: EncodedOutput, *, digest: bool) -> OutputReport:
    """The report of an output that was written, with its digest if it is wanted."""
    return OutputReport(
        name=made.plan.recipe.name,
        key=made.plan.output.key,
        format=made.plan.spec.format,
        bytes=len(made.data),
        width=made.width,
        height=made.height,
        box=made.facts.box,
        sha256=hashlib.sha256(made.data).hexdigest() if digest else "",
    )


def report_of_present(sink: Store, plan: PlannedOutput) -> OutputReport:
    """Read an output that an earlier job wrote. Raises Unavailable."""
    key = plan.output.key
    ref = sink.stat(key)
    try:
        if ref is None:
            raise Gone(f"{key} is not there any more")
        data = sink.read(ref)
        picture = probe(data)
    except (Gone, Stale, PictureError) as error:
        raise Unavailable(f"{key} has changed while it was read; trying again") from error
    return OutputReport(
        name=plan.recipe.name,
        key=key,
        format=plan.spec.format,
        bytes=len(data),
        width=picture.width,
        height=picture.height,
        box=read_box(read_text(data)),
        sha256=hashlib.sha256(data).hexdigest(),
        written=False,
    )
