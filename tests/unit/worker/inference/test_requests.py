"""Requests, and the queue in which those of many tracks come together."""

import threading
import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from worker.inference.requests import RequestQueue, WindowRequest
from worker.windowing import NativeLayout


def request(windows, **options):
    return WindowRequest(np.zeros((windows, 4), np.int16), lambda: None, print, print, **options)


def sizes(requests):
    return [request.windows for request in requests]


def make_queue(expecting=lambda: False, on_idle=lambda: None, **waits):
    return RequestQueue(on_idle, expecting, **waits)


def filled(*windows, **options):
    """A queue of requests with so many windows each."""
    queue = make_queue(**options)
    for count in windows:
        queue.put(request(count))
    return queue


def test_the_windows_of_regions_are_counted_by_their_layout():
    pcm = np.zeros((3, 1000, 2), np.int16)
    native = NativeLayout(44_100, (0, 5, 9), 4, 100)
    assert WindowRequest(pcm, print, print, print, native=native).windows == 12
    assert request(7).windows == 7


def test_a_request_is_for_probabilities_relative_to_each_windows_own_peak_unless_it_says_otherwise():
    plain = request(1)
    assert (plain.cut, plain.wants_peak, plain.native) == (None, False, None)


def test_a_request_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        request(1).cut = None


def test_layouts_have_equal_keys_only_when_they_agree_in_all_that_matters():
    def key(shape=(3, 1000, 2), rate=44_100, offsets=(0, 5, 9), windows=4, stride=100):
        native = NativeLayout(rate, offsets, windows, stride)
        return WindowRequest(np.zeros(shape, np.int16), print, print, print, native=native).layout_key

    others = [
        key((3, 1001, 2)), key((3, 1000, 1)), key(rate=48_000), key(offsets=(0, 5, 8)), key(windows=5), key(stride=99)
    ]  # fmt: skip
    assert key() == key()
    assert key() not in others
    assert request(1).layout_key == request(2).layout_key == ()
    assert sorted([key(), *others, ()])[0] == ()


def test_a_batch_waits_while_more_is_to_come_and_only_then():
    coming = threading.Event()
    coming.set()
    queue = make_queue(coming.is_set)
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
    queue = filled(3, 5, 1, expecting=lambda: True)
    assert sizes(queue.take(8, gather_s=60)) == [3, 5]


def test_a_request_that_fills_the_batch_ends_the_waiting_and_the_next_one_is_taken_at_once():
    queue, taken = make_queue(lambda: True, expected_check_s=60.0, idle_s=60.0), []

    def take(gather_s):
        taken.append(sizes(queue.take(8, gather_s)))

    queue.put(request(3))
    for windows, gather_s in ((5, 60), (1, 0)):
        taker = threading.Thread(target=take, args=(gather_s,))
        taker.start()
        taker.join(0.1)
        assert taker.is_alive()
        queue.put(request(windows))
        taker.join(5)
    assert taken == [[3, 5], [1]]


def test_a_request_that_is_too_large_for_the_batch_ends_the_waiting_too():
    queue, taken = filled(3, expecting=lambda: True, expected_check_s=60.0), []
    taker = threading.Thread(target=lambda: taken.extend(sizes(queue.take(8, gather_s=60))))
    taker.start()
    taker.join(0.1)
    assert taker.is_alive()
    queue.put(request(6))
    taker.join(5)
    assert taken == [3]


def test_a_request_of_one_window_wakes_whoever_waits_for_the_first():
    queue, taken = make_queue(idle_s=60.0), []
    taker = threading.Thread(target=lambda: taken.extend(sizes(queue.take(8))))
    taker.start()
    taker.join(0.1)
    assert taker.is_alive()
    queue.put(request(1))
    taker.join(5)
    assert taken == [1]


def test_a_batch_waits_no_longer_than_it_may():
    queue = filled(3, expecting=lambda: True, expected_check_s=60.0)
    began = time.monotonic()
    assert sizes(queue.take(8, gather_s=0.01)) == [3]
    assert 0.01 <= time.monotonic() - began < 0.9


