"""Work on several threads: in order, no more at once than there are threads, and nothing left behind."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from rotacube.inference.ahead import ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def work(n):
        time.sleep(0.002 * (7 - n))
        return n * n

    assert list(ahead(work, range(7), threads)) == [n * n for n in range(7)]
    assert list(ahead(work, [], threads)) == []


def test_no_more_are_taken_than_there_are_threads_for():
    taken, asked = [], 0

    def items():
        for n in range(20):
            taken.append(n)
            yield n

    for n in ahead(lambda n: n, items(), 3):
        assert len(taken) <= n + 4
        asked += 1
    assert asked == 20


def test_they_work_beside_each_other():
    met = threading.Barrier(2, timeout=20)
    assert [n >= 0 for n in ahead(lambda n: met.wait(), range(2), 2)] == [True, True]


def test_what_fails_ends_it_and_nothing_more_is_taken():
    taken = []

    def items():
        for n in range(50):
            taken.append(n)
            yield n

    def work(n):
        if n == 3:
            raise OSError("full")
        return n

    with pytest.raises(OSError, match="full"):
        list(ahead(work, items(), 2))
    assert len(taken) < 10


def test_closed_it_waits_for_what_is_under_way():
    done = []

    def work(n):
        time.sleep(0.05)
        done.append(n)

    with closing(ahead(work, range(50), 2)) as found:
        next(found)
    count = len(done)
    time.sleep(0.15)
    assert len(done) == count < 50
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
