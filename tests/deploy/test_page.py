"""docs/deploy.md is followed line by line, as far as that goes without a cluster, and what comes of it is looked at."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from botocore.configloader import raw_config_parse

from scripts.manifests import MANIFESTS, OVERLAYS, Manifest, ManifestsFailed, schema_problems
from tests.deploy.overlays import Pods, check_references, kind, one, pods_of, quantity, strings
from tests.equipment.account import REGION, Account, account
from tests.equipment.pages import blocks, prose
from tests.equipment.support import ROOT
from watcher.config.preflight import check_settings
from watcher.core.jobs import Mode

PAGE = ROOT / "docs" / "deploy.md"
SHIM = '#!/bin/sh\nPYTHONPATH="{root}" KUBECTL="{kubectl}" exec "{python}" -m tests.deploy.kubectl "$@"\n'
PLACEHOLDERS = ("123456789012", "my-product-photos", "eu-central-1")
"""What stands in our own overlays for names of a user's."""
OwnOverlay = Callable[..., list[Manifest]]


class Terminal:
    """A shell in which the page's blocks are pasted, with a checkout around it."""

    def __init__(self, folder: Path, owner: Account | None = None) -> None:
        self.folder, self._owner = folder, owner
        self.shell = owner.shell if owner else Account(folder, 0).shell
        (folder / "bin").mkdir()
        shim = folder / "bin" / "kubectl"
        shim.write_text(SHIM.format(root=ROOT, kubectl=shutil.which("kubectl"), python=sys.executable))
        shim.chmod(0o755)
        self.shell(f'export PATH="{folder}/bin:$PATH" CLUSTER="{folder}/cluster.jsonl"')

    def paste(self, label: str) -> None:
        """All blocks with a label, in order."""
        found = [block.text for block in blocks(PAGE, "bash") if block.label == label]
        assert found
        for text in found:
            self.shell(text)

    def add(self, text: str) -> None:
        """The one addition to the overlay that holds a text, which is then applied."""
        [found] = [block.text for block in blocks(PAGE, "bash") if block.label == "add" and text in block.text]
        self.shell(f"{found}kubectl apply -k shop")

    @property
    def objects(self) -> list[Manifest]:
        """What has been applied."""
        lines = (self.folder / "cluster.jsonl").read_text("utf-8").splitlines()
        found = {(m["kind"], m["metadata"]["name"]): m for m in map(json.loads, lines)}
        return list(found.values())


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "administrator.json").write_text("{}")
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    return Terminal(tmp_path)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as found:
        yield found


def test_every_block_that_can_be_run_is():
    assert {block.label for block in blocks(PAGE, "bash")} == {
        "dev",
        "folder",
        "aws",
        "broker",
        "rabbitmq",
        "backfill",
        "after",
        "add",
        "volume",
        "monitoring",
    }


def test_every_overlay_and_component_is_explained():
    explained = set(re.findall(r"^\| `([\w-]+)` \|", prose(PAGE), re.MULTILINE))
    assert {path.name for path in (MANIFESTS / "components").iterdir()} <= explained
    assert set(re.findall(r"^\| \[([\w-]+)\]", prose(PAGE), re.MULTILINE)) == set(OVERLAYS)


def test_the_table_says_which_overlay_has_which_component():
    stated = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]*)\|", prose(PAGE), re.MULTILINE))
    found = {name: components(MANIFESTS / "overlays" / name) for name in OVERLAYS}
    for path in (MANIFESTS / "components").iterdir():
        cell = (
            set(OVERLAYS) if stated[path.name].strip() == "all" else set(re.findall(r"`([\w-]+)`", stated[path.name]))
        )
        assert cell == {name for name in OVERLAYS if path.name in found[name]}, path.name


def components(folder: Path) -> set[str]:
    """The names of the components that a kustomization uses, also through its bases."""
    content = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    used = [folder / line for line in content.get("components", [])]
    bases = [folder / line for line in content.get("resources", []) if (folder / line).is_dir()]
    return {path.name for path in used}.union(*map(components, used + bases))


