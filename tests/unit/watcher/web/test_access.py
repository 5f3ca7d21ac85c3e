"""Who may use the API."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from tests.equipment.support import Clock
from watcher.web.access import COOKIE, SESSION_SECONDS, Access
from watcher.web.errors import ApiError

ONE, OTHER = "the-first-token-1234", "the-second-token-567"
OURS = "127.0.0.1:9464"


def request(method: str = "GET", *, scheme: str = "http", **headers: str) -> Request:
    named = {"host": OURS} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in named.items()]
    scope = {"type": "http", "method": method, "path": "/v1/cutouts", "query_string": b"", "headers": raw}
    return Request(scope | {"scheme": scheme, "server": ("127.0.0.1", 9464)})


def refusal(access: Access, asked: Request) -> str:
    """The code with which a request is refused; empty if it is not."""
    try:
        access.check(asked)
    except ApiError as error:
        return f"{error.status} {error.code}"
    return ""


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"authorization": f"Bearer {ONE}"}, ""),
        ({"authorization": f"bearer  {OTHER} "}, ""),
        ({"x_api_key": ONE}, ""),
        ({"x_api_key": OTHER, "origin": "https://elsewhere.example"}, ""),
        ({}, "401 unauthorized"),
        ({"authorization": f"Basic {ONE}"}, "401 unauthorized"),
        ({"authorization": "Bearer "}, "401 unauthorized"),
        ({"x_api_key": ONE[:-1]}, "401 unauthorized"),
        ({"x_api_key": f"{ONE},{OTHER}"}, "401 unauthorized"),
        ({"x_api_key": "\udcff\udcfe"}, "401 unauthorized"),
        ({"cookie": f"{COOKIE}=99999999999.{'0' * 64}"}, "401 unauthorized"),
        ({"cookie": f"{COOKIE}=٣٤٥.x"}, "401 unauthorized"),
        ({"cookie": "a b=;;=c"}, "401 unauthorized"),
        ({"origin": "https://elsewhere.example"}, "403 foreign_origin"),
        ({"sec_fetch_site": "cross-site"}, "403 foreign_origin"),
        ({"origin": "https://shop.example", "sec_fetch_site": "same-origin"}, "401 unauthorized"),
        ({"origin": "https://shop.example", "sec_fetch_site": "none"}, "403 foreign_origin"),
    ],
)
def test_with_tokens_one_of_them_is_needed(headers: dict[str, str], wanted: str) -> None:
    assert refusal(Access([ONE, OTHER], "0.0.0.0"), request(**headers)) == wanted


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, ""),
        ({"host": "localhost:9464", "origin": "http://localhost:9464", "sec_fetch_site": "same-origin"}, ""),
        ({"host": "[::1]:9464"}, ""),
        ({"host": "127.8.9.1"}, ""),
        ({"sec_fetch_site": "none"}, ""),
        ({"host": "rebound.example:9464", "origin": "http://rebound.example:9464"}, "403 foreign_host"),
        ({"host": "127.0.0.1.rebound.example"}, "403 foreign_host"),
        ({"host": "localhost@rebound.example"}, "403 foreign_host"),
        ({"host": "["}, "403 foreign_host"),
        ({"host": ""}, "403 foreign_host"),
        ({"origin": "http://elsewhere.example"}, "403 foreign_origin"),
        ({"origin": "null"}, "403 foreign_origin"),
        ({"origin": "http://127.0.0.1:8000"}, "403 foreign_origin"),
        ({"sec_fetch_site": "same-site"}, "403 foreign_origin"),
    ],
)
def test_without_tokens_only_this_machine_and_this_site_are_served(headers: dict[str, str], wanted: str) -> None:
    assert refusal(Access(), request("POST", **headers)) == wanted


def test_a_session_reads_by_its_cookie_and_changes_only_with_the_pages_header() -> None:
    access = Access([ONE])
    cookie = access.start_session(request("POST", origin=f"http://{OURS}"), ONE).partition(";")[0]
    assert refusal(access, request(cookie=f"theme=dark; {cookie}")) == ""
    assert refusal(access, request("POST", cookie=cookie)) == "403 page_header_missing"
    assert refusal(access, request("POST", cookie=cookie, x_alphadrop="page")) == ""
    behind = {"cookie": cookie, "x_alphadrop": "page", "origin": "https://shop.example"}
    assert refusal(access, request("POST", sec_fetch_site="same-origin", **behind)) == "", "a proxy changed the host"
    foreign = {"cookie": cookie, "x_alphadrop": "page", "origin": "http://elsewhere.example"}
    assert refusal(access, request("POST", **foreign)) == "403 foreign_origin"


def test_a_session_outlives_a_restart_and_ends_with_its_time_or_its_token() -> None:
    clock = Clock(1000.0)
    access = Access([ONE], clock=clock)
    cookie = access.start_session(request("POST"), ONE).partition(";")[0]
    assert refusal(Access([OTHER, ONE], clock=clock), request(cookie=cookie)) == ""
    assert refusal(Access([OTHER], clock=clock), request(cookie=cookie)) == "401 unauthorized"
    prolonged = cookie.replace("=", "=1", 1)
    assert refusal(access, request(cookie=prolonged)) == "401 unauthorized"
    clock.now += SESSION_SECONDS
    assert refusal(access, request(cookie=cookie)) == "401 unauthorized"


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites() -> None:
    access = Access([ONE])
    cookie = access.start_session(request("POST"), ONE)
    assert ONE not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
    assert "; Secure" in access.start_session(request("POST", scheme="https"), ONE)
    assert "Max-Age=0" in access.end_session(request("DELETE"))


@pytest.mark.parametrize("token", ["", "wrong", OTHER, "\udc80"])
def test_a_session_needs_a_token(token: str) -> None:
    with pytest.raises(ApiError) as caught:
        Access([ONE]).start_session(request("POST"), token)
    assert caught.value.status == 401


def test_another_site_starts_no_session() -> None:
    with pytest.raises(ApiError) as caught:
        Access([ONE]).start_session(request("POST", origin="http://elsewhere.example"), ONE)
    assert caught.value.code == "foreign_origin"
