"""Alerts a team has armed: their rules, how patient they are, and how each of their subjects stands."""

from collections.abc import Collection
from datetime import datetime, time, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, Select, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import groups
from storage.catalogue.groups import SortedScope
from storage.chat.subscriptions import channel, room_name, scope_of
from storage.ledger.alerts.alarms import Alarm, Policy, overall
from storage.ledger.alerts.thresholds import Rule, describe
from storage.ledger.errors import Missing
from storage.ledger.schedule import minutes_text
from storage.tables import alerts, rooms

REMEMBERED = 300  # events reported; older ones are known by their time


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed when the alert was added: the rule, and when it may speak. Lengths are in minutes."""

    rule: Rule
    cooldown: int = 60
    quiet: tuple[str, str] | None = None  # HH:MM from and to
    timezone: str = "UTC"


class History(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the alert stands: its alarms by subject, and the events reported."""

    alarms: dict[str, Alarm] = {}
    message_keys: dict[str, str] = msgspec.field(default_factory=dict, name="told_as")  # by subject
    reported: list[str] = msgspec.field(default_factory=list, name="told")  # keys of events
    seen: datetime | None = None  # happenings before this moment were looked at


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """An armed alert as the watch looks at it."""

    id: int
    team_id: int
    room_id: int
    thread: str
    terms: Terms
    campaigns: tuple[str, ...] | None
    history: History
    snoozed_until: datetime | None
    created_at: datetime

    @property
    def rule(self) -> Rule:
        return self.terms.rule

    @property
    def policy(self) -> Policy:
        quiet = self.terms.quiet
        return Policy(
            lasting=timedelta(minutes=self.rule.for_minutes), cooldown=timedelta(minutes=self.terms.cooldown),
            quiet=(time.fromisoformat(quiet[0]), time.fromisoformat(quiet[1])) if quiet else None,
            timezone=self.terms.timezone, snoozed_until=self.snoozed_until,
        )  # fmt: skip


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as people see it. `state`: `idle`, `firing`, `acknowledged`; `firing` names what it fires for."""

    id: int
    name: str
    code: str
    rule: str
    kind: str
    campaigns: list[str] | None
    groups: list[str]
    tags: list[str]
    for_: str | None = msgspec.field(name="for")
    cooldown: str
    quiet: str | None
    timezone: str
    channel: str
    room: str  # what people call it
    state: str
    firing: list[str]
    snoozed_until: datetime | None
    would_have_fired: int | None = None
    would_have_fired_on: list[str] | None = None


class NewAlert(msgspec.Struct, frozen=True, kw_only=True):
    team_id: int
    room_id: int
    thread: str
    terms: Terms
    campaigns: tuple[str, ...] | None
    scope: SortedScope | None = None


async def add(tx: AsyncConnection, now: datetime, new: NewAlert) -> int:
    """Arm an alert; what happened before is not reported."""
    made = insert(alerts).values(
        team_id=new.team_id, room_id=new.room_id, thread=new.thread, kind=new.terms.rule.kind,
        rule=msgspec.to_builtins(new.terms), campaigns=None if new.campaigns is None else list(new.campaigns),
        sorted_by=None if new.scope is None else msgspec.to_builtins(new.scope),
        history=msgspec.to_builtins(History(seen=now)), created_at=now,
    )  # fmt: skip
    return int((await tx.execute(made.returning(alerts.c.id))).scalar_one())


def of_team(team_id: int) -> Select[Any]:
    """The team's alerts with their rooms, for paging."""
    joined = select(alerts, rooms.c.face, rooms.c.room, rooms.c.title).join(rooms, rooms.c.id == alerts.c.room_id)
    return joined.where(alerts.c.team_id == team_id, alerts.c.removed_at.is_(None))


