"""Inputs and results of judging conversions: matched requests, an account's rules, conversions."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from storage.ledger.facts import Event, Status


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One matched request of an account. `id` grows with arrival; amounts are micro-units."""

    id: int
    received_at: datetime
    event: Event
    status: Status
    click_id: int | None
    player_id: str | None
    txn_id: str | None
    amount: int | None
    currency: str | None
    occurred_at: datetime
    time_given: bool
    digest: str
    marks: tuple[str, ...] = ()
    conversion_id: int | None = None
    corrects: int | None = None  # a conversion put right by hand: its status and amount as given here


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as its requests make it. `repeats` are requests that count for nothing beside it."""

    event: Event
    status: Status
    is_ftd: bool
    amount: int | None
    currency: str | None
    occurred_at: datetime
    txn_id: str | None
    click_id: int | None
    player_id: str | None
    received_at: datetime  # when it was first heard of
    marks: tuple[str, ...]
    requests: tuple[int, ...]
    repeats: tuple[int, ...] = ()


class AccountRules(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's platform does: whether it tells first deposits apart, and what a repeat means per event."""

    has_ftd_event: bool = True
    repeats: Mapping[str, str] = {}  # event -> ignore | update (the default) | count

    def of(self, event: Event) -> str:
        return self.repeats.get(event.value, "update")
