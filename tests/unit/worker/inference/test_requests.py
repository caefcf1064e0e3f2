"""The queue in which windows of many tracks come together."""

import threading
from unittest.mock import patch

import numpy as np

from worker.inference.requests import RequestQueue, WindowRequest


def request(windows):
    return WindowRequest(np.zeros((windows, 4), np.int16), lambda: None, print, print)


def sizes(requests):
    return [request.windows for request in requests]


def test_a_batch_waits_while_more_is_to_come_and_only_then():
    coming = threading.Event()
    coming.set()
    queue = RequestQueue(lambda: None, coming.is_set)
    taken = []
    taker = threading.Thread(target=lambda: taken.extend(sizes(queue.take(8, gather_s=60))))
    queue.put(request(3))
    taker.start()
    taker.join(0.1)
    assert taker.is_alive()
    assert not taken
    queue.put(request(2))
    coming.clear()
    taker.join(10)
    assert taken == [3, 2]


def test_a_full_batch_does_not_wait():
    queue = RequestQueue(lambda: None, lambda: True)
    for windows in (3, 5, 1):
        queue.put(request(windows))
    assert sizes(queue.take(8, gather_s=60)) == [3, 5]


def test_a_ticket_that_fills_the_batch_ends_the_waiting_and_the_next_one_is_taken_at_once():
    queue, taken = RequestQueue(lambda: None, lambda: True), []

    def take(gather_s):
        taken.append(sizes(queue.take(8, gather_s)))

    with patch("worker.inference.requests.LOOK_S", 60):
        queue.put(request(3))
        for windows, gather_s in ((5, 60), (1, 0)):
            taker = threading.Thread(target=take, args=(gather_s,))
            taker.start()
            taker.join(0.1)
            assert taker.is_alive()
            queue.put(request(windows))
            taker.join(5)
    assert taken == [[3, 5], [1]]


def test_a_batch_waits_no_longer_than_it_may():
    queue = RequestQueue(lambda: None, lambda: True)
    queue.put(request(3))
    assert sizes(queue.take(8, gather_s=0.01)) == [3]


def test_what_was_put_before_the_end_is_taken():
    queue = RequestQueue(lambda: None, lambda: True)
    queue.put(request(20))
    queue.close()
    assert sizes(queue.take(8, gather_s=60)) == [20]
    assert queue.take(8, gather_s=60) == []
