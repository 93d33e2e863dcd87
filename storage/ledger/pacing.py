"""Spreading a campaign's budget over the hours of a day: how much of it may be spent by each quarter of an hour."""

from collections.abc import Sequence

EVEN, USUAL = "even", "usual"
MODES = (EVEN, USUAL)
_PER_HOUR = 4


def released(budget: int, hours: Sequence[int]) -> tuple[int, ...]:
    """Micro-units of a day's budget that may be spent until the end of each quarter hour of the report day.

    `hours`: how much each of the 24 hours usually has, in any unit; without any, each has the same.
    """
    weights = list(hours) if len(hours) == 24 and any(hours) else [1] * 24
    whole, parts, before = sum(weights) * _PER_HOUR, [], 0
    for weight in weights:
        parts += [budget * (before + weight * quarter) // whole for quarter in range(1, _PER_HOUR + 1)]
        before += weight * _PER_HOUR
    return tuple(parts)


def expected(budget: int, hours: Sequence[int], minute: int) -> int:
    """What would be spent by a minute of the report day if spend followed the hours exactly."""
    parts = (0, *released(budget, hours))
    quarter, rest = divmod(min(minute, 24 * 60 - 1), 15)
    return parts[quarter] + (parts[quarter + 1] - parts[quarter]) * rest // 15
