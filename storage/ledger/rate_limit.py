"""How often something may happen: a generic cell rate algorithm over keys, with the clock passed in."""

from collections import OrderedDict


class RateLimit:
    """At most `per_minute` a minute for each key, all of them at once if need be; 0 switches it off.

    Keeps one number a key, for the `most_keys` used last: what keys a stranger makes up costs no more memory.
    """

    def __init__(self, per_minute: int, *, most_keys: int = 20_000) -> None:
        self.per_minute = per_minute
        self._most_keys = most_keys
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when the whole allowance is there again

    def use(self, key: str, now: float) -> float:
        """Count one use at `now` (seconds). Returns 0, or the seconds to wait, and then counts nothing."""
        if not self.per_minute:
            return 0.0
        free_at = max(self._free_at.get(key, now), now) + self._seconds_each
        wait = free_at - now - 60
        if wait > 1e-9:
            return wait
        self._keep(key, free_at)
        return 0.0

    def wait(self, key: str, now: float) -> float:
        """The seconds until one more use is allowed, without counting one; 0 if it is."""
        if not self.per_minute:
            return 0.0
        return max(0.0, self._free_at.get(key, now) + self._seconds_each - now - 60)

    def _keep(self, key: str, free_at: float) -> None:
        self._free_at[key] = free_at
        self._free_at.move_to_end(key)
        if len(self._free_at) > self._most_keys:
            self._free_at.popitem(last=False)
