"""The pages are true: commands parse, names exist, and what is to be pasted on AWS works when it is pasted.

The real AWS CLI runs it, since a stand-in of ours would not know which options there are. Permissions are enforced by
moto but for their conditions: whether the queue's policy lets the bucket in, and nobody else, is read by people alone.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template

import pika
import pytest

from tests.contract.brokers import receive
from tests.equipment.account import REGION, Account, Used, account, iam_names
from tests.equipment.pages import ALL, USERS, anchors, blocks, code, commands, links
from tests.equipment.pictures import photo
from tests.equipment.rabbit import Rabbit
from tests.equipment.support import ROOT, STUCK, log_events, wait_until
from watcher import cli
from watcher.aws.clients import AwsOptions
from watcher.config.flags import PUBLIC
from watcher.config.load import load_settings
from watcher.config.preflight import check_settings
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import Denied
from watcher.fleet.devices import require_devices
from watcher.queues.brokers import open_broker
from watcher.sources.events import parse
from watcher.telemetry.metrics import Metrics
from watcher.web.app import INDEX

AWS, ONPREM = ROOT / "docs" / "aws.md", ROOT / "docs" / "onprem.md"
OBSERVABILITY = ROOT / "docs" / "observability.md"
POLICIES = {half: ROOT / "deploy" / "aws" / f"{half}-policy.json" for half in ("watch", "work")}
QUICK = {
    "ALPHADROP_RESCAN": "2",
    "ALPHADROP_MODEL": "fake:delay=1.5",  # longer than a third of the visibility, so that messages must be extended
    "ALPHADROP_VISIBILITY": "2",
    "ALPHADROP_DEVICES": "cpu",
    "ALPHADROP_HTTP": "127.0.0.1:0",
    "ALPHADROP_LOG_FORMAT": "json",
}


# What stands there.


@pytest.mark.parametrize("page", USERS, ids=lambda page: page.name)
def test_every_command_is_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # where no alphadrop.toml lies
    for words in commands(page):
        if "--help" in words:
            continue
        args = cli.build_parser().parse_args(words)
        if hasattr(args, "source") and hasattr(args, "sink"):
            queue = {"ALPHADROP_QUEUE": "sqs://alphadrop"} if "queue" in words and "--queue" not in words else {}
            settings = load_settings(args, environ={"ALPHADROP_EVENTS_TOKEN": "secret", **queue})
            if settings.source_path is None:
                check_settings(settings)


@pytest.mark.parametrize("page", USERS, ids=lambda page: page.name)
def test_every_file_of_settings_is_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "toml"):
        Path("alphadrop.toml").write_text(block.text, "utf-8")
        load_settings([], environ={})


def test_the_readmes_file_of_settings_serves_the_page_on_a_machine_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    [block] = blocks(ROOT / "README.md", "toml")
    Path("alphadrop.toml").write_text(block.text, "utf-8")
    Path("photos").mkdir()
    settings = load_settings(cli.build_parser().parse_args(["run", "--page"]), environ={})
    check_settings(settings)
    require_devices(settings.devices, ask=lambda: 0)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


@pytest.mark.parametrize("page", USERS, ids=lambda page: page.name)
def test_every_setting_metric_and_file_exists(page: Path):
    text = page.read_text("utf-8")
    variables = {f"ALPHADROP_{name.upper()}" for name in Settings.model_fields} | {"ALPHADROP_CONFIG"}
    assert set(re.findall(r"ALPHADROP_[A-Z0-9_]+", text)) <= variables
    assert set(re.findall(r"\balphadrop_[a-z_]+", text)) <= set(_series())
    ours = [piece for piece in code(page) if piece.startswith(("--", "alphadrop"))]
    flags = {word for piece in ours for word in piece.split() if word.startswith("--")}
    assert {flag.partition("=")[0] for flag in flags} <= _flags()
    for piece in code(page):
        if re.fullmatch(r"(watcher|inference|tests|scripts|docs|deploy)/[\w./-]*", piece):
            assert (ROOT / piece).exists(), piece


def test_every_setting_of_buckets_is_explained():
    text = "".join(page.read_text("utf-8") for page in USERS)
    named = [name for name in PUBLIC if re.match("(sink_)?s3_|events|queue|after|visibility", name)]
    assert [name for name in named if f"--{name.replace('_', '-')}" not in text] == []


def test_every_part_of_the_watcher_is_on_the_map():
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    parts = [path for path in (ROOT / "watcher").iterdir() if not path.name.startswith(("_", "testing", "py.typed"))]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in parts]
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def _series() -> Iterator[str]:
    for family in Metrics().registry.collect():
        yield family.name
        yield from (f"{family.name}_{ending}" for ending in ("total", "info", "bucket", "sum", "count"))


def _flags() -> set[str]:
    """Every flag of every command."""
    actions = cli.build_parser()._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
    return {flag for parser in actions for action in parser._actions for flag in action.option_strings}


def test_the_pages_of_the_server_are_those_that_are_named():
    served = set(re.findall(r"^/\w+", INDEX, re.MULTILINE)) | {"/events"}
    named = {piece for page in USERS for piece in code(page) if re.fullmatch(r"/[a-z]+z?", piece)}
    assert named - {"/"} <= served


# What is to be pasted.


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as found:
        yield found


def pasted(owner: Account, until: str) -> None:
    """The page's blocks in order, to the first that holds a text, with names for a test."""
    names = {"AWS_DEFAULT_REGION": REGION, "BUCKET": "photos-of-a-test"}
    for block in blocks(AWS, "bash"):
        if until in block.text:
            return
        if not block.label:
            owner.shell(block.text, **(names if "export BUCKET=" in block.text else {}))
    raise AssertionError(f"no block holds {until}")


