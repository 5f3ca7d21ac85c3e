"""The ratio that `make page-cost` prints."""

from __future__ import annotations

import pytest

from scripts.page_cost import Run, report


def test_the_cost_is_the_median_of_the_ratios_of_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [(Run(10.0, 0.1, 0.01), Run(9.9, 0.1, 0.02)), (Run(20.0, 0.1, 0.01), Run(10.0, 0.1, 0.01))]
    pairs.append((Run(8.0, 0.1, 0.01), Run(8.0, 0.1, 0.01)))
    assert report(pairs) == pytest.approx(0.01)
    assert "0.9900" in capsys.readouterr().out
