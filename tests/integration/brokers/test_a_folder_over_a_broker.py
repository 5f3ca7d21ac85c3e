"""A folder as the source and a real RabbitMQ as the queue."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.equipment.daemon import Daemon, Folders, colour, coloured
from tests.equipment.rabbit import Rabbit, queue_name
from tests.equipment.support import error_records
from watcher.core.jobs import DEATHS_TO_QUARANTINE

PICTURES = 7

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_each_picture_is_put_into_the_queue_once(rabbit: Rabbit, folders: Folders) -> None:
    for number in range(PICTURES):
        coloured(folders.source / f"{number}.png", colour(number))
    name, runs = queue_name(), "alphadrop_reconcile_runs_total"
    watch_options = ("--queue", rabbit.url(queue=name), "--settle", "0", "--rescan", "1")
    with Daemon(folders, *watch_options, command="watch") as watch, rabbit.connect() as connection:
        channel = connection.channel()

        def waiting() -> int:
            return int(channel.queue_declare(name, passive=True).method.message_count)

        pending = {"state": "pending"}
        watch.until(lambda: watch.metric("alphadrop_queue_images", **pending) >= PICTURES, "nothing is in the queue")
        done = watch.metric(runs, result="ok")
        watch.until(lambda: watch.metric(runs, result="ok") >= done + 6, "source and sink are not compared")
        assert waiting() == PICTURES
        assert watch.stop() == 0


def test_a_picture_on_which_each_device_fails_is_rejected_though_it_is_the_only_one(
    rabbit: Rabbit, folders: Folders
) -> None:
    Image.new("RGB", (2000, 1500)).save(folders.source / "killer.png")
    url = rabbit.url(queue=queue_name())
    with Daemon(folders, "--queue", url, "--settle", "0", command="watch") as watch:
        watch.until(lambda: watch.metric("alphadrop_queue_images", state="pending"), "nothing is in the queue")
        assert watch.stop() == 0
    with Daemon(folders, "--queue", url, command="work", model="fake:fail_above=2500000") as work:
        work.until(lambda: work.events("image"), "it is tried for ever")
        assert work.stop() == 0
    (image,) = work.events("image")
    assert (image["outcome"], image["reason"]) == ("rejected", "kills_worker")
    assert len(work.events("worker_died")) == 2 * DEATHS_TO_QUARANTINE, "every second death counts"
    assert not work.events("device_at_fault") and set(error_records(folders.sink)) == {"killer.png"}