def block_with(text: str) -> str:
    """The one block that holds a text."""
    [block] = [block.text for block in blocks(AWS, "bash", "sh") if text in block.text]
    return block


def events(log: Path, name: str) -> list[dict[str, object]]:
    return [event for event in log_events(log.read_text("utf-8")) if event["event"] == name]


def keys(owner: Account, prefix: str) -> set[str]:
    found = owner.client("s3").list_objects_v2(Bucket="photos-of-a-test", Prefix=prefix).get("Contents", ())
    return {entry["Key"] for entry in found}


def put(owner: Account, key: str, body: bytes) -> None:
    owner.client("s3").put_object(Bucket="photos-of-a-test", Key=key, Body=body)


def send(owner: Account, body: str) -> None:
    sqs = owner.client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="alphadrop")["QueueUrl"], MessageBody=body)


def event_of(key: str, etag: str, size: int = 9) -> str:
    """What S3 says of a new object; of size 0 it leaves open what is there."""
    object_ = {"key": key, "eTag": etag, "size": size}
    record = {"eventName": "ObjectCreated:Put", "eventSource": "aws:s3"}
    return json.dumps({"Records": [record | {"s3": {"bucket": {"name": "photos-of-a-test"}, "object": object_}}]})


def allow(owner: Account, half: str, policy: str) -> None:
    """Give a user's policy to moto, in its words."""
    owner.client("iam").put_user_policy(
        UserName=f"alphadrop-{half}", PolicyName="alphadrop", PolicyDocument=iam_names(policy)
    )


