"""SQS under faults: missing queues, refused entries, a server that goes away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.contract.brokers import bodies, make_sqs_queue, receive
from tests.equipment.faulty import Fault, FaultyHttp
from tests.equipment.moto import REGION, Moto, moto_server, use_credentials
from tests.equipment.rabbit import free_port, queue_name
from tests.equipment.scripted_proxy import Answer, scripted_proxy, times
from tests.equipment.support import wait_until
from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.queues.brokers import open_broker
from watcher.queues.brokers.address import SqsAddress
from watcher.queues.brokers.base import Depth, Message
from watcher.queues.brokers.sqs import ATTEMPTS, SHORTEST_READ, Redrive, SqsBroker


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> AwsOptions:
    use_credentials(monkeypatch)
    return AwsOptions(endpoint=moto_server().endpoint, region=REGION)


@pytest.fixture
def name(aws: AwsOptions) -> str:
    name = queue_name()
    make_sqs_queue(aws, name)
    return name


@pytest.fixture
def broker(aws: AwsOptions, name: str) -> Iterator[SqsBroker]:
    with closing(SqsBroker(SqsAddress(name), aws, visibility=30.0, counts=Counts())) as broker:
        yield broker


def test_a_missing_queue_is_a_configuration_error_that_says_how_to_create_it(aws: AwsOptions) -> None:
    with pytest.raises(ConfigurationError, match="aws sqs create-queue --queue-name nowhere"):
        open_broker("sqs://nowhere", aws=aws, visibility=30.0, prefetch=1, counts=Counts())


def test_a_queue_that_vanishes_is_waited_for(aws: AwsOptions, broker: SqsBroker, name: str) -> None:
    client = moto_server().client("sqs")
    client.delete_queue(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"])
    with pytest.raises(Unavailable, match="does not exist"):
        broker.send([b"a"])
    make_sqs_queue(aws, name)
    broker.send([b"a"])
    assert bodies(receive(broker, 1)) == [b"a"]
    client.close()


def test_a_service_that_is_not_there_is_unavailable_and_no_mistake(aws: AwsOptions) -> None:
    nowhere = AwsOptions(endpoint=f"http://127.0.0.1:{free_port()}", region=REGION, attempts=1)
    with capture_logs() as lines:
        broker = open_broker("sqs://jobs", aws=nowhere, visibility=30.0, prefetch=1, counts=Counts())
    assert [line["event"] for line in lines] == ["queue_unreachable"]
    with closing(broker):
        for ask in (broker.depth, lambda: broker.send([b"a"]), lambda: broker.receive(1, 0.0)):
            with pytest.raises(Unavailable):
                ask()


def test_a_truncated_answer_raises_unavailable(aws: AwsOptions, name: str) -> None:
    with scripted_proxy(moto_server().port) as proxy:
        proxy.instead = times(1, Answer(200, b"{}"), "POST")
        there = replace(aws, endpoint=proxy.endpoint)
        with (
            capture_logs() as lines,
            closing(SqsBroker(SqsAddress(name), there, visibility=30.0, counts=Counts())) as broker,
        ):
            broker.send([b"a"])
            assert bodies(receive(broker, 1)) == [b"a"]
    assert ["GetQueueUrl" in line["problem"] for line in lines] == [True]


def test_a_queue_may_be_named_by_its_url(aws: AwsOptions, name: str) -> None:
    url = moto_server().client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    elsewhere = AwsOptions(endpoint="http://127.0.0.1:9", region=REGION)
    with closing(open_broker(url, aws=elsewhere, visibility=30.0, prefetch=1, counts=Counts())) as broker:
        broker.send([b"a"])
        assert bodies(receive(broker, 1)) == [b"a"]
        assert broker.name == url


def test_redrive_returns_the_queues_own_settings(aws: AwsOptions, broker: SqsBroker) -> None:
    assert broker.redrive() == Redrive(visibility=30, retention=345_600, dead_letters="", max_receives=0)
    arn = f"arn:aws:sqs:{REGION}:123456789012:graveyard"
    make_sqs_queue(aws, "graveyard")
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"})
    name = queue_name()
    make_sqs_queue(aws, name, RedrivePolicy=policy, VisibilityTimeout="77", MessageRetentionPeriod="1209600")
    with closing(SqsBroker(SqsAddress(name), aws, visibility=30.0, counts=Counts())) as other:
        assert other.redrive() == Redrive(77, 1_209_600, arn, 5)


def test_what_is_set_aside_without_dead_letters_is_gone(broker: SqsBroker) -> None:
    broker.send([b"nonsense"])
    broker.dead_letter(receive(broker, 1)[0])
    wait_until(lambda: broker.depth().pending + broker.depth().in_flight == 0)


def test_dead_letters_that_are_not_there_are_no_reason_to_keep_a_message(aws: AwsOptions) -> None:
    name, dead = queue_name(), queue_name()
    dead_url = make_sqs_queue(aws, dead)
    arn = f"arn:aws:sqs:{REGION}:123456789012:{dead}"
    make_sqs_queue(aws, name, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"}))
    moto_server().client("sqs").delete_queue(QueueUrl=dead_url)
    with closing(SqsBroker(SqsAddress(name), aws, visibility=30.0, counts=Counts())) as broker:
        broker.send([b"nonsense"])
        with capture_logs() as lines:
            broker.dead_letter(receive(broker, 1)[0])
        assert [line["event"] for line in lines] == ["dead_letters_unreachable"]
        wait_until(lambda: broker.depth().pending + broker.depth().in_flight == 0)


class Planned(FaultyHttp):
    """Does to each request what is planned for it, and nothing to those that come after."""

    def __init__(self, upstream: Moto) -> None:
        super().__init__(upstream.port)
        self.plan: list[Fault | None] = []

    def draw(self) -> Fault | None:
        """The next of the plan."""
        return self.plan.pop(0) if self.plan else None


@pytest.fixture
def planned() -> Iterator[Planned]:
    with Planned(moto_server()) as proxy:
        yield proxy


@contextmanager
def behind(proxy: Planned, name: str) -> Iterator[SqsBroker]:
    aws = AwsOptions(endpoint=proxy.url, region=REGION)
    with closing(SqsBroker(SqsAddress(name), aws, visibility=30.0, counts=Counts())) as broker:
        yield broker


def test_what_has_been_received_is_not_lost_to_the_failure_of_the_next_request(planned: Planned, name: str) -> None:
    with behind(planned, name) as broker:
        broker.send([b"%d" % number for number in range(15)])
        planned.plan = [None, *[Fault.ERROR] * ATTEMPTS, *[Fault.ERROR] * ATTEMPTS]
        assert len(broker.receive(15, 1.0)) == 10
        with pytest.raises(Unavailable):
            broker.receive(5, 1.0)
        assert len(receive(broker, 5)) == 5


def test_dead_letters_that_fail_for_the_moment_keep_the_message(aws: AwsOptions, planned: Planned) -> None:
    name, dead = queue_name(), queue_name()
    make_sqs_queue(aws, dead)
    arn = f"arn:aws:sqs:{REGION}:123456789012:{dead}"
    make_sqs_queue(aws, name, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"}))
    with behind(planned, name) as broker:
        broker.send([b"nonsense"])
        (message,) = receive(broker, 1)
        planned.plan = [None, None, *[Fault.ERROR] * ATTEMPTS]  # where they are, their address, and the sending
        with pytest.raises(Unavailable):
            broker.dead_letter(message)
        assert broker.depth() == Depth(0, 1)
        broker.dead_letter(message)
        wait_until(lambda: broker.depth() == Depth(0, 0))


def test_a_stalled_request_times_out_before_messages_are_lost(broker: SqsBroker) -> None:
    """And a wait is asked for in parts that are shorter still."""
    config = broker._client.meta.config
    assert config.read_timeout == config.connect_timeout == SHORTEST_READ
    assert broker._longest_wait < SHORTEST_READ
    started = time.monotonic()
    assert broker.receive(1, broker._longest_wait + 1) == []
    assert time.monotonic() - started > broker._longest_wait


def test_failed_entries_are_separated_from_successful_ones(broker: SqsBroker) -> None:
    broker.send([b"a", b"b"])
    ours = receive(broker, 2)
    stranger = Message(b"c", "no handle of this queue", 1, 0.0)
    assert broker.extend([ours[0], stranger, ours[1]]) == [stranger]
    assert broker.acknowledge([ours[0], stranger, ours[1]]) == [stranger]
    wait_until(lambda: broker.depth().in_flight == 0)


def test_bodies_that_are_too_much_for_one_request_go_in_several(broker: SqsBroker) -> None:
    sent = [b"%d" % number * 100_000 for number in range(5)]
    broker.send(sent)
    assert bodies(receive(broker, 5)) == sent


def test_a_body_that_sqs_refuses_is_not_taken_for_sent(broker: SqsBroker) -> None:
    with pytest.raises(Unavailable):
        broker.send([b"x" * 2_000_000])
