"""The connection of the tests to a RabbitMQ node."""

from __future__ import annotations

import gc
import socket
import threading

import pika
import pytest
from pika import spec
from pika.frame import Method

from tests.equipment.rabbit import Connection


def test_a_server_that_closes_a_connection_in_the_moment_in_which_it_opens_leaves_no_socket_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=open_and_close, args=(server,))
        serving.start()
        connection = Connection(pika.ConnectionParameters(*server.getsockname()))
        with pytest.raises(pika.exceptions.ConnectionWrongStateError):
            connection.close()
        serving.join()
    del connection
    gc.collect()  # a socket that nobody has closed warns, and a warning fails the test


def open_and_close(server: socket.socket) -> None:
    """Shake hands with one client; the confirmation that the connection is open comes with the reason for its end."""
    start = spec.Connection.Start(server_properties={}, mechanisms="PLAIN", locales="en_US")
    tune = spec.Connection.Tune(channel_max=10, frame_max=131_072, heartbeat=0)
    close = spec.Connection.Close(reply_code=320, reply_text="CONNECTION_FORCED", class_id=0, method_id=0)
    with server.accept()[0] as client:
        heard = client.recv(8)
        answers = (start, tune, spec.Connection.OpenOk(), close)
        client.sendall(b"".join(Method(0, answer).marshal() for answer in answers))  # read in one piece
        while heard:
            heard = client.recv(65_536)
