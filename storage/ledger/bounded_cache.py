"""A cache of bounded size: what was not asked for the longest is evicted first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Least recently used values whose sizes, as `size_of` says, sum up to `most` at most."""

    def __init__(self, most: int, size_of: Callable[[V], int]) -> None:
        self._most = most
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
        """Cache a value in place of the key's former one, and evict what does not fit beside it."""
        before = self._values.pop(key, None)
        self.size += self._size_of(value) - (0 if before is None else self._size_of(before))
        self._values[key] = value
        while self.size > self._most:
            self.size -= self._size_of(self._values.popitem(last=False)[1])

    def clear(self) -> None:
        self._values.clear()
        self.size = 0
