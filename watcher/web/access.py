"""Who may use the API: tokens, the page's session cookie, and which hosts and origins a request may name.

Without tokens the API answers this machine alone. A browser on this machine could still be sent here by any site, so
the Host header must then be a loopback name (DNS rebinding), and no other site may be the origin of a request.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.requests import Request

from watcher.config.preflight import is_loopback
from watcher.web.errors import ApiError

COOKIE = "alphadrop_session"
"""The page's cookie, for pictures and downloads, which cannot carry a header."""
SESSION_SECONDS = 12 * 3600
"""How long a session lasts."""
PAGE_HEADER = "x-alphadrop"
"""A header that only scripts of this origin can set: a request that changes something by cookie must carry it."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"www-authenticate": 'Bearer realm="alphadrop"'}


class Access:
    """Decides about requests: one of `tokens` must come with each; without any tokens, only loopback is served."""

    def __init__(
        self, tokens: Sequence[str] = (), host: str = "127.0.0.1", clock: Callable[[], float] = time.time
    ) -> None:
        """`host` is the address that the server is bound to."""
        self._tokens = tuple(token.encode() for token in tokens)
        self._hosts = {"localhost", host.lower()}
        self._clock = clock

    @property
    def required(self) -> bool:
        """Whether a token is needed."""
        return bool(self._tokens)

    def check(self, request: Request) -> None:
        """Raise ApiError unless the request may be answered."""
        if self.has_token(request):
            return  # no browser sends it by itself
        self._check_site(request)
        if not self.required:
            self._check_host(request)
            return
        if not self.has_session(request):
            raise ApiError(
                401,
                "unauthorized",
                "Unauthorized",
                "the token is missing or wrong: send it as `Authorization: Bearer TOKEN` or `X-Api-Key: TOKEN`",
                _CHALLENGE,
            )
        if request.method not in _SAFE_METHODS and PAGE_HEADER not in request.headers:
            raise ApiError(
                403, "page_header_missing", "Forbidden", "with a cookie, send the header `X-Alphadrop: page`"
            )

    def has_token(self, request: Request) -> bool:
        """Whether the request carries a token in a header."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = [request.headers.get("x-api-key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        return any(self.is_token(text) for text in given if text)

    def is_token(self, text: str) -> bool:
        """Whether a text is one of the tokens. The time it takes depends on the text's length alone."""
        digest = _digest(text.encode("utf-8", "surrogateescape"))
        return sum(hmac.compare_digest(digest, _digest(token)) for token in self._tokens) > 0

    def has_session(self, request: Request) -> bool:
        """Whether the request carries the cookie of a session that lasts."""
        until, _, seal = _cookie(request).partition(".")
        if not (until.isdecimal() and len(until) < 16 and int(until) > self._clock()):
            return False
        given = seal.encode("utf-8", "replace")
        return sum(hmac.compare_digest(given, _seal(token, until)) for token in self._tokens) > 0

    def start_session(self, request: Request, token: str) -> str:
        """The Set-Cookie header of a new session. Raises ApiError for a wrong token, or a foreign site.

        The cookie is sealed with the token, so that a session survives a restart and ends with its token.
        """
        self._check_site(request)
        raw = token.encode("utf-8", "surrogateescape")
        if not self.is_token(token):
            raise ApiError(401, "unauthorized", "Unauthorized", "the token is wrong", _CHALLENGE)
        until = str(int(self._clock()) + SESSION_SECONDS)
        return _set_cookie(request, f"{until}.{_seal(raw, until).decode()}", SESSION_SECONDS)

    def end_session(self, request: Request) -> str:
        """The Set-Cookie header that removes the session's cookie."""
        return _set_cookie(request, "", 0)

    def _check_host(self, request: Request) -> None:
        host = _host_of("//" + request.headers.get("host", ""))
        if host not in self._hosts and not is_loopback(host):
            raise ApiError(
                403,
                "foreign_host",
                "Forbidden",
                "without tokens only http://localhost and http://127.0.0.1 are served; set ALPHADROP_API_TOKEN to use "
                "another name",
            )

    def _check_site(self, request: Request) -> None:
        """Refuse what another site makes a browser send. No script can set these headers."""
        site = request.headers.get("sec-fetch-site", "none")
        if site == "same-origin":  # also behind a proxy that has changed the Host header
            return
        origin = request.headers.get("origin", "")
        if site != "none" or (origin and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()):
            raise ApiError(403, "foreign_origin", "Forbidden", "another site may not use this API through a browser")


def _cookie(request: Request) -> str:
    try:
        cookies: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _seal(token: bytes, until: str) -> bytes:
    return hmac.new(token, f"session:{until}".encode(), hashlib.sha256).hexdigest().encode()


def _set_cookie(request: Request, value: str, seconds: int) -> str:
    secure = "; Secure" if request.url.scheme == "https" else ""
    return f"{COOKIE}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _host_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
