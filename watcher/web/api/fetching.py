"""Fetch a picture from an address that a client sent, without giving clients a way into our network (SSRF).

A host's name is resolved once for each request, every address that it has must be public, and the connection goes to
the address that was checked. So a name that changes in between (DNS rebinding) gains nothing. The same holds for each
redirect. Time and size are bounded.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext, create_default_context
from threading import Timer
from urllib.parse import SplitResult, quote, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}
"""Only the usual ports: others belong to services that are not for everybody."""
MAX_REDIRECTS = 3
TIMEOUT = 15.0
"""Seconds for everything together, redirects included."""
_CHUNK = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = "/?:@!$&'()*+,;=%-._~"
_NAT64 = IPv6Network("64:ff9b::/96")
Address = IPv4Address | IPv6Address


class Refused(Exception):
    """The picture was not fetched; the message says why, and names no address of our network."""


def is_public(address: Address) -> bool:
    """Whether an address is in the public internet, also where it wraps an IPv4 address.

    >>> [is_public(ip_address(text)) for text in ("93.184.215.14", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False]
    """
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """Look up the addresses of a host. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures of at most `limit` bytes."""

    limit: int
    resolve: Callable[[str, int], list[str]] = resolve
    allowed: Callable[[Address], bool] = is_public
    ports: frozenset[int] = frozenset(PORTS.values())
    timeout: float = TIMEOUT
    clock: Callable[[], float] = time.monotonic

    def fetch(self, url: str) -> bytes:
        """Return what is at the address. Blocks for at most `timeout` seconds. Raises Refused."""
        deadline = self.clock() + self.timeout
        for _ in range(MAX_REDIRECTS + 1):
            found = self._get(_parsed(url), deadline)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise Refused(f"it redirects more than {MAX_REDIRECTS} times")

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """Return what is there, or the address to which it redirects."""
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        if port not in self.ports:
            raise Refused("its port is not allowed; only the usual ports of http and https are")
        address = self._address(host, port)
        try:
            with ExitStack() as stack:
                raw = stack.enter_context(socket.create_connection((address, port), self._left(deadline)))
                stack.enter_context(_shut_down_after(raw, self._left(deadline)))
                secured = stack.enter_context(_tls().wrap_socket(raw, server_hostname=host)) if _is_tls(parts) else raw
                connection = stack.enter_context(closing(HTTPConnection(host, port)))
                connection.sock = secured
                path = quote(parts.path or "/", safe=_SAFE) + (
                    f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
                )
                connection.request("GET", path, headers={"accept": "image/*", "user-agent": "alphadrop"})
                return self._answer(connection.getresponse(), deadline)
        except (OSError, HTTPException) as error:
            self._left(deadline)
            raise Refused(f"it cannot be fetched ({type(error).__name__})") from error

    def _address(self, host: str, port: int) -> str:
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Refused("its host is not known") from error
        if not found or not all(self.allowed(ip_address(address.partition("%")[0])) for address in found):
            raise Refused("its host is not in the public internet")
        return found[0]

    def _answer(self, answer: HTTPResponse, deadline: float) -> bytes | str:
        if answer.status in _REDIRECTS:
            return answer.headers.get("location") or ""
        if answer.status != 200:
            raise Refused(f"its server answers {answer.status}")
        body = bytearray()
        while chunk := answer.read(min(_CHUNK, self.limit + 1 - len(body))):
            body += chunk
            if len(body) > self.limit:
                raise Refused(f"it has more than {self.limit} bytes")
        self._left(deadline)  # a connection that was shut down looks like the end of a body without a length
        return bytes(body)

    def _left(self, deadline: float) -> float:
        left = deadline - self.clock()
        if left <= 0:
            raise Refused(f"it did not arrive within {self.timeout:g} seconds")
        return left


@contextmanager
def _shut_down_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a connection down after a time: a time-out of the socket begins anew at each byte."""
    with connected.dup() as same:
        timer = Timer(seconds, _shut_down, [same])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


@cache
def _tls() -> SSLContext:
    return create_default_context()


def _is_tls(parts: SplitResult) -> bool:
    return parts.scheme == "https"


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in PORTS and parts.hostname and parts.port != 0 and not parts.username and url.isprintable():
            return parts
    except ValueError:
        pass
    raise Refused("it is no address such as https://shop.example/photo.jpg")
