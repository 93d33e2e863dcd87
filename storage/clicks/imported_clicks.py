"""Click ids of other trackers: each stands for a row of click_links, so that what comes back with it finds its place.

The rows have ids of the first moment of 2024 (storage.ledger.clicks.click_id.EPOCH), when there was no click of ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.bulk_sql import Lookup
from storage.tables import campaigns, click_links, imported_clicks
from storage.tables.types import days

MOST_PER_TEAM = 2_000_000
LONGEST = 255  # characters of a click id
_CHUNK = 400


class ImportedClick(msgspec.Struct, frozen=True, kw_only=True):
    """A click of another tracker, and what it was for here."""

    click: str
    campaign_id: int
    offer_id: int
    source_id: int
    at: datetime
    country: str = ""
    source_click: str = ""


def folded(word: str) -> str:
    """A click id as it is kept: platforms may change its letter case."""
    return word.strip().lower()[:LONGEST]


async def add(tx: AsyncConnection, team_id: int, clicks: Sequence[ImportedClick], zone: ZoneInfo) -> tuple[int, int]:
    """Store those not known yet; how many, and how many were left out since the team has as many as it may have."""
    new = {folded(click.click): click for click in clicks if click.click}
    known = await find(tx, [(team_id, word) for word in new])
    fresh = [word for word in new if (team_id, word) not in known]
    if not fresh:
        return 0, 0
    c = imported_clicks.c
    held = int((await tx.execute(select(func.count()).where(c.team_id == team_id))).scalar_one())
    room = max(0, MOST_PER_TEAM - held)
    first = int((await tx.execute(select(func.coalesce(func.max(c.click_id), 0)))).scalar_one()) + 1
    ids = {word: first + n for n, word in enumerate(fresh[:room])}
    if ids:
        await tx.execute(insert(click_links), [_link(team_id, ids[word], new[word], zone) for word in ids])
        rows = [{"team_id": team_id, "click": word, "click_id": number} for word, number in ids.items()]
        await tx.execute(insert(imported_clicks), rows)
    return len(ids), len(fresh) - len(ids)


def _link(team_id: int, number: int, click: ImportedClick, zone: ZoneInfo) -> dict[str, object]:
    local = click.at.astimezone(zone)
    return {
        "id": number, "team_id": team_id, "campaign_id": click.campaign_id, "site_id": 0, "offer_id": click.offer_id,
        "source_id": click.source_id, "hour": days(local.date()) * 24 + local.hour,
        "country": click.country.upper()[:2] or None, "device": None,
        "source_click_id": click.source_click[:LONGEST] or None,
    }  # fmt: skip


async def find(tx: AsyncConnection, words: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Ids in click_links by team and click id, of those that are known; the words in any letter case."""
    pairs = {(team_id, folded(word)) for team_id, word in words}
    click_ids: dict[tuple[int, str], int] = {}
    for some in batched(sorted(pairs), _CHUNK):
        rows = await _BY_CLICK.rows(tx, {team_id for team_id, _ in some}, {word for _, word in some})
        click_ids |= {(team_id, word): number for team_id, word, number in rows if (team_id, word) in pairs}
    return click_ids


def batched(rows: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """The rows, so many at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


_BY_CLICK = Lookup(
    select(imported_clicks.c.team_id, imported_clicks.c.click, imported_clicks.c.click_id),
    imported_clicks.c.team_id, imported_clicks.c.click,
)  # fmt: skip


async def any_of_team(tx: AsyncConnection, team_id: int) -> bool:
    query = select(imported_clicks.c.click_id).where(imported_clicks.c.team_id == team_id).limit(1)
    return (await tx.execute(query)).first() is not None


async def sources_of(tx: AsyncConnection, team_id: int) -> Mapping[int, int]:
    """Sources of the team's campaigns, by their ids."""
    query = select(campaigns.c.id, campaigns.c.source_id).where(campaigns.c.team_id == team_id)
    return {row.id: row.source_id or 0 for row in await tx.execute(query)}
