"""What JSON conversion APIs have in common: settings that must be there, how old an event may be, hashing."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.outbound.templates import Sending


def setting(settings: Mapping[str, str], name: str, api: str) -> str:
    """A setting's value. Raises Refused naming it."""
    value = settings.get(name, "")
    if not value:
        raise Refused(f"{api} needs {name}: give it with 'source edit … settings={name}=…'", field="settings")
    return value


def fresh(sending: Sending, now: datetime, *, days: int, api: str) -> None:
    """Raises Refused for a conversion older than an API takes."""
    if now - sending.occurred_at > timedelta(days=days):
        raise Refused(f"{api} takes no conversion older than {days} days")


def hashed(value: str) -> str:
    """SHA-256 of a trimmed, lower-cased value, in hex: how these APIs want what could name a person."""
    return hashlib.sha256(value.strip().lower().encode()).hexdigest()


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def value(sending: Sending) -> float | None:
    """The amount in whole units; None if there is none."""
    return None if sending.amount is None else sending.amount / 1_000_000


def encoded(content: Any) -> str:
    return msgspec.json.encode(content).decode()


def without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value not in (None, "", {}, [])}
