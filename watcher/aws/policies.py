"""Whether the policy of a queue lets a service send to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

_SEND = "sqs:sendmessage"


def may_send(policy: str, service: str, source_arn: str) -> bool:
    """Whether a queue's own policy lets a service, such as `s3.amazonaws.com`, send on behalf of `source_arn`.

    Conditions on anything but the source's ARN are taken as met, since only the service knows the values.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-creating-custom-policies.html
    """
    statements = [s for s in _list(json.loads(policy or "{}").get("Statement", [])) if _concerns(s, service)]
    if any(s["Effect"] == "Deny" and not s.get("Condition") for s in statements):
        return False
    return any(s["Effect"] == "Allow" and _is_met(s.get("Condition", {}), source_arn) for s in statements)


def _concerns(statement: Mapping[str, Any], service: str) -> bool:
    principals = set(_names(statement.get("Principal", {})))
    actions = [action.lower() for action in _list(statement.get("Action", []))]
    return bool(principals & {"*", service}) and any(fnmatchcase(_SEND, action) for action in actions)


def _names(principal: str | Mapping[str, Any]) -> Iterator[str]:
    if isinstance(principal, str):
        yield principal
    else:
        for names in principal.values():
            yield from _list(names)


def _is_met(conditions: Mapping[str, Mapping[str, Any]], source_arn: str) -> bool:
    for operator, tests in conditions.items():
        for key, patterns in tests.items():
            named = key.lower() == "aws:sourcearn" and "Not" not in operator
            if named and not any(fnmatchcase(source_arn, pattern) for pattern in _list(patterns)):
                return False
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
