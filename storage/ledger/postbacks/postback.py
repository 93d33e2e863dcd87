"""From a postback request as it came to what it says: parameters decoded, then read by an account's rules."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from storage.ledger.currencies import CURRENCIES, currency_of
from storage.ledger.facts import Event, Outcome, Status
from storage.ledger.instants import assumed_order, read_instant
from storage.ledger.numbers import read_micro
from storage.ledger.postbacks.decoding import Decoded, Pairs
from storage.ledger.postbacks.vocabulary import PARAMETERS, event_words, is_macro, parameter_names, plain, status_words

MAX_BODY = 1_000_000
MAX_VALUE = 255  # of what is kept as an id; longer ones are cut
_AHEAD = timedelta(days=1)
_PARTS = re.compile(r"[.\[\]]+")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's postbacks are read: its platform's words, overridden by the team's mapping."""

    names: Mapping[str, tuple[str, ...]]  # our parameter -> names to look under, in compared form
    places: Mapping[str, tuple[str, int]]  # such a name, or a usual one -> our parameter, its place among the names
    events: Mapping[str, Event]
    statuses: Mapping[str, Status]
    zone: ZoneInfo
    currency: str
    default_event: Event | None = None
    has_ftd_event: bool = True
    repeats: Mapping[str, str] = {}  # event -> ignore | update | count


def rules(*, zone: ZoneInfo, currency: str, words: Mapping[str, Any], mapping: Mapping[str, Any]) -> Rules:
    """Rules out of a platform's words (`connectors.base.PostbackWords`) and the account's own mapping over them.

    Raises ValueError when a mapping names an event or status there is none of.
    """
    default = mapping.get("default_event")
    has_ftd = mapping.get("has_ftd_event")
    names = parameter_names(words.get("parameters", {}), mapping.get("parameters", {}))
    places = {name: (ours, rank) for ours, aliases in names.items() for rank, name in enumerate(aliases)}
    usual = {alias: plain(alias) for aliases in PARAMETERS.values() for alias in aliases}
    return Rules(
        names=names,
        places=places | {alias: places[name] for alias, name in usual.items() if name in places},
        events=event_words(words.get("events", {}), mapping.get("events", {})),
        statuses=status_words(words.get("statuses", {}), mapping.get("statuses", {})),
        zone=zone,
        currency=currency,
        default_event=Event(default) if default else None,
        has_ftd_event=bool(words.get("has_ftd_event", True) if has_ftd is None else has_ftd),
        repeats=mapping.get("repeats", {}),
    )


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What a postback says. `outcome` is set where that is settled already: unmapped, rejected."""

    outcome: Outcome | None = None
    event: Event | None = None
    status: Status = Status.APPROVED
    click: str | None = None  # as it came
    player_id: str | None = None
    txn_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    occurred_at: datetime
    time_given: bool = False
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(decoded: Decoded, by: Rules, received_at: datetime) -> Signal:
    """What a decoded request says by an account's rules; every oddity leaves a note for the log."""
    notes = list(decoded.notes)
    values = _chosen(decoded.pairs, by, notes)
    marks: list[str] = []
    event, outcome = _event(values.get("event"), by, notes)
    occurred_at, is_stated = _occurred(values.get("occurred_at"), by, received_at, marks, notes)
    money, currency = _amount(values, by, marks, notes)
    status = Status.APPROVED if "status" not in values else _status(values["status"], by, marks, notes)
    return Signal(
        outcome=outcome,
        event=event,
        status=status,
        click=_cut("click_id", values, notes),
        player_id=_cut("player_id", values, notes),
        txn_id=_cut("txn_id", values, notes),
        amount=money,
        currency=currency,
        occurred_at=occurred_at,
        time_given=is_stated,
        marks=tuple(marks),
        notes=tuple(notes),
    )


def _chosen(pairs: Pairs, by: Rules, notes: list[str]) -> dict[str, str]:
    """Our parameters -> values: the first name that holds something that is not an unreplaced macro."""
    places = by.places
    first: dict[str, tuple[int, str]] = {}
    several: dict[str, list[tuple[int, str]]] = {}
    for name, value in pairs:
        meant = places.get(name) or places.get(plain(name)) or _inner(name, by)
        if meant is None:
            continue
        ours, rank = meant
        if ours not in first:
            first[ours] = rank, value
        else:
            several.setdefault(ours, [first[ours]]).append((rank, value))
    usable_values: dict[str, str] = {}
    for ours, (_, value) in first.items():
        alone = value.strip()
        if ours in several:
            usable = _best(ours, several[ours], notes)
        elif alone and not is_macro(alone):
            usable = alone
        else:
            usable = _usable(ours, (value,), notes)
        if usable is not None:
            usable_values[ours] = usable
    return usable_values


