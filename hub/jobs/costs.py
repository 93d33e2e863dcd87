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
from storage.db import tasks
from storage.ledger.errors import CasinoFluxError
from storage.reports import spend_import

log = structlog.get_logger()


async def tick(runtime: Runtime) -> None:
    """Read what is due; a source that fails is noted and does not hold up the others."""
    async with runtime.database.read() as tx:
        waiting = await spend_import.due(tx, list(APIS), runtime.clock())
    for source in waiting:
        settings: Mapping[str, str] = {}
        try:
            settings = runtime.box.open(source.credentials_secret)
            if settings.get("cost_token"):
                await _read(runtime, source, settings)
        except CasinoFluxError as error:
            await _note_failure(runtime, source, redact(str(error), list(settings.values())))
        except Exception as error:
            if tasks.database_fault(error):
                raise
            tasks.monitor.failed(f"costs of {source.preset}", error)
            await _note_failure(runtime, source, "something went wrong on our side: the log has the details")
        else:
            tasks.monitor.succeeded(f"costs of {source.preset}")


async def _note_failure(runtime: Runtime, source: Row[Any], error: str) -> None:
    log.warning("costs could not be read", source=source.code, error=error)
    async with runtime.database.begin() as tx:
        await spend_import.note(tx, source.id, {"at": runtime.clock().isoformat(), "error": error})


async def _read(runtime: Runtime, source: Row[Any], settings: Mapping[str, str]) -> None:
    now = runtime.clock()
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=n) for n in range(spend_import.RESTATED_DAYS)]
    rows: list[CostRow] = []
    async with Http(allow_private=runtime.settings.allow_private_hosts) as http:
        for day in days:
            rows += await APIS[source.preset](http, settings, day)
    async with runtime.database.begin() as tx:
        sub = source.options.get("campaign_sub") or CAMPAIGN_SUB[source.preset]
        done = await spend_import.record(tx, source, rows, sub=sub, now=now)
    if done.unmatched:
        log.warning("spend matches no click", source=source.code, campaigns=", ".join(done.unmatched[:10]))
