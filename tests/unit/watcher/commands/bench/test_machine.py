"""Description of the machine."""

import pytest

from watcher.commands.bench import machine


def test_the_processor_has_its_name_or_its_architecture():
    assert machine.cpu_name("processor\t: 0\nmodel name\t: Fast One\n\nprocessor\t: 1\n") == "Fast One"
    assert machine.cpu_name("") != ""


def test_load_of_others_is_busy_time_without_ours(monkeypatch: pytest.MonkeyPatch):
    counts = iter([(1000, 5000), (1400, 5800)])
    monkeypatch.setattr(machine, "_ticks", lambda: next(counts))
    # 400 ticks of 0.01 s busy in 4 s, of which 3 s are ours
    assert machine.SystemLoad().others(own=3.0, seconds=4.0, ticks=100) == pytest.approx(0.25)
