"""`alphadrop reconcile`, as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.equipment.cluster import Cluster, new_sqs_queue
from tests.equipment.daemon import colour, photo
from tests.equipment.moto import moto_server
from tests.equipment.pictures import photo as product
from tests.equipment.pictures import place
from tests.equipment.support import alphadrop

pytestmark = pytest.mark.timeout(600)


def test_a_dry_run_on_folders_lists_what_is_to_be_done_and_changes_nothing(tmp_path: Path) -> None:
    source, sink, state = tmp_path / "photos", tmp_path / "cutouts", tmp_path / "state"
    for key in ("a.jpg", "shoes/b.jpg"):
        place(source, key, product(key))
    places = (source, sink, "--state", state, "--model", "fake")
    nothing = alphadrop("reconcile", *places, "--dry-run")
    assert (nothing.code, sink.exists()) == (2, False) and "does not exist yet" in nothing.err
    assert alphadrop("once", *places, "--settle", "0", "--devices", "cpu").code == 0
    (sink / "a.png").unlink()
    place(source, "c.jpg", product("c.jpg"))
    listed = alphadrop("reconcile", *places, "--dry-run")
    assert (listed.code, listed.out) == (0, "missing\ta.jpg\nmissing\tc.jpg\n")
    assert "done" in listed.err
    assert not (sink / "a.png").exists()


def test_what_is_enqueued_is_taken_up_by_the_next_run(tmp_path: Path) -> None:
    source, sink, state = tmp_path / "photos", tmp_path / "cutouts", tmp_path / "state"
    place(source, "a.jpg", product("a.jpg"))
    places = (source, sink, "--state", state, "--model", "fake")
    table = alphadrop("reconcile", *places)
    assert table.words("missing")[:2] == ["missing", "1"] and "enqueued" in table.out
    assert alphadrop("status", *places[:4]).words("pending")[:2] == ["pending", "1"]
    assert alphadrop("once", *places, "--devices", "cpu").outcomes == {"a.jpg": "written"}
    assert alphadrop("reconcile", *places).words("done")[:2] == ["done", "1"]


@pytest.mark.slow
def test_on_buckets_it_enqueues_at_a_broker_what_is_missing_or_outdated(tmp_path: Path) -> None:
    moto = moto_server()
    queue = new_sqs_queue(moto)
    with Cluster(tmp_path, moto, f"sqs://{queue}") as cluster:
        for name in ("a", "b+c ü"):
            cluster.client.put_object(Bucket=cluster.bucket, Key=f"in/{name}.png", Body=photo(colour(1)))
        places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out", "--queue", cluster.queue)
        shallow = alphadrop("reconcile", *places, "--model", "fake", cwd=tmp_path, **moto.variables)
        assert shallow.words("missing")[:2] == ["missing", "2"]
        cluster.work()
        cluster.wait_for_outputs(2)
        cluster.wait_until_idle()
        deep = ("--model", "fake", "--deep", "--dry-run")
        same = alphadrop("reconcile", *places, *deep, cwd=tmp_path, **moto.variables)
        other = alphadrop("reconcile", *places, *deep, "--png-level", "2", cwd=tmp_path, **moto.variables)
        assert same.out == ""
        assert other.out == "outdated\ta.png\noutdated\tb+c ü.png\n"
