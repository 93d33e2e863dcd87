"""The outbox to traffic sources: filled in the transaction that accepts a conversion, delivered at least once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import clicks as click_storage
from storage.conversion_rows import Change
from storage.ledger.click_id import instant_of
from storage.ledger.facts import Event, Status
from storage.ledger.sending import (
    Outgoing,
    Sending,
    Success,
    fill,
    host,
    idempotency_key,
    names_click,
    names_click_to,
    share,
    values,
)
from storage.tables import campaigns, clicks, conversions, offers, outbound, outbound_attempts, sites, sources, user_agents

CLAIM = timedelta(minutes=2)
_ANSWER = 500


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent: a filled request, or what a JSON API of `api` needs to build one."""

    request: Outgoing | None = None
    api: str | None = None
    sending: Sending | None = None


async def queue(tx: AsyncConnection, changes: Sequence[Change]) -> None:
    """Queue what the traffic sources of these conversions want to be told. Nothing is queued twice."""
    due = [(change, event) for change in changes if (event := _event(change)) is not None]
    wanted = {change.row["source_id"] for change, _ in due if change.row and change.row["source_id"]}
    if not wanted:
        return
    rows = await tx.execute(select(sources).where(sources.c.id.in_(wanted)))
    told = {row.id: row for row in rows if any(one.get("enabled", True) for one in row.postbacks.values())}
    due = [(c, e) for c, e in due if c.row and c.row["source_id"] in told and e in told[c.row["source_id"]].postbacks]
    if not due:
        return
    facts = await _facts(tx, [change for change, _ in due])
    made = [_message(change, event, told[_value(change, "source_id")], facts) for change, event in due]
    fresh = await _once_per_click(tx, [one for one in made if one is not None], told)
    if fresh:
        await tx.execute(upsert(outbound).on_conflict_do_nothing(index_elements=["idempotency_key"]), fresh)


async def _once_per_click(
    tx: AsyncConnection, made: list[dict[str, Any]], told: Mapping[int, Row[Any]]
) -> list[dict[str, Any]]:
    """Without those whose source wants each event once per click and has had it."""
    picky = [one for one in made if (told[one["source_id"]].options or {}).get("only_unique")]
    if not picky:
        return made
    ids = {one["conversion_id"] for one in picky}
    mine = conversions.alias("mine")
    other = conversions.alias("other")
    query = (
        select(mine.c.id, outbound.c.event)
        .join(other, (other.c.click_id == mine.c.click_id) & (other.c.id < mine.c.id))
        .join(outbound, outbound.c.conversion_id == other.c.id)
        .where(mine.c.id.in_(ids))
    )
    had = {(row.id, row.event) for row in await tx.execute(query)}
    return [one for one in made if one not in picky or (one["conversion_id"], one["event"]) not in had]


def _value(change: Change, name: str) -> Any:
    return (change.row or {})[name]


def _event(change: Change) -> str | None:
    """What a source is told of a change: a new conversion, or that one was reversed."""
    row = change.row
    if row is None:
        return None
    if row["status"] == Status.REVERSED:
        told_before = change.before is not None and change.before.status != Status.REVERSED
        return Event.REVERSAL.value if told_before else None
    if change.before is not None and not (change.before.status == Status.PENDING != row["status"]):
        return None  # what was told already is not told again: the key is the same
    return Event.FIRST_DEPOSIT.value if row["is_ftd"] else str(row["event"])


async def _facts(tx: AsyncConnection, changes: Sequence[Change]) -> Mapping[str, Mapping[int, Any]]:
    """Click details and the codes of what the conversions belong to."""
    ids = {_value(change, "click_id") for change in changes} - {None}
    found = select(
        clicks.c.id, clicks.c.source_click_id, clicks.c.extra, user_agents.c.text.label("user_agent")
    ).join_from(clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True)
    codes: dict[str, Mapping[int, Any]] = {
        "click": {row.id: row for row in await tx.execute(found.where(clicks.c.id.in_(ids)))}
    }
    for name, table in (("campaign", campaigns), ("offer", offers), ("site", sites)):
        wanted = {_value(change, f"{name}_id") for change in changes} - {0}
        rows = await tx.execute(select(table.c.id, table.c.code).where(table.c.id.in_(wanted))) if wanted else ()
        codes[name] = {row.id: row.code for row in rows}
    codes["codec"] = {0: await click_storage.codec(tx)}
    return codes


