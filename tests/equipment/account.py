"""An AWS account for one test: moto with permissions enforced, and a shell with the AWS CLI in it."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

import boto3

from tests.equipment.moto import CREDENTIALS, STARTED
from tests.equipment.rabbit import free_port
from tests.equipment.support import ROOT, clean_environment, wait_until

REGION = "eu-central-2"
"""One for which the CLI has no address of its own for SQS: elsewhere that goes before AWS_ENDPOINT_URL."""
_STATE = "state.sh"
_KEY_OWNER = re.compile(r"Credential=([^/]+)/")


@dataclass(frozen=True)
class Used:
    """A permission that a request has used, as policies name it."""

    action: str
    resource: str
    """Of S3 `bucket` or `bucket/key`, of SQS the queue's name."""


@dataclass(frozen=True)
class Account:
    """One account, whose services are all at `endpoint`."""

    folder: Path
    """The shell's working folder."""
    port: int

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """An environment in which boto3 and the CLI find this account, with the keys of its administrator."""
        files = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}
        return {
            **CREDENTIALS,
            **{name: str(self.folder / file) for name, file in files.items()},
            **json.loads((self.folder / "administrator.json").read_text()),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def client(self, service: str) -> Any:
        """A client with the administrator's keys."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        key, secret = (self.variables[name] for name in names)
        session = boto3.session.Session(key, secret, region_name=REGION)
        return session.client(service, endpoint_url=self.endpoint)

    def shell(self, text: str, **variables: str) -> str:
        """Run commands in the same terminal as earlier ones, and return what they print. Fails if one of them fails.

        `variables` are what the user would choose otherwise.
        """
        state = self.folder / _STATE
        before = f". ./{_STATE}\n" if state.exists() else ""
        chosen = "".join(f"export {name}={value}\n" for name, value in variables.items())
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{before}{text}\n{chosen}export -p > {_STATE}"],
            cwd=self.folder,
            env=clean_environment(**self.variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, line: str, **variables: str) -> Iterator[Path]:
        """Run a daemon by a line for a terminal of its own; yields its log. The daemon must end gracefully."""
        log = self.folder / f"{secrets.token_hex(4)}.jsonl"
        with log.open("wb") as lines:
            daemon = subprocess.Popen(
                ["bash", "-euc", f". ./{_STATE}\nexec {line}"],
                cwd=self.folder,
                env=clean_environment(**self.variables, **variables),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
            )
        with daemon:
            try:
                yield log
                daemon.terminate()
                assert daemon.wait(STARTED) == 0, log.read_text()
            finally:
                daemon.kill()

    def used(self, user: str) -> set[Used]:
        """The permissions that requests with a user's key have used."""
        keys = self.client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
        lines = (self.folder / "requests.jsonl").read_text().splitlines()
        return {_used(entry) for line in lines if _owner(entry := json.loads(line)) == keys[0]["AccessKeyId"]}


@contextmanager
def account(folder: Path) -> Iterator[Account]:
    """A new, empty account until the end of the block. Its administrator may do everything, others what policies allow.

    Policies of users are enforced, but for conditions, and those of queues are not at all: moto does not know them. It
    takes the names of requests for those of actions, too: `iam_names` makes up for that.
    """
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "administrator.json").write_text("{}")
    found = Account(folder, free_port())
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(found.port)],
        env={**os.environ, **CREDENTIALS, "MOTO_RECORDER_FILEPATH": str(folder / "requests.jsonl")},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_until(lambda: _answers(found), STARTED, "moto's server did not start")
            _make_administrator(found)
            _post(found, "reset-auth", b"0")
            _post(found, "recorder/start-recording", b"")
            yield found
        finally:
            server.kill()


def iam_names(policy: str) -> str:
    """The same policy with moto's names for the actions that it allows."""
    document = json.loads(policy)
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        batches = [f"{action}Batch" for action in actions if action.startswith("sqs:")]
        heads = ["s3:HeadBucket"] if "s3:ListBucket" in actions else []
        statement["Action"] = actions + batches + heads
    # Asked for a queue's address, moto does not know which queue it is about.
    document["Statement"].append({"Effect": "Allow", "Action": "sqs:GetQueueUrl", "Resource": "*"})
    return json.dumps(document)


def _make_administrator(found: Account) -> None:
    iam = found.client("iam")
    iam.create_user(UserName="administrator")
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="administrator", PolicyName="all", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName="administrator")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    (found.folder / "administrator.json").write_text(json.dumps(keys))


def _post(found: Account, page: str, body: bytes) -> None:
    with urlopen(Request(f"{found.endpoint}/moto-api/{page}", body, {"Content-Type": "text/plain"})) as answer:
        answer.read()


def _answers(found: Account) -> bool:
    with suppress(OSError), urlopen(f"{found.endpoint}/moto-api/data.json") as answer:
        return bool(answer.status == 200)
    return False


def _owner(entry: dict[str, Any]) -> str:
    match = _KEY_OWNER.search(entry["headers"].get("Authorization", ""))
    return match[1] if match else ""


def _used(entry: dict[str, Any]) -> Used:
    target = entry["headers"].get("X-Amz-Target", "")
    if target.startswith("AmazonSQS."):
        return _used_of_queue(entry, target.removeprefix("AmazonSQS.").removesuffix("Batch"))
    parts = urlsplit(entry["url"])
    place = unquote(parts.path).lstrip("/")
    bucket, slash, key = place.partition("/")
    if not slash or not key:
        return Used("s3:GetBucketNotification" if "notification" in parts.query else "s3:ListBucket", bucket)
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}[entry["method"]]
    return Used(f"s3:{verb}Object" + ("Tagging" if "tagging" in parse_qs(parts.query, True) else ""), place)


def _used_of_queue(entry: dict[str, Any], action: str) -> Used:
    body = base64.b64decode(entry["body"]) if entry["body_encoded"] else entry["body"]
    said = json.loads(body or b"{}")
    name = said.get("QueueName") or said["QueueUrl"].rpartition("/")[2]
    return Used(f"sqs:{action}", name)
