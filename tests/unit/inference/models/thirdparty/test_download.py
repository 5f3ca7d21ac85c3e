"""Downloads of known models, from a server of the test's own."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.errors import ModelError
from inference.models.thirdparty.download import ATTEMPTS, DownloadFailed, DownloadOptions, fetch
from inference.models.thirdparty.known import BRIA, KNOWN, KnownModel
from tests.equipment.model_server import Answer, ModelServer, cut_after, model_of, model_server, serve, status, whole
from tests.equipment.support import STUCK, files_below

CONTENT = random.Random(7).randbytes(300_000)
MODEL = model_of(CONTENT)
HALF = len(CONTENT) // 2
FILE = "tiny.onnx"
_FETCH = """
import sys
from pathlib import Path
from inference.models.thirdparty.download import DownloadOptions, Silent, fetch
from tests.equipment.model_server import model_of
class Report(Silent):
    def note(self, text):
        print(text, flush=True)
fetch(model_of(Path(sys.argv[3]).read_bytes()), Path(sys.argv[1]), DownloadOptions(sys.argv[2]), Report())
print("fetched", flush=True)
"""


class Notes:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.pauses: list[float] = []
        self.seen: list[tuple[int, int]] = []

    def progress(self, done: int, total: int) -> None:
        self.seen.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server({MODEL.asset: CONTENT}) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def pull(folder: Path, server: ModelServer, model: KnownModel = MODEL, **options: bool) -> Notes:
    notes = Notes()
    path = fetch(model, folder, DownloadOptions(server.address, **options), notes, notes.pauses.append)
    assert path.read_bytes() == CONTENT
    assert files_below(folder) == {FILE}  # nothing is left beside it
    return notes


def complaint(folder: Path, server: ModelServer, model: KnownModel = MODEL) -> str:
    notes = Notes()
    with pytest.raises(ModelError) as caught:
        fetch(model, folder, DownloadOptions(server.address), notes, notes.pauses.append)
    assert not (folder / FILE).exists()
    return str(caught.value)


def test_a_model_is_fetched_once_with_progress(server: ModelServer, folder: Path) -> None:
    notes = pull(folder, server)
    assert notes.seen[-1] == (len(CONTENT), len(CONTENT)) and notes.notes == []
    pull(folder, server)
    assert [path for path, _ in server.requests] == [f"/{MODEL.asset}"]


def test_a_mirror_may_have_the_name_under_which_the_file_is_kept(folder: Path) -> None:
    with model_server({FILE: CONTENT}) as mirror:
        pull(folder, mirror)
        assert [path for path, _ in mirror.requests] == [f"/{MODEL.asset}", f"/{FILE}"]


def test_the_mirrors_password_is_sent_and_never_shown(server: ModelServer, folder: Path) -> None:
    secret = server.address.replace("//", "//user:p%40ss@")
    fetch(MODEL, folder, DownloadOptions(secret))
    assert server.requests[0][1]["Authorization"] == "Basic dXNlcjpwQHNz"
    (folder / FILE).unlink()
    server.script.append(status(403))
    with pytest.raises(DownloadFailed, match="answers 403") as caught:
        fetch(MODEL, folder, DownloadOptions(secret))
    assert "p%40ss" not in str(caught.value) and "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("script", "ranges", "pauses"),
    [
        ([cut_after(HALF)], ["", f"bytes={HALF}-"], [1.0]),
        ([cut_after(1), cut_after(2)], ["", "bytes=1-", "bytes=3-"], [1.0, 1.0]),
        ([cut_after(HALF), whole], ["", f"bytes={HALF}-"], [1.0]),
        ([cut_after(HALF, tag='"older"')], ["", f"bytes={HALF}-"], [1.0]),  # If-Range: sent whole
        ([cut_after(HALF, tag='W/"weak"')], ["", f"bytes={HALF}-"], [1.0]),
        ([cut_after(HALF), status(416)], ["", f"bytes={HALF}-", ""], [1.0, 0.0]),
        ([status(500), status(502), status(429, Retry_After=7)], ["", "", "", ""], [1.0, 2.0, 7.0]),
        ([cut_after(HALF), status(206, Content_Range="bytes 0-9/10")], ["", f"bytes={HALF}-", ""], [1.0, 0.0]),
    ],
    ids=["cut", "cut twice", "no ranges", "another version", "weak tag", "no such range", "busy", "wrong range"],
)
def test_a_download_that_is_interrupted_goes_on(
    server: ModelServer,
    folder: Path,
    script: list[Callable[[Answer], None]],
    ranges: list[str],
    pauses: list[float],
) -> None:
    server.script.extend(script)
    notes = pull(folder, server)
    assert server.ranges() == ranges
    assert notes.pauses == pauses and len(notes.notes) == len(pauses)


def test_the_validator_of_the_first_answer_goes_with_the_range(server: ModelServer, folder: Path) -> None:
    server.script.append(cut_after(HALF))
    pull(folder, server)
    assert server.requests[1][1]["If-Range"] == '"first"'


def test_what_a_killed_process_left_is_resumed(server: ModelServer, folder: Path, tmp_path: Path) -> None:
    # Given a process that has fetched half of the file, and waits for the rest
    arrived, killed = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        killed.wait(STUCK)

    server.script.append(lambda answer: serve(answer, cut=HALF, hold=hold))
    (tmp_path / "content").write_bytes(CONTENT)
    command = [sys.executable, "-c", _FETCH, str(folder), server.address, str(tmp_path / "content")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        arrived.wait(STUCK)
        while (folder / f"{FILE}.partial").stat().st_size < HALF:
            pass
        # When it is killed
        process.kill()
        process.wait(STUCK)
        killed.set()
    # Then the next one fetches only the other half
    assert not (folder / FILE).exists()
    pull(folder, server)
    assert server.ranges() == ["", f"bytes={HALF}-"]


def test_two_processes_at_once_fetch_once(server: ModelServer, folder: Path, tmp_path: Path) -> None:
    waiting = threading.Event()

    def hold() -> None:
        waiting.wait(STUCK)

    server.script.append(lambda answer: serve(answer, hold=hold))
    (tmp_path / "content").write_bytes(CONTENT)
    command = [sys.executable, "-c", _FETCH, str(folder), server.address, str(tmp_path / "content")]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
    ):
        said: list[str] = []

        def read(process: subprocess.Popen[str]) -> None:
            for line in process.stdout or ():
                said.append(line.strip())
                waiting.set()

        threads = [threading.Thread(target=read, args=[process]) for process in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STUCK)
    assert (one.returncode, other.returncode) == (0, 0)
    assert said == [f"another process is fetching {FILE}; waiting for it", "fetched", "fetched"]
    assert len(server.requests) == 1 and files_below(folder) == {FILE}


def test_a_wrong_digest_is_not_put_in_place(server: ModelServer, folder: Path) -> None:
    server.files[f"/{MODEL.asset}"] = CONTENT[:-1] + b"x"
    said = complaint(folder, server)
    assert MODEL.sha256 in said and "Nothing was put in place" in said and server.address in said
    assert files_below(folder) == set()


def test_rembgs_own_digest_must_match_too(server: ModelServer, folder: Path) -> None:
    assert "Nothing was put in place" in complaint(folder, server, replace(MODEL, md5="0" * 32))


def test_a_resumed_file_with_a_wrong_digest_is_fetched_again_once(server: ModelServer, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{FILE}.partial").write_bytes(b"x" * HALF)
    notes = pull(folder, server)
    assert server.ranges() == [f"bytes={HALF}-", ""]
    assert any("wrong digest" in note for note in notes.notes)


def test_a_partial_file_that_is_too_long_is_not_resumed(server: ModelServer, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{FILE}.partial").write_bytes(b"x" * (len(CONTENT) + 1))
    pull(folder, server)
    assert server.ranges() == [""]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([status(404), status(404)], "answers 404"),
        ([status(401)], "answers 401"),
        ([status(503)] * ATTEMPTS, "answers 503"),
        ([lambda answer: answer.head(200, Content_Length=12)], "12 bytes long, not 300,000: it is another file"),
        ([lambda answer: answer.close_connection or None] * ATTEMPTS, "RemoteDisconnected"),
    ],
    ids=["missing", "denied", "down", "a page instead", "no answer"],
)
def test_a_download_that_fails_says_what_to_do(
    server: ModelServer, folder: Path, script: list[Callable[[Answer], None]], said: str
) -> None:
    server.script.extend(script)
    complained = complaint(folder, server)
    assert said in complained
    for hint in ("--model-source", "HTTPS_PROXY", "by hand", MODEL.sha256, str(folder / FILE), "U2NET_HOME"):
        assert hint in complained


def test_without_a_network_the_error_says_how_to_bring_the_file(folder: Path) -> None:
    notes = Notes()
    with pytest.raises(DownloadFailed, match=r"Connection refused.*copy it to .*tiny\.onnx"):
        fetch(MODEL, folder, DownloadOptions("http://127.0.0.1:1"), notes, notes.pauses.append)
    assert notes.pauses == [1, 2, 4, 8]


def test_offline_nothing_is_fetched(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"--offline forbids fetching it\. To bring it by hand, fetch https://"):
        fetch(KNOWN["u2netp"], folder, DownloadOptions(offline=True))
    assert not folder.exists()


def test_a_licence_without_commercial_use_must_be_accepted(server: ModelServer, folder: Path) -> None:
    model = replace(MODEL, licence=BRIA)
    with pytest.raises(ModelError, match=r"CC BY-NC 4.0, forbids commercial use.*--accept-licence"):
        fetch(model, folder, DownloadOptions(server.address))
    pull(folder, server, model, accept_licence=True)


def test_another_file_in_its_place_is_kept_and_named(server: ModelServer, folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"mine")
    with pytest.raises(ModelError, match="is not the file that is known as tiny"):
        fetch(MODEL, folder, DownloadOptions(server.address))
    assert (folder / FILE).read_bytes() == b"mine" and server.requests == []


def test_a_full_disk_is_noticed_before_anything_is_fetched(server: ModelServer, folder: Path) -> None:
    assert "The disk is full: tiny needs" in complaint(folder, server, replace(MODEL, bytes=1 << 60))
    assert server.requests == []


def test_a_folder_that_cannot_be_made_is_named(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    said = complaint(tmp_path / "file" / "models", server)
    assert "cannot be written" in said and "U2NET_HOME" in said
