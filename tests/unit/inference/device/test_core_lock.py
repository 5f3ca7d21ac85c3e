"""FifoLock: one thread at a time, in the order of arrival."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from inference.device.core_lock import FifoLock
from tests.equipment.support import wait_until


def test_one_at_a_time() -> None:
    lock, inside, most = FifoLock(), [0], [0]

    def work(_: int) -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == [1]


def test_first_come_first_served() -> None:
    lock, served = FifoLock(), list[int]()

    def work(number: int) -> None:
        with lock:
            served.append(number)

    def waiting(count: int) -> bool:
        return len(lock._waiting) == count

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with lock:
        for count, thread in enumerate(threads, 1):
            thread.start()
            wait_until(partial(waiting, count))
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4]


def test_an_exception_releases_the_lock() -> None:
    lock = FifoLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    with lock:
        pass
