"""A cache of what is sent to visitors, bounded by bytes: what was not asked for the longest is evicted first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_BYTES = 16_000_000  # of each cache


class ByteCache(Generic[K, V]):
    """Least recently used values; `size_of` says how many bytes one has."""

    def __init__(self, size_of: Callable[[V], int]) -> None:
        self._size_of = size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self.size = 0

    def get(self, key: K) -> V | None:
        """The value, which is then the latest used; None where it is not cached."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Cache a value, unless the key has one, and evict what does not fit beside it."""
        if key in self._values:
            return
        self._values[key] = value
        self.size += self._size_of(value)
        while self.size > MOST_BYTES:
            self.size -= self._size_of(self._values.popitem(last=False)[1])