def test_without_time_to_gather_nobody_asks_whether_more_is_to_come_twice():
    asked = []
    queue = filled(3, expecting=lambda: asked.append(1) or True)
    assert sizes(queue.take(8)) == [3]
    assert len(asked) <= 1


@pytest.mark.parametrize("windows", [1, 3])
def test_when_nothing_is_to_come_a_batch_waits_a_moment_for_the_last_request(windows):
    queue = filled(windows, last_request_wait_s=0.05, expected_check_s=60.0)
    began = time.monotonic()
    assert sizes(queue.take(8, gather_s=60)) == [windows]
    assert 0.05 <= time.monotonic() - began < 5


def test_a_request_that_came_in_that_moment_makes_the_batch_wait_another_one():
    looks = []

    def expecting():
        looks.append(1)
        if len(looks) == 2:
            queue.put(request(1))
        return False

    queue = filled(3, expecting=expecting)
    assert sizes(queue.take(8, gather_s=60)) == [3, 1]
    assert len(looks) == 3


@pytest.mark.parametrize(("looks", "wait_s"), [([True, True, True, False], 3 * 0.01), ([False, False], 0.001)])
def test_the_usual_waits_are_short(looks, wait_s):
    queue = filled(3, expecting=lambda: looks.pop(0))
    began = time.monotonic()
    assert sizes(queue.take(8, gather_s=60)) == [3]
    assert looks == []
    assert wait_s <= time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    ("windows", "taken"),
    [([8], [8]), ([9, 1], [9]), ([4, 4], [4, 4]), ([4, 5], [4]), ([1, 8, 1], [1]), ([5, 2, 1, 1], [5, 2, 1])],
)
def test_a_batch_has_at_most_so_many_windows_unless_a_request_alone_has_more(windows, taken):
    queue = filled(*windows)
    assert sizes(queue.take(8)) == taken
    rest = windows[len(taken) :]
    queue.close()
    assert sizes(queue.take(100)) == rest


def test_peaks_and_probabilities_are_not_in_one_batch():
    queue = make_queue()
    for wants_peak in (True, True, False, True):
        queue.put(request(1, wants_peak=wants_peak))
    assert [[request.wants_peak for request in queue.take(8)] for _ in range(3)] == [[True, True], [False], [True]]


def test_windows_that_were_taken_do_not_count_for_the_next_batch():
    looks = []
    queue = filled(8, 8, expecting=lambda: looks.append(1))
    assert sizes(queue.take(8, gather_s=60)) == [8]
    assert sizes(queue.take(8, gather_s=60)) == [8]
    assert not looks  # both batches were full
    queue.put(request(7))
    assert sizes(queue.take(8, gather_s=60)) == [7]
    assert len(looks) == 2


def test_what_was_put_before_the_end_is_taken():
    queue = filled(20, expecting=lambda: True)
    queue.close()
    assert sizes(queue.take(8, gather_s=60)) == [20]
    assert queue.take(8, gather_s=60) == []


def test_after_the_end_nothing_is_waited_for_and_nothing_can_be_put():
    queue = filled(3, expecting=lambda: True)
    queue.close()
    assert sizes(queue.take(8, gather_s=60)) == [3]
    with pytest.raises(RuntimeError, match="the engine is closed"):
        queue.put(request(1))


@pytest.mark.parametrize("windows", [[], [3]])
def test_the_end_wakes_everybody_who_waits(windows):
    queue, taken = filled(*windows, expecting=lambda: True, expected_check_s=60.0, idle_s=60.0), []
    takers = [threading.Thread(target=lambda: taken.append(sizes(queue.take(8, gather_s=60)))) for _ in range(2)]
    for taker in takers:
        taker.start()
    takers[0].join(0.1)
    queue.close()
    for taker in takers:
        taker.join(5)
    assert sorted(taken) == sorted([windows, []])


def test_each_time_that_nothing_came_for_a_while_the_queue_says_so():
    idle = threading.Semaphore(0)
    queue = make_queue(on_idle=idle.release, idle_s=0.02)
    taker = threading.Thread(target=queue.take, args=(8,))
    taker.start()
    assert idle.acquire(timeout=5)
    assert idle.acquire(timeout=5)
    queue.close()
    taker.join(5)
    assert not taker.is_alive()
