"""Pages of the usual reports, made for days that have come to rest, so that the first report after a start is fast.

While platforms' reports come in, a day is merged again and again, and a page made in between would have been for
nothing. So they wait until nothing has been merged for a moment, or a minute at most; a report that is asked for before
makes the pages it needs itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.db.read_only import here_or_in_helper, read_only
from storage.ledger.reports.cells import Cell
from storage.reports import report_pages
from storage.reports.report_view import ReportQuery
from storage.tables import merged
from storage.tables import report_pages as kept

#: How long nothing has been merged before pages are made, and how long they wait at most.
PAUSE, LONGEST = timedelta(seconds=5), timedelta(seconds=60)
#: Days of which pages are made in one go, before touched days are looked at again: 0.2 s for 200 offers.
DAYS_IN_A_GO = 32

_AT_ONCE = 16  # days whose cells are in memory at the same time
_AT_REST = timedelta(days=2)  # days this old hardly move any more: pages made of them last
_FEW = 50_000  # bytes of cells of which pages are made on the spot

_decoder = msgspec.json.Decoder(list[Cell])


class DayPages(msgspec.Struct, frozen=True):
    """The pages of a day by form, made of the cells with this version."""

    team_id: int
    day: date
    version: int
    pages: list[tuple[str, bytes]]


class PagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Some days until this one that have no pages of their cells in the reporting currency."""

    timezone: str
    currency: str
    until: date


PagesInHelper = Callable[[PagesRequest], Awaitable[list[DayPages] | None]]
"""Makes pages beside the event loop; None where that cannot be done."""


class PagesDue:
    """Whether it is time for pages: some may be missing since the process began, and whenever days were merged."""

    def __init__(self, now: datetime) -> None:
        self._since: datetime | None = now
        self._last = now

    @property
    def is_waiting(self) -> bool:
        """Whether some may be missing."""
        return self._since is not None

    def note_merge(self, now: datetime) -> None:
        """Days have been merged."""
        self._since, self._last = self._since or now, now

    def at(self, now: datetime) -> bool:
        """Whether it is time for them."""
        return self.is_waiting and (now - self._last >= PAUSE or now - (self._since or now) >= LONGEST)

    def note_none_missing(self) -> None:
        """All days have their pages."""
        self._since = None


async def make_missing(
    database: Database, zone: ZoneInfo, now: datetime, *, currency: str, in_helper: PagesInHelper | None = None
) -> int:
    """Make pages of up to DAYS_IN_A_GO days at rest that have none of their cells, the latest first; of how many."""
    request = PagesRequest(timezone=zone.key, currency=currency, until=now.astimezone(zone).date() - _AT_REST)
    count = 0
    while count < DAYS_IN_A_GO and (
        made := await here_or_in_helper(database, request, in_helper, is_light=_is_light, here=_made)
    ):
        for day in made:
            await database.run(partial(_store, day=day))
        count += len(made)
    return count


async def _store(tx: AsyncConnection, day: DayPages) -> None:
    await report_pages.store(tx, day.team_id, day.day, day.version, day.pages)


async def _is_light(tx: AsyncConnection, request: PagesRequest) -> bool:
    return bool(sum(row.size for row in await _lacking(tx, request)) < _FEW)


async def make_read_only(url: str, request: PagesRequest) -> list[DayPages]:
    """The same pages of a database in which nothing is written: for the helper process."""
    async with read_only(url) as tx:
        return await _made(tx, request)


async def _made(tx: AsyncConnection, request: PagesRequest) -> list[DayPages]:
    days_of_teams: dict[int, list[date]] = {}
    for row in await _lacking(tx, request):
        days_of_teams.setdefault(row.team_id, []).append(row.day)
    made: list[DayPages] = []
    for team_id, days in days_of_teams.items():
        versions, cells = await _cells(tx, team_id, days)
        query = ReportQuery(
            team_id=team_id, first=min(days), last=max(days), timezone=request.timezone, currency=request.currency
        )
        pages = await report_pages.make_usual(tx, query, cells)
        made += [DayPages(team_id, day, versions[day], of_day) for day, of_day in pages.items()]
    return made


async def _lacking(tx: AsyncConnection, request: PagesRequest) -> Sequence[Row[int, date, int]]:
    """Days without pages of their cells as they are, and how many bytes these have; pages of a day come together."""
    m, p = merged.c, kept.c
    form = report_pages.form_of(report_pages.USUAL[0], request.currency)
    page = select(p.day).where(p.team_id == m.team_id, p.form == form, p.day == m.day, p.version == m.version)
    query = select(m.team_id, m.day, func.length(m.cells).label("size")).where(
        m.day <= request.until, m.version.is_not(None), ~page.exists()
    )
    return (await tx.execute(query.order_by(m.day.desc()).limit(_AT_ONCE))).all()


async def _cells(
    tx: AsyncConnection, team_id: int, days: Sequence[date]
) -> tuple[dict[date, int], dict[date, Sequence[Cell]]]:
    """The cells of days, and their versions as they are at the same moment."""
    m = merged.c
    mine = m.team_id == team_id, m.day.in_(days), m.version.is_not(None)
    versions, cells = dict[date, int](), dict[date, Sequence[Cell]]()
    for day, version, encoded in await tx.execute(select(m.day, m.version, m.cells).where(*mine)):
        versions[day], cells[day] = version, await asyncio.to_thread(_decoder.decode, encoded)
    return versions, cells
