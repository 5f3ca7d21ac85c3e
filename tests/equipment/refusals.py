"""HTTP answers, and the errors of S3 and SQS."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it goes to the client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def head(self) -> bytes:
        """Status line and headers; the length is that of the body, unless a header says another (HEAD)."""
        names = {name.lower() for name, _ in self.headers}
        length = [] if "content-length" in names or self.status in (204, 304) else [("Content-Length", len(self.body))]
        reason = http.client.responses.get(self.status, "")
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in [*self.headers, *length])]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True)
class Refusal:
    """One error, as S3 answers it in XML and SQS in JSON."""

    status: int
    code: str
    message: str
    sqs_status: int
    sqs_type: str
    sqs_code: str


DENIED = Refusal(
    403, "AccessDenied", "Access Denied", 403, "com.amazon.coral.service#AccessDeniedException", "AccessDenied"
)
EXPIRED = Refusal(
    400,
    "ExpiredToken",
    "The provided token has expired.",
    403,
    "com.amazon.coral.service#ExpiredTokenException",
    "ExpiredToken",
)
MISSING = Refusal(
    404,
    "NoSuchBucket",
    "The specified bucket does not exist.",
    400,
    "com.amazonaws.sqs#QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
)
THROTTLED = Refusal(
    503, "SlowDown", "Please reduce your request rate.", 400, "com.amazonaws.sqs#RequestThrottled", "RequestThrottled"
)
BROKEN = Refusal(
    500,
    "InternalError",
    "We encountered an internal error. Please try again.",
    500,
    "com.amazon.coral.service#InternalFailure",
    "InternalFailure",
)


def refused(refusal: Refusal, request: BaseHTTPRequestHandler) -> Answer:
    """The answer with an error: JSON from SQS, XML from S3, and only the status for a HEAD request."""
    if request.headers.get("Content-Type", "").startswith("application/x-amz-json"):
        body = json.dumps({"__type": refusal.sqs_type, "message": refusal.message}).encode()
        said = [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-query-error", f"{refusal.sqs_code};Sender")]
        return Answer(refusal.sqs_status, said, body)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message>"
        f"<Resource>{escape(request.path.partition('?')[0])}</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()
    return Answer(refusal.status, [("Content-Type", "application/xml")], b"" if request.command == "HEAD" else body)
