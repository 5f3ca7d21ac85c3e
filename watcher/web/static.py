"""The page's files: read once, served from memory, cached by digest, and allowed to load nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watcher.web.errors import SAFE_HEADERS

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy: no inline code, nothing from other hosts, no text that becomes HTML."""
_HEADERS = {**SAFE_HEADERS, "content-security-policy": POLICY, "permissions-policy": "clipboard-write=(self)"}
_FOREVER = "public, max-age=31536000, immutable"
_MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FOLDER = "/page/"


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent."""

    content: bytes
    media_type: str
    cache: str

    def response(self, request: Request) -> Response:
        """The response: short if the client has the file already, compressed if it can unpack it."""
        etag = f'"{_digest(self.content)}"'
        headers = {**_HEADERS, "etag": etag, "cache-control": self.cache, "vary": "Accept-Encoding"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.content, headers=headers, media_type=self.media_type)
        packed = gzip.compress(self.content, 6, mtime=0)
        return Response(packed, headers={**headers, "content-encoding": "gzip"}, media_type=self.media_type)


def page_routes() -> list[Route]:
    """The routes of the page: / and, below /page/DIGEST/, what it consists of.

    The digest is that of all files, so that a browser keeps them for ever and never mixes those of two versions.
    """
    found = page_files()
    version = _digest(b"".join(name.encode() + content for name, content in sorted(found.items())))
    base = f"{_FOLDER}{version}/"
    index = StaticFile(_index(found, base), "text/html", "no-cache")
    assets = {
        name: StaticFile(content, _MEDIA_TYPES[name.rpartition(".")[2]], _FOREVER) for name, content in found.items()
    }

    async def show_index(request: Request) -> Response:
        return index.response(request)

    async def show_asset(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        return asset.response(request) if asset else Response("not found\n", 404, _HEADERS, "text/plain")

    return [Route("/", show_index), Route(base + "{name:path}", show_asset)]


def page_files() -> dict[str, bytes]:
    """Every file of the page, by its path below watcher/web/page/."""
    return dict(_walk(files("watcher.web") / "page", ""))


def _walk(folder: Traversable, path: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{path}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _MEDIA_TYPES:
            found.append((path + entry.name, entry.read_bytes()))
    return found


def _index(found: dict[str, bytes], base: str) -> bytes:
    """index.html with the addresses of this version; it names all modules, so that they load at once."""
    modules = sorted(name for name in found if name.endswith(".js"))
    preload = "".join(f'<link rel="modulepreload" href="{base}{name}">\n' for name in modules)
    text = found["index.html"].decode().replace(_FOLDER, base)
    return text.replace("<script", preload + "<script", 1).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]
