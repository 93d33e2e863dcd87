"""What platforms took back or changed of days that were settled: the news since some instant."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import COMMISSION_PARTS
from storage.tables import MEASURES, accounts, offers, revenue, revenue_revisions, settled_days

REACH = timedelta(days=200)  # how old a day's restatement is still news


class Restated(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a settled day that is no longer what it was. Amounts are micro-units of `currency`.

    `before` is null where the platform had said nothing; `vanished`: it showed something and shows less, or nothing.
    """

    day: date
    account_id: int
    account: str
    account_name: str
    tag: str
    currency: str
    measure: str
    before: int | None
    now: int | None

    @property
    def vanished(self) -> bool:
        """FTDs or commission that a platform showed and later withdrew."""
        return self.measure in {"first_deposits", "commission"} and (self.now or 0) < max(self.before or 0, 0)


async def since(
    tx: AsyncConnection, team_id: int, instant: datetime, *, account_ids: Iterable[int] | None = None,
    offer_ids: Select[tuple[int]] | None = None,
) -> list[Restated]:  # fmt: skip
    """Figures of settled days revised after an instant, latest day first; those back as they were are left out.

    Of these accounts, and claimed by these offers; None: all. `before` is what stood at that instant, or when the day
    was settled if that came later.
    """
    recent = revenue.c.day > (instant - REACH).date()  # the index is by day
    is_settled = and_(settled_days.c.account_id == revenue.c.account_id, settled_days.c.day == revenue.c.day)
    query = (
        select(
            revenue, accounts.c.code.label("account"), accounts.c.name.label("account_name"), settled_days.c.settled_at
        )
        .join(settled_days, is_settled)
        .join(accounts, accounts.c.id == revenue.c.account_id)
        .where(revenue.c.team_id == team_id, recent, revenue.c.recorded_at > instant)
    )
    if account_ids is not None:
        query = query.where(revenue.c.account_id.in_(list(account_ids)))
    if offer_ids is not None:
        query = query.where(_claimed_by(offer_ids))
    rows = (await tx.execute(query)).all()
    return _compared(rows, await _before(tx, rows, instant))


def _claimed_by(offer_ids: Select[tuple[int]]) -> ColumnElement[bool]:
    """Condition on revenue rows: one of the offers claims the tag, or takes what no other of its account claims."""
    tags = revenue.c.tag_key, func.lower(revenue.c.tag_name)
    own, other = offers.alias(), offers.alias()
    claims = other.c.account_id == revenue.c.account_id, other.c.tag_key.in_(tags)
    mine = select(own.c.id).where(own.c.id.in_(offer_ids), own.c.account_id == revenue.c.account_id)
    takes_rest = and_(own.c.tag_key.is_(None), ~select(other.c.id).where(*claims).exists())
    return mine.where(or_(own.c.tag_key.in_(tags), takes_rest)).exists()


async def _before(tx: AsyncConnection, rows: Iterable[Row[Any]], instant: datetime) -> dict[int, Row[Any]]:
    """What stood of each row at the instant, or when its day was settled if that came later."""
    baselines = {row.id: max(instant, row.settled_at) for row in rows}
    latest: dict[int, Row[Any]] = {row.id: row for row in rows if row.recorded_at <= baselines[row.id]}
    ids = list(baselines.keys() - latest.keys())
    for start in range(0, len(ids), 500):
        query = select(revenue_revisions).where(revenue_revisions.c.revenue_id.in_(ids[start : start + 500]))
        for row in await tx.execute(query.order_by(revenue_revisions.c.id)):
            if row.recorded_at <= baselines[row.revenue_id]:
                latest[row.revenue_id] = row
    return latest


def _compared(rows: Iterable[Row[Any]], before: dict[int, Row[Any]]) -> list[Restated]:
    fields = ("day", "account_id", "account", "account_name", "tag", "currency")
    key_of = attrgetter(*fields)
    was: dict[tuple[Any, ...], dict[str, int | None]] = {}
    now: dict[tuple[Any, ...], dict[str, int | None]] = {}
    for row in rows:
        key = key_of(row)
        _add(was.setdefault(key, {}), before.get(row.id))
        _add(now.setdefault(key, {}), row)
    restatements = [
        Restated(
            **dict(zip(fields, key, strict=True)), measure=measure,
            before=was[key].get(measure), now=now[key].get(measure),
        )
        for key in now
        for measure in ("registrations", "first_deposits", "deposits", "ngr", "commission")
        if was[key].get(measure) != now[key].get(measure)
    ]  # fmt: skip
    return sorted(
        restatements, key=lambda restatement: (-restatement.day.toordinal(), restatement.account, restatement.tag)
    )


def _add(sums: dict[str, int | None], row: Row[Any] | None) -> None:
    if row is None:
        return
    for name in MEASURES:
        value = getattr(row, name)
        if value is not None:
            sums[name] = (sums.get(name) or 0) + value
            if name in COMMISSION_PARTS:
                sums["commission"] = (sums.get("commission") or 0) + value
