"""What the Dockerfile promises, as far as it can be read; `make image` builds the images and tries the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from scripts.image_checks import constraints
from scripts.podman import RESTRICTED
from tests.equipment.dockerfile import DOCKERFILE, environment, image, last, stages
from tests.equipment.pages import blocks
from tests.equipment.support import ROOT, STUCK
from watcher.config.settings import Settings
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web.app import create_app
from watcher.web.server import HttpServer

TARGETS = ("watch", "cpu", "cuda")
WRITABLE = ("/tmp", "/var/cache/alphadrop", "/var/lib/alphadrop")
CACHES = ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH")
PAGE = ROOT / "docs" / "container.md"

each_target = pytest.mark.parametrize("target", TARGETS)


def below(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


@each_target
def test_it_runs_as_a_number_above_10000(target: str):
    user, group = last(target, "USER").rest.split(":")
    assert int(user) > 10_000 and int(group) > 10_000


@each_target
def test_an_init_is_its_first_process_and_hands_signals_on(target: str):
    words = last(target, "ENTRYPOINT").exec_form
    assert words == ["/usr/bin/tini", "--", "alphadrop"]
    assert any("install" in run.rest and " tini" in run.rest for run in image(target) if run.word == "RUN")


@each_target
def test_all_that_programs_write_of_themselves_is_below_what_is_mounted(target: str):
    variables = environment(target)
    assert {name: variables[name] for name in CACHES if not below(variables[name], WRITABLE)} == {}
    others = [value for name, value in variables.items() if name.endswith(("_DIR", "_HOME", "_PATH"))]
    assert [path for path in others if not below(path, (*WRITABLE, "/var/lib"))] == []


def test_queues_are_below_what_is_mounted(monkeypatch: pytest.MonkeyPatch):
    for name, value in environment("cpu").items():
        monkeypatch.setenv(name, value)
    settings = Settings(source="/photos", sink="/cutouts")
    assert settings.state_path.parent == Path("/var/lib/alphadrop")


@each_target
def test_what_is_mounted_is_there_for_every_user(target: str):
    [made] = [run.rest for run in image(target) if run.word == "RUN" and "install --directory" in run.rest]
    assert "--mode 1777" in made
    assert [folder for folder in WRITABLE if folder not in made] == ["/tmp"]


@each_target
def test_nothing_in_it_chooses_gpus_or_is_a_secret(target: str):
    named = [name for step in image(target) if step.word in ("ENV", "ARG", "LABEL") for name in step.pairs]
    assert [name for name in named if name.startswith("NVIDIA_")] == []
    assert [name for name in named if re.search("TOKEN|PASSWORD|SECRET|CREDENTIAL|_KEY", name.upper())] == []


@each_target
def test_settings_it_makes_are_settings(target: str):
    named = {name for name in environment(target) if name.startswith("ALPHADROP_")}
    assert named <= {f"ALPHADROP_{name.upper()}" for name in Settings.model_fields}
    port = environment(target)["ALPHADROP_HTTP"].rpartition(":")[2]
    assert last(target, "EXPOSE").rest == port


@each_target
def test_it_says_what_it_is(target: str):
    labels = last(target, "LABEL").pairs
    names = {name.removeprefix("org.opencontainers.image.") for name in labels}
    assert names >= {"title", "description", "licenses", "version", "revision", "base.name"}
    [version] = [arg.pairs["VERSION"] for arg in image(target) if arg.word == "ARG" and "VERSION" in arg.pairs]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text("utf-8")


@each_target
def test_images_hold_no_pip_and_no_source_but_the_installed(target: str):
    copies = [step.rest.split() for step in stages()[target].instructions]
    assert copies == [
        [f"--from={target}-packages", "/opt/alphadrop", "/opt/alphadrop"],
        ["--from=app", "/app", "/opt/alphadrop"],
    ]
    assert stages()[target].parent == "runtime"


def test_cuda_and_cpu_differ_in_where_torch_comes_from_and_in_the_build_of_onnxruntime():
    cuda, cpu = ([s.rest for s in stages()[f"{t}-packages"].instructions if s.word == "RUN"] for t in ("cuda", "cpu"))
    assert [cuda[1].replace("onnx-gpu.txt", "onnx.txt")] == cpu[1:] and len(cuda) == 2
    assert "onnx-gpu.txt" in cuda[1] and "torch===" in cuda[0] and "TORCH_INDEX" in cpu[0]


def test_torch_and_onnxruntime_are_for_the_same_cuda():
    """What onnxruntime-gpu 1.31 asks for in its metadata (extras `cuda` and `cudnn`) is what torch's build brings."""
    pins = constraints(str(ROOT / "constraints-image.txt"))
    assert pins["onnxruntime-gpu"].startswith("1.31.")
    wanted = {
        "nvidia-cuda-nvrtc": "13.",
        "nvidia-cuda-runtime": "13.",
        "nvidia-cufft": "12.",
        "nvidia-curand": "10.",
        "nvidia-cudnn-cu13": "9.",
    }
    assert [name for name, major in wanted.items() if not pins[name].startswith(major)] == []