def test_the_overlay_to_try_it(terminal: Terminal):
    terminal.paste("dev")
    look_at(terminal.objects)


def test_the_overlay_for_one_machine_with_one_gpu(terminal: Terminal):
    terminal.paste("folder")
    look_at(terminal.objects)
    [pods] = pods_of(terminal.objects)
    assert pods.container["image"] == "registry.example/alphadrop:0.1.0-cuda"
    assert (pods.gpus, pods.settings().devices) == (1, "cuda:0")


def test_a_pod_with_two_gpus_has_cores_and_memory_for_two(terminal: Terminal):
    terminal.paste("folder")
    [single] = pods_of(terminal.objects)
    terminal.add("nvidia.com~1gpu, value: 2")
    [pods] = pods_of(terminal.objects)
    assert (pods.gpus, pods.settings().devices) == (2, "cuda:0,cuda:1")
    [planned] = re.findall(r"Memory is (\d+) GiB for each GPU", prose(PAGE))
    for bound in ("requests", "limits"):
        one_gpu, two_gpus = single.container["resources"][bound], pods.container["resources"][bound]
        assert quantity(one_gpu["memory"]) == int(planned) * 2**30
        assert all(quantity(two_gpus[name]) == 2 * quantity(one_gpu[name]) for name in ("cpu", "memory"))


# Additions to one's own overlay.


