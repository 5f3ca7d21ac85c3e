"""The settings of the page and the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.equipment.settings import complaint, load
from watcher.config.load import load_settings
from watcher.config.preflight import check_settings, is_loopback
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _source(empty_folder: Path) -> None:
    (empty_folder / "in").mkdir()


def refusal(*args: str, places: tuple[str, str] = ("in", "out"), mode: Mode = Mode.RUN) -> str:
    try:
        check_settings(load_settings([*places, "--state", "state", *args], environ={}), mode)
    except ConfigurationError as error:
        return str(error)
    return ""


def test_both_are_off_unless_they_are_switched_on() -> None:
    assert not load().serves_api
    assert load("--page").serves_api and load("--api").serves_api and not load("--api").page


@pytest.mark.parametrize("http", ["0.0.0.0:9464", "[::]:9464", "10.0.0.5:80", "shop.example:80"])
def test_away_from_loopback_a_token_is_required(http: str) -> None:
    for flag in ("--page", "--api"):
        said = refusal(flag, "--http", http)
        assert said.startswith(f"{flag} at --http {http}") and "ALPHADROP_API_TOKEN" in said and "openssl" in said
        assert refusal(flag, "--http", http, "--api-token", TOKEN) == ""
    assert refusal("--http", http) == ""


@pytest.mark.parametrize("http", ["127.0.0.1:9464", "localhost:9464", "[::1]:9464", "127.5.5.5:0"])
def test_on_loopback_none_is_needed(http: str) -> None:
    assert refusal("--page", "--http", http) == ""


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost.example", "127.0.0.1.example", "::", "10.0.0.1"])
def test_what_is_no_loopback_address(host: str) -> None:
    assert not is_loopback(host)


def test_a_page_needs_a_port_and_a_source_into_which_it_may_write(tmp_path: Path) -> None:
    assert "--http" in refusal("--page", "--http", "off")
    assert "--exclude" in refusal("--page", "--exclude", "uploads/")
    assert "--exclude" in refusal("--api", "--exclude", "*.jpg")
    assert refusal("--page", "--exclude", "uploads/", "--upload-prefix", "web") == ""
    inside = refusal("--page", "--exclude-sink", "--upload-prefix", "out/web", places=("s3://box", "s3://box/out"))
    assert "--upload-prefix out/web/ is left out" in inside


def test_the_half_that_only_works_serves_neither() -> None:
    assert refusal("--page", "--http", "0.0.0.0:9464", "--queue", "sqs://jobs", mode=Mode.WORK) == ""
    assert refusal("--page", "--http", "0.0.0.0:9464", "--queue", "sqs://jobs", mode=Mode.WATCH)


def test_tokens_are_a_list_and_in_no_message() -> None:
    other = "fedcba9876543210"
    assert load("--api-token", f"{TOKEN}, {other},").api_token == (TOKEN, other)
    assert load(environ={"ALPHADROP_API_TOKEN": TOKEN}).api_token == (TOKEN,)
    assert TOKEN not in repr(load("--api-token", TOKEN))


@pytest.mark.parametrize("token", ["s3cr3t", "s3cr3t-with space-in-it", "s3cr3t-ümlaut-0123456789", "s3cr3t" * 100])
def test_a_token_that_is_short_or_no_header_is_refused_without_repeating_it(token: str) -> None:
    said = complaint("--api-token", token)
    assert said.startswith("--api-token: must have 16 to 512") and "s3cr3t" not in said


@pytest.mark.parametrize(
    ("given", "prefix"), [("uploads", "uploads/"), ("web/in/", "web/in/"), ("größe_1.2-3", "größe_1.2-3/")]
)
def test_the_prefix_of_uploads_is_a_folder(given: str, prefix: str) -> None:
    assert load("--upload-prefix", given).upload_prefix == prefix


@pytest.mark.parametrize(
    "given", ["", "/", "/etc", "../up", "a/../b", ".hidden", "a//b", "a b", "a\\b", "a\n", "x" * 200]
)
def test_a_prefix_that_leads_elsewhere_or_hides_is_refused(given: str) -> None:
    assert "must be a folder below the source" in complaint(f"--upload-prefix={given}")


@pytest.mark.parametrize("given", ["0", "-1", "513", "much"])
def test_the_limit_of_uploads_is_bounded(given: str) -> None:
    assert complaint("--upload-limit", given).startswith("--upload-limit: ")
    assert load("--upload-limit", "0.5").upload_bytes == 2**19
