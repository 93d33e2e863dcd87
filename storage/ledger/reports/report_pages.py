"""Pages: the rows of a report's single days, encoded once, and put together as often as a report is asked for.

A day's rows follow from its cells and from what of today's catalogue, rates and settlement they look at. A page knows
all of that (`version`, `about`, `basis`), so it is either exactly what would be made now, or recognised as outdated.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import msgspec

from storage.ledger.reports.cells import Cell
from storage.ledger.reports.collapse import Collapsing, DayReader, View, codes_of, names_of
from storage.ledger.reports.groups import Group, Sums, row_of, sum_of_groups
from storage.ledger.reports.report_rows import ENTITIES, MergedReport, ReportRow

_encoder = msgspec.json.Encoder()
_reader = msgspec.json.Decoder(list[ReportRow])
_VERSION_BYTES = 8  # of which one bit is left out: databases keep signed numbers


class About(msgspec.Struct, frozen=True, array_like=True):
    """Whom the cells of a day speak of: ids, and the currencies amounts are in."""

    offers: list[int] = []
    campaigns: list[int] = []
    sites: list[int] = []
    sources: list[int] = []
    accounts: list[int] = []  # of unassigned revenue
    currencies: list[str] = []


class Page(msgspec.Struct, frozen=True, array_like=True):
    """One day of a report: rows as JSON without the brackets, and what the totals need of them."""

    rows: bytes
    unassigned: bytes
    sums: Sums
    settlement: int
    allocated: bool
    unconverted: dict[str, dict[str, int]]
    about: About
    basis: bytes
    codes: dict[str, list[str]] = {}  # of the entities in the rows, by dimension

    @property
    def size(self) -> int:
        """Bytes it takes, roughly."""
        return len(self.rows) + len(self.unassigned) + 2_000

    @property
    def total(self) -> Group:
        group = Group()
        group.sums, group.settlement, group.allocated = self.sums, self.settlement, self.allocated
        group.unconverted = self.unconverted
        return group


def version_of(cells: bytes) -> int:
    """A number that tells these cells of a day from all others."""
    digest = hashlib.blake2b(cells, digest_size=_VERSION_BYTES).digest()
    return int.from_bytes(digest, "big") >> 1


def page_of(day: date, cells: Sequence[Cell], view: View, reader: DayReader | None = None) -> Page:
    """The page of a day whose cells all stand on it, for a report by day first; pages of the day share a `reader`."""
    collapsing = Collapsing(view)
    collapsing.add(day, cells, reader)
    total, about = collapsing.total(), about_of(cells)
    rows, unassigned = collapsing.rows(), collapsing.unassigned()
    return Page(
        rows=_encoder.encode(rows)[1:-1], unassigned=_encoder.encode(unassigned)[1:-1],
        sums=total.sums, settlement=total.settlement, allocated=total.allocated, unconverted=total.unconverted,
        about=about, basis=basis_of(day, about, view), codes=codes_of([*rows, *unassigned]),
    )  # fmt: skip


def about_of(cells: Iterable[Cell]) -> About:
    """Whom these cells speak of."""
    placed = [cell for cell in cells if cell.tag is None]
    return About(
        offers=sorted({cell.offer_id for cell in placed}),
        campaigns=sorted({cell.campaign_id for cell in placed}),
        sites=sorted({cell.site_id for cell in placed}),
        sources=sorted({cell.source_id for cell in placed}),
        accounts=sorted({cell.account_id for cell in cells if cell.tag is not None}),
        currencies=sorted({currency for cell in cells for currency in cell.money}),
    )


def basis_of(day: date, about: About, view: View) -> bytes:
    """A digest of everything beside the cells that decides what a day's rows say."""
    codes = {name: view.codes.get(name, {}) for name in ENTITIES if name in view.by}
    measures = {account_id: sorted(names) for account_id, names in view.measures.items()}
    inputs = [
        [_offer(offer, day, view, codes, measures) for offer in about.offers],
        [[codes.get(name, {}).get(entity_id) for entity_id in ids]
         for name, ids in (("campaign", about.campaigns), ("site", about.sites), ("source", about.sources))],
        [(view.codes["account"].get(account), (account, day) in view.settled) for account in about.accounts],
        [str(view.rates.rate(currency, day)) for currency in about.currencies],
        view.rates.base,
    ]  # fmt: skip
    if "group" in view.by:
        filters = (("campaign", about.campaigns), ("site", about.sites), ("offer", about.offers))
        inputs.append([[view.group_codes[noun].get(entity_id) for entity_id in ids] for noun, ids in filters])
    return hashlib.blake2b(_encoder.encode(inputs), digest_size=16).digest()


def _offer(
    offer_id: int, day: date, view: View, codes: Mapping[str, Mapping[int, str]], measures: Mapping[int, list[str]]
) -> Sequence[object]:
    """What decides how an offer's figures of the day are read, and what they are called."""
    offer = view.offers.get(offer_id)
    if offer is None:
        return (any((account, day) in view.settled for account in view.account_ids),)
    account_since, own_since = view.accounts_since.get(offer.account_id), view.offers_since.get(offer_id)
    return (
        (offer.account_id, day) in view.settled,
        offer.has_postbacks,
        account_since is not None and account_since <= day,
        own_since is not None and own_since <= day,
        measures.get(offer.account_id, ()),
        codes.get("offer", {}).get(offer_id),
        codes.get("casino", {}).get(offer.casino_id),
        codes.get("account", {}).get(offer.account_id),
    )


class PagedReport:
    """A merged report of pages: to be sent as JSON piece by piece, or read as structs."""

    def __init__(self, view: View, pages: Sequence[Page]) -> None:
        self._pages = pages
        self.total = row_of({}, sum_of_groups([page.total for page in pages]))
        self.head = MergedReport(
            timezone=view.timezone, currency=view.rates.base, from_=view.first, to=view.last, rows=[], unassigned=[],
            totals=self.total, names=names_of(_codes(pages), view),
        )  # fmt: skip

    def json(self) -> Iterator[bytes]:
        """The report's JSON, the very bytes that encoding the structs would give."""
        head, _, tail = _encoder.encode(self.head).partition(b'"rows":[],"unassigned":[]')
        yield head + b'"rows":['
        yield from _joined(page.rows for page in self._pages)
        yield b'],"unassigned":['
        yield from _joined(page.unassigned for page in self._pages)
        yield b"]" + tail

    def parts(self) -> tuple[list[bytes], list[bytes]]:
        """JSON arrays of rows and of unassigned rows, one for each day that has some."""
        rows = [b"[%b]" % page.rows for page in self._pages if page.rows]
        return rows, [b"[%b]" % page.unassigned for page in self._pages if page.unassigned]

    def report(self) -> MergedReport:
        """The report as structs."""
        rows = [row for page in self._pages if page.rows for row in _reader.decode(b"[%b]" % page.rows)]
        rest = [row for page in self._pages if page.unassigned for row in _reader.decode(b"[%b]" % page.unassigned)]
        return msgspec.structs.replace(self.head, rows=rows, unassigned=rest)


def _codes(pages: Iterable[Page]) -> dict[str, list[str]]:
    codes: dict[str, set[str]] = {}
    for page in pages:
        for name, values in page.codes.items():
            codes.setdefault(name, set()).update(values)
    return {name: sorted(values) for name, values in codes.items()}


def _joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    first = True
    for part in parts:
        if part:
            if not first:
                yield b","
            yield part
            first = False
