"""Exchange rates as they are kept: published ones for every team, a team's own on top."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.money import CARRIED_DAYS, Quote, Rates
from storage.ledger.numbers import read_exact
from storage.tables import rates

#: `team_id` of published rates.
EVERYBODY = 0

_CHUNK = 2000


class StoredRate(msgspec.Struct, frozen=True, kw_only=True):
    """A stored rate: on `day`, one `currency` is worth `rate` of `base`; `origin` is team, ecb or frankfurter."""

    day: date
    currency: str
    base: str
    rate: Decimal
    origin: str


async def load_rates(
    tx: AsyncConnection, team_id: int, base: str, currencies: Iterable[str], first: date, last: date
) -> Rates:
    """Rates of those currencies into `base` for the days, with what weekends and holidays need before them."""
    others = sorted({*currencies} - {base})
    if not others:
        return Rates(base)
    r = rates.c
    named = [*others, base]
    own = and_(r.team_id == team_id, r.base == base, r.currency.in_(others), r.day >= first)
    published = and_(
        r.team_id == EVERYBODY, r.currency.in_([*named, "EUR"]), r.base.in_([*named, "EUR"]),
        r.day >= first - timedelta(days=CARRIED_DAYS),
    )  # fmt: skip
    rows = await tx.execute(
        select(r.day, r.currency, r.base, r.rate, r.team_id).where(or_(own, published), r.day <= last)
    )
    return Rates(base, [Quote(x.day, x.currency, x.base, read_exact(x.rate), x.team_id != EVERYBODY) for x in rows])


async def store(tx: AsyncConnection, team_id: int, stored_rates: Sequence[StoredRate]) -> None:
    """Store rates; a later one for the same day replaces the earlier."""
    for start in range(0, len(stored_rates), _CHUNK):
        rows = [
            {"team_id": team_id, "currency": rate.currency, "base": rate.base, "day": rate.day, "rate": str(rate.rate),
             "origin": rate.origin}
            for rate in stored_rates[start : start + _CHUNK]
        ]  # fmt: skip
        statement = upsert(rates)
        await tx.execute(
            statement.on_conflict_do_update(
                index_elements=["team_id", "currency", "base", "day"],
                set_={"rate": statement.excluded.rate, "origin": statement.excluded.origin},
            ),
            rows,
        )


async def own(
    tx: AsyncConnection, team_id: int, currency: str, base: str, *, first: date, last: date
) -> dict[date, str]:
    """The team's own rates of those days, as decimals written out."""
    query = select(rates.c.day, rates.c.rate).where(*_own(team_id, currency, base, first, last))
    return {row.day: row.rate for row in await tx.execute(query)}


async def drop(tx: AsyncConnection, team_id: int, currency: str, base: str, *, first: date, last: date) -> None:
    """Forget the team's own rates of those days: the published ones stand again."""
    await tx.execute(delete(rates).where(*_own(team_id, currency, base, first, last)))


def _own(team_id: int, currency: str, base: str, first: date, last: date) -> tuple[ColumnElement[bool], ...]:
    r = rates.c
    return r.team_id == team_id, r.currency == currency, r.base == base, r.day.between(first, last)


async def last_published(tx: AsyncConnection) -> date | None:
    """The last day there are published rates of."""
    last = select(func.max(rates.c.day)).where(rates.c.team_id == EVERYBODY)
    newest: date | None = (await tx.execute(last)).scalar_one_or_none()
    return newest


async def first_published(tx: AsyncConnection) -> date | None:
    """The first day there are published rates of."""
    first = select(func.min(rates.c.day)).where(rates.c.team_id == EVERYBODY)
    oldest: date | None = (await tx.execute(first)).scalar_one_or_none()
    return oldest


async def listed(
    tx: AsyncConnection, team_id: int, *, currency: str | None, first: date, last: date, limit: int = 500,
    skip: int = 0, own: bool = True, published: bool = True,
) -> list[StoredRate]:  # fmt: skip
    """The team's own rates, the published ones, or both; the latest first."""
    r = rates.c
    whose = [*([team_id] if own else []), *([EVERYBODY] if published else [])]
    query = select(r.day, r.currency, r.base, r.rate, r.origin).where(
        r.team_id.in_(whose), r.day >= first, r.day <= last
    )
    if currency:
        query = query.where(or_(r.currency == currency, and_(r.base == currency, r.team_id == EVERYBODY)))
    rows = await tx.execute(
        query.order_by(r.day.desc(), r.team_id.desc(), r.currency, r.base).limit(limit).offset(skip)
    )
    return [
        StoredRate(day=x.day, currency=x.currency, base=x.base, rate=read_exact(x.rate), origin=x.origin) for x in rows
    ]


def of_one_euro(published: Iterable[tuple[date, str, Decimal]], origin: str) -> list[StoredRate]:
    """What one euro is worth in each currency, as rows to store."""
    return [
        StoredRate(day=day, currency="EUR", base=currency, rate=rate, origin=origin)
        for day, currency, rate in published
    ]
