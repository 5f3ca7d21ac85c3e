"""RabbitMQ over TLS: only with a certificate that is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.brokers import bodies, receive
from tests.equipment.certificate import certify
from tests.equipment.rabbit import free_port, queue_name, running_rabbit
from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.queues.brokers import open_broker


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server that speaks TLS, and its certificate."""
    certificate, key = certify(tmp_path_factory.mktemp("tls"))
    port = free_port()
    config = f"""
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {certificate}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
"""
    with running_rabbit(config):
        yield port, certificate


def test_a_trusted_server_is_used(certified: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    port, certificate = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    uri = f"amqps://guest:guest@127.0.0.1:{port}/?queue={queue_name()}"
    with closing(open_broker(uri, aws=AwsOptions(), visibility=30.0, prefetch=1, counts=Counts())) as broker:
        broker.send([b"a"])
        assert bodies(receive(broker, 1)) == [b"a"]


def test_an_untrusted_server_certificate_is_refused(certified: tuple[int, Path]) -> None:
    uri = f"amqps://guest:guest@127.0.0.1:{certified[0]}/?queue={queue_name()}"
    broker = open_broker(uri, aws=AwsOptions(), visibility=30.0, prefetch=1, counts=Counts())
    with closing(broker), pytest.raises(Unavailable, match="certificate"):
        broker.depth()
