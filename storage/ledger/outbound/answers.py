"""What a receiver's answer means: taken, or what is wrong with it; and when it is tried again."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from storage.ledger.outbound.templates import Success

#: Waiting times after the first, second … failed try.
SCHEDULE = (
    timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=12),
)  # fmt: skip
_LONGEST = timedelta(hours=24)


def taken(status: int, body: bytes, rule: Success) -> str | None:
    """None if the source took it, else what is wrong with its answer."""
    if not 200 <= status < 300:
        return f"answered {status}"
    text = body.decode("utf-8", errors="replace")
    for part in rule.contains:
        if part.lower() not in text.lower():
            return f"answered {status} without {part!r}"
    for unwanted in rule.lacks:
        if unwanted.lower() in text.lower():
            return f"answered {status} with {unwanted!r}"
    return _json_fault(text, rule.json_equals) if rule.json_equals else None


def _json_fault(text: str, expected: Mapping[str, Any]) -> str | None:
    try:
        content = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return "answered something that is not JSON"
    for path, value in expected.items():
        at: Any = content
        for part in path.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if at != value and not (value == "*" and at is not None):
            return f"answered {path}={at!r} instead of {value!r}"
    return None


def next_try(failures: int, now: datetime, *, retry_after: float | None, chance: random.Random) -> datetime | None:
    """When to try again after so many failures (a fifth more or less); None when it is given up."""
    if failures > len(SCHEDULE):
        return None
    wait = SCHEDULE[failures - 1] * chance.uniform(0.8, 1.2)
    pause = timedelta(seconds=min(retry_after or 0.0, _LONGEST.total_seconds()))
    return now + max(wait, pause)
