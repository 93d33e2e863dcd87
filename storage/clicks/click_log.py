"""The click log: stored clicks, the latest first, page by page.

No filter has an index of its own, for every index would cost each click a page. The roll-up, which is small, knows in
which hours there are clicks that a filter lets through; of those hours the rows are read along the primary key, a
piece at a time. A page looks at so many rows and no more: if it is not full by then, its cursor says where to go on.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks.queries import stored_clicks, without_hashes
from storage.ledger.clicks.click_id import first_id_at, instant_of
from storage.tables import click_rollup, clicks, user_agents
from storage.tables.types import EPOCH_DAY, day_of_hour

FIRST_PIECE, LARGEST_PIECE = 2_000, 32_000  # rows
MOST_ROWS = 200_000  # looked at for one page
_HOURS = 31 * 24  # of the roll-up looked at in one query
_MOST_SPANS = 6  # such queries of one page
_MARGIN = timedelta(minutes=1)  # an id may be a little ahead of its click's hour


class ClickFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What clicks must be. `ids`: columns that hold an id, such as `campaign_id`; `campaigns`: ids of campaigns that
    the reader is limited to; `reason`: storage.ledger.facts.Reason."""

    ids: dict[str, int] = {}
    country: str = ""
    device: str = ""
    reason: int | None = None
    campaigns: Select[Any] | None = None

    def rolled_up(self) -> list[ColumnElement[bool]]:
        """Conditions on the roll-up: all but the reason."""
        r = click_rollup.c
        conditions = [r[name] == number for name, number in self.ids.items()]
        conditions += [r.country == self.country] if self.country else []
        conditions += [r.device == self.device] if self.device else []
        return conditions if self.campaigns is None else [*conditions, r.campaign_id.in_(self.campaigns)]

    def on_clicks(self) -> list[ColumnElement[bool]]:
        """The same on clicks joined with their user agents."""
        c = clicks.c
        conditions = [c[name] == number for name, number in self.ids.items()]
        conditions += [c.country == self.country] if self.country else []
        conditions += [user_agents.c.device == self.device] if self.device else []
        conditions += [c.reason == self.reason] if self.reason is not None else []
        return conditions if self.campaigns is None else [*conditions, c.campaign_id.in_(self.campaigns)]


class LogPage(msgspec.Struct, frozen=True):
    """Clicks with every stored field but the hashes. `next`: the id to go on below; None where nothing is left."""

    rows: list[dict[str, Any]]
    next: int | None


async def read_log(
    tx: AsyncConnection, team_id: int, wanted: ClickFilter, *, limit: int, before: int | None, zone: ZoneInfo
) -> LogPage:
    """A page of the team's clicks with ids below `before`; `zone` is the reporting time zone."""
    rows: list[dict[str, Any]] = []
    query = stored_clicks().where(clicks.c.team_id == team_id, *wanted.on_clicks()).order_by(clicks.c.id.desc())
    piece, looked_at, end = FIRST_PIECE, 0, before
    async for start, stop in _spans(tx, team_id, wanted, before, zone):
        if start == stop:  # looked far enough back for one page
            return LogPage(rows, stop)
        end = stop if end is None else min(end, stop)
        while start < end:
            first, count = await _piece(tx, start, end, piece)
            if count:
                more = await tx.execute(
                    query.where(clicks.c.id >= first, clicks.c.id < end).limit(limit + 1 - len(rows))
                )
                rows += [without_hashes(row) for row in more]
            if len(rows) > limit:
                return LogPage(rows[:limit], int(rows[limit - 1]["id"]))
            end, looked_at = first, looked_at + count
            if looked_at >= MOST_ROWS:
                return LogPage(rows, end)
            piece = min(2 * piece, LARGEST_PIECE)
    return LogPage(rows, None)


async def _piece(tx: AsyncConnection, start: int, end: int, most: int) -> tuple[int, int]:
    """The lowest id of the last `most` clicks from `start` to below `end`, and how many there are."""
    c = clicks.c.id
    latest = select(c).where(c >= start, c < end).order_by(c.desc()).limit(most).subquery()
    first, count = (await tx.execute(select(func.min(latest.c.id), func.count()).select_from(latest))).one()
    return (start, int(count)) if count < most else (int(first), int(count))


async def _spans(
    tx: AsyncConnection, team_id: int, wanted: ClickFilter, before: int | None, zone: ZoneInfo
) -> AsyncIterator[tuple[int, int]]:
    """Ranges of ids in which there are such clicks, by the roll-up, the latest first; an empty range where the search
    breaks off."""
    r = click_rollup.c
    mine = r.team_id == team_id, r.clicks + r.bot_clicks > 0, *wanted.rolled_up()
    first, hour = (await tx.execute(select(func.min(r.hour), func.max(r.hour)).where(r.team_id == team_id))).one()
    if hour is not None and before is not None:
        hour = min(hour, hour_of(instant_of(before) + _MARGIN, zone))
    for _ in range(_MOST_SPANS):
        if hour is None or hour < first:
            return
        query = select(r.hour).distinct().where(*mine, r.hour.between(hour - _HOURS, hour)).order_by(r.hour.desc())
        for (found,) in (await tx.execute(query)).all():
            yield _ids_of(found, zone)
        hour -= _HOURS + 1
    yield (_ids_of(hour, zone)[1],) * 2


def hour_of(at: datetime, zone: ZoneInfo) -> int:
    """The report hour of an instant: days since 1970 * 24 + hour of the day."""
    local = at.astimezone(zone)
    return (local.date() - EPOCH_DAY).days * 24 + local.hour


def _ids_of(hour: int, zone: ZoneInfo) -> tuple[int, int]:
    """Ids of a report hour: from, and up to but without. An hour that the clock goes through twice is both."""
    local = datetime.combine(day_of_hour(hour), time(hour % 24), zone)
    first = min(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    last = max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return first_id_at(first - _MARGIN), first_id_at(last + timedelta(hours=1) + _MARGIN)
