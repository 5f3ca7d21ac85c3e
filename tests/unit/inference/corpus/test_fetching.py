"""Fetching: digests decide, and what is damaged is never used."""

import functools
import hashlib
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from inference.corpus.archives import ArchiveError
from inference.corpus.fetching import FetchError, fetch, sha256_of
from inference.corpus.gathering import gather_file
from inference.corpus.sources import SOURCES, Client, Source


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that pip takes its packages from, by HTTP, and nothing else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


def wheel(folder: Path, content: bytes = b"weights") -> Path:
    path = folder / "somemodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("somemodel/model.onnx", content)
        archive.writestr("somemodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: somemodel\nVersion: 1.0\n")
        archive.writestr("somemodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("somemodel-1.0.dist-info/RECORD", "")
    return path


def source(digest: str) -> Source:
    return Source("somemodel", "1.0", Client.PIP, digest, 1, "MIT", "a test")


def test_a_package_is_fetched_once(registry: Path, tmp_path: Path) -> None:
    wanted = source(sha256_of(wheel(registry)))
    lines: list[str] = []
    path = fetch(wanted, tmp_path / "packages", lines.append)
    assert sha256_of(path) == wanted.sha256
    (registry / "somemodel-1.0-py3-none-any.whl").unlink()
    assert fetch(wanted, tmp_path / "packages", lines.append) == path
    assert len(lines) == 1

    assert gather_file(path, "somemodel/model.onnx", tmp_path / "models" / "model.onnx") == 1
    assert (tmp_path / "models" / "model.onnx").read_bytes() == b"weights"
    with pytest.raises(ArchiveError, match=r"holds no other\.onnx"):
        gather_file(path, "other.onnx", tmp_path / "other.onnx")


def test_another_build_is_refused_and_not_kept(registry: Path, tmp_path: Path) -> None:
    wheel(registry, b"somebody else's weights")
    with pytest.raises(FetchError, match="nothing of it was used"):
        fetch(source("0" * 64), tmp_path / "packages")
    assert not list((tmp_path / "packages").iterdir())


def test_a_package_is_fetched_into_a_folder_that_is_named_from_here(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client works in another folder, so a relative path would mean another place to it."""
    wanted = source(sha256_of(wheel(registry)))
    monkeypatch.chdir(tmp_path)
    assert sha256_of(fetch(wanted, Path("training-data", "packages"))) == wanted.sha256


def test_a_file_that_was_cut_short_is_fetched_again(registry: Path, tmp_path: Path) -> None:
    wanted = source(sha256_of(wheel(registry)))
    path = fetch(wanted, tmp_path / "packages")
    path.write_bytes(path.read_bytes()[:100])
    assert sha256_of(fetch(wanted, tmp_path / "packages")) == wanted.sha256


def test_a_download_that_fails_names_the_package(registry: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="failed for somemodel"):
        fetch(source("0" * 64), tmp_path / "packages")


def test_without_debians_client_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(FetchError, match="apt-get is not there"):
        fetch(Source("stamps", "1", Client.APT, "0" * 64, 1, "GPL-2+", "a test"), tmp_path)


def test_every_source_has_a_whole_digest_and_a_step() -> None:
    from inference.corpus.__main__ import STEPS

    assert {one.name for one in SOURCES} == STEPS.keys()
    assert all(len(one.sha256) == len(hashlib.sha256().hexdigest()) for one in SOURCES)
