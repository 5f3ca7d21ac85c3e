"""A folder as the source and a real RabbitMQ as the queue."""

from __future__ import annotations

import pytest

from tests.equipment.daemon import Daemon, Folders, colour, coloured
from tests.equipment.rabbit import Rabbit, queue_name

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
