"""The HTTP pages, requested over a real connection."""

import logging
import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.equipment.support import Clock
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Outcome
from watcher.protocol import ImageReport
from watcher.telemetry.health import HEARTBEAT_TIMEOUT, Health
from watcher.telemetry.metrics import Metrics
from watcher.web.app import create_app
from watcher.web.server import HttpServer


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health("workers", "source", clock=clock)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics, health: Health) -> Iterator[HttpServer]:
    server = HttpServer(create_app(metrics, health), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()
    assert not server.alive


@pytest.fixture
def client(server: HttpServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=60) as client:
        yield client


def test_metrics_have_their_current_values(client: httpx.Client, metrics: Metrics) -> None:
    metrics.report("cpu", ImageReport(key="k", job="j", outcome=Outcome.WRITTEN, bytes_in=5))
    response = client.get("/metrics")
    values = {s.name: s.value for f in parse(response.text) for s in f.samples}
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert values["alphadrop_read_bytes_total"] == 5


def test_prometheus_gets_openmetrics(client: httpx.Client) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    response = client.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")


def test_livez_is_ok_while_the_supervisors_main_loop_runs(client: httpx.Client, health: Health, clock: Clock) -> None:
    clock.now += HEARTBEAT_TIMEOUT
    assert client.get("/livez").status_code == 200
    clock.now += 1
    response = client.get("/livez")
    assert response.status_code == 503
    assert "stuck" in response.text
    health.beat()
    assert client.get("/livez").status_code == 200


def test_readyz_is_ok_when_every_part_is_ready(client: httpx.Client, health: Health) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "ready": False,
        "unready": [{"part": "source", "reason": "starting"}, {"part": "workers", "reason": "starting"}],
    }
    health.set("workers", True)
    health.set("source", False, "not mounted")
    assert client.get("/readyz").json()["unready"] == [{"part": "source", "reason": "not mounted"}]
    health.set("source", True)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "unready": []})


def test_metrics_and_readyz_agree(client: httpx.Client, health: Health) -> None:
    def shown() -> dict[str, float]:
        samples = [s for f in parse(client.get("/metrics").text) for s in f.samples]
        unready = {s.labels["part"]: s.value for s in samples if s.name == "alphadrop_unready" and s.value}
        return {"ready": next(s.value for s in samples if s.name == "alphadrop_ready"), **unready}

    assert shown() == {"ready": 0, "source": 1, "workers": 1}
    health.set("workers", True)
    assert shown() == {"ready": 0, "source": 1}
    health.set("source", True)
    assert shown() == {"ready": 1}
    health.set("stopping", False, "the daemon is stopping")
    assert shown() == {"ready": 0, "stopping": 1}


def test_an_unready_daemon_is_still_alive(client: httpx.Client, health: Health) -> None:
    health.set("source", False, "not mounted")
    assert client.get("/livez").status_code == 200


def test_the_index_lists_the_other_pages(client: httpx.Client) -> None:
    text = client.get("/").text
    assert all(page in text for page in ("/metrics", "/livez", "/readyz"))
    assert client.get("/nothing").status_code == 404
    assert client.post("/livez").status_code == 405
    assert client.head("/livez").status_code == 200


def test_requests_are_not_logged(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/livez")
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_the_error_for_a_port_in_use_names_the_flag(server: HttpServer, metrics: Metrics) -> None:
    second = HttpServer(create_app(metrics, Health()), "127.0.0.1", server.port)
    with pytest.raises(ConfigurationError) as caught:
        second.start()
    assert str(caught.value) == (
        f"--http 127.0.0.1:{server.port} cannot be served (the port is in use): choose another address, or --http off."
    )
    assert not second.alive
    second.stop()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a..b"])
def test_the_error_for_an_address_of_another_machine_names_it(host: str, metrics: Metrics) -> None:
    with pytest.raises(ConfigurationError, match=f"--http {host}:0 cannot be served"):
        HttpServer(create_app(metrics, Health()), host, 0).start()


def test_connections_are_accepted_as_soon_as_start_returns(metrics: Metrics) -> None:
    server = HttpServer(create_app(metrics, Health()), "127.0.0.1", 0)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60):
        pass
    server.stop()


def test_a_stopped_server_releases_its_port(server: HttpServer, client: httpx.Client, metrics: Metrics) -> None:
    assert client.get("/").status_code == 200
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{server.port}/", trust_env=False)
    successor = HttpServer(create_app(metrics, Health()), "127.0.0.1", server.port)
    successor.start()
    successor.stop()


def test_it_stops_with_an_idle_connection_and_right_after_its_start(metrics: Metrics) -> None:
    server = HttpServer(create_app(metrics, Health()), "127.0.0.1", 0)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        client.get("/")
        server.stop()
    assert not server.alive
    brief = HttpServer(create_app(metrics, Health()), "127.0.0.1", 0)
    brief.start()
    brief.stop()
    assert not brief.alive


def test_ipv6_is_served_where_available(metrics: Metrics) -> None:
    server = HttpServer(create_app(metrics, Health()), "::1", 0)
    try:
        server.start()
    except ConfigurationError:
        pytest.skip("this machine has no IPv6")
    assert httpx.get(f"http://[::1]:{server.port}/livez", trust_env=False).status_code == 200
    server.stop()
