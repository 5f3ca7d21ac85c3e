"""`watch` on a machine where torch was never installed: what `pip install alphadrop` brings is all there is."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.equipment.cluster import Cluster, new_sqs_queue
from tests.equipment.daemon import colour, photo
from tests.equipment.moto import moto_server
from tests.equipment.support import ROOT, STUCK, clean_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with alphadrop, without any extra."""
    top = tmp_path_factory.mktemp("lean")
    venv.create(top)  # our own pip installs into it, and compiles nothing: that saves seconds of CPU time
    pip = [sys.executable, "-m", "pip", "--python", str(top / "bin/python"), "install", "--quiet", "--no-compile"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"), "-e", str(ROOT)],
        check=True,
        timeout=STUCK,
    )
    return top / "bin"


def call(lean: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as that environment has it, outside of the project's folder."""
    environment = clean_environment(**variables)
    del environment["PYTHONPATH"]
    words = [str(lean / "alphadrop"), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=STUCK, cwd=lean, check=False)


def test_there_is_no_torch_and_no_safetensors(lean: Path) -> None:
    for name in ("torch", "safetensors"):
        tried = subprocess.run([lean / "python", "-c", f"import {name}"], cwd=lean, capture_output=True, check=False)
        assert b"ModuleNotFoundError" in tried.stderr


def test_watch_finds_images_and_a_worker_elsewhere_cuts_them_out(lean: Path, tmp_path: Path) -> None:
    moto = moto_server()
    queue = new_sqs_queue(moto)
    with Cluster(tmp_path, moto, f"sqs://{queue}") as cluster:
        cluster.client.put_object(Bucket=cluster.bucket, Key="in/a.png", Body=photo(colour(1)))
        places = [f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out"]
        environment = clean_environment(**moto.variables, ALPHADROP_QUEUE=cluster.queue)
        del environment["PYTHONPATH"]
        command = [str(lean / "alphadrop"), "watch", *places, "--model", "fake", "--http", "127.0.0.1:0"]
        with subprocess.Popen(command, cwd=lean, env=environment, stderr=subprocess.PIPE) as watch:
            try:
                cluster.work()
                wait_until(lambda: watch.poll() is not None or cluster.outputs(), STUCK, "nothing came", pause=0.2)
                assert watch.poll() is None, watch.stderr and watch.stderr.read().decode()
            finally:
                watch.terminate()
            assert watch.wait(STUCK) == 0


def test_what_needs_torch_says_so_and_the_rest_works(lean: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    places = (tmp_path / "in", tmp_path / "out", "--state", tmp_path / "state")
    for command, options in (("run", ()), ("once", ()), ("work", ("--queue", "sqs://none"))):
        refused = call(lean, command, *places, *options)
        assert refused.returncode == 2
        assert "pip install 'alphadrop[engine]'" in refused.stderr
    (tmp_path / "out").mkdir()
    compared = call(lean, "reconcile", *places, "--dry-run", "--model", "fake")
    assert compared.returncode == 0, compared.stderr
    doctor = call(lean, "doctor", *places, "--model", "fake")
    assert doctor.returncode == 2 and "`run`, `once` and `work` need it" in doctor.stdout