async def find(tx: AsyncConnection, team_id: int, word: str) -> tuple[Alert, Watch]:
    """By id or code (`alert-7`). Raises Missing at `alert`."""
    number = word.strip().lower().removeprefix("alert-").removeprefix("#")
    alert_id = int(number) if number.isdecimal() and len(number) < 19 else 0
    row = (await tx.execute(of_team(team_id).where(alerts.c.id == alert_id))).first()
    if row is None:
        raise Missing(f"no alert {word!r}: 'alert list' shows them", field="alert")
    return shown(row), await watch_of(tx, row)


async def armed(tx: AsyncConnection, *, kinds: Collection[str] | None = None) -> list[Watch]:
    """Every alert there is to look at (of some kinds); a room that was lost is left out."""
    return [await watch_of(tx, row) for row in (await tx.execute(_armed(kinds).order_by(alerts.c.id))).all()]


async def any_armed(tx: AsyncConnection, *, kinds: Collection[str] | None = None) -> bool:
    """Whether there is any such alert."""
    return (await tx.execute(_armed(kinds).limit(1))).first() is not None


def _armed(kinds: Collection[str] | None) -> Select[Any]:
    return (
        select(alerts)
        .join(rooms, rooms.c.id == alerts.c.room_id)
        .where(alerts.c.removed_at.is_(None), rooms.c.lost_at.is_(None))
        .where(true() if kinds is None else alerts.c.kind.in_(sorted(kinds)))
    )


async def again(tx: AsyncConnection, alert_id: int) -> Watch | None:
    """The alert as it stands now, held against others until the transaction ends; None if it was removed."""
    query = select(alerts).where(alerts.c.id == alert_id, alerts.c.removed_at.is_(None)).with_for_update()
    row = (await tx.execute(query)).first()
    return None if row is None else await watch_of(tx, row)


async def store(tx: AsyncConnection, alert_id: int, history: History) -> None:
    """Store how the alert stands."""
    history.reported = history.reported[-REMEMBERED:]
    state = overall(list(history.alarms.values()))
    values: dict[str, Any] = {"history": msgspec.to_builtins(history), "state": state}
    await tx.execute(update(alerts).where(alerts.c.id == alert_id).values(**values))


async def snooze(tx: AsyncConnection, alert_id: int, until: datetime | None) -> None:
    await tx.execute(update(alerts).where(alerts.c.id == alert_id).values(snoozed_until=until))


async def remove(tx: AsyncConnection, alert_id: int, now: datetime) -> None:
    await tx.execute(update(alerts).where(alerts.c.id == alert_id).values(removed_at=now, state="idle"))


async def watch_of(tx: AsyncConnection, row: Row[Any]) -> Watch:
    """An alert as the watch looks at it, with the campaigns that are in its groups now."""
    within = None if row.campaigns is None else tuple(row.campaigns)
    return Watch(
        id=row.id, team_id=row.team_id, room_id=row.room_id, thread=row.thread,
        terms=msgspec.convert(row.rule, Terms), history=msgspec.convert(row.history, History),
        campaigns=await groups.campaigns_in(tx, row.team_id, scope_of(row), within), snoozed_until=row.snoozed_until,
        created_at=row.created_at,
    )  # fmt: skip


def shown(row: Row[Any]) -> Alert:
    terms, history = msgspec.convert(row.rule, Terms), msgspec.convert(row.history, History)
    rule, words = terms.rule, describe(terms.rule)
    firing = [subject for subject, alarm in history.alarms.items() if alarm.state in {"firing", "acknowledged"}]
    return Alert(
        id=row.id, name=words, code=f"alert-{row.id}", rule=words, kind=row.kind, campaigns=row.campaigns,
        groups=(row.sorted_by or {}).get("groups", []), tags=(row.sorted_by or {}).get("tags", []),
        for_=minutes_text(rule.for_minutes) if rule.for_minutes else None, cooldown=minutes_text(terms.cooldown),
        quiet="-".join(terms.quiet) if terms.quiet else None, timezone=terms.timezone,
        channel=channel(row.face, row.room, row.thread), room=room_name(row), state=row.state, firing=sorted(firing),
        snoozed_until=row.snoozed_until,
    )  # fmt: skip
