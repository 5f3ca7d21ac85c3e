"""Brokers for the contract tests."""

from __future__ import annotations

import pytest

from tests.contract.brokers import Site, rabbit_site, sqs_site
from tests.equipment.moto import REGION, moto_server, use_credentials
from watcher.aws.clients import AwsOptions

SITES = ("amqp", "sqs")


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> AwsOptions:
    """How the SQS of the tests is reached."""
    use_credentials(monkeypatch)
    return AwsOptions(endpoint=moto_server().endpoint, region=REGION)


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    """A fresh queue of each broker."""
    if request.param == "sqs":
        return sqs_site(request.getfixturevalue("sqs"))
    return rabbit_site(request.getfixturevalue("rabbit"))