def _message(
    change: Change, event: str, source: Row[Any], facts: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any] | None:
    template = source.postbacks[event]
    options = source.options or {}
    if not template.get("enabled", True) or not _wanted(change, options):
        return None
    sending = _sending(change, event, template, options, facts)
    told = told_of(template, sending)
    delay = timedelta(seconds=int(options.get("delay", 0)))
    created = change.derived.received_at
    return {
        "team_id": change.account.team_id, "source_id": source.id, "conversion_id": change.id, "event": event,
        "idempotency_key": sending.key, "request": msgspec.to_builtins(told),
        "host": host(told.request.url) if told.request else f"api:{told.api}",
        "state": "queued" if _names_click(template, sending) else "skipped",
        "next_at": created + delay, "created_at": created,
    }  # fmt: skip


def _names_click(template: Mapping[str, Any], sending: Sending) -> bool:
    """A source cannot do anything with a conversion of a click that it does not know."""
    if template.get("api"):
        return names_click_to(str(template["api"]), sending)
    headers = template.get("headers") or {}
    return names_click("\n".join(map(str, (template["url"], template.get("body") or "", *headers.values()))), sending)


def _wanted(change: Change, options: Mapping[str, Any]) -> bool:
    """Sources may want approved conversions only, or none that a person recorded."""
    row = change.row or {}
    if options.get("only_approved") and row["status"] == Status.PENDING:
        return False
    return not (options.get("only_ftd") and row["event"] == Event.DEPOSIT and not row["is_ftd"])


def _sending(
    change: Change, event: str, template: Mapping[str, Any], options: Mapping[str, Any],
    facts: Mapping[str, Mapping[int, Any]],
) -> Sending:  # fmt: skip
    row = change.row or {}
    click = facts["click"].get(row["click_id"] or 0)
    ours = facts["codec"][0].encode(row["click_id"]) if row["click_id"] else ""
    percent = options.get("payout_share")
    return Sending(
        key=idempotency_key(change.account.team_id, change.id, event, ours),
        event=event,
        name=str(template.get("name") or event),
        click_id=(click.source_click_id or "") if click else "",
        our_click_id=ours,
        clicked_at=instant_of(row["click_id"]) if row["click_id"] else None,
        occurred_at=row["occurred_at"],
        amount=share(row["amount"], Decimal(str(percent)) if percent is not None else None),
        currency=row["currency"] or "",
        status=row["status"],
        txn_id=row["txn_id"] or "",
        player_id=row["player_id"] or "",
        campaign=facts["campaign"].get(row["campaign_id"], ""),
        offer=facts["offer"].get(row["offer_id"], ""),
        site=facts["site"].get(row["site_id"], ""),
        country=row["country"] or "",
        user_agent=(click.user_agent or "") if click else "",
        subs=row["subs"],
        extra={k: str(v) for k, v in ((click.extra if click else None) or {}).items()},
    )


