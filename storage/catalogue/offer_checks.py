"""Whether offers' links lead anywhere, as last looked."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import alerts, offer_checks, offers


async def due(tx: AsyncConnection, before: datetime, *, limit: int) -> Sequence[Any]:
    """(id, url) of active offers, not looked at since then, of teams with an alert for it."""
    teams_with_alert = select(alerts.c.team_id).where(alerts.c.kind == "dead offer link", alerts.c.removed_at.is_(None))
    query = (
        select(offers.c.id, offers.c.url)
        .outerjoin(offer_checks, offer_checks.c.offer_id == offers.c.id)
        .where(offers.c.status == "active", offers.c.team_id.in_(teams_with_alert))
        .where(or_(offer_checks.c.checked_at.is_(None), offer_checks.c.checked_at < before))
    )
    return (await tx.execute(query.order_by(offers.c.id).limit(limit))).all()


async def store(tx: AsyncConnection, offer_id: int, now: datetime, fault: str | None) -> None:
    values = {"checked_at": now, "fault": fault}
    statement = upsert(offer_checks).values(offer_id=offer_id, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["offer_id"], set_=values))


async def faults(
    tx: AsyncConnection, team_id: int, ids: Collection[int] | Select[tuple[int]] | None
) -> Sequence[Any]:  # fmt: skip
    """(code, name, fault) of the team's active offers that were looked at; the fault is null for a link that works."""
    query = (
        select(offers.c.code, offers.c.name, offer_checks.c.fault)
        .join(offer_checks, offer_checks.c.offer_id == offers.c.id)
        .where(offers.c.team_id == team_id, offers.c.status == "active")
    )
    if ids is not None:
        query = query.where(offers.c.id.in_(ids if isinstance(ids, Select) else list(ids)))
    return (await tx.execute(query.order_by(offers.c.code))).all()
