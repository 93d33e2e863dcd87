"""Exchange rates: the ECB's history from the wheel at the first start, new days from Frankfurter."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.http import Http
from connectors.rates import frankfurter
from hub.runtime.runtime import Runtime
from storage.ledger.errors import ConnectorError
from storage.reports import rates
from storage.tables import accounts, campaigns, revenue

log = structlog.get_logger()

REACH = timedelta(days=400)  # history kept from the start; older days follow when there are figures of them
PAUSE = timedelta(hours=1)  # between two looks for new days
_PUBLISHED = time(15, 30, tzinfo=UTC)  # the ECB's day is out by then


async def fill(runtime: Runtime) -> None:
    """Copy the bundled ECB history into the database where it lacks; cheap when it is there."""
    today = runtime.clock().date()
    async with runtime.database.read() as tx:
        oldest = (await tx.execute(select(func.min(revenue.c.day)))).scalar_one_or_none() or today
        earliest = await rates.first_published(tx)
    since = min(today - REACH, oldest - timedelta(days=40))
    if earliest is not None and earliest <= since + timedelta(days=7):
        return
    from connectors.rates import ecb  # its package costs memory: only where it is needed

    bundled = _stored_rates(ecb.bundled(since), "ecb")
    async with runtime.database.begin() as tx:
        await rates.store(tx, rates.EVERYBODY, bundled)


async def tick(runtime: Runtime) -> None:
    """Called every minute: at most once an hour, what is new, if any figure could need it."""
    now = runtime.clock()
    if runtime.state.get("rates_next", now) > now:
        return
    runtime.state["rates_next"] = now + PAUSE
    await fill(runtime)
    async with runtime.database.read() as tx:
        last = await rates.last_published(tx)
        needed = await foreign_money(tx, runtime.deployment.currency)
    if needed and last is not None and last < last_due(now):
        await _fetch(runtime, last + timedelta(days=1), now.date())


def last_due(now: datetime) -> date:
    """The last working day whose rates are out."""
    day = now.date() if now.timetz() >= _PUBLISHED else now.date() - timedelta(days=1)
    return day - timedelta(days=max(0, day.weekday() - 4))


async def foreign_money(tx: AsyncConnection, currency: str) -> bool:
    """Whether an account or a campaign reckons in another currency than reports do."""
    a, c = accounts.c.currency, campaigns.c.currency
    currencies = select(a).where(a != currency).union(select(c).where(c.is_not(None), c != currency))
    return (await tx.execute(currencies.limit(1))).first() is not None


async def _fetch(runtime: Runtime, first: date, last: date) -> None:
    try:
        async with Http(allow_private=runtime.settings.allow_private_hosts) as http:
            published = await frankfurter.fetch(http, first, last)
    except ConnectorError as error:
        log.warning("no new exchange rates", why=str(error), since=str(first))
        return
    async with runtime.database.begin() as tx:
        await rates.store(tx, rates.EVERYBODY, _stored_rates(published, "frankfurter"))


def _stored_rates(published: Iterable[tuple[date, str, Decimal]], origin: str) -> list[rates.StoredRate]:
    """What one euro is worth in each currency, as it is stored."""
    return [
        rates.StoredRate(day=day, currency="EUR", base=currency, rate=rate, origin=origin)
        for day, currency, rate in published
    ]
