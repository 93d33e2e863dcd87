"""Pages of reports: a bounded cache of them in memory, those of the usual reports in the database as well."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from isal import isal_zlib
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.bounded_cache import BoundedCache
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.collapse import DayReader, View
from storage.ledger.reports.report_pages import Page, PagedReport, basis_of, page_of, version_of
from storage.reports.report_data import ReportData
from storage.reports.report_view import ReportQuery, view_of
from storage.tables import merged, report_pages

#: Reports whose pages are made when a day is settled, so that not even the first one after a start has to wait.
USUAL: tuple[tuple[str, ...], ...] = (("day", "offer"), ("day", "campaign"))

#: Bytes of rows kept in memory: a year of 200 offers by day takes 45 MB.
CACHE_BYTES = 64_000_000

_MANY = 60  # days: more of them are read as one range
_AT_ONCE = 20  # days whose cells are in memory at the same time

_decoder = msgspec.json.Decoder(list[Cell])
_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(Page)

_Key = tuple[int, str, date, int]
Token = tuple[object, ...]
"""What a page was last found to hold under: equal tokens need no closer look."""

#: A cell of which only the currencies are read.
_Coins = msgspec.defstruct(
    "_Coins",
    [(f"field{n}", msgspec.Raw) for n in range(11)] + [("money", dict[str, msgspec.Raw])],
    array_like=True,
    gc=False,
)
_coins: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[_Coins])  # type: ignore[valid-type]


#: Pages in memory, those last used.
PAGES: BoundedCache[_Key, tuple[Page, Token]] = BoundedCache(CACHE_BYTES, lambda cached: cached[0].size)


def form_of(by: Sequence[str], currency: str) -> str:
    """The name under which pages of a report are stored."""
    return f"{','.join(by)}:{currency}"


class Paging:
    """A report as its pages are found: in memory, in the database, or made of cells now.

    `fresh` holds days that moved since they were settled, with their cells as they are now.
    """

    def __init__(self, data: ReportData, query: ReportQuery, *, fresh: Mapping[date, Sequence[Cell]]) -> None:
        self._data = data
        self._tx = data.tx
        self._query = query
        self._fresh = fresh
        self._form = form_of(query.by, query.currency)
        self._versions: dict[date, int | None] = {}
        self._pages: dict[date, tuple[Page, Token]] = {}

    async def report(self) -> PagedReport:
        """The report; pages that had to be made are cached."""
        versions = await settled_versions(self._tx, self._query)
        self._versions = {day: version for day, version in versions.items() if day not in self._fresh}
        self._pages = {day: page for day in self._versions if (page := PAGES.get(self._key(day)))}
        await self._use_stored()
        raw = await self._cells(self._versions.keys() - self._pages.keys())
        days = sorted(self._versions.keys() | self._fresh.keys())
        view = await view_of(self._data, self._query, currencies=self._currencies(raw), days=days)
        tokens = Tokens(view)
        outdated = [day for day, (page, token) in self._pages.items() if not self._holds(day, page, token, tokens)]
        for at in range(0, len(outdated), _AT_ONCE):
            raw |= await self._cells(outdated[at : at + _AT_ONCE])
        await self._make(raw, view, tokens)
        fresh_pages = {day: page_of(day, cells, view) for day, cells in self._fresh.items()}
        return PagedReport(view, [fresh_pages[day] if day in fresh_pages else self._pages[day][0] for day in days])

    def _key(self, day: date) -> _Key:
        return self._query.team_id, self._form, day, self._versions[day] or 0

    async def _use_stored(self) -> None:
        """Pages that settling has left in the database."""
        lacking = {day for day, version in self._versions.items() if version is not None} - self._pages.keys()
        if not lacking or self._query.by not in USUAL:
            return
        p = report_pages.c
        mine = select(p.day, p.version, p.page).where(p.team_id == self._query.team_id, p.form == self._form)
        for day, version, page in await self._tx.execute(mine.where(among(p.day, lacking))):
            if day in lacking and version == self._versions[day]:
                self._pages[day] = _unpacker.decode(isal_zlib.decompress(page)), ()
                await asyncio.sleep(0)

    async def _cells(self, days: Collection[date]) -> dict[date, bytes]:
        if not days:
            return {}
        m = merged.c
        query = select(m.day, m.cells).where(m.team_id == self._query.team_id, among(m.day, days))
        return {day: cells for day, cells in await self._tx.execute(query) if day in days}

    def _currencies(self, raw: Mapping[date, bytes]) -> set[str]:
        currencies_ = {currency for page, _ in self._pages.values() for currency in page.about.currencies}
        currencies_ |= {currency for cells in raw.values() for cell in _coins.decode(cells) for currency in cell.money}
        return currencies_ | {currency for cells in self._fresh.values() for cell in cells for currency in cell.money}

    def _holds(self, day: date, page: Page, token: Token, tokens: "Tokens") -> bool:
        """Whether a page says what would be made now."""
        now = tokens.of(day, page)
        if token == now:
            return True
        if page.basis != basis_of(day, page.about, tokens.view):
            return False
        self._pages[day] = page, now
        PAGES.put(self._key(day), (page, now))
        return True

    async def _make(self, raw: Mapping[date, bytes], view: View, tokens: "Tokens") -> None:
        for day, cells in raw.items():
            page = page_of(day, _decoder.decode(cells), view)
            self._pages[day] = page, tokens.of(day, page)
            if self._versions[day] is not None:
                PAGES.put(self._key(day), self._pages[day])
            await asyncio.sleep(0)  # clicks answered by the same process go on in between


async def settled_versions(tx: AsyncConnection, query: ReportQuery) -> dict[date, int | None]:
    """Days of the range with settled cells, and the versions of these."""
    m = merged.c
    mine = m.team_id == query.team_id, m.day.between(query.first, query.last)
    return dict((await tx.execute(select(m.day, m.version).where(*mine))).all())


class Tokens:
    """Short for what pages depend on: the whole catalogue at once, settlement and rates of their day."""

    def __init__(self, view: View) -> None:
        self.view = view
        content = (
            [(name, sorted(view.codes[name].items())) for name in sorted(view.codes) if name in view.by],
            sorted((o.id, o.account_id, o.casino_id, o.has_postbacks) for o in view.offers.values()),
            [(noun, sorted(codes.items())) for noun, codes in sorted(view.group_codes.items())],
            sorted(view.codes["account"].items()),
            sorted(view.accounts_since.items()),
            sorted(view.offers_since.items()),
            sorted((account_id, sorted(names)) for account_id, names in view.measures.items()),
        )
        self._all = version_of(msgspec.json.encode(content))
        self._settled: dict[date, list[int]] = {}
        for account_id, day in view.settled:
            self._settled.setdefault(day, []).append(account_id)

    def of(self, day: date, page: Page) -> Token:
        return self.of_days([day], page.about.currencies)

    def of_days(self, days: Sequence[date], currencies: Sequence[str]) -> Token:
        rates = tuple(self.view.rates.rate(currency, day) for day in days for currency in currencies)
        return self._all, rates, *(tuple(sorted(self._settled.get(day, ()))) for day in days)


def among(column: Any, days: Collection[date]) -> Any:
    """A condition that holds for these days; for others within their range as well where they are many."""
    return column.in_(days) if len(days) <= _MANY else column.between(min(days), max(days))


async def make_usual(
    tx: AsyncConnection, query: ReportQuery, days: Mapping[date, Sequence[Cell]]
) -> dict[date, list[tuple[str, bytes]]]:
    """Pages of days just merged, by form, for the usual reports; `query` names team and currency."""
    pages: dict[date, list[tuple[str, bytes]]] = {}
    currencies = {currency for cells in days.values() for cell in cells for currency in cell.money}
    view = await view_of(ReportData(tx, query.team_id), query, currencies=currencies, days=days)
    views = {form_of(by, query.currency): msgspec.structs.replace(view, by=by) for by in USUAL}
    for day, cells in days.items():
        pages[day] = await asyncio.to_thread(_packed, day, cells, views)
    return pages


def _packed(day: date, cells: Sequence[Cell], views: Mapping[str, View]) -> list[tuple[str, bytes]]:
    """A day's pages by form."""
    reader = DayReader(day, cells, next(iter(views.values())), shared=True)
    pages = {form: page_of(day, cells, view, reader) for form, view in views.items()}
    return [(form, isal_zlib.compress(_packer.encode(page))) for form, page in pages.items()]


async def store(tx: AsyncConnection, team_id: int, day: date, version: int, pages: Sequence[tuple[str, bytes]]) -> None:
    """Keep a settled day's pages in place of those before."""
    for form, page in pages:
        statement = upsert(report_pages).values(team_id=team_id, form=form, day=day, version=version, page=page)
        new = {"version": version, "page": page}
        await tx.execute(statement.on_conflict_do_update(index_elements=["team_id", "form", "day"], set_=new))