def _inner(name: str, by: Rules) -> tuple[str, int] | None:
    """What a name within others means: `data.event.name`, `data[click_id]`, `click_id[]`, `items[0].amount`."""
    if "." not in name and "[" not in name:
        return None
    parts = [part for part in _PARTS.split(name) if part and not part.isdecimal()]
    for first in range(len(parts)):
        meant = by.places.get(plain("".join(parts[first:])))
        if meant is not None:
            return meant
    return None


def _best(ours: str, ranked: list[tuple[int, str]], notes: list[str]) -> str | None:
    for rank in sorted({rank for rank, _ in ranked}):
        usable = _usable(ours, [value for priority, value in ranked if priority == rank], notes)
        if usable is not None:
            return usable
    return None


def _usable(name: str, values: Sequence[str], notes: list[str]) -> str | None:
    real = []
    for text in values:
        value = text.strip()
        if value and is_macro(value):
            notes.append(f"{name} holds the unreplaced macro {value[:40]}")
        elif value:
            real.append(value)
    if len(real) > 1 and len(set(real)) > 1:
        notes.append(f"{name} is given {len(real)} times: the first counts")
    return real[0] if real else None


def _event(word: str | None, by: Rules, notes: list[str]) -> tuple[Event | None, Outcome | None]:
    if word is None:
        if by.default_event is None:
            notes.append("no event: send event=registration, first_deposit, deposit …, or set a default_event")
            return None, Outcome.REJECTED
        return by.default_event, None
    event = by.events.get(plain(word))
    if event is None:
        notes.append(f"event {word[:80]!r} is not known: map it with 'postback map'")
        return None, Outcome.UNMAPPED
    return event, None


def _status(word: str, by: Rules, marks: list[str], notes: list[str]) -> Status:
    status = by.statuses.get(plain(word))
    if status is None:
        marks.append("unknown_status")
        notes.append(f"status {word[:80]!r} is not known: taken as pending; map it with 'postback map'")
        return Status.PENDING
    return status


def _occurred(
    text: str | None, by: Rules, received_at: datetime, marks: list[str], notes: list[str]
) -> tuple[datetime, bool]:
    if text is None:
        return received_at, False
    instant = read_instant(text, by.zone)
    if instant is None or instant > received_at + _AHEAD:
        marks.append("no_time")
        why = "cannot be read" if instant is None else "is over a day ahead"
        notes.append(f"occurred_at {text[:60]!r} {why}: the time of arrival counts")
        return received_at, False
    if order := assumed_order(text):
        notes.append(f"occurred_at {text[:60]!r} may be day first or month first: read {order} first")
    return instant, True


def _amount(values: Mapping[str, str], by: Rules, marks: list[str], notes: list[str]) -> tuple[int | None, str | None]:
    text = values.get("amount")
    if text is None:
        return None, None
    try:
        currency = _currency(values.get("currency"), by.currency)
        money, beside = read_micro(text, own=currency)
        if beside and values.get("currency") and beside != currency:
            raise ValueError(f"it is in {beside}, and the request says {currency}")
    except ValueError as error:
        marks.append("no_amount")
        notes.append(f"amount {text[:60]!r} is left missing: {error}")
        return None, None
    if money is None:
        return None, None
    meant = beside or currency
    if meant not in CURRENCIES and meant != by.currency:
        notes.append(f"currency {meant} is none we know: kept as it is, unconverted until 'rate set currency={meant}'")
    return money, meant


def _currency(written: str | None, own: str) -> str:
    """The currency of a request by its code or sign; the account's own without one. Raises ValueError."""
    if written is None:
        return own
    if written in CURRENCIES:
        return written
    try:
        return currency_of(written, own)
    except ValueError:
        if re.fullmatch(r"[A-Za-z]{3,5}", written):
            return written.upper()
    raise ValueError(f"its currency {written[:20]!r} is no code such as EUR")


def _cut(name: str, values: Mapping[str, str], notes: list[str]) -> str | None:
    value = values.get(name)
    if value is not None and len(value) > MAX_VALUE:
        notes.append(f"{name} has {len(value)} characters: cut to {MAX_VALUE}")
        return value[:MAX_VALUE]
    return value


def signed(query: bytes, body: bytes, *, secret: bytes, parameter: str, header: str | None) -> bool:
    """Whether a request carries the right HMAC-SHA256 (hex) of its body, or of its query without the signature."""
    parts = query.split(b"&") if query else []
    prefix = parameter.encode() + b"="
    carried = header or next((part[len(prefix) :].decode("latin-1") for part in parts if part.startswith(prefix)), "")
    covered = body or b"&".join(part for part in parts if not part.startswith(prefix))
    expected = hmac.new(secret, covered, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), carried.strip().lower().removeprefix("sha256=").encode())
