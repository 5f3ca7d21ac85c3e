"""No password or key is ever shown, and no HTTP page contains an image's name, with or without errors.

Every command that handles secrets runs once without and once with errors. Then everything that it printed, stored or
served is searched.
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
    "ALPHADROP_API_TOKEN": "ap1-token/of+a-test",
    "ALPHADROP_EVENTS_TOKEN": "webh00k:token/of+a-test",
    "ALPHADROP_NOTIFY_SECRET": "n0tify-secret/of+a-test",
    "token of a webhook": "h00k/token+of-a-test",
    "token for traces": "tr4ces-of-a-test",
    "broker's password": "br0ker@password/of+a test",
    "a wrong password": "wr0ng@password/of+a test",
}
KEYS = ("portrait-of-jane", "passport-4711", "not-a-picture")
"""Parts of the keys of images, which may appear in the log and the sink only."""
PAGES = ("/", "/metrics", "/livez", "/readyz")
DEBUG = ("--log-level", "debug", "--rescan", "2")


def forms(secret: str) -> set[bytes]:
    """The encodings in which a secret may appear: plain, in a URL, in a header."""
    plain = secret.encode()
    coded = (plain, b"user:" + plain, b"alphadrop:" + plain)
    return {plain, quote(secret, safe="").encode(), quote(secret).encode(), *map(base64.b64encode, coded)}


@dataclass
class Recording:
    """Everything that the daemons and commands printed, stored or served, by its origin."""

    pages: dict[str, str] = field(default_factory=dict)
    """HTTP pages by situation, daemon and path."""
    other: dict[str, bytes] = field(default_factory=dict)
    """Output, log files, state, objects and command lines of processes."""

    def record(self, state: str, **daemons: Daemon) -> None:
        """Record the pages and the command lines of the processes."""
        for name, one in daemons.items():
            self.pages |= {f"{state} {name} {page}": one.get(page)[1] for page in PAGES}
            processes = [process := psutil.Process(one.process.pid), *process.children(recursive=True)]
            lines = [" ".join(process.cmdline()) for process in processes]
            self.other[f"{state} {name} processes"] = "\n".join(lines).encode()

    def run(self, state: str, command: str, *arguments: object, **variables: str) -> None:
        """Run a command and record its output."""
        done = alphadrop(command, *arguments, cwd=None, **variables)
        self.other[f"{state} {command}"] = (done.out + done.err).encode()


@dataclass(frozen=True)
class Site:
    """The bucket, the queue and the folder in which everything runs."""

    top: Path
    moto: Moto
    s3: FaultyHttp
    bucket: str
    queue: str
    """Its address, with the password of a user who has access."""

    @property
    def places(self) -> tuple[str, str]:
        return f"s3://{self.bucket}/in", f"s3://{self.bucket}/out"

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in SECRETS.items() if name.isupper()}
        traces = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",  # nothing listens there
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {SECRETS['token for traces']}",
        }
        hook = f"http://127.0.0.1:{free_port()}/{quote(SECRETS['token of a webhook'], safe='')}"  # nor here
        ours = {"AWS_ENDPOINT_URL": self.s3.url, "ALPHADROP_NOTIFY": hook, "ALPHADROP_API": "true"}
        found = self.moto.variables | kept | ours | traces
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
    """Create a user with that password, and return the address of a new queue for it."""
    environment, user = rabbit._environment(), queue_name()
    commands = f'rabbitmqctl add_user {user} "$WORD" && rabbitmqctl set_permissions {user} ".*" ".*" ".*"'
    path = f"{SERVER.parent}:{environment['PATH']}"
    words = {"PATH": path, "WORD": password}
    subprocess.run(["bash", "-euc", commands], env=environment | words, check=True, capture_output=True)
    return rabbit.url(queue=queue_name()).replace("guest:guest", f"{user}:{quote(password, safe='')}")


def posted(daemon: Daemon, token: str, body: bytes) -> httpx.Response:
    """The response to an event."""
    url = f"http://127.0.0.1:{daemon.port}/events"
    return httpx.post(url, content=body, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def site(rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    moto = moto_server()
    with FaultyHttp(moto.port, share=0) as s3:
        queue = with_user(rabbit, SECRETS["broker's password"])
        yield Site(tmp_path_factory.mktemp("secrets"), moto, s3, moto.bucket(), queue)


@pytest.fixture(scope="module")
def recording(site: Site) -> Recording:
    """The recording of watch, work and run, then of every other command; first without errors, then with errors."""
    recording, token = Recording(), SECRETS["ALPHADROP_EVENTS_TOKEN"]
    sink = site.top / "cutouts"
    webhook = {"ALPHADROP_EVENTS_TOKEN": token}
    with ExitStack() as stack:
        # Given all three daemons with their secrets
        shared = {"ALPHADROP_QUEUE": site.queue}
        watch = stack.enter_context(site.start("watch", "--events", "webhook", **shared, **webhook))
        work = stack.enter_context(site.start("work", **shared))
        run = stack.enter_context(site.start("run", "--events", "webhook", sink=str(sink), **webhook))
        daemons = {"watch": watch, "work": work, "run": run}
        for one in daemons.values():
            one.wait_until_ready()
        # When images arrive, one of them bad, and events, one of them with a wrong token
        site.put("not-a-picture.jpg", b"GIF87a?")
        ref = site.put("portrait-of-jane.png", photo(colour(1)))
        for one in (watch, run):
            event = encode_arrival(f"{site.places[0]}/", ref)
            assert posted(one, token, event).status_code == 204
            assert posted(one, f"{token}x", event).status_code == 401
        # And requests to the API, with a token and with a wrong one
        for key, status in ((SECRETS["ALPHADROP_API_TOKEN"], 200), ("wr0ng", 401)):
            url = f"http://127.0.0.1:{run.port}/v1/status"
            assert httpx.get(url, headers={"x-api-key": key}, trust_env=False, timeout=60).status_code == status
        wanted = {"portrait-of-jane.png", "_failed/not-a-picture.jpg.json"}
        wait_until(lambda: site.outputs() == wanted and (sink / "portrait-of-jane.png").exists(), STUCK, pause=0.1)
        run.until(lambda: run.outcomes("not-a-picture.jpg"), "it was not processed")
        recording.record("well", **daemons)
        for command in ("status", "reconcile", "doctor"):
            recording.run("well", command, *site.places, *state(site, command), **shared, **site.variables)
        # When first the folder disappears and then the bucket denies access, while images are in flight
        sink.rename(site.top / "elsewhere")
        site.put("passport-4711.png", photo(colour(2)))
        run.until(lambda: "source" in run.unready(), "the missing sink was not noticed")
        recording.record("without a sink", run=run)
        (site.top / "elsewhere").rename(sink)
        site.s3.refuse_all = DENIED
        ref = ImageRef("passport-4711.again.png", "0123456789abcdef", 100)
        assert posted(watch, token, encode_arrival(f"{site.places[0]}/", ref)).status_code in (204, 503)
        work.until(lambda: "images" in work.unready(), "the denied read was not noticed")
        watch.until(lambda: "source" in watch.unready(), "the denied listing was not noticed")
        run.until(lambda: "source" in run.unready(), "the denied listing was not noticed")
        recording.record("denied", **daemons)
        run_with_wrong_passwords(site, recording)
    record_files(site, recording)
    return recording


def run_with_wrong_passwords(site: Site, recording: Recording) -> None:
    """Run commands while the bucket denies access and the broker refuses the password, or is unreachable."""
    right, wrong = (quote(SECRETS[name], safe="") for name in ("broker's password", "a wrong password"))
    denied = site.queue.replace(right, wrong)
    for command in ("status", "reconcile", "doctor"):
        words = state(site, command)
        recording.run("denied", command, *site.places, *words, ALPHADROP_QUEUE=denied, **site.variables)
    nowhere = site.queue.replace(f":{site.queue.rpartition(':')[2].partition('/')[0]}/", f":{free_port()}/")
    assert nowhere != site.queue
    recording.run("unreachable", "status", *site.places, ALPHADROP_QUEUE=nowhere, **site.variables)
    recording.run("misspelt", "work", *site.places, ALPHADROP_QUEUE=f"{site.queue}&x=1", **site.variables)
    log, port = site.top / "refused.log", free_port()
    options = (*site.places, "--http", f"127.0.0.1:{port}", *DEBUG, "--log-format", "text", "--model", "fake")
    variables = site.variables | {"ALPHADROP_QUEUE": denied}
    site.s3.refuse_all = None  # otherwise it would not get as far as the broker
    with daemon(*options, log=log, command="work", **variables):
        wait_until(lambda: b"ACCESS_REFUSED" in log.read_bytes(), STUCK, "it was not refused")
        late = "the page never reported it"  # a worker's log is ahead of its reports
        wait_until(lambda: "ACCESS_REFUSED" in page_of(port, "/readyz"), STUCK, late, pause=0.1)
        recording.pages |= {f"refused work {page}": page_of(port, page) for page in PAGES}


def page_of(port: int, page: str) -> str:
    """A page of a daemon that was started without `Daemon`."""
    return httpx.get(f"http://127.0.0.1:{port}{page}", trust_env=False, timeout=60).text


def state(site: Site, command: str) -> tuple[str, ...]:
    """The options for the state folder, and for the devices that `doctor` examines."""
    device = ("--devices", "cpu") if command == "doctor" else ()
    return ("--state", str(site.top / "state"), *device)


def record_files(site: Site, recording: Recording) -> None:
    """Record every file, and every object with its metadata."""
    files = (path for path in site.top.rglob("*") if path.is_file())
    recording.other |= {f"file {path.relative_to(site.top)}": path.read_bytes() for path in files}
    client: Any = site.moto.client()
    for entry in client.list_objects_v2(Bucket=site.bucket)["Contents"]:
        answer = client.get_object(Bucket=site.bucket, Key=entry["Key"])
        with closing(answer["Body"]) as body:
            recording.other[f"object {entry['Key']}"] = str(answer["Metadata"]).encode() + body.read()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_secret_is_ever_shown_and_no_image_name_is_on_a_page(recording: Recording) -> None:
    require_complete_recording(recording)
    said = recording.other | {page: text.encode() for page, text in recording.pages.items()}
    for name, secret in SECRETS.items():
        assert [where for where, text in said.items() for form in forms(secret) if form in text] == [], name
    assert [page for page, text in recording.pages.items() if any(key in text for key in KEYS)] == []
    require_pages_say_what_is_wrong(recording.pages)


def require_complete_recording(recording: Recording) -> None:
    """The log does contain names of images and errors; otherwise the search would prove nothing."""
    said = recording.other
    assert len(said) > 25 and len(recording.pages) > 25
    assert {page.partition(" ")[0] for page in recording.pages} == {"well", "without", "denied", "refused"}
    assert b"portrait-of-jane.png" in said["file run-daemon/log.jsonl"]
    assert b"passport-4711.again.png: refused (403)" in said["file work-daemon/log.jsonl"]
    assert b"403" in said["file watch-daemon/log.jsonl"]
    assert b"not-a-picture" in said["object out/_failed/not-a-picture.jpg.json"]
    assert b"watcher.worker.process" in said["well work processes"]
    assert (
        b"notify_failed" in said["file work-daemon/log.jsonl"] and b"notify_failed" in said["file run-daemon/log.jsonl"]
    )
    assert b"does not listen" in said["well doctor"]
    assert b"ACCESS_REFUSED" in said["denied doctor"] and b"ACCESS_REFUSED" in said["denied status"]
    assert b"parameters other than" in said["misspelt work"] and b"refused" in said["unreachable status"]


def require_pages_say_what_is_wrong(pages: dict[str, str]) -> None:
    """`/readyz` says what is wrong even without names."""
    assert '"part":"source","reason":"the folder or bucket does not exist' in pages["without a sink run /readyz"]
    assert '"part":"images","reason":"' in pages["denied work /readyz"]
    assert "allow s3:GetObject" in pages["denied work /readyz"]
    assert "403" in pages["denied watch /readyz"]  # with AccessDenied, where it was not a HEAD
    assert "ACCESS_REFUSED" in pages["refused work /readyz"]
