from __future__ import annotations

import pytest

from tests.equipment import moto
from tests.equipment.rabbit import free_port
from tests.equipment.scripted_proxy import Answer, scripted_proxy


def test_the_server_takes_another_port_where_somebody_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_proxy(free_port()) as faster:
        faster.instead = lambda method, path: Answer(404)
        ports = [faster.port, free_port()]
        monkeypatch.setattr(moto, "free_port", lambda: ports.pop(0))
        server = moto.moto_server.__wrapped__()
        assert server.port != faster.port
        assert server.client().list_buckets()["Buckets"] == []
