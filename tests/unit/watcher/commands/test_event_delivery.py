"""What the doctor says of notifications: which images they announce, and whether they arrive where they are read."""

from __future__ import annotations

import pytest

from watcher.commands.event_delivery import (
    Reader,
    _coverage,
    _from_ceph,
    _from_event_bridge,
    _from_minio,
    _from_s3,
    _nothing,
    matches_key,
)
from watcher.queues.brokers.address import AmqpAddress, SqsAddress
from watcher.queues.brokers.sqs import QueueAccess
from watcher.stores.s3_notifications import NotificationRule, Notifications, read_notifications

RABBIT = Reader(AmqpAddress("rabbit", 5672, False, "u", "p", "shop", "alphadrop", "bucket-events"))
WEBHOOK, SQS = Reader(None), Reader(SqsAddress("alphadrop"))
QUEUE = "arn:aws:sqs:eu-central-1:123456789012:alphadrop"
ANYBODY = '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}]}'
PUSH = "amqp://store:hidden@rabbit.example:5672/shop"


class Bucket:
    """Answers as S3 does; see its reference of GetBucketNotificationConfiguration."""

    def get_bucket_notification_configuration(self, Bucket: str) -> dict[str, object]:  # noqa: N803
        queue = {"QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"], "Id": "1"}
        rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".jpg"}]
        topic = {
            "TopicArn": "arn:aws:sns:x",
            "Events": ["s3:ObjectCreated:Put"],
            "Filter": {"Key": {"FilterRules": rules}},
        }
        return {"QueueConfigurations": [queue], "TopicConfigurations": [topic], "EventBridgeConfiguration": {}}


def test_the_configuration_of_a_bucket_is_read():
    every = NotificationRule(QUEUE, ("s3:ObjectCreated:*",))
    some = NotificationRule("arn:aws:sns:x", ("s3:ObjectCreated:Put",), "in/", ".jpg")
    assert read_notifications(Bucket(), "photos") == Notifications((every, some), event_bridge=True)


@pytest.mark.parametrize(
    ("prefix", "events", "concerns"),
    [
        ("", ["s3:ObjectCreated:*"], True),
        ("in/", ["s3:ObjectRemoved:*", "s3:ObjectCreated:Put"], True),
        ("in/shoes/", ["s3:ObjectCreated:*"], True),
        ("uploads/", ["s3:ObjectCreated:*"], False),
        ("in/", ["s3:ObjectRemoved:*"], False),
    ],
)
def test_a_rule_concerns_new_objects_below_the_source(prefix: str, events: list[str], concerns: bool):
    assert NotificationRule(QUEUE, tuple(events), prefix).concerns("in/") is concerns


@pytest.mark.parametrize(
    ("prefix", "event", "suffix", "ok", "said"),
    [
        ("in/", "*", "", None, ""),
        ("", "*", "", None, ""),
        ("in/shoes/", "*", "", False, "only objects below in/shoes/ are announced; set the prefix to 'in/'"),
        ("in/", "Put", "", False, "not announced: uploads from web forms, copies, uploads in several parts"),
        ("in/", "*", ".jpg", True, "only names that end in .jpg are announced"),
    ],
)
def test_images_that_are_not_announced_are_named(prefix: str, event: str, suffix: str, ok: bool | None, said: str):
    rule = NotificationRule(QUEUE, (f"s3:ObjectCreated:{event}",), prefix, suffix)
    checks = list(_coverage([rule], "in/"))
    assert [check.ok for check in checks] == ([] if ok is None else [ok])
    assert all(said in check.finding for check in checks)


def test_a_bucket_that_announces_other_things_is_said_so():
    found = Notifications((NotificationRule(QUEUE, ("s3:ObjectCreated:*",), "uploads/", ".txt"),))
    assert "for other objects or events: uploads/*.txt; set them up" in _nothing(found, "photos", "in/", True)
    assert "only listings find new images" in _nothing(Notifications(()), "photos", "", False)


