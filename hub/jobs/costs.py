"""Costs of traffic from the sources' own statistics, read again over the days that they restate."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from connectors.http import Http
from connectors.redaction import redact
from connectors.sources.costs import COST_APIS, CostApi, CostQuery
from hub.runtime.runtime import Runtime
from storage.db import tasks
from storage.ledger.errors import CasinoFluxError, Refused
from storage.reports import spend_import

log = structlog.get_logger()


async def tick(runtime: Runtime) -> None:
    """Read what is due; a source that fails is noted and does not hold up the others."""
    async with runtime.database.read() as tx:
        waiting = await spend_import.due(tx, list(COST_APIS), runtime.clock())
    for source in waiting:
        settings: Mapping[str, str] = {}
        try:
            settings = runtime.box.open(source.credentials_secret)
            if settings.get(COST_APIS[source.preset].token):
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
    """Ask the source, place what it says on campaigns beside the writers, and store it in one short transaction."""
    api, now = COST_APIS[source.preset], runtime.clock()
    today = now.astimezone(runtime.deployment.zone).date()
    first = spend_import.first_day(source, today, api.days, now)
    query = CostQuery(first=first, last=today, zone=runtime.deployment.zone)
    sub = _campaign_sub(source, settings, api)
    async with Http(allow_private=runtime.settings.allow_private_hosts) as http:
        report = await api.fetch(http, settings, query)
    async with runtime.database.read() as tx:
        placed = await spend_import.place(tx, source, report.rows, sub=sub, first=first, last=today)
    zone = "" if report.zone in {"", str(query.zone)} else report.zone
    all_days = first == today - timedelta(days=api.days - 1)
    async with runtime.database.begin() as tx:
        await spend_import.record(tx, source, placed, now=now, all_days=all_days, zone=zone)
    if placed.unmatched:
        log.warning("spend matches no campaign", source=source.code, campaigns=len(placed.unmatched))


def _campaign_sub(source: Row[Any], settings: Mapping[str, str], api: CostApi) -> str:
    """The sub parameter in which the source's campaign comes. Raises Refused."""
    sub = settings.get("campaign_sub") or source.options.get("campaign_sub") or api.campaign_sub
    if not re.fullmatch(r"sub([1-9]|10)", sub):
        raise Refused(f"campaign_sub: {sub!r} is none of sub1 … sub10", field="settings")
    return str(sub)
