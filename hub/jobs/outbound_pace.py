"""How sends of one source to one host follow each other: so many at once, evenly, no faster than it wants."""

import asyncio

CONCURRENCY = 10  # requests at once of one source to one host
_LONGEST_GAP = 0.02  # seconds between two that are begun, so that they do not all come back at the same moment
_MEMORY = 0.1  # what the latest answer counts for in the average


class Pace:
    """The gate of one source at one host."""

    def __init__(self, concurrency: int = CONCURRENCY) -> None:
        self.concurrency = concurrency
        self.gate = asyncio.Semaphore(concurrency)
        self._next = 0.0
        self._answers = 0.0  # seconds, on average

    async def begin(self, per_second: float | None) -> None:
        """Wait for one's turn, inside the gate; `per_second` is the most that may begin, None: as fast as it answers.

        Answers that come together would be handled together, and clicks wait meanwhile: so begins are spread over half
        the time an answer takes.
        """
        gap = min(_LONGEST_GAP, self._answers / self.concurrency / 2)
        if per_second:
            gap = max(gap, 1 / per_second)
        now = asyncio.get_running_loop().time()
        mine = max(now, self._next)
        self._next = mine + gap
        if mine > now:
            await asyncio.sleep(mine - now)

    def took(self, seconds: float) -> None:
        """An answer came after so long."""
        self._answers += (seconds - self._answers) * (_MEMORY if self._answers else 1.0)
