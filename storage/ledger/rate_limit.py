"""How often something may happen: a generic cell rate algorithm over keys, with the clock passed in."""

from operator import itemgetter

_FEW = 1_000  # keys that are kept without looking which of them are of no use any more


class RateLimit:
    """At most `per_minute` a minute for each key, all of them at once if need be; 0 switches it off.

    Keeps one number a key until the whole allowance is there again, for `most_keys` keys at most, those longest whose
    allowance takes longest to come back: keys that a stranger makes up cost no more memory, and one that has used all
    its allowance is not forgotten for them.
    """

    def __init__(self, per_minute: int, *, most_keys: int = 20_000) -> None:
        self.per_minute = per_minute
        self._most_keys = most_keys
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at: dict[str, float] = {}  # when the whole allowance is there again
        self._forget_from = min(_FEW, most_keys)  # keys

    def use(self, key: str, now: float) -> float:
        """Count one use at `now` (seconds). Returns 0, or the seconds to wait, and then counts nothing."""
        if not self.per_minute:
            return 0.0
        free_at = max(self._free_at.get(key, now), now) + self._seconds_each
        wait = free_at - now - 60
        if wait > 1e-9:
            return wait
        self._free_at[key] = free_at
        if len(self._free_at) > self._forget_from:
            self._forget(now)
        return 0.0

    def wait(self, key: str, now: float) -> float:
        """The seconds until one more use is allowed, without counting one; 0 if it is."""
        if not self.per_minute:
            return 0.0
        return max(0.0, self._free_at.get(key, now) + self._seconds_each - now - 60)

    def _forget(self, now: float) -> None:
        """Drop keys that have their whole allowance, and where too many are left, half of these.

        They are looked at again when there are twice as many: each use pays for a few keys.
        """
        kept = [(key, free_at) for key, free_at in self._free_at.items() if free_at > now]
        if len(kept) > self._most_keys:
            kept = sorted(kept, key=itemgetter(1))[-max(1, self._most_keys // 2) :]
        self._free_at = dict(kept)
        self._forget_from = min(self._most_keys, max(_FEW, 2 * len(kept)))