def test_models_are_kept_below_what_is_mounted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("U2NET_HOME", environment("cpu")["U2NET_HOME"])
    assert below(str(Settings(source="/photos", sink="/cutouts").rembg_path), WRITABLE)


def test_what_is_copied_is_there_and_reaches_the_build():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    copied = [
        source
        for stage in stages().values()
        for step in stage.instructions
        if step.word == "COPY" and not step.rest.startswith("--from")
        for source in step.rest.split()[:-1]
    ]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert sorted(copied) == sorted(allowed)


def test_whatever_pip_installs_is_pinned():
    lines = [step.rest for stage in stages().values() for step in stage.instructions if "pip install" in step.rest]
    installs = [words for line in lines for words in line.split("&&") if "pip install" in words]
    assert len(installs) == 7
    assert [words for words in installs if "--constraint constraints-image.txt" not in words] == []
    pins = constraints(str(ROOT / "constraints-image.txt"))
    assert not set(pins) & set(constraints(str(ROOT / "constraints.txt")))


def test_hadolint_has_nothing_to_say():
    program = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, timeout=STUCK, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize(("state", "healthy"), [("alive", True), ("stuck", False), ("gone", False)])
def test_the_health_check_sees_whether_the_supervisor_comes_round(state: str, healthy: bool):
    # Given the daemon's own pages
    clock = {"alive": 0.0, "stuck": 1e6, "gone": 0.0}
    now = iter([0.0])
    health = Health(clock=lambda: next(now, clock[state]))
    server = HttpServer(create_app(Metrics(), health), "127.0.0.1", 0)
    server.start()
    if state == "gone":
        server.stop()
    # When the image's command asks them, in a place where all the rest goes through a proxy
    words = last("cpu", "HEALTHCHECK").exec_form
    assert words is not None
    variables = {"ALPHADROP_HTTP": f"0.0.0.0:{server.port}", "http_proxy": "http://127.0.0.1:1"}
    asked = subprocess.run([sys.executable, *words[1:]], env=variables, capture_output=True, timeout=STUCK, check=False)
    server.stop()
    # Then its exit code is Docker's for healthy, or for not
    assert asked.returncode == (0 if healthy else 1)


def test_the_page_asks_for_what_was_tried():
    """The flags of `make image`, but for the network, which a daemon with buckets needs."""
    [block] = [block.text for block in blocks(PAGE, "sh") if "--read-only" in block.text]
    flags = [flag for flag in RESTRICTED if flag not in ("--network=none", "--read-only-tmpfs=false")]
    assert [flag for flag in flags if flag not in block] == []
    mounted = re.findall(r"(?:--tmpfs=|:)(/[\w/]+)", block)
    assert [folder for folder in WRITABLE if not any(fnmatch(folder, path) for path in mounted)] == []
