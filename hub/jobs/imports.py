"""Imports from other trackers: read what was asked for, make the dry run, carry out what was confirmed; one at a time.

What is stopped in the middle goes on at the next start: reading begins again, carrying out finds what it has made.
"""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Row

from bot.commands.imports import done_message, plan_message
from connectors.http import Http
from connectors.redaction import redact
from hub.runtime.runtime import Runtime
from storage.chat import messages
from storage.db import tasks
from storage.imports import imports
from storage.imports.imports import DONE, FAILED, READY, RUNNING, StoredParts, Whose
from storage.imports.plans import make_plan
from storage.ledger.errors import CasinoFluxError

log = structlog.get_logger()

_OURS = "something went wrong on our side: the log has the details"


async def tick(runtime: Runtime) -> None:
    """Do the oldest import that waits."""
    row = await runtime.database.look(imports.next_due)
    if row is None:
        return
    login: dict[str, str] = {}
    try:
        login = runtime.box.open(row.credentials_secret) if row.credentials_secret else {}
        await (_carry_out(runtime, row) if row.state == RUNNING else _read(runtime, row, login))
    except CasinoFluxError as error:
        if tasks.database_fault(error):
            raise
        await _fail(runtime, row, redact(str(error), list(login.values())))
    except Exception as error:
        if tasks.database_fault(error):
            raise
        log.error("an import failed", id=row.id, system=row.system, error=type(error).__name__, exc_info=error)
        await _fail(runtime, row, _OURS)


async def _fail(runtime: Runtime, row: Row[Any], error: str) -> None:
    log.warning("an import failed", id=row.id, system=row.system, error=error)
    await _finish(runtime, row, state=FAILED, error=error, credentials_secret=None)


async def _finish(runtime: Runtime, row: Row[Any], **values: Any) -> None:
    """Store the result, and notify the room where it was asked for."""
    async with runtime.database.begin() as tx:
        await imports.change(tx, row.id, progress=None, finished_at=runtime.clock(), **values)
        shown = imports.shown(await imports.find(tx, row.team_id, row.id))
        if row.room:
            message = plan_message(shown) if shown.state != DONE else done_message(shown)
            await messages.queue(
                tx, team_id=row.team_id, room_id=row.room["id"], thread=row.room["thread"],
                key=f"import:{row.id}:{shown.state}:{runtime.clock().timestamp():.0f}", message=message,
                now=runtime.clock(),
            )  # fmt: skip


async def _read(runtime: Runtime, row: Row[Any], login: dict[str, str]) -> None:
    settings = imports.settings_of(row)
    async with runtime.database.begin() as tx:
        await imports.forget_parts(tx, row.id)
    from connectors.trackers import registry

    request = registry.Request(
        first=settings.first, last=settings.last, timezone=runtime.deployment.timezone,
        currency=settings.options.get("currency") or runtime.deployment.currency, click_days=settings.click_days,
    )  # fmt: skip
    number = 0
    async with Http(allow_private=runtime.settings.allow_private_hosts) as http:
        async for part in registry.tracker(row.system).read(http, login, request):
            packed = await asyncio.to_thread(imports.packed, part)
            async with runtime.database.begin() as tx:
                await imports.add_parts(tx, row.id, number, [packed])
                await imports.change(tx, row.id, progress={"done": number, "of": 0})
            number += 1
    whose = Whose(team_id=row.team_id, system=row.system, host=row.host)
    plan = await make_plan(
        runtime.database, whose, StoredParts(runtime.database, row.id), currency=runtime.deployment.currency
    )
    await _finish(runtime, row, state=READY, plan=plan, error=None, credentials_secret=None)


async def _carry_out(runtime: Runtime, row: Row[Any]) -> None:
    deployment = runtime.deployment
    written_at = 0.0

    async def progress(done: int, total: int) -> None:
        nonlocal written_at
        now = asyncio.get_running_loop().time()
        if now - written_at >= 1:
            written_at = now
            async with runtime.database.begin() as tx:
                await imports.change(tx, row.id, progress={"done": done, "of": total})

    from storage.imports.carry_out import Importer  # few hubs ever import

    importer = Importer(
        runtime.database, runtime.box, row, clock=runtime.clock, zone=deployment.zone, currency=deployment.currency,
        progress=progress,
    )  # fmt: skip
    result = await importer.work()
    await _finish(runtime, row, state=DONE, result=result, error=None)
    with suppress(CasinoFluxError):
        await runtime.ports.changed()
