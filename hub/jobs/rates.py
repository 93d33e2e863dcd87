"""Exchange rates: new days from Frankfurter; the first start fills in the ECB's history (hub.runtime.boot)."""

from datetime import UTC, date, datetime, time, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.http import Http
from connectors.rates import frankfurter
from hub.runtime import boot
from hub.runtime.runtime import Runtime
from storage.ledger.errors import ConnectorError
from storage.reports import rates
from storage.tables import accounts, campaigns

log = structlog.get_logger()

PAUSE = timedelta(hours=1)  # between two looks for new days
_PUBLISHED = time(15, 30, tzinfo=UTC)  # the ECB's day is out by then


async def tick(runtime: Runtime) -> None:
    """Called every minute: at most once an hour, what is new, if any figure could need it."""
    now = runtime.clock()
    if runtime.state.get("rates_next", now) > now:
        return
    runtime.state["rates_next"] = now + PAUSE
    await boot.fill_rates(runtime)
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
    """Whether an account or a campaign has another currency than reports."""
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
        await rates.store(tx, rates.EVERYBODY, rates.of_one_euro(published, "frankfurter"))
