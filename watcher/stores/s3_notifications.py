"""Which new objects a bucket announces, and to whom: its notification configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from watcher.aws.clients import translate_errors

CREATION = "s3:ObjectCreated:"
WAYS_TO_CREATE = {
    "Put": "plain uploads",
    "Post": "uploads from web forms",
    "Copy": "copies",
    "CompleteMultipartUpload": "uploads in several parts",
}
"""Every kind of creation that can be subscribed to, and what it is for messages."""
_TARGETS = {
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """Which objects are announced to one target."""

    target: str
    """Its ARN."""
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def concerns(self, prefix: str) -> bool:
        """Whether it announces new objects, and any of those below the prefix."""
        overlaps = self.prefix.startswith(prefix) or prefix.startswith(self.prefix)
        return overlaps and any(event.startswith(("s3:ObjectCreated", "ObjectCreated")) for event in self.events)

    def covers(self, prefix: str) -> bool:
        """Whether it concerns every name of an object below the prefix, but for its ending."""
        return prefix.startswith(self.prefix)

    @property
    def ways(self) -> set[str]:
        """The kinds of creation that it announces; see WAYS_TO_CREATE."""
        kinds = {event.removeprefix("s3:").removeprefix("ObjectCreated:") for event in self.events}
        return set(WAYS_TO_CREATE) if "*" in kinds else kinds & set(WAYS_TO_CREATE)


@dataclass(frozen=True, slots=True)
class Notifications:
    """The notification configuration of a bucket."""

    rules: tuple[NotificationRule, ...]
    event_bridge: bool = False
    """Whether all events go to EventBridge, whose own rules decide where they end."""


def read_notifications(client: Any, bucket: str) -> Notifications:
    """Read the configuration of a bucket. Raises Denied, SourceMissing or Unavailable."""
    with translate_errors(f"reading the notifications of s3://{bucket}"):
        answer = client.get_bucket_notification_configuration(Bucket=bucket)
    return Notifications(tuple(_rules(answer)), "EventBridgeConfiguration" in answer)


def _rules(answer: Mapping[str, Any]) -> Iterator[NotificationRule]:
    for kind, name in _TARGETS.items():
        for entry in answer.get(kind, ()):
            rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
            values = {rule["Name"].lower(): rule.get("Value", "") for rule in rules}
            yield NotificationRule(
                entry[name], tuple(entry["Events"]), values.get("prefix", ""), values.get("suffix", "")
            )
