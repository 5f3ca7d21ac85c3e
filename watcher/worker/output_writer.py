"""Puts outputs into the sink: only where they are outdated, and never over what is not theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from watcher.core.errors import Conflict, Gone, Rejected, Stale, Unavailable
from watcher.core.jobs import Facts, ImageRef, Outcome, Output
from watcher.core.reasons import Reason
from watcher.stores.base import OutputInfo, Store, is_output
from watcher.stores.output_metadata import recorded_source

_PUT_ATTEMPTS = 5
"""How often a put may lose against another writer of the same output before it counts as a transient error."""


@dataclass(frozen=True)
class OutputWriter:
    """Looks at outputs in the sink and writes them; shared by all threads of a worker."""

    source: Store
    sink: Store
    recheck: bool = False
    """Whether to look at the image again after its output was written: where no event may report that it was
    overwritten meanwhile, or nothing else keeps an old version from replacing the output of a newer one."""

    def outdated(self, outputs: Sequence[Output]) -> dict[Output, OutputInfo | None]:
        """The outputs that are not in the sink, with what is there instead.

        Raises Rejected where that belongs to another image that still exists, or is not alphadrop's.
        """
        found = {output: self.sink.output_info(output.key) for output in outputs}
        missing = {output: present for output, present in found.items() if not is_output(present, output)}
        for output, present in missing.items():
            self._require_own(output, present)
        return missing

    def put(self, output: Output, data: bytes, facts: Facts, present: OutputInfo | None) -> Outcome:
        """Write the output over the present one, unless another writer was faster with it or with a newer version.

        Returns WRITTEN or ALREADY_DONE. Raises Gone, Stale, Rejected or Unavailable.
        """
        for _ in range(_PUT_ATTEMPTS):
            try:
                self.sink.put(output, data, present, facts)
                if self.recheck:
                    with contextlib.suppress(Gone):
                        self._require_current(output.ref)
                return Outcome.WRITTEN
            except Conflict:
                present = self.sink.output_info(output.key)
                if is_output(present, output):  # by another worker, or by this one, and the answer was lost
                    return Outcome.ALREADY_DONE
                self._require_own(output, present)
                self._require_current(output.ref)
        raise Unavailable(f"{output.key} was changed by another writer {_PUT_ATTEMPTS} times during this put")

    def _require_current(self, ref: ImageRef) -> None:
        """Raise Gone or Stale unless the source still holds this version."""
        now = self.source.stat(ref.key)
        if now is None:
            raise Gone(f"{ref.key} is not there any more")
        if now.version != ref.version:
            raise Stale(f"{ref.key} has changed since it was read")

    def _require_own(self, output: Output, present: OutputInfo | None) -> None:
        """Raise Rejected where the output is of another source or image that still exists, or not by alphadrop."""
        if present is None:
            return
        if present.root not in ("", output.root, output.former_root):
            raise Rejected(
                Reason.OUTPUT_TAKEN,
                f"{output.key} is made from {present.source_key} of another source, with the fingerprint "
                f"{present.root}; {self.source.uri} has {output.root}. Give each source a sink of its own, such as a "
                "folder of this one. If it is the same source at a new address, name the old one with --moved-from.",
            )
        if present.source_key == recorded_source(output.ref.key):
            return
        if present.source_key is None:
            raise Rejected(
                Reason.OUTPUT_EXISTS,
                f"{output.key} in the sink was not made by alphadrop; move it away, or choose other names with "
                "--output-name or the output's `key`, for example '{dir}{stem}.cutout.png'.",
            )
        if self.source.stat(present.source_key) is not None:
            raise Rejected(
                Reason.OUTPUT_TAKEN,
                f"{output.key} is made from {present.source_key} already; --output-name "
                "'{dir}{name}.png', or such a `key` of the output, gives each its own output.",
            )
