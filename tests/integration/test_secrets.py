"""Passwords and keys never leave the daemon, and its pages name no image: while all is well, and while nothing works.

One run of every command that holds secrets, in both states; what each said, kept or showed is searched then.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from tests.equipment.cluster import Buckets
from tests.equipment.daemon import Daemon, colour, photo
from tests.equipment.faulty import FaultyHttp
from tests.equipment.moto import Moto, moto_server
from tests.equipment.rabbit import SERVER, Rabbit, free_port, queue_name
from tests.equipment.refusals import DENIED
from tests.equipment.support import STUCK, alphadrop, daemon, wait_until
from watcher.core.jobs import ImageRef
from watcher.sources.events import encode_arrival

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalr/K7MDENG+bPxRfiCY-of-a-test",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEJr//session+token-of-a-test==",
    "ALPHADROP_EVENTS_TOKEN": "webh00k:token/of+a-test",
    "token for traces": "tr4ces-of-a-test",
    "broker's password": "br0ker@password/of+a test",
    "a wrong password": "wr0ng@password/of+a test",
}
KEYS = ("portrait-of-jane", "passport-4711", "not-a-picture")
"""Words of the keys of images, which nothing but the log and the sink may name."""
PAGES = ("/", "/metrics", "/livez", "/readyz")
DEBUG = ("--log-level", "debug", "--rescan", "2")


def forms(secret: str) -> set[bytes]:
    """How a secret may be written: as it is, in an address, in a header, in JSON."""
    plain = secret.encode()
    coded = (plain, b"user:" + plain, b"alphadrop:" + plain)
    return {plain, quote(secret, safe="").encode(), quote(secret).encode(), *map(base64.b64encode, coded)}


@dataclass
class Played:
    """All that the daemons and commands have said, by who or what it was."""

    pages: dict[str, str] = field(default_factory=dict)
    """By state, daemon and page."""
    other: dict[str, bytes] = field(default_factory=dict)
    """Output, logs, state, objects, command lines."""

    def look(self, state: str, **daemons: Daemon) -> None:
        """Keep what the pages show and what processes are called with."""
        for name, one in daemons.items():
            self.pages |= {f"{state} {name} {page}": one.get(page)[1] for page in PAGES}
            processes = [process := psutil.Process(one.process.pid), *process.children(recursive=True)]
            lines = [" ".join(process.cmdline()) for process in processes]
            self.other[f"{state} {name} processes"] = "\n".join(lines).encode()

    def run(self, state: str, command: str, *arguments: object, **variables: str) -> None:
        """Run a command, and keep what it says."""
        done = alphadrop(command, *arguments, cwd=None, **variables)
        self.other[f"{state} {command}"] = (done.out + done.err).encode()


@dataclass(frozen=True)
class Stage:
    """Where it is played."""

    top: Path
    moto: Moto
    s3: FaultyHttp
    bucket: str
    queue: str
    """With the password of a user who may use it."""

    @property
    def places(self) -> tuple[str, str]:
        return f"s3://{self.bucket}/in", f"s3://{self.bucket}/out"

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in SECRETS.items() if name.isupper()}
        traces = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",  # nobody is there
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {SECRETS['token for traces']}",
        }
        found = self.moto.variables | kept | {"AWS_ENDPOINT_URL": self.s3.url} | traces
        return {name: value for name, value in found.items() if name != "ALPHADROP_EVENTS_TOKEN"}

    def start(self, command: str, *options: str, sink: str = "", **variables: str) -> Daemon:
        top = self.top / f"{command}-daemon"
        top.mkdir()
        where = Buckets(top, (self.places[0], sink or self.places[1]))
        return Daemon(where, *DEBUG, *options, command=command, **self.variables | variables)

    def put(self, name: str, body: bytes) -> ImageRef:
        etag = self.moto.client().put_object(Bucket=self.bucket, Key=f"in/{name}", Body=body)["ETag"]
        return ImageRef(name, etag.strip('"'), len(body))

    def outputs(self) -> set[str]:
        found = self.moto.client().list_objects_v2(Bucket=self.bucket, Prefix="out/").get("Contents", ())
        return {entry["Key"].removeprefix("out/") for entry in found if "/_alphadrop/" not in entry["Key"]}


def with_user(rabbit: Rabbit, password: str) -> str:
    """The address of a new queue for a new user with that password."""
    environment, user = rabbit._environment(), queue_name()
    commands = f'rabbitmqctl add_user {user} "$WORD" && rabbitmqctl set_permissions {user} ".*" ".*" ".*"'
    path = f"{SERVER.parent}:{environment['PATH']}"
    words = {"PATH": path, "WORD": password}
    subprocess.run(["bash", "-euc", commands], env=environment | words, check=True, capture_output=True)
    return rabbit.url(queue=queue_name()).replace("guest:guest", f"{user}:{quote(password, safe='')}")


def posted(daemon: Daemon, token: str, body: bytes) -> httpx.Response:
    """The answer to an event."""
    url = f"http://127.0.0.1:{daemon.port}/events"
    return httpx.post(url, content=body, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def stage(rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    moto = moto_server()
    with FaultyHttp(moto.port, share=0) as s3:
        queue = with_user(rabbit, SECRETS["broker's password"])
        yield Stage(tmp_path_factory.mktemp("secrets"), moto, s3, moto.bucket(), queue)


@pytest.fixture(scope="module")
def played(stage: Stage) -> Played:
    """The whole play: watch, work and run, then every other command; first all is well, then nothing is."""
    seen, token = Played(), SECRETS["ALPHADROP_EVENTS_TOKEN"]
    sink = stage.top / "cutouts"
    heard = {"ALPHADROP_EVENTS_TOKEN": token}
    with ExitStack() as stack:
        # Given all three daemons, each with what it needs to know
        shared = {"ALPHADROP_QUEUE": stage.queue}
        watch = stack.enter_context(stage.start("watch", "--events", "webhook", **shared, **heard))
        work = stack.enter_context(stage.start("work", **shared))
        run = stack.enter_context(stage.start("run", "--events", "webhook", sink=str(sink), **heard))
        daemons = {"watch": watch, "work": work, "run": run}
        for one in daemons.values():
            one.wait_until_ready()
        # When images arrive, a bad one too, and events, one with a wrong token
        stage.put("not-a-picture.jpg", b"GIF87a?")
        ref = stage.put("portrait-of-jane.png", photo(colour(1)))
        for one in (watch, run):
            event = encode_arrival(f"{stage.places[0]}/", ref)
            assert posted(one, token, event).status_code == 204
            assert posted(one, f"{token}x", event).status_code == 401
        wanted = {"portrait-of-jane.png", "_failed/not-a-picture.jpg.json"}
        wait_until(lambda: stage.outputs() == wanted and (sink / "portrait-of-jane.png").exists(), STUCK, pause=0.1)
        run.until(lambda: run.outcomes("not-a-picture.jpg"), "nobody looked at it")
        seen.look("well", **daemons)
        for command in ("status", "reconcile", "doctor"):
            seen.run("well", command, *stage.places, *state(stage, command), **shared, **stage.variables)
        # When the folder is gone, then the bucket is denied, while images are under way
        sink.rename(stage.top / "elsewhere")
        stage.put("passport-4711.png", photo(colour(2)))
        run.until(lambda: "source" in run.missing(), "nobody missed the sink")
        seen.look("without a sink", run=run)
        (stage.top / "elsewhere").rename(sink)
        stage.s3.refuse_all = DENIED
        ref = ImageRef("passport-4711.again.png", "0123456789abcdef", 100)
        assert posted(watch, token, encode_arrival(f"{stage.places[0]}/", ref)).status_code in (204, 503)
        work.until(lambda: "images" in work.missing(), "nobody may read, and nobody minds")
        watch.until(lambda: "source" in watch.missing(), "nobody may list, and nobody minds")
        run.until(lambda: "source" in run.missing(), "nobody may list, and nobody minds")
        seen.look("denied", **daemons)
        play_wrong_passwords(stage, seen)
    keep_all(stage, seen)
    return seen


def play_wrong_passwords(stage: Stage, seen: Played) -> None:
    """The bucket is denied still, and the broker knows another password, or is not there; in words for people."""
    right, wrong = (quote(SECRETS[name], safe="") for name in ("broker's password", "a wrong password"))
    denied = stage.queue.replace(right, wrong)
    for command in ("status", "reconcile", "doctor"):
        words = state(stage, command)
        seen.run("denied", command, *stage.places, *words, ALPHADROP_QUEUE=denied, **stage.variables)
    nowhere = stage.queue.replace(f":{stage.queue.rpartition(':')[2].partition('/')[0]}/", f":{free_port()}/")
    assert nowhere != stage.queue
    seen.run("unreachable", "status", *stage.places, ALPHADROP_QUEUE=nowhere, **stage.variables)
    seen.run("misspelt", "work", *stage.places, ALPHADROP_QUEUE=f"{stage.queue}&x=1", **stage.variables)
    log, port = stage.top / "refused.log", free_port()
    options = (*stage.places, "--http", f"127.0.0.1:{port}", *DEBUG, "--log-format", "text", "--model", "fake")
    variables = stage.variables | {"ALPHADROP_QUEUE": denied}
    stage.s3.refuse_all = None  # else it would not get as far as the broker
    with daemon(*options, log=log, command="work", **variables):
        wait_until(lambda: b"ACCESS_REFUSED" in log.read_bytes(), STUCK, "it was not refused")
        said = "the page never told of it"  # a worker's log is ahead of its reports
        wait_until(lambda: "ACCESS_REFUSED" in page_of(port, "/readyz"), STUCK, said, pause=0.1)
        seen.pages |= {f"refused work {page}": page_of(port, page) for page in PAGES}


def page_of(port: int, page: str) -> str:
    """What a daemon without a control of ours answers."""
    return httpx.get(f"http://127.0.0.1:{port}{page}", trust_env=False, timeout=60).text


def state(stage: Stage, command: str) -> tuple[str, ...]:
    """`doctor` looks at devices, too; every command keeps its state below the stage."""
    device = ("--devices", "cpu") if command == "doctor" else ()
    return ("--state", str(stage.top / "state"), *device)


def keep_all(stage: Stage, seen: Played) -> None:
    """Every file that is left, and every object with its metadata."""
    files = (path for path in stage.top.rglob("*") if path.is_file())
    seen.other |= {f"file {path.relative_to(stage.top)}": path.read_bytes() for path in files}
    client: Any = stage.moto.client()
    for entry in client.list_objects_v2(Bucket=stage.bucket)["Contents"]:
        answer = client.get_object(Bucket=stage.bucket, Key=entry["Key"])
        with closing(answer["Body"]) as body:
            seen.other[f"object {entry['Key']}"] = str(answer["Metadata"]).encode() + body.read()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_secret_is_ever_shown_and_no_image_name_is_on_a_page(played: Played) -> None:
    require_enough_was_seen(played)
    said = played.other | {page: text.encode() for page, text in played.pages.items()}
    for name, secret in SECRETS.items():
        assert [where for where, text in said.items() for form in forms(secret) if form in text] == [], name
    assert [page for page, text in played.pages.items() if any(key in text for key in KEYS)] == []
    require_pages_say_what_is_wrong(played.pages)


def require_enough_was_seen(played: Played) -> None:
    """The log does name images and what is wrong with them; else nothing would have been looked at."""
    said = played.other
    assert len(said) > 25 and len(played.pages) > 25
    assert {page.partition(" ")[0] for page in played.pages} == {"well", "without", "denied", "refused"}
    assert b"portrait-of-jane.png" in said["file run-daemon/log.jsonl"]
    assert b"passport-4711.again.png: refused (403)" in said["file work-daemon/log.jsonl"]
    assert b"403" in said["file watch-daemon/log.jsonl"]
    assert b"not-a-picture" in said["object out/_failed/not-a-picture.jpg.json"]
    assert b"watcher.worker.process" in said["well work processes"]
    assert b"ACCESS_REFUSED" in said["denied doctor"] and b"ACCESS_REFUSED" in said["denied status"]
    assert b"says more than" in said["misspelt work"] and b"refused" in said["unreachable status"]


def require_pages_say_what_is_wrong(pages: dict[str, str]) -> None:
    """Without names, `/readyz` is of use still."""
    assert '"part":"source","why":"the folder or bucket does not exist' in pages["without a sink run /readyz"]
    assert '"part":"images","why":"' in pages["denied work /readyz"]
    assert "allow s3:GetObject" in pages["denied work /readyz"]
    assert "403" in pages["denied watch /readyz"]  # with AccessDenied, where it was not a HEAD
    assert "ACCESS_REFUSED" in pages["refused work /readyz"]
