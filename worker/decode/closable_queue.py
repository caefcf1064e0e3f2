"""A bounded queue that can be closed."""

import threading
from collections import deque
from typing import Any


class QueueClosedError(Exception):
    """The channel is closed."""


class ClosableQueue:
    """A bounded queue that can be closed: then whoever waits, or comes, gets QueueClosedError. An item wakes one that waits for
    one; who waits for room is woken when there is room for many, since every waking costs more than an item."""

    def __init__(self, most: int):
        self._items: deque[Any] = deque()
        self._most, self._open = most, True
        lock = threading.Lock()
        self._came, self._went = threading.Condition(lock), threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> None:
        with self._went:
            self._went.wait_for(lambda: len(self._items) < self._most or not self._open)
            if not self._open:
                raise QueueClosedError
            self._items.append(item)
            self._came.notify()

    def get(self) -> Any:
        with self._came:
            self._came.wait_for(lambda: self._items or not self._open)
            if not self._open:
                raise QueueClosedError
            item = self._items.popleft()
            if len(self._items) <= self._most // 2:
                self._went.notify_all()
            return item

    def close(self) -> None:
        with self._came:
            self._open = False
            self._items.clear()
            self._came.notify_all()
            self._went.notify_all()
