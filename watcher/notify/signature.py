"""Signatures of webhook requests, after https://www.standardwebhooks.com (version 1 of its symmetric scheme)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from pathlib import Path

from watcher.core.errors import ConfigurationError

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
"""The headers: the notification's id, the Unix time of sending in seconds, and `v1,` with the signature in base64."""
SHORTEST_SECRET = 16
"""Fewest bytes of a secret; 32 random ones are better."""
_ENCODED = "whsec_"
_FILE = "file:"
_HOW = "write a long random text, such as `openssl rand -hex 32` prints, or file:PATH of a file that holds it"


def read_secret(setting: str) -> bytes:
    """The key that `--notify-secret` means: a text, `whsec_` and base64, or `file:PATH`. Raises ConfigurationError."""
    text = _read(setting.removeprefix(_FILE)) if setting.startswith(_FILE) else setting
    key = _decoded(text.removeprefix(_ENCODED)) if text.startswith(_ENCODED) else text.encode()
    if len(key) < SHORTEST_SECRET:
        raise ConfigurationError(f"the secret has fewer than {SHORTEST_SECRET} bytes: {_HOW}.")
    return key


def sign(key: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """The signature: HMAC-SHA256 over `ID.TIMESTAMP.BODY`, in the header's form."""
    signed = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode("ascii")


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret's file {path} cannot be read ({type(error).__name__}): {_HOW}.") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ConfigurationError(f"the secret after {_ENCODED} is not in base64: {_HOW}.") from None
