"""What is done at a registrar or DNS host before a domain can be verified: buying, zone, records.

A paid call is written down before it is made and never made twice: after a time-out or a crash the registrar is asked
how the order stands.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Row, select

from connectors.domains.base import Login, Order, Quote, Registrar
from connectors.domains.lookup import resolved
from connectors.domains.registry import registrar
from connectors.http import Http
from hub.runtime.registrars import login_of
from hub.runtime.runtime import Runtime
from storage.catalogue import domains
from storage.catalogue.domains import BOUGHT, FAILED, ORDERED, Step, with_step
from storage.ledger.errors import ConnectorError
from storage.tables import registrars

#: An order that the registrar does not know this long after the request was never placed.
GIVE_UP = timedelta(minutes=30)


async def advance(runtime: Runtime, http: Http, row: Row[Any]) -> dict[str, Any] | None:
    """The columns that the next step changes; None when there is nothing left to do there."""
    if not row.provider:
        return None
    registrar_login = await _login(runtime, row)
    if registrar_login is None:
        return None
    kind, login = registrar_login
    if row.status == ORDERED:
        return await _bought(runtime, http, row, kind, login)
    if kind.hosts_dns and _state_of(row, "records") != "done":
        return await _recorded(runtime, http, row, kind, login)
    return None


async def _login(runtime: Runtime, row: Row[Any]) -> tuple[Registrar, Login] | None:
    query = select(registrars).where(registrars.c.team_id == row.team_id, registrars.c.code == row.provider)
    async with runtime.database.read() as tx:
        login_row = (await tx.execute(query)).first()
    if login_row is None:
        return None
    return registrar(login_row.kind), login_of(
        login_row.kind, runtime.box.open(login_row.credentials_secret), login_row.options
    )


async def _bought(runtime: Runtime, http: Http, row: Row[Any], kind: Registrar, login: Login) -> dict[str, Any]:
    """Place the order if that has not been tried, else see how it stands."""
    now, state = runtime.clock(), dict(row.state)
    if "asked_at" in state:
        try:
            order = await kind.order(http, login, row.name)
        except ConnectorError as error:
            order = Order(state="unknown", detail=str(error))
        return _after(order, state, now)
    state["asked_at"] = now.isoformat()
    async with runtime.database.begin() as tx:
        await domains.change(tx, row, {"state": state})
    quote = msgspec.convert(state["quote"], Quote)
    return _after(await kind.register(http, login, quote), state, now)


def _after(order: Order, state: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What an order's standing changes."""
    if order.state == "registered":
        step = Step(name="registration", state="done", detail=order.detail, at=now)
        return {
            "status": BOUGHT, "state": with_step({**state, "tries": 0}, step), "next_step_at": now,
            "registered_until": order.registered_until,
        }  # fmt: skip
    lost = order.state == "absent" and now - datetime.fromisoformat(state["asked_at"]) > GIVE_UP
    if order.state == "failed" or lost:
        fix = "Nothing was bought. Look at the registrar's panel, then: domain remove, and domain buy again."
        step = Step(name="registration", state="failed", detail=order.detail, fix=fix, at=now)
        return {"status": FAILED, "state": {**with_step(state, step), "stopped_at": ORDERED}, "next_step_at": None}
    step = Step(name="registration", state="waiting", detail=f"{order.detail}; asking again, not buying again", at=now)
    return {"state": with_step({**state, "tries": int(state.get("tries", 0)) + 1}, step)}


async def _recorded(runtime: Runtime, http: Http, row: Row[Any], kind: Registrar, login: Login) -> dict[str, Any]:
    """Zone and records at the DNS host."""
    now, state = runtime.clock(), {**row.state, "tries": int(row.state.get("tries", 0)) + 1}
    host = urlsplit(runtime.settings.public_url).hostname or ""
    records = domains.required_records(row.name, runtime.settings.public_url, await asyncio.to_thread(resolved, host))
    state["records"] = msgspec.to_builtins(records)
    name = "zone"
    try:
        zone = await kind.zone(http, login, row.name)
        state = with_step(state, _zoned(zone.servers, active=zone.active, now=now))
        name = "records"
        await kind.put_records(http, login, zone, records)
    except ConnectorError as error:
        state = with_step(
            state, Step(name=name, state="failed", detail=str(error), fix="It is tried again automatically.", at=now)
        )
        return {"state": state}
    detail = ", ".join(f"{record.type} {record.value}" for record in records)
    state = with_step({**state, "zone": zone.id, "tries": 0}, Step(name="records", state="done", detail=detail, at=now))
    return {"status": domains.DNS, "state": state, "next_step_at": now}


def _zoned(servers: tuple[str, ...], *, active: bool, now: datetime) -> Step:
    if active or not servers:
        return Step(name="zone", state="done", detail="in use", at=now)
    fix = f"Set its name servers at the registrar to {', '.join(servers)}."
    return Step(name="zone", state="waiting", detail="made, but the domain does not use it yet", fix=fix, at=now)


def _state_of(row: Row[Any], name: str) -> str:
    return next((str(step["state"]) for step in row.state.get("steps", []) if step["name"] == name), "todo")
