"""Variants of a site: other themes, orders and texts, each shown to a share of the visitors."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, case, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing
from storage.ledger.reports.experiment import Arm
from storage.tables import conversions, site_variants, site_views
from storage.tables.types import Json

GOALS = ("ctr", "registration", "first_deposit")


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A running variant; `a` is the site itself. What is null is as on the site."""

    code: str
    weight: int
    theme: str | None = None
    texts: dict[str, Any] = {}
    offers: list[int] | None = None
    since: datetime | None = None


async def running(tx: AsyncConnection, site_id: int) -> list[Variant]:
    """The site itself and what is tried against it."""
    v = site_variants.c
    rows = await tx.execute(select(site_variants).where(v.site_id == site_id, v.ended_at.is_(None)).order_by(v.id))
    return [Variant(code="a", weight=1), *(_variant(row) for row in rows)]


def _variant(row: Row[Any]) -> Variant:
    return Variant(
        code=row.code, weight=row.weight, theme=row.theme, texts=row.texts, offers=row.offers, since=row.since
    )


async def add(tx: AsyncConnection, *, team_id: int, site_id: int, now: datetime, values: dict[str, Any]) -> str:
    """Start a variant under the next free letter; returns it."""
    count = select(func.count()).select_from(site_variants).where(site_variants.c.site_id == site_id)
    number = int((await tx.execute(count)).scalar_one()) + 1
    code = chr(ord("a") + number) if number < 26 else f"v{number}"
    row = {"team_id": team_id, "site_id": site_id, "code": code, "since": now, **values}
    await tx.execute(insert(site_variants).values(**row))
    return code


async def end(tx: AsyncConnection, site_id: int, now: datetime, *, code: str | None = None) -> None:
    """Show one variant, or all of them, no longer."""
    v = site_variants.c
    ending = update(site_variants).where(v.site_id == site_id, v.ended_at.is_(None))
    await tx.execute((ending.where(v.code == code) if code else ending).values(ended_at=now))


async def find(tx: AsyncConnection, site_id: int, code: str) -> Variant:
    """Raises Missing at `variant`."""
    for variant in await running(tx, site_id):
        if variant.code == code.lower():
            return variant
    raise Missing(f"no running variant {code!r}: variant list", field="variant")


async def arms(tx: AsyncConnection, site_id: int, *, goal: str) -> list[Arm]:
    """Visitors and successes of each running variant, since the newest of them began."""
    variants = await running(tx, site_id)
    since = max((variant.since for variant in variants if variant.since), default=None)
    v = site_views.c
    conditions = [v.site_id == site_id, *([v.at >= since] if since else [])]
    clicked_through = case((v.clicked != literal([], type_=Json()), 1), else_=0)
    views = (
        select(
            v.variant, v.day, v.visitor, func.max(v.click_id).label("click_id"), func.max(clicked_through).label("went")
        )
        .where(*conditions)
        .group_by(v.variant, v.day, v.visitor)
    )
    view_rows = list(await tx.execute(views))
    reached = await _converted(tx, site_id, goal) if goal != "ctr" else set()
    return [
        Arm(
            variant.code,
            sum(1 for row in view_rows if row.variant == variant.code),
            sum(
                1
                for row in view_rows
                if row.variant == variant.code and (bool(row.went) if goal == "ctr" else row.click_id in reached)
            ),
        )
        for variant in variants
    ]


async def _converted(tx: AsyncConnection, site_id: int, goal: str) -> set[int]:
    c = conversions.c
    reached_goal = c.is_ftd if goal == "first_deposit" else c.event == goal
    query = select(c.click_id).where(
        c.site_id == site_id, reached_goal, c.status != "reversed", c.click_id.is_not(None)
    )
    return set((await tx.execute(query)).scalars())
