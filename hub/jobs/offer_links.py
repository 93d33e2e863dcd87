"""Dead offer links: while an alert asks for it, every active offer's link is followed a few times a day.

A look is a visit at the platform, so looks are rare, say who they are, and carry `check` for every macro.
"""

import asyncio
from datetime import timedelta

from connectors.http import Http
from hub.runtime.runtime import Runtime
from storage.catalogue import offer_checks
from storage.ledger.clicks.macros import Template
from storage.ledger.errors import ConnectorError

EVERY = timedelta(hours=6)
AT_ONCE = 20
BROWSER = "Mozilla/5.0 (compatible; CasinoFlux link check)"


async def tick(runtime: Runtime) -> int:
    """Follow the links whose turn it is; returns how many."""
    now = runtime.clock()
    async with runtime.database.read() as tx:
        waiting = await offer_checks.due(tx, now - EVERY, limit=AT_ONCE)
    if not waiting:
        return 0
    async with Http(allow_private=runtime.settings.allow_private_hosts, seconds=15.0) as http:
        faults = await asyncio.gather(*(fault_of(http, offer.url) for offer in waiting))
    async with runtime.database.begin() as tx:
        for offer, fault in zip(waiting, faults, strict=True):
            await offer_checks.store(tx, offer.id, now, fault)
    return len(waiting)


async def fault_of(http: Http, url: str) -> str | None:
    """Why a link leads nowhere; None if it leads somewhere. A page that keeps robots out (401, 403, 429) is there."""
    target = Template(url).fill(lambda _macro: "check")
    try:
        answer = await http.get(target, headers={"user-agent": BROWSER}, tries=2)
    except ConnectorError as error:
        return str(error)
    if answer.status in {404, 410} or answer.status >= 500:
        return f"it answers {answer.status}"
    return None
