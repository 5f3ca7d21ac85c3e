"""What KEDA asks RabbitMQ, as the user that docs/deploy.md makes, is answered by a real one."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pika
import pytest

from tests.equipment.pages import blocks
from tests.equipment.rabbit import SERVER, Rabbit, free_port, running_rabbit
from tests.equipment.support import ROOT, wait_until

PAGE = ROOT / "docs" / "deploy.md"


@pytest.fixture
def management() -> int:
    return free_port()


@pytest.fixture
def broker(management: int, full_campaign: bool) -> Iterator[Rabbit]:
    """A node of its own, with the virtual host and the user of docs/onprem.md, and then this page's commands."""
    if not full_campaign:
        pytest.skip("make manifests asks a real RabbitMQ")
    listen = f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\ncollect_statistics_interval = 1000\n"
    [block] = [block.text for block in blocks(PAGE, "bash") if block.label == "broker"]
    before = "rabbitmqctl add_vhost alphadrop; rabbitmqctl set_permissions --vhost alphadrop guest .\\* .\\* .\\*\n"
    with running_rabbit(listen) as rabbit:
        environment = rabbit._environment()
        path = f"{SERVER.parent}:{environment['PATH']}"  # those in PATH become the user rabbitmq first
        environment |= {"PATH": path, "KEDA_PASSWORD": "secret"}
        subprocess.run(["bash", "-euc", before + block], env=environment, check=True, capture_output=True)
        yield rabbit


@pytest.mark.slow
def test_keda_counts_messages_that_wait_and_those_in_hand(broker: Rabbit, management: int):
    with closing(connect(broker, "guest", "guest")) as connection:
        # Given five messages, one of which a worker has
        channel = connection.channel()
        channel.queue_declare("alphadrop", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        for _ in range(5):
            channel.basic_publish("", "alphadrop", b"message")
        channel.basic_get("alphadrop")
        # Then it sees five
        wait_until(lambda: ask(management).get("messages_unacknowledged") == 1, pause=0.2)
        assert ask(management)["messages"] == 5
    # And may take none of them
    refused = pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED")
    with closing(connect(broker, "keda", "secret")) as connection, refused:
        connection.channel().basic_get("alphadrop")
    # Nor see what is not of this virtual host
    with pytest.raises(HTTPError, match="401") as unseen:
        ask(management, "queues/%2F/alphadrop")
    unseen.value.close()


def connect(broker: Rabbit, user: str, password: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(f"amqp://{user}:{password}@127.0.0.1:{broker.port}/alphadrop"))


def ask(port: int, what: str = "queues/alphadrop/alphadrop") -> dict[str, Any]:
    """The answer to what KEDA asks."""
    credentials = base64.b64encode(b"keda:secret").decode()
    request = Request(f"http://127.0.0.1:{port}/api/{what}", headers={"Authorization": f"Basic {credentials}"})
    with urlopen(request) as answer:
        return dict(json.load(answer))
