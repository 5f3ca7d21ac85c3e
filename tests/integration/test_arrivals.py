"""Pictures that arrive in every way there is while the daemon runs: each is done once, when it is whole."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.equipment.daemon import Daemon, Folders, colour, coloured, photo, shows
from watcher.core.errors import SourceMissing

SETTLE = 2.0
RED, GREEN, BLUE = (150, 20, 30), (20, 140, 40), (30, 50, 150)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that do not hurt it; it lists its source all the time, to find anything twice."""
    folders = Folders.below(tmp_path_factory.mktemp("arrivals"))
    with Daemon(folders, "--settle", str(SETTLE), "--rescan", "1") as daemon:
        daemon.wait_until_ready()
        yield daemon
        assert daemon.stop() == 0


def expect(daemon: Daemon, wanted: dict[str, tuple[int, int, int]]) -> None:
    """Wait until each key shows its colour; then list the source twice more, and each was written exactly once."""
    daemon.until(lambda: wanted.keys() <= daemon.written().keys(), "not all pictures were done")
    listings = daemon.metric("alphadrop_reconcile_duration_seconds_count")
    daemon.until(lambda: daemon.metric("alphadrop_reconcile_duration_seconds_count") >= listings + 2, "no listing")
    daemon.until(lambda: not daemon.folders.stats().open, "the queue never ran dry")
    assert [key for key, rgb in wanted.items() if not shows(daemon.folders.sink / key, rgb)] == []
    assert {key: daemon.outcomes(key) for key in wanted} == {key: ["written"] for key in wanted}


def test_written_aside_and_renamed(daemon: Daemon) -> None:
    coloured(daemon.folders.source / "renamed.png", RED)
    expect(daemon, {"renamed.png": RED})


def test_moved_in_from_outside(daemon: Daemon) -> None:
    coloured(daemon.folders.outside / "moved.png", GREEN)
    (daemon.folders.outside / "moved.png").rename(daemon.folders.source / "moved.png")
    expect(daemon, {"moved.png": GREEN})


def test_hard_linked_into_place(daemon: Daemon) -> None:
    coloured(daemon.folders.outside / "linked.png", BLUE)
    (daemon.folders.source / "linked.png").hardlink_to(daemon.folders.outside / "linked.png")
    expect(daemon, {"linked.png": BLUE})


def test_a_slow_copy_is_taken_when_it_is_whole(daemon: Daemon, full_campaign: bool) -> None:
    copy_slowly(daemon.folders, "slow.png", RED, seconds=10.0 if full_campaign else 4.0, pauses=20)
    expect(daemon, {"slow.png": RED})


def test_a_copy_that_stalls_is_taken_in_the_end(daemon: Daemon) -> None:
    """Nothing tells a stalled copy from a broken file: it may be rejected for a while, but not for good."""
    copy_slowly(daemon.folders, "stalled.png", GREEN, seconds=4 * SETTLE, pauses=1)
    daemon.until(lambda: "written" in daemon.outcomes("stalled.png"), "the stalled copy was given up")
    daemon.until(lambda: not daemon.folders.stats().open, "the queue never ran dry")
    assert shows(daemon.folders.sink / "stalled.png", GREEN)
    assert daemon.written()["stalled.png"] == 1
    assert not (daemon.folders.sink / "_failed").exists()


def copy_slowly(folders: Folders, key: str, rgb: tuple[int, int, int], seconds: float, pauses: int) -> None:
    """Write a picture piece by piece under its own name, over so many seconds, in a file that stays open."""
    data = photo(rgb)
    step = len(data) // (pauses + 1)
    with (folders.source / key).open("wb", buffering=0) as file:
        for at in range(0, step * pauses, step):
            file.write(data[at : at + step])
            threading.Event().wait(seconds / pauses)
        file.write(data[step * pauses :])


def test_a_new_folder_with_folders_in_it(daemon: Daemon) -> None:
    wanted = {f"new/{folder}/{number}.png": colour(number) for folder in ("a", "b/c/d") for number in range(5)}
    for key, rgb in wanted.items():
        coloured(daemon.folders.source / key, rgb)
    expect(daemon, wanted)


def test_a_tree_that_is_moved_in(daemon: Daemon) -> None:
    wanted = {f"tree/{folder}/{number}.png": colour(number) for folder in ("a", "b/c/d") for number in range(5)}
    for key, rgb in wanted.items():
        coloured(daemon.folders.outside / key, rgb)
    (daemon.folders.outside / "tree").rename(daemon.folders.source / "tree")
    expect(daemon, wanted)