@pytest.mark.parametrize(("overlay", "more"), [("rabbitmq", ()), ("folder", ("volume", "monitoring"))])
def test_an_overlay_keeps_what_it_has_whatever_is_added(overlay: str, more: tuple[str, ...], terminal: Terminal):
    terminal.shell("true", PASSWORD="p", KEDA_PASSWORD="k", WATCH_SECRET="w", WORK_SECRET="w")
    terminal.paste(overlay)
    before = {pods.name: pods.settings() for pods in pods_of(terminal.objects)}
    for label in ("add", *more):
        terminal.paste(label)
    terminal.shell("kubectl apply -k shop")
    objects = terminal.objects
    look_at(objects)
    for pods in pods_of(objects):
        settings, old = pods.settings(), before[pods.name]
        assert (settings.source, settings.s3_endpoint) == (old.source, old.s3_endpoint)
        assert settings.model == "isnet-general-use"
        if pods.command != "watch":
            assert pods.spec["priorityClassName"] == "alphadrop-cutouts"
            assert pods.spec["nodeSelector"]["nvidia.com/gpu.product"] == "NVIDIA-L40S"
    hosts = {ingress["spec"]["rules"][0]["host"] for ingress in kind(objects, "Ingress")}
    assert hosts == {"events.shop.example", "cutouts.shop.example"}
    drains = {(pods.spec["terminationGracePeriodSeconds"], pods.settings().drain) for pods in pods_of(objects)}
    assert drains == {(25, 15)}
    [claim] = [claim for claim in kind(objects, "PersistentVolumeClaim") if claim["metadata"]["name"] == "models"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    for pods in pods_of(objects) if "volume" in more else ():
        assert pods.may_write(str(pods.settings().source_path))
    assert kind(objects, "PodMonitor") and kind(objects, "PrometheusRule")


def test_the_comparison_is_resumed_and_images_are_pinned_by_their_digests(terminal: Terminal):
    terminal.shell("true", PASSWORD="p", KEDA_PASSWORD="k", WATCH_SECRET="w", WORK_SECRET="w")
    terminal.paste("rabbitmq")
    terminal.add("/spec/suspend")
    terminal.add("containers/0/image")
    assert kind(terminal.objects, "CronJob")[0]["spec"]["suspend"] is False
    assert Counter(images(terminal.objects)) == {
        "registry.example/alphadrop@sha256:(of work)": 1,
        "registry.example/alphadrop@sha256:(of watch)": 2,
    }


@pytest.mark.parametrize("key", ["patches", "images", "configMapGenerator", "resources"])
def test_an_addition_is_refused_where_another_key_follows_the_list(key: str, terminal: Terminal, tmp_path: Path):
    terminal.paste("folder")
    with (tmp_path / "shop" / "kustomization.yaml").open("a") as file:
        file.write(f"{key}:\n")
    with pytest.raises(AssertionError, match=r"invalid Kustomization|expected kind"):
        terminal.add("/spec/suspend")


@pytest.mark.parametrize("name", ["aws-sqs", "onprem-rabbitmq"])
def test_a_component_that_an_overlay_has_already_is_refused(name: str, own_overlay: OwnOverlay):
    with pytest.raises(ManifestsFailed, match="namespace transformation produces ID conflict"):
        own_overlay(name, components=["../deploy/k8s/components/networkpolicy"])


def test_the_backfill(terminal: Terminal):
    terminal.paste("backfill")
    [job] = kind(terminal.objects, "Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/alphadrop:0.1.0-cuda" and container["args"] == ["once"]
    settings = one(terminal.objects, "ConfigMap", container["envFrom"][0]["configMapRef"]["name"])["data"]
    assert settings["ALPHADROP_SOURCE"] == "s3://photos/2016"
    assert list(schema_problems(terminal.objects, "1.34")) == []


@pytest.mark.slow
def test_the_overlay_for_aws(owner: Account):
    terminal = Terminal(owner.folder, owner)
    names = {"BUCKET": "photos-of-a-test", "QUEUE": "cutouts", "ACCOUNT": "111122223333", "ISSUER": "oidc.example/id/1"}
    terminal.shell("mkdir -p filled", AWS_DEFAULT_REGION=REGION, **names)
    terminal.paste("aws")
    objects = terminal.objects
    look_at(objects)
    terminal.shell("true", NODE="gpu-1", POD="alphadrop-work-1")
    terminal.paste("after")
    # Additions leave the patches with the user's region and roles
    terminal.paste("add")
    terminal.shell("kubectl apply -k shop")
    objects = terminal.objects
    # The settings are the user's
    for pods in pods_of(objects):
        settings = pods.settings()
        assert settings.source == "s3://photos-of-a-test/in"
        assert settings.queue == f"https://sqs.{REGION}.amazonaws.com/111122223333/cutouts"
    assert kind(objects, "ScaledObject")[0]["spec"]["triggers"][0]["metadata"]["awsRegion"] == REGION
    # And the roles that the service accounts name are there, for them alone
    for half in ("watch", "work"):
        role = owner.client("iam").get_role(RoleName=f"alphadrop-{half}")["Role"]
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"]["Federated"] == "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/1"
        account_of = one(objects, "ServiceAccount", f"alphadrop-{half}")
        assert trust["Condition"]["StringEquals"]["oidc.example/id/1:sub"] == (
            f"system:serviceaccount:{account_of['metadata']['namespace']}:{account_of['metadata']['name']}"
        )
        arn = account_of["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        assert arn == f"arn:aws:iam::111122223333:role/{role['RoleName']}"


def test_the_overlay_for_machines_of_ones_own(terminal: Terminal, tmp_path: Path):
    passwords = {"PASSWORD": "p%2Fq", "KEDA_PASSWORD": "k", "WATCH_SECRET": "watching", "WORK_SECRET": "working"}
    terminal.shell("true", **passwords)
    terminal.paste("rabbitmq")
    objects = terminal.objects
    look_at(objects)
    terminal.shell("true", NODE="gpu-1", POD="alphadrop-work-1")
    terminal.paste("after")
    # The Secrets hold what pods and KEDA read
    config = tmp_path / "alphadrop.toml"
    config.write_text(secret(objects, "alphadrop-queue")["alphadrop.toml"])
    for pods in pods_of(objects):
        settings = pods.settings(config)
        assert (
            settings.queue == "amqp://alphadrop:p%2Fq@rabbit.example/alphadrop?queue=alphadrop&exchange=bucket-events"
        )
        keys = tmp_path / "credentials"
        keys.write_text(secret(objects, f"alphadrop-{pods.command}-s3")["credentials"])
        assert raw_config_parse(str(keys))["default"] == {
            "aws_access_key_id": f"alphadrop-{pods.command}",
            "aws_secret_access_key": passwords[f"{pods.command.upper()}_SECRET"],
        }
    host, queue = urlsplit(secret(objects, "alphadrop-keda")["host"]), urlsplit(settings.queue)
    assert (host.scheme, host.hostname, host.path, host.username) == ("http", queue.hostname, queue.path, "keda")
    # Which lie in files that are gone
    assert not (tmp_path / "secrets").exists()


def look_at(objects: list[Manifest]) -> None:
    """What was applied fits together, is complete and the user's."""
    manifests = [manifest for manifest in objects if manifest["kind"] != "Secret"]
    assert list(schema_problems(objects, "1.34")) == []
    check_references(manifests)
    assert not [text for text in strings(manifests) for name in PLACEHOLDERS if name in text]
    for pods in pods_of(objects):
        settings = pods.settings()
        if settings.source_path is None:
            check_settings(settings, Mode(pods.command))
        check_secrets(pods, objects)
    for authentication in kind(objects, "TriggerAuthentication"):
        for target in authentication["spec"].get("secretTargetRef", []):
            assert target["key"] in secret(objects, target["name"])


def check_secrets(pods: Pods, objects: list[Manifest]) -> None:
    """Each Secret that is mounted has been made, with the file that the environment names."""
    for name in ("ALPHADROP_CONFIG", "AWS_SHARED_CREDENTIALS_FILE"):
        if name in pods.environment:
            path = Path(pods.environment[name])
            mount = pods.mount_of(str(path))
            assert mount is not None and mount["mountPath"] == str(path.parent)
            assert path.name in secret(objects, mount["secret"]["secretName"])


def secret(objects: list[Manifest], name: str) -> dict[str, str]:
    data = one(objects, "Secret", name)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_an_image_is_pinned_by_its_digest(own_overlay: OwnOverlay):
    [lines] = [block.text for block in blocks(PAGE, "yaml") if "digest: sha256:" in block.text]
    [pods] = pods_of(own_overlay("single-node-folder", **yaml.safe_load(lines)))
    assert re.fullmatch(r"registry\.example/alphadrop@sha256:\w{64}", pods.container["image"])


def test_the_init_container_that_fetches_models_is_pinned_where_the_page_says(own_overlay: OwnOverlay):
    [path] = re.findall(r"`(/spec/\S+initContainers\S+)`", prose(PAGE))
    target = {"kind": "Deployment", "labelSelector": "app.kubernetes.io/component=run"}
    patch = json.dumps([{"op": "replace", "path": path, "value": "pinned"}])
    models = "../deploy/k8s/components/models"
    objects = own_overlay("cpu-dev", components=[models], patches=[{"target": target, "patch": patch}])
    assert "pinned" in images(objects)


def images(manifest: object) -> list[str]:
    """The image of every container in these objects, wherever it stands."""
    if isinstance(manifest, list):
        return [image for part in manifest for image in images(part)]
    if not isinstance(manifest, dict):
        return []
    own = [str(manifest["image"])] if "image" in manifest and "name" in manifest else []
    return own + [image for part in manifest.values() for image in images(part)]


def test_the_table_of_sizes_is_what_its_formula_gives():
    text = prose(PAGE)
    per_core, per_gpu, megabytes = (
        float(re.search(pattern, text)[1])  # type: ignore[index]
        for pattern in (r"\| cores \| (\d+) images", r"\| GPU \| (\d+) images", r"\| bandwidth \| (\d+) MB")
    )
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for day, *cells in rows:
        rate = int(day.replace(",", "")) / 28_800 * 3
        gpus = math.ceil(rate / per_gpu)
        cores = max(math.ceil(rate / per_core), 2 * gpus)
        assert cells == [f"{rate:.1f}", str(gpus), str(cores), f"{rate * megabytes * 8 / 1000:.2f}"], day