def told_of(template: Mapping[str, Any], sending: Sending) -> Told:
    """A template filled with a conversion; what an API needs is kept whole and built when it is sent."""
    if template.get("api"):
        return Told(api=str(template["api"]), sending=sending)
    filled = values(sending)
    return Told(
        request=Outgoing(
            method=str(template.get("method") or "GET").upper(),
            url=fill(str(template["url"]), filled),
            headers=template.get("headers") or {},
            body=fill(str(template.get("body") or ""), filled),
            success=msgspec.convert(template.get("success") or {}, Success),
        )
    )


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message taken for sending, by this process alone for two minutes."""

    id: int
    team_id: int
    source_id: int
    host: str
    key: str
    told: Told
    attempts: int
    credentials_secret: str | None
    options: Mapping[str, Any]


async def due_hosts(tx: AsyncConnection, now: datetime) -> list[str]:
    """Hosts with something due. From one host to the next by the index, however long the outbox is."""
    found: list[str] = []
    last = ""
    while True:
        waiting = select(outbound.c.host).where(outbound.c.state == "queued", outbound.c.host > last)
        name = (await tx.execute(waiting.order_by(outbound.c.host).limit(1))).scalar()
        if name is None:
            return found
        due = select(outbound.c.id).where(*_due(now), outbound.c.host == name)
        if (await tx.execute(due.order_by(outbound.c.next_at).limit(1))).first() is not None:
            found.append(name)
        last = name


def _due(now: datetime) -> tuple[Any, ...]:
    free = or_(outbound.c.claimed_until.is_(None), outbound.c.claimed_until < now)
    return outbound.c.state == "queued", outbound.c.next_at <= now, free


async def claim(tx: AsyncConnection, now: datetime, *, by_host: Mapping[str, int]) -> list[Claimed]:
    """Take up to so many messages per host; other processes leave them alone until the claim lapses."""
    ids: list[int] = []
    for name, limit in by_host.items():
        free = select(outbound.c.id).where(*_due(now), outbound.c.host == name).order_by(outbound.c.next_at)
        ids += (await tx.execute(free.limit(limit).with_for_update(skip_locked=True))).scalars()
    if not ids:
        return []
    await tx.execute(update(outbound).where(outbound.c.id.in_(ids)).values(claimed_until=now + CLAIM))
    query = select(outbound, sources.c.credentials_secret, sources.c.options).join_from(outbound, sources)
    return [_claimed(row) for row in await tx.execute(query.where(outbound.c.id.in_(ids)).order_by(outbound.c.id))]


async def give_back(tx: AsyncConnection, ids: Sequence[int]) -> None:
    """Messages that were claimed but not begun: anybody may take them at once."""
    await tx.execute(update(outbound).where(outbound.c.id.in_(ids)).values(claimed_until=None))


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        id=row.id, team_id=row.team_id, source_id=row.source_id, host=row.host, key=row.idempotency_key,
        told=msgspec.convert(row.request, Told), attempts=row.attempts, credentials_secret=row.credentials_secret,
        options=row.options or {},
    )  # fmt: skip


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one try got. `next_at` is when to try again; None with an error means it is given up."""

    outbound_id: int
    at: datetime
    status: int | None = None
    answer: str = ""
    error: str | None = None
    next_at: datetime | None = None


async def record(tx: AsyncConnection, attempts: Sequence[Attempt]) -> None:
    """Keep what tries got, and move their messages on: sent, queued again, dead."""
    if not attempts:
        return
    await tx.execute(insert(outbound_attempts), [
        {"outbound_id": one.outbound_id, "at": one.at, "status": one.status, "answer": _printable(one.answer),
         "error": one.error} for one in attempts
    ])  # fmt: skip
    for state in ("sent", "queued", "dead"):
        ids = [one.outbound_id for one in attempts if _state(one) == state]
        if ids and state != "queued":
            moved = update(outbound).where(outbound.c.id.in_(ids))
            await tx.execute(moved.values(state=state, attempts=outbound.c.attempts + 1, claimed_until=None))
    for one in attempts:
        if _state(one) == "queued":
            moved = update(outbound).where(outbound.c.id == one.outbound_id)
            waits = {"next_at": one.next_at, "attempts": outbound.c.attempts + 1, "claimed_until": None}
            await tx.execute(moved.values(**waits))


def _state(one: Attempt) -> str:
    if one.error is None:
        return "sent"
    return "queued" if one.next_at is not None else "dead"


def _printable(text: str) -> str:
    return text[:_ANSWER].replace("\x00", "\ufffd")