@pytest.mark.parametrize(
    ("access", "ok", "said"),
    [
        (QueueAccess(QUEUE, ANYBODY, ""), True, "lets the bucket photos send"),
        (QueueAccess(QUEUE, "", ""), False, "whose policy does not let the bucket photos send"),
        (QueueAccess(QUEUE, ANYBODY, "alias/aws/sqs"), False, "whose KMS key alias/aws/sqs does not let"),
        (QueueAccess(QUEUE + "2", ANYBODY, ""), False, "alphadrop reads the SQS queue alphadrop"),
    ],
)
def test_a_queue_must_be_the_one_that_is_read_and_let_the_bucket_send(access: QueueAccess, ok: bool, said: str):
    arrival = _from_s3(QUEUE, Reader(SqsAddress("alphadrop"), access=access), "photos")
    assert arrival.ok is ok and said in arrival.finding


def test_the_rules_of_event_bridge_are_left_to_the_operator():
    arrival = _from_event_bridge(Reader(SqsAddress("alphadrop"), access=QueueAccess(QUEUE, "", "")))
    assert arrival.ok is None and f"list-rule-names-by-target --target-arn {QUEUE}" in arrival.finding
    assert _from_event_bridge(RABBIT).ok is False


@pytest.mark.parametrize(
    ("target", "reader", "ok"),
    [
        ("arn:minio:sqs::alphadrop:amqp", RABBIT, True),
        ("arn:minio:sqs::alphadrop:webhook", WEBHOOK, True),
        ("arn:minio:sqs::alphadrop:webhook", RABBIT, False),
        ("arn:minio:sqs::alphadrop:kafka", WEBHOOK, False),
        ("arn:minio:sqs::alphadrop:webhook", SQS, False),
    ],
)
def test_a_target_of_minio_must_be_of_the_kind_that_is_read(target: str, reader: Reader, ok: bool):
    assert _from_minio(target, reader).ok is ok


@pytest.mark.parametrize(
    ("push", "options", "reader", "ok", "said"),
    [
        (PUSH, "amqp-exchange=bucket-events&amqp-ack-level=broker&persistent=true", RABBIT, True, "amq.gen-* queues"),
        (PUSH, "amqp-exchange=bucket-events&amqp-ack-level=none", RABBIT, True, "set persistent=true"),
        (PUSH, "amqp-exchange=others&persistent=true", RABBIT, False, "the exchange others"),
        (PUSH.replace("/shop", ""), "amqp-exchange=bucket-events", RABBIT, False, "the virtual host /"),
        ("kafka://rabbit.example:9092", "", RABBIT, False, "kafka"),
        ("http://watch.example:9464/events", "", RABBIT, False, "alphadrop reads the exchange"),
        ("http://watch.example:9464/events", "", WEBHOOK, True, "http://watch.example/events"),
        ("http://watch.example:9464/other", "", WEBHOOK, False, "alphadrop reads POST /events"),
        (PUSH, "amqp-exchange=bucket-events", WEBHOOK, False, "alphadrop reads POST /events"),
    ],
)
def test_a_topic_of_ceph_must_lead_to_what_is_read(push: str, options: str, reader: Reader, ok: bool, said: str):
    arrival = _from_ceph("alphadrop", {"EndpointAddress": push, "EndpointArgs": options}, reader)
    assert arrival.ok is ok and said in arrival.finding and "hidden" not in arrival.finding


def test_a_topic_whose_routing_key_is_not_bound_does_not_arrive():
    bound = Reader(AmqpAddress("rabbit", 5672, False, "u", "p", "shop", "alphadrop", "bucket-events", "photos"))
    arrival = _from_ceph("other", {"EndpointAddress": PUSH, "EndpointArgs": "amqp-exchange=bucket-events"}, bound)
    assert arrival.ok is False and "set routing_key=#" in arrival.finding


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("#", "photos", True),
        ("#", "", True),
        ("photos", "photos", True),
        ("photos", "photo", False),
        ("*", "photos", True),
        ("*", "photos.new", False),
        ("photos.#", "photos", True),
        ("photos.#", "photos.new.large", True),
        ("#.new", "photos.new", True),
        ("*.new", "new", False),
    ],
)
def test_routing_keys_match_as_in_a_topic_exchange(pattern: str, key: str, matches: bool):
    assert matches_key(pattern, key) is matches
