"""The secret's forms, and a signature that another implementation has computed."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from watcher.core.errors import ConfigurationError
from watcher.notify.signature import read_secret, sign


def test_the_signature_is_that_of_the_standards_reference_libraries() -> None:
    # From the tests of the reference libraries at https://github.com/standard-webhooks/standard-webhooks.
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_a_text_or_base64_or_in_a_file(tmp_path: Path) -> None:
    key = b"0123456789abcdef"
    file = tmp_path / "secret"
    file.write_bytes(key + b"\n")
    encoded = "whsec_" + base64.b64encode(key).decode()
    assert [read_secret(text) for text in (key.decode(), f"file:{file}", encoded)] == [key] * 3


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("", "fewer than 16 bytes"),
        ("short", "fewer than 16"),
        ("whsec_?", "not in base64"),
        ("file:/nowhere", "/nowhere"),
    ],
)
def test_a_secret_that_cannot_be_used_says_how_to_make_one(setting: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        read_secret(setting)
    assert "openssl rand -hex 32" in str(raised.value) and "short" not in str(raised.value)
