"""The domain state machine: each step tried until it is done, each failure reported with its fix."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Row

from connectors.domains.lookup import Found, Lookup, resolved
from connectors.http import Http
from hub.jobs import domain_orders, health_checks
from hub.requests.hosts import CHALLENGE, challenge
from hub.runtime.runtime import Runtime
from storage.catalogue import domains
from storage.catalogue.domains import LIVE, VERIFIED, Step, with_step
from storage.db import config_version, tasks
from storage.ledger.errors import ConnectorError

GIVE_UP = 700  # tries: about a fortnight


class Tools(msgspec.Struct, frozen=True):
    """What steps need of the outside; tests bring their own name servers and ports."""

    http: Http
    lookup: Lookup
    http_port: int | None = None
    https_port: int | None = None


async def tick(runtime: Runtime, tools: Tools | None = None) -> int:
    """Take every domain whose time has come one step on; returns how many moved."""
    now = runtime.clock()
    if not await runtime.database.look(lambda tx: domains.is_due(tx, now)):
        return 0
    claimed = await runtime.database.run(lambda tx: domains.due(tx, now))
    async with Http(allow_private=runtime.settings.allow_private_hosts, seconds=10.0) as http:
        shared_tools = tools or Tools(http, Lookup(allow_private=runtime.settings.allow_private_hosts))
        ended = await asyncio.gather(*(_advance(runtime, shared_tools, row) for row in claimed), return_exceptions=True)
    for fault in filter(None, ended):
        raise fault
    return len(claimed)


async def _advance(runtime: Runtime, tools: Tools, row: Row[Any]) -> None:
    values: dict[str, Any]
    try:
        values = await _next(runtime, tools, row)
        tasks.monitor.succeeded(f"domain {row.name}")
    except Exception as error:
        if tasks.database_fault(error):
            raise
        tasks.monitor.failed(f"domain {row.name}", error)
        values = {"state": {**row.state, "tries": int(row.state.get("tries", 0)) + 1}}
        values["next_step_at"] = runtime.clock() + pause(values["state"]["tries"])
    if row.status != LIVE:
        values.setdefault("next_step_at", runtime.clock() + pause(int(values["state"].get("tries", 0))))
    async with runtime.database.begin() as tx:
        await domains.change(tx, row, values)
        if values.get("status", row.status) != row.status:
            await config_version.bump(tx)


async def _next(runtime: Runtime, tools: Tools, row: Row[Any]) -> dict[str, Any]:
    """The columns that this try changes."""
    if row.status == LIVE:
        secure = runtime.settings.public_url.startswith("https:")
        answers = await _answers(runtime, tools, row.name, "https" if secure else "http")
        return await health_checks.check(runtime, tools.http, row, answers=answers, secure=secure)
    if ready := await domain_orders.advance(runtime, tools.http, row):
        return ready
    return await verify(runtime, tools, row)


async def verify(runtime: Runtime, tools: Tools, row: Row[Any]) -> dict[str, Any]:
    """Whether requests for the name arrive here, with a certificate; otherwise what DNS says instead."""
    now, secure = runtime.clock(), runtime.settings.public_url.startswith("https:")
    state = {**row.state, "tries": int(row.state.get("tries", 0)) + 1}
    if secure and await _answers(runtime, tools, row.name, "https"):
        state = with_step(_verified(state, now), Step(name="tls", state="done", detail="certificate valid", at=now))
        return {"status": LIVE, "state": state, "next_step_at": now + health_checks.EVERY}
    if await _answers(runtime, tools, row.name, "http"):
        state = _verified(state, now)
        if secure:
            return {"status": VERIFIED, "state": with_step(state, _no_certificate(row.name, now))}
        skipped = Step(name="tls", state="skipped", detail="the hub's own address has none either", at=now)
        return {"status": LIVE, "state": with_step(state, skipped), "next_step_at": now + health_checks.EVERY}
    return await _diagnosed(runtime, tools, row, state)


async def _diagnosed(runtime: Runtime, tools: Tools, row: Row[Any], state: dict[str, Any]) -> dict[str, Any]:
    now, host = runtime.clock(), urlsplit(runtime.settings.public_url).hostname or ""
    ours = await asyncio.to_thread(resolved, host)
    records = domains.required_records(row.name, runtime.settings.public_url, ours)
    state = {**state, "records": msgspec.to_builtins(records)}
    try:
        answer = await tools.lookup.find(row.name)
        step = _explained(answer, row.name, set(ours), now, bought="quote" in row.state)
    except ConnectorError as error:
        step = Step(name="verification", state="waiting", detail=str(error), fix="Asked again automatically.", at=now)
    if step.state == "done":
        return {"status": VERIFIED, "state": with_step(with_step(state, step), _no_certificate(row.name, now))}
    if state["tries"] >= GIVE_UP:
        failed = msgspec.structs.replace(step, state="failed", fix=f"{step.fix} Then: domain verify {row.name}")
        return {
            "status": domains.FAILED, "state": {**with_step(state, failed), "stopped_at": row.status},
            "next_step_at": None,
        }  # fmt: skip
    return {"status": domains.DNS, "state": with_step(state, step)}


def _explained(answer: Found, name: str, ours: set[str], now: datetime, *, bought: bool) -> Step:
    """What DNS says, against what it should. `bought`: here, so that it is registered whatever DNS says."""
    if not answer.servers and bought:
        detail = f"{name} is bought, and its registry has not published its name servers yet"
        fix = "Nothing to do: it takes minutes, at times hours."
    elif not answer.servers:
        detail, fix = f"{name} is not registered, or has no name servers yet", "Register it, or correct the name."
    elif not answer.exists or not answer.addresses:
        detail, fix = f"the name servers of {answer.zone} know no address of {name}", "Set the records shown above."
    elif not ours & set(answer.addresses):
        detail = f"{name} leads to {', '.join(answer.addresses[:3])}, not to this hub"
        fix = "Replace its records by those shown above; a proxy in front of it must pass requests on to this hub."
    elif not ours & set(answer.public):
        detail, fix = (
            "the records are right, but resolvers still remember older ones",
            "Nothing to do: it takes a while.",
        )
    else:
        return Step(name="verification", state="done", detail=f"leads to {', '.join(answer.addresses[:3])}", at=now)
    return Step(name="verification", state="waiting", detail=detail, fix=fix, at=now)


def _verified(state: dict[str, Any], now: datetime) -> dict[str, Any]:
    state = with_step(state, Step(name="records", state="done", detail="lead here", at=now))
    return with_step(state, Step(name="verification", state="done", detail="requests arrive here", at=now))


def _no_certificate(name: str, now: datetime) -> Step:
    fix = "Is Caddy running with our Caddyfile, and are ports 80 and 443 open? It fetches one with the first request."
    return Step(name="tls", state="waiting", detail=f"no valid certificate for {name} yet", fix=fix, at=now)


async def _answers(runtime: Runtime, tools: Tools, name: str, scheme: str) -> bool:
    """Whether a request to the name comes out at this deployment."""
    own = urlsplit(runtime.settings.public_url)
    port = tools.https_port if scheme == "https" else tools.http_port or (own.port if own.scheme == "http" else None)
    proof = challenge(runtime.box, name)
    place = f"{scheme}://{name}{f':{port}' if port else ''}{CHALLENGE}{proof}"
    try:
        answer = await tools.http.get(place, tries=1, redirects=0, max_bytes=10_000, seconds=8.0)
    except ConnectorError:
        return False
    return answer.status == 200 and answer.body.decode("latin-1") == proof


def pause(tries: int) -> timedelta:
    """Until the next look: soon at first, DNS may take hours."""
    if tries < 20:
        return timedelta(seconds=15)
    if tries < 80:
        return timedelta(minutes=1)
    return timedelta(minutes=5) if tries < 370 else timedelta(hours=1)