def granted(half: str) -> set[Used]:
    """Actions and patterns of resources."""
    policy = json.loads((ROOT / "deploy" / "aws" / f"{half}-policy.json").read_text())
    values = {"BUCKET": "photos-of-a-test", "QUEUE": "alphadrop"}
    found = set()
    for statement in policy["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}  # no condition, which nothing here checks
        for action in _listed(statement["Action"]):
            for arn in _listed(statement["Resource"]):
                place = re.sub("BUCKET|QUEUE", lambda match: values[match[0]], arn.rpartition(":")[2])
                found.add(Used(action, place))
    return found


def _asks_coverage(bucket: str, key: str) -> str:
    """The command that asks an object of how much it shows, for that one."""
    lines = [line for block in blocks(OBSERVABILITY, "sh") for line in block.text.splitlines()]
    (line,) = [line for line in lines if "head-object" in line]
    return line.replace("--bucket shop", f"--bucket {bucket}").replace("out/shoes/a.png", key)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def matches(used: Used, grant: Used) -> bool:
    return used.action == grant.action and fnmatchcase(used.resource, grant.resource)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_for_aws_works_as_it_is_pasted_and_its_policies_are_the_least(owner: Account):
    # Given all that the page makes before anything runs, and an image from before there were events
    pasted(owner, until="get-bucket-notification-configuration")
    put(owner, "in/before.png", photo("before.png"))
    (owner.folder / "photo.jpg").write_bytes(photo("photo.jpg"))
    for text in ("get-bucket-notification-configuration", "file://filled/notification.json", "create-user"):
        owner.shell(block_with(text))
    for half, path in POLICIES.items():
        policy = owner.client("iam").get_user_policy(UserName=f"alphadrop-{half}", PolicyName="alphadrop")
        filled = json.dumps(policy["PolicyDocument"])
        assert path.read_text().count('"Action"') == filled.count('"Action"')
        allow(owner, half, filled)

    # When the doctor looks, a worker starts and an image is copied
    assert "TO DO" not in owner.shell(block_with("alphadrop doctor"))
    with owner.running(block_with("alphadrop work"), **QUICK) as work:
        owner.shell(block_with("aws s3 cp"))
        wait_until(lambda: "out/shoes/photo.png" in keys(owner, "out/"), STUCK, "no cut-out came")
        assert 0.1 < float(json.loads(owner.shell(_asks_coverage("photos-of-a-test", "out/shoes/photo.png")))) < 0.9
        # and `watch` finds what was there before
        with owner.running(block_with("alphadrop watch"), **QUICK) as watch:
            wait_until(lambda: "out/before.png" in keys(owner, "out/"), STUCK, "no old image was found")
            # and everything else happens that takes a permission
            put(owner, "in/broken.jpg", b"no picture")
            send(owner, event_of("in/shoes/photo.jpg", "0" * 32))
            send(owner, event_of("in/gone.jpg", "", 0))
            send(owner, "no event at all")
            put(owner, "in/mended.jpg", b"no picture yet")
            records = {f"out/_failed/{name}.jpg.json" for name in ("broken", "mended")}
            wait_until(lambda: keys(owner, "out/_failed/") == records, STUCK, "no record came")
            put(owner, "in/mended.jpg", photo("mended.jpg"))
            wait_until(lambda: len(keys(owner, "out/_failed/")) == 1, STUCK, "the record stayed")
            outcomes = {"written", "already_done", "stale", "rejected"}
            wait_until(lambda: {e["outcome"] for e in events(work, "image")} == outcomes, STUCK, "not all has ended")
            wait_until(lambda: events(work, "message_dead_lettered"), STUCK, "the message was not set aside")
            wait_until(lambda: any("recipe-" in key for key in keys(owner, "out/_alphadrop/")), STUCK, "no mark")
            said = owner.shell(block_with("alphadrop status"))
            assert "shoes/photo.png" in said
            assert "broken.jpg: not_a_picture" in said

    # Then nothing was denied, nothing was missing in the policies, and nothing in them was idle
    for log in (watch, work):
        assert '"denied"' not in log.read_text() and not events(log, "outage_began")
    for half in POLICIES:
        used, grants = owner.used(f"alphadrop-{half}"), granted(half)
        assert {use for use in used if not any(matches(use, grant) for grant in grants)} == set()
        assert {grant for grant in grants if not any(matches(use, grant) for use in used)} == set()

    # And all of it can be taken down
    owner.shell(block_with("aws s3 rb"))
    assert owner.client("s3").list_buckets()["Buckets"] == []
    assert owner.client("sqs").list_queues().get("QueueUrls", []) == []
    assert [user["UserName"] for user in owner.client("iam").list_users()["Users"]] == ["administrator"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_right_that_is_missing_is_seen_and_blames_no_image(owner: Account):
    # Given a worker that may write no outputs
    pasted(owner, until="alphadrop doctor")
    policy = (owner.folder / "filled" / "work-policy.json").read_text()
    less = json.loads(policy)
    [writing] = [statement for statement in less["Statement"] if statement["Action"] == "s3:PutObject"]
    writing["Resource"] = writing["Resource"].replace("/out/*", "/out/_alphadrop/*")
    allow(owner, "work", json.dumps(less))
    # When an image arrives
    with owner.running(block_with("alphadrop work"), **QUICK | {"ALPHADROP_MODEL": "fake"}) as work:
        put(owner, "in/a.jpg", photo("a.jpg"))
        # Then the log says what is wrong and where, and what to do
        wait_until(lambda: events(work, "outage_began"), STUCK, "no outage was seen")
        outage = events(work, "outage_began")[0]
        assert (outage["stage"], outage["reason"], outage["key"]) == ("put", "denied", "a.jpg")
        assert "allow it in the policy" in str(outage["problem"])
        # And the image waits until that is mended
        assert keys(owner, "out/") == set()
        allow(owner, "work", policy)
        wait_until(lambda: keys(owner, "out/") == {"out/a.png"}, STUCK, "it was not tried again")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sns", "eventbridge"])
def test_events_that_come_another_way_are_understood(owner: Account, way: str):
    # Given the queue, and the other way to it
    pasted(owner, until="queue-policy.json")
    [block] = [block for block in blocks(AWS, "bash") if block.label == way]
    owner.shell(block.text)
    # When an image is put
    put(owner, "in/shoes/a b.jpg", photo("a.jpg"))
    # Then the message that comes says so
    sqs = owner.client("sqs")
    url = sqs.get_queue_url(QueueName="alphadrop")["QueueUrl"]
    found = [message["Body"] for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]]
    events = [event for body in found for event in parse(body.encode())]
    assert [(event.bucket, event.key) for event in events] == [("photos-of-a-test", "in/shoes/a b.jpg")]


# On one's own machines.


@pytest.mark.slow
def test_the_users_of_rabbitmq_may_do_what_they_must_and_no_more(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch):
    # Given the users that the page makes
    words = {"PASSWORD": "secret", "STORE_PASSWORD": "hidden"}
    [block] = [block for block in blocks(ONPREM, "bash") if block.label == "rabbitmq"]
    rabbit.administer(block.text, **words)
    # When alphadrop connects for the first time, with the page's address
    [line] = [line for block in blocks(ONPREM, "sh") for line in block.text.splitlines() if "ALPHADROP_QUEUE=" in line]
    uri = shlex.split(Template(line).substitute(words))[1].partition("=")[2]
    here = uri.replace("rabbit.example", f"127.0.0.1:{rabbit.port}")
    opening = {"aws": AwsOptions(), "visibility": 60.0, "prefetch": 10, "counts": Counts()}
    with closing(open_broker(here, **opening)) as broker:  # type: ignore[arg-type]
        # Then it can send, take, acknowledge and set aside
        broker.send([b"one", b"two"])
        first, second = (*receive(broker, 1), *receive(broker, 1))
        assert broker.acknowledge([first]) == []
        broker.dead_letter(second)
        # And the store's events come through the exchange
        address = rabbit.url().replace("guest:guest", "store:hidden") + "alphadrop"
        with closing(pika.BlockingConnection(pika.URLParameters(address))) as connection:
            channel = connection.channel()
            channel.exchange_declare("bucket-events", "topic", durable=True)  # as MinIO does each time
            channel.confirm_delivery()
            channel.basic_publish("bucket-events", "photos", b"three", mandatory=True)
            # which can do nothing else
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
                channel.basic_get("alphadrop")
        [third] = receive(broker, 1)
        assert third.body == b"three"
    # And may not look into other queues
    elsewhere = here.replace("queue=alphadrop", "queue=other")
    with closing(open_broker(elsewhere, **opening)) as broker, pytest.raises(Denied):  # type: ignore[arg-type]
        broker.depth()


def test_the_policies_for_minio_are_those_for_s3_without_queues():
    for half in POLICIES:
        theirs = json.loads((ROOT / "deploy" / "minio" / f"{half}-policy.json").read_text())
        ours = json.loads(POLICIES[half].read_text())
        ours["Statement"] = [s for s in ours["Statement"] if not _listed(s["Action"])[0].startswith("sqs:")]
        assert theirs == ours


def test_the_policy_for_ceph_allows_both_users_what_those_for_minio_do():
    statements = json.loads((ROOT / "deploy" / "ceph" / "bucket-policy.json").read_text())["Statement"]
    for half in POLICIES:
        principal = {"AWS": [f"arn:aws:iam:::user/alphadrop-{half}"]}
        theirs = [s for s in statements if s["Principal"] == principal]
        ours = json.loads((ROOT / "deploy" / "minio" / f"{half}-policy.json").read_text())["Statement"]
        assert [(s["Action"], s["Resource"]) for s in theirs] == [(s["Action"], s["Resource"]) for s in ours]
        statements = [s for s in statements if s not in theirs]
    assert statements == []


@pytest.mark.slow
def test_what_is_to_be_pasted_for_ceph_is_what_sns_and_s3_take(owner: Account):
    """Amazon's CLI knows both requests; that Ceph takes them, `make onprem` tests."""
    names = ("aws_access_key_id", "aws_secret_access_key")
    profile = "".join(f"aws configure set --profile shop {name} ${name.upper()}\n" for name in names)
    owner.shell(f"{profile}aws s3 mb s3://photos", RGW=owner.endpoint, STORE_PASSWORD="secret")
    [block] = [block for block in blocks(ONPREM, "bash") if block.label == "ceph"]
    owner.shell(block.text.replace("arn:aws:sns:default::", f"arn:aws:sns:{REGION}:123456789012:"))
    found = owner.client("s3").get_bucket_notification_configuration(Bucket="photos")
    assert found["TopicConfigurations"][0]["Id"] == "alphadrop"
