"""What was read from event files, kept as long as TensorBoard has read nothing new and there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

MOST_BYTES = 256 * 2**20  # a member with 200 sites and 2,000 records takes 20 MB

T = TypeVar("T")


class Kept:
    """Values by key, each with the stamp of what it was made from; those not asked for longest go first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._values: OrderedDict[Hashable, tuple[object, object, int]] = OrderedDict()
        self._lock = threading.Lock()  # TensorBoard answers in many threads

    def get(self, key: Hashable, stamp: object, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return the value of a key; it is made anew by `make` where its stamp is another one.

        Args:
            key: what is asked for; its values are all of one type.
            stamp: what tells whether it has changed.
            make: returns the value.
            size: returns how many bytes a value takes.
        """
        with self._lock:
            if key in self._values and self._values[key][0] == stamp:
                self._values.move_to_end(key)
                found: T = self._values[key][1]  # type: ignore[assignment]  # as it was put there
                return found
        value = make()
        with self._lock:
            self._put(key, (stamp, value, size(value)))
        return value

    def _put(self, key: Hashable, entry: tuple[object, object, int]) -> None:
        self._bytes -= self._values.pop(key, (None, None, 0))[2]
        self._values[key] = entry
        self._bytes += entry[2]
        while self._bytes > self._most:
            self._bytes -= self._values.popitem(last=False)[1][2]
