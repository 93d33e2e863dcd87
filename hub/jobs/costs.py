"""Costs of traffic from the sources' own statistics, read again over the last days, for they are restated."""

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from connectors.http import Http
from connectors.redaction import redact
from connectors.sources.costs import APIS, CAMPAIGN_SUB, CostRow
from hub.runtime.runtime import Runtime
from storage.ledger.errors import CasinoFluxError
from storage.reports import spend_import

log = structlog.get_logger()


async def tick(runtime: Runtime) -> None:
    """Read what is due; a source that fails is noted and does not hold up the others."""
    async with runtime.database.read() as tx:
        waiting = await spend_import.due(tx, list(APIS), runtime.clock())
    for source in waiting:
        settings: Mapping[str, str] = runtime.box.open(source.credentials_secret)
        if settings.get("cost_token"):
            await _read(runtime, source, settings)


async def _read(runtime: Runtime, source: Row[Any], settings: Mapping[str, str]) -> None:
    now = runtime.clock()
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=n) for n in range(spend_import.RESTATED_DAYS)]
    rows: list[CostRow] = []
    try:
        async with Http(allow_private=runtime.settings.allow_private_hosts) as http:
            for day in days:
                rows += await APIS[source.preset](http, settings, day)
    except CasinoFluxError as error:
        told = redact(str(error), list(settings.values()))
        log.warning("costs could not be read", source=source.code, error=told)
        async with runtime.database.begin() as tx:
            await spend_import.note(tx, source, {"at": now.isoformat(), "error": told})
        return
    async with runtime.database.begin() as tx:
        sub = source.options.get("campaign_sub") or CAMPAIGN_SUB[source.preset]
        done = await spend_import.record(tx, source, rows, sub=sub, now=now)
    if done.unmatched:
        log.warning("spend matches no click", source=source.code, campaigns=", ".join(done.unmatched[:10]))