def test_a_burst_of_small_files(daemon: Daemon, full_campaign: bool, figures: Callable[[str], None]) -> None:
    wanted = {f"burst/{number:05}.png": colour(number) for number in range(5000 if full_campaign else 600)}
    (daemon.folders.source / "burst").mkdir()
    started = time.monotonic()
    for number, (key, rgb) in enumerate(wanted.items()):
        if number % 2:
            coloured(daemon.folders.source / key, rgb)
        else:
            (daemon.folders.source / key).write_bytes(photo(rgb))
    dropped = time.monotonic()

    expect(daemon, wanted)

    figures(
        f"burst: {len(wanted)} files dropped within {dropped - started:.1f} s, each done once after "
        f"{time.monotonic() - started:.1f} s"
    )


def test_a_file_renamed_into_place_is_done_soon(daemon: Daemon, figures: Callable[[str], None]) -> None:
    before = daemon.stage_seconds()
    seconds = [seconds_to_output(daemon, f"timed-{number}.png") for number in range(9)]
    daemon.until(lambda: daemon.written()["timed-8.png"], "not told")
    spent = {stage: (after - before[stage]) / len(seconds) for stage, after in daemon.stage_seconds().items()}

    assert statistics.median(seconds) < 30
    stages = ", ".join(f"{stage} {1000 * mean:.0f}" for stage, mean in spent.items())
    figures(
        f"rename to output: median {1000 * statistics.median(seconds):.0f} ms (least {1000 * min(seconds):.0f}, most "
        f"{1000 * max(seconds):.0f}); of it in the mean, by stage: {stages} ms"
    )


def seconds_to_output(daemon: Daemon, key: str) -> float:
    """From the rename to the output."""
    folders = daemon.folders
    coloured(folders.source / "made" / f".{key}", BLUE)
    started = time.monotonic()
    os.rename(folders.source / "made" / f".{key}", folders.source / key)
    daemon.until((folders.sink / key).exists, f"{key} was never done")
    return time.monotonic() - started


def test_a_picture_replaced_while_it_is_processed_ends_as_the_newest(folders: Folders) -> None:
    with Daemon(folders, "--settle", "0.2", model="fake:delay=3") as daemon:
        daemon.wait_until_ready()
        coloured(folders.source / "shoe.png", RED)
        daemon.until(lambda: folders.in_flight() == 1, "never in flight")
        coloured(folders.source / "shoe.png", GREEN)
        daemon.until(lambda: daemon.metric("alphadrop_images_discovered_total") >= 2, "not noticed")
        coloured(folders.source / "shoe.png", BLUE)

        daemon.until(lambda: shows(folders.sink / "shoe.png", BLUE), "the newest version never came through")
        daemon.until(lambda: len(daemon.outcomes("shoe.png")) >= 2 and not folders.stats().open, "not all ended")

        assert daemon.stop() == 0
        assert shows(folders.sink / "shoe.png", BLUE)
        assert set(daemon.outcomes("shoe.png")) <= {"written", "stale"}
        assert daemon.outcomes("shoe.png")[-1] == "written"
        assert not folders.temporary()


def test_a_source_that_vanishes_and_returns_with_more(folders: Folders, figures: Callable[[str], None]) -> None:
    first = {f"first/{number}.png": colour(number) for number in range(20)}
    more = {f"more/{number}.png": colour(100 + number) for number in range(20)}
    with Daemon(folders, "--settle", "0.2", "--rescan", "3600", model="fake:delay=0.2") as daemon:
        daemon.wait_until_ready()
        for key, rgb in first.items():
            coloured(folders.source / key, rgb)
        daemon.until(lambda: folders.in_flight() and folders.outputs(), "no progress")

        folders.source.rename(folders.top / "away")
        daemon.until(lambda: "source" in daemon.unready(), "nobody noticed that the source is gone")
        assert daemon.get("/livez")[0] == 200 and daemon.unready()["source"] == SourceMissing.public
        assert str(folders.source) in daemon.events("source_failed")[0]["problem"], "the path is in the log alone"
        for key, rgb in more.items():
            coloured(folders.top / "away" / key, rgb)
        returned = time.monotonic()
        (folders.top / "away").rename(folders.source)
        daemon.until(lambda: not daemon.unready(), "never ready again")
        assert (len(daemon.events("source_failed")), len(daemon.events("source_recovered"))) == (1, 1)

        wanted = first | more
        daemon.until(lambda: wanted.keys() <= daemon.written().keys(), "pictures were lost")
        coloured(folders.source / "last.png", RED)  # by events, which a new observer must see
        daemon.until(lambda: daemon.written()["last.png"], "events are no longer heard")
        assert daemon.stop() == 0
        assert all(shows(folders.sink / key, rgb) for key, rgb in wanted.items())
        assert {daemon.written()[key] for key in wanted} == {1}
        assert not folders.temporary() and not folders.rejected()
        figures(f"source away and back with more: all done {time.monotonic() - returned:.1f} s after its return")
