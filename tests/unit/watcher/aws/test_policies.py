"""Whether a queue's policy lets a service send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.equipment.support import ROOT
from watcher.aws.policies import may_send

BUCKET = "arn:aws:s3:::BUCKET"
ALLOW = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Statement": list(statements)})


def test_the_policies_of_the_page_let_those_send_that_they_are_for():
    services = {"queue-policy": ("s3", BUCKET), "queue-policy-sns": ("sns", "arn:aws:sns:REGION:ACCOUNT:QUEUE")}
    for name, (service, source) in services.items():
        text = (ROOT / "deploy" / "aws" / f"{name}.json").read_text()
        assert may_send(text, f"{service}.amazonaws.com", source)
        assert not may_send(text, f"{service}.amazonaws.com", f"{source}-other")
        assert not may_send(text, "events.amazonaws.com", source)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("", False),
        (policy(), False),
        (policy(ALLOW), True),
        (policy(ALLOW | {"Action": ["sqs:receivemessage", "SQS:*"]}), True),
        (policy(ALLOW | {"Action": "sqs:ReceiveMessage"}), False),
        (policy(ALLOW | {"Principal": "*", "Action": "*"}), True),
        (policy(ALLOW | {"Principal": {"AWS": "*"}}), True),
        (policy(ALLOW | {"Principal": {"AWS": "arn:aws:iam::1:root"}}), False),
        (policy(ALLOW | {"Condition": {"ArnLike": {"aws:SourceArn": ["x", "arn:aws:s3:*:*:B*"]}}}), True),
        (policy(ALLOW | {"Condition": {"StringEquals": {"AWS:SourceArn": "arn:aws:s3:::other"}}}), False),
        (policy(ALLOW | {"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}), True),
        (policy(ALLOW, ALLOW | {"Effect": "Deny"}), False),
        (policy(ALLOW, ALLOW | {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}), True),
        (json.dumps({"Statement": ALLOW}), True),
    ],
)
def test_what_a_policy_allows(text: str, may: bool):
    assert may_send(text, "s3.amazonaws.com", BUCKET) is may
