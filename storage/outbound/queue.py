"""The outbox to traffic sources: filled in the transaction that accepts a conversion, delivered at least once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import queries as click_storage
from storage.ledger.clicks.click_id import instant_of
from storage.ledger.facts import Event, Status
from storage.ledger.numbers import read_number
from storage.ledger.outbound.templates import (
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
from storage.ledger.outbound.webhooks import WebhookCall
from storage.postbacks.conversion_rows import Change
from storage.tables import campaigns, clicks, conversions, offers, outbound, sites, sources, user_agents


class OutboundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent: a filled request, what a JSON API of `api` needs to build one, or a call that is signed."""

    request: Outgoing | None = None
    webhook: WebhookCall | None = None
    api: str | None = None
    sending: Sending | None = None


async def queue(tx: AsyncConnection, changes: Sequence[Change]) -> None:
    """Queue the postbacks that the traffic sources of these conversions expect. Nothing is queued twice."""
    of_sources = [change for change in changes if change.row and change.row["source_id"]]
    due = [(change, event) for change in of_sources if (event := event_of(change)) is not None]
    if not due:
        return
    source_ids = {_value(change, "source_id") for change, _ in due}
    rows = await tx.execute(select(sources).where(sources.c.id.in_(source_ids)))
    receivers = {
        row.id: row for row in rows if any(postback.get("enabled", True) for postback in row.postbacks.values())
    }
    due = [
        (change, event)
        for change, event in due
        if (source := receivers.get(_value(change, "source_id"))) is not None and event in source.postbacks
    ]
    if not due:
        return
    facts = await _facts(tx, [change for change, _ in due])
    messages = [_message(change, event, receivers[_value(change, "source_id")], facts) for change, event in due]
    fresh = await _once_per_click(tx, [row for row in messages if row is not None], receivers)
    if fresh:
        await tx.execute(upsert(outbound).on_conflict_do_nothing(index_elements=["idempotency_key"]), fresh)


async def _once_per_click(
    tx: AsyncConnection, made: list[dict[str, Any]], receivers: Mapping[int, Row[Any]]
) -> list[dict[str, Any]]:
    """Without those whose source wants each event once per click and has had it."""
    picky = [row for row in made if (receivers[row["source_id"]].options or {}).get("only_unique")]
    if not picky:
        return made
    ids = {row["conversion_id"] for row in picky}
    mine = conversions.alias("mine")
    other = conversions.alias("other")
    clicks_of = {row.id: row.click_id for row in await tx.execute(
        select(conversions.c.id, conversions.c.click_id).where(conversions.c.id.in_(ids))
    )}  # fmt: skip
    query = (
        select(mine.c.id, outbound.c.event)
        .join(other, (other.c.click_id == mine.c.click_id) & (other.c.id < mine.c.id))
        .join(outbound, outbound.c.conversion_id == other.c.id)
        .where(mine.c.id.in_(ids))
    )
    had = {(row.id, row.event) for row in await tx.execute(query)}
    fresh: list[dict[str, Any]] = []
    chosen: set[tuple[Any, ...]] = set()
    for row in made:
        if (receivers[row["source_id"]].options or {}).get("only_unique"):
            conversion_id, event = row["conversion_id"], row["event"]
            of_click = row["source_id"], clicks_of[conversion_id] or f"conversion {conversion_id}", event
            if (conversion_id, event) in had or of_click in chosen:
                continue
            chosen.add(of_click)
        fresh.append(row)
    return fresh


def _value(change: Change, name: str) -> Any:
    return (change.row or {})[name]


def event_of(change: Change) -> str | None:
    """What a source receives for a change: a new conversion, or that one was reversed."""
    row = change.row
    if row is None:
        return None
    if row["status"] == Status.REVERSED:
        was_sent = change.before is not None and change.before.status != Status.REVERSED
        return Event.REVERSAL.value if was_sent else None
    if change.before is not None and not (change.before.status == Status.PENDING != row["status"]):
        return None  # what was sent already is not sent again: the key is the same
    return Event.FIRST_DEPOSIT.value if row["is_ftd"] else str(row["event"])


async def _facts(tx: AsyncConnection, changes: Sequence[Change]) -> Mapping[str, Mapping[int, Any]]:
    """Click details and the codes of what the conversions belong to."""
    ids = {_value(change, "click_id") for change in changes} - {None}
    columns = select(
        clicks.c.id, clicks.c.source_click_id, clicks.c.extra, user_agents.c.text.label("user_agent")
    ).join_from(clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True)
    codes: dict[str, Mapping[int, Any]] = {
        "click": {row.id: row for row in await tx.execute(columns.where(clicks.c.id.in_(ids)))}
    }
    for name, table in (("campaign", campaigns), ("offer", offers), ("site", sites)):
        entity_ids = {_value(change, f"{name}_id") for change in changes} - {0}
        rows = (
            await tx.execute(select(table.c.id, table.c.code).where(table.c.id.in_(entity_ids))) if entity_ids else ()
        )
        codes[name] = {row.id: row.code for row in rows}
    codes["codec"] = {0: await click_storage.codec(tx)}
    return codes


def _message(
    change: Change, event: str, source: Row[Any], facts: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any] | None:
    template = source.postbacks[event]
    options = source.options or {}
    if not template.get("enabled", True) or not _receiving_sources(change, options):
        return None
    sending = _sending(change, event, template, options, facts)
    outbound = outbound_request(template, sending)
    delay = timedelta(seconds=int(options.get("delay", 0)))
    created = change.derived.received_at
    return {
        "team_id": change.account.team_id, "source_id": source.id, "conversion_id": change.id, "event": event,
        "idempotency_key": sending.key, "request": msgspec.to_builtins(outbound),
        "host": host(outbound.request.url) if outbound.request else f"api:{outbound.api}",
        "state": "queued" if _names_click(template, sending) else "skipped",
        "next_at": created + delay, "created_at": created,
    }  # fmt: skip


def _names_click(template: Mapping[str, Any], sending: Sending) -> bool:
    """A source cannot do anything with a conversion of a click that it does not know."""
    if template.get("api"):
        return names_click_to(str(template["api"]), sending)
    headers = template.get("headers") or {}
    return names_click("\n".join(map(str, (template["url"], template.get("body") or "", *headers.values()))), sending)


def _receiving_sources(change: Change, options: Mapping[str, Any]) -> bool:
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
        amount=share(row["amount"], read_number(percent)),
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


def outbound_request(template: Mapping[str, Any], sending: Sending) -> OutboundRequest:
    """A template filled with a conversion; what an API needs is kept whole and built when it is sent."""
    if template.get("api"):
        return OutboundRequest(api=str(template["api"]), sending=sending)
    filled = values(sending)
    return OutboundRequest(
        request=Outgoing(
            method=str(template.get("method") or "GET").upper(),
            url=fill(str(template["url"]), filled),
            headers=template.get("headers") or {},
            body=fill(str(template.get("body") or ""), filled),
            success=msgspec.convert(template.get("success") or {}, Success),
        )
    )
