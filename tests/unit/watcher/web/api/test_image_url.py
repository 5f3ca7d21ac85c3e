"""Pictures by address: only from the public internet, bounded in size and time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from watcher.web.api.fetching import MAX_REDIRECTS, Fetcher, Refused, is_public

LIMIT = 1000
PICTURE = b"a picture"


class Handler(BaseHTTPRequestHandler):
    """Answers by the path: the status that it names, a redirect, a long body, or nothing until the test is over."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        server.hosts.append(self.headers["host"])
        match self.path.split("/")[1:]:
            case ["to", *target]:
                self.send_response(302)
                self.send_header("location", "/".join(target))
                self.send_header("content-length", "0")
                self.end_headers()
            case ["status", status]:
                self.send_error(int(status))
            case ["long"]:
                self._send(b"x" * (LIMIT + 1), length=False)
            case ["drip"]:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not server.over.wait(0.01):
                    self.wfile.write(b"x: y\r\n")
            case _:
                self._send(PICTURE, length=True)

    def _send(self, body: bytes, *, length: bool) -> None:
        self.send_response(200)
        self.send_header(*("content-length", str(len(body))) if length else ("connection", "close"))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has shut the connection down
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """What the web is in these tests."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hosts: list[str] = []
        self.over = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def fetcher(server: Server) -> Callable[..., Fetcher]:
    """Makes a fetcher for which `shop.example` is the server, and its address is public."""

    def make(**changes: object) -> Fetcher:
        usual: dict[str, object] = {
            "resolve": lambda host, port: ["127.0.0.1" if host == "shop.example" else "10.0.0.1"],
            "allowed": lambda address: address == ip_address("127.0.0.1"),
            "ports": frozenset({server.server_port}),
        }
        return Fetcher(LIMIT, **(usual | changes))  # type: ignore[arg-type]

    return make


def test_a_picture_comes_from_the_address_that_was_checked(server: Server, fetcher: Callable[..., Fetcher]) -> None:
    assert fetcher().fetch(f"http://shop.example:{server.server_port}/photo.jpg?a=b c") == PICTURE
    assert server.hosts == [f"shop.example:{server.server_port}"]


def test_a_redirect_within_the_public_internet_is_followed(server: Server, fetcher: Callable[..., Fetcher]) -> None:
    assert fetcher().fetch(f"http://shop.example:{server.server_port}/to//elsewhere") == PICTURE


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("to/http://inside.example:{port}/secret", "not in the public internet"),
        ("to/http://shop.example:22/", "port"),
        ("to/file:///etc/passwd", "no address"),
        ("to/", f"more than {MAX_REDIRECTS} times"),
        ("status/404", "answers 404"),
        ("status/500", "answers 500"),
        ("long", f"more than {LIMIT} bytes"),
    ],
)
def test_what_it_does_not_get_is_said(path: str, problem: str, server: Server, fetcher: Callable[..., Fetcher]) -> None:
    port = server.server_port
    with pytest.raises(Refused, match=problem):
        fetcher().fetch(f"http://shop.example:{port}/{path.format(port=port)}")
    assert len(server.hosts) <= MAX_REDIRECTS + 1


def test_a_server_that_never_ends_its_headers_is_left(server: Server, fetcher: Callable[..., Fetcher]) -> None:
    with pytest.raises(Refused, match="within"):
        fetcher(timeout=0.2).fetch(f"http://shop.example:{server.server_port}/drip")


def test_one_private_address_among_public_ones_is_too_many() -> None:
    resolving = Fetcher(LIMIT, resolve=lambda host, port: ["93.184.215.14", "192.168.0.1"])
    with pytest.raises(Refused, match="not in the public internet"):
        resolving.fetch("http://shop.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0/",
        "https://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://user:password@shop.example/",
        "http://shop.example:0/",
        "http://shop.example:99999/",
        "http://[/",
        "ftp://shop.example/a.jpg",
        "file:///etc/passwd",
        "//shop.example/a.jpg",
        "http://shop.example/\r\nx: y",
        "http://" + "a" * 300 + "/",
        "",
    ],
)
def test_the_own_network_and_nonsense_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        Fetcher(LIMIT).fetch(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("100.64.0.1", False),
        ("192.0.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::", False),
        ("64:ff9b::5db8:d70e", True),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
