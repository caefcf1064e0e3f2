"""The queue that can be closed: it is bounded, keeps the order, and wakes whoever waits."""

import threading
import time

import pytest

from tests.unit.worker.decode.helpers import wait_until
from worker.decode.closable_queue import ClosableQueue, QueueClosedError


@pytest.fixture
def in_thread():
    """Starts a function in a thread. Its result, or QueueClosedError, comes into the list that is returned."""

    def start(function, *arguments):
        results = []

        def run():
            try:
                results.append(function(*arguments))
            except QueueClosedError as error:
                results.append(type(error))

        threading.Thread(target=run, daemon=True).start()
        return results

    return start


def filled(capacity):
    queue = ClosableQueue(capacity)
    for number in range(capacity):
        queue.put(number)
    return queue


def test_items_come_in_the_order_in_which_they_went_in():
    queue = filled(5)
    assert len(queue) == 5
    assert [queue.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(queue) == 0


def test_an_item_wakes_one_that_waits_for_it(in_thread):
    queue = ClosableQueue(2)
    first, second = in_thread(queue.get), in_thread(queue.get)
    queue.put("a")
    wait_until(lambda: first or second)
    time.sleep(0.05)
    assert len(first) + len(second) == 1
    queue.put("b")
    wait_until(lambda: first and second)
    assert sorted(first + second) == ["a", "b"]


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_put_waits_when_as_many_items_as_it_may_hold_are_there(in_thread, capacity):
    queue = filled(capacity)
    putting = in_thread(queue.put, "more")
    time.sleep(0.1)
    assert not putting
    assert len(queue) == capacity


@pytest.mark.parametrize(("capacity", "left"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
def test_who_waits_for_room_is_woken_when_half_of_it_is_free(in_thread, capacity, left):
    queue = filled(capacity)
    putting = [in_thread(queue.put, "more") for _ in range(capacity - left)]
    time.sleep(0.1)
    while len(queue) > left + 1:
        queue.get()
    time.sleep(0.05)
    assert not any(putting)
    queue.get()
    wait_until(lambda: all(putting))
    assert len(queue) == capacity


def test_close_drops_the_items_and_refuses_everything():
    queue = filled(3)
    queue.close()
    queue.close()
    assert len(queue) == 0
    with pytest.raises(QueueClosedError):
        queue.get()
    with pytest.raises(QueueClosedError):
        queue.put(1)
    assert len(queue) == 0


def test_close_wakes_whoever_waits_for_an_item_or_for_room(in_thread):
    empty, full = ClosableQueue(1), filled(1)
    waiting = [in_thread(empty.get), in_thread(empty.get), in_thread(full.put, 1), in_thread(full.put, 2)]
    time.sleep(0.1)
    assert not any(waiting)
    empty.close()
    full.close()
    wait_until(lambda: all(waiting))
    assert waiting == [[QueueClosedError]] * 4
