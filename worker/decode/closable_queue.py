"""A bounded queue that can be closed."""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class QueueClosedError(Exception):
    """The queue is closed."""


class ClosableQueue(Generic[Item]):
    """A first-in, first-out queue of at most `capacity` items, for any number of threads.

    After close(), put() and get() raise QueueClosedError, also in threads that wait in them. An item wakes one thread
    that waits for an item. Threads that wait for room are woken only when half of the queue is free: waking a thread
    costs more than passing an item on, so one that was woken should find room for many.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque()
        self._capacity, self._is_open = capacity, True
        lock = threading.Lock()
        self._has_items, self._has_room = threading.Condition(lock), threading.Condition(lock)

    def __len__(self) -> int:
        """How many items wait now."""
        return len(self._items)

    def put(self, item: Item) -> None:
        """Append an item. Waits while the queue is full."""
        with self._has_room:
            self._has_room.wait_for(lambda: len(self._items) < self._capacity or not self._is_open)
            if not self._is_open:
                raise QueueClosedError
            self._items.append(item)
            self._has_items.notify()

    def get(self) -> Item:
        """Take the oldest item. Waits while there is none."""
        with self._has_items:
            self._has_items.wait_for(lambda: self._items or not self._is_open)
            if not self._is_open:
                raise QueueClosedError
            item = self._items.popleft()
            if len(self._items) <= self._capacity // 2:
                self._has_room.notify_all()
            return item

    def close(self) -> None:
        """Drop all items, and wake everybody who waits. More than one call does no harm."""
        with self._has_items:
            self._is_open = False
            self._items.clear()
            self._has_items.notify_all()
            self._has_room.notify_all()
