"""Cells: what both layers say of a day of one campaign, site, offer and source; nothing decided, nothing converted."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import partial
from operator import is_not
from typing import Any, NamedTuple

import msgspec

from storage.ledger.facts import PLATFORM_AMOUNTS, PLATFORM_COUNTS
from storage.ledger.reports.revenue_columns import RevenueColumns, picker

#: Measures of `Figures` that are counts, and those that are amounts of money.

_encoder = msgspec.json.Encoder()


class Place(NamedTuple):
    """Where a figure belongs. Ids are 0 when there is none; `visit_day` is None when it is the day itself."""

    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()
    visit_day: date | None = None

    @property
    def base(self) -> "Place":
        """The place without country, device, sub ids and visit day."""
        return Place(self.campaign_id, self.site_id, self.offer_id, self.source_id)


class Clicks(msgspec.Struct, array_like=True, gc=False):
    """Click counts of a cell."""

    clicks: int = 0
    unique_clicks: int = 0
    bot_clicks: int = 0
    site_visits: int = 0
    outgoing: int = 0


class PostbackCounts(msgspec.Struct, array_like=True, gc=False):
    """Conversions that count; `deposits` include first deposits."""

    registrations: int = 0
    first_deposits: int = 0
    deposits: int = 0
    qualified: int = 0


class PlatformCounts(msgspec.Struct, array_like=True, gc=False):
    """Counts that a platform states; None is what it does not state."""

    visits: int | None = None
    registrations: int | None = None
    first_deposits: int | None = None
    deposits: int | None = None
    qualified: int | None = None


class Amounts(msgspec.Struct, array_like=True, gc=False):
    """Sums of amounts in one currency, in micro-units; None where there is no amount.

    `parts` is the JSON of `Parts`, there only where some sum is of more than one figure: each figure is converted
    by itself, so another currency needs them.
    """

    postback_amount: int | None = None
    deposit_amount: int | None = None
    ngr: int | None = None
    commission_cpa: int | None = None
    commission_revshare: int | None = None
    commission_other: int | None = None
    spend: int | None = None
    parts: msgspec.Raw = msgspec.Raw(b"null")


AMOUNTS = Amounts.__struct_fields__[:-1]

Part = int | tuple[int, int]
"""A whole figure, or a stretch of one: the figure up to its start (in the order of all parts), and up to its end."""


class Parts(msgspec.Struct, array_like=True, gc=False):
    """What each sum of `Amounts` consists of; empty where it is one whole figure."""

    postback_amount: list[Part] = []
    deposit_amount: list[Part] = []
    ngr: list[Part] = []
    commission_cpa: list[Part] = []
    commission_revshare: list[Part] = []
    commission_other: list[Part] = []
    spend: list[Part] = []


read_parts = msgspec.json.Decoder(Parts).decode


class Cell(msgspec.Struct, array_like=True, gc=False):
    """Figures of one place on one day. None is what no source has given.

    `account_id` and `tag` are those of revenue that no offer claims, else 0 and None. `visit_day` is the day the cell
    is counted on when that is not the day it happened. A `waiting` cell holds nothing: its campaign had the offer
    that day, and revenue of it may still come.
    """

    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    account_id: int = 0
    tag: str | None = None
    tag_name: str = ""
    allocated: bool = False
    clicks: Clicks = msgspec.field(default_factory=Clicks)
    postback: PostbackCounts | None = None
    platform: PlatformCounts | None = None
    money: dict[str, Amounts] = {}
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()
    visit_day: date | None = None
    waiting: bool = False


_NO_ROWS = RevenueColumns.of(())


class Cells:
    """The cells of a day as they come together, out of these revenue rows among others."""

    def __init__(self, rows: RevenueColumns = _NO_ROWS) -> None:
        self._rows = rows
        self._placed: dict[Place, Cell] = {}
        self._unassigned: dict[tuple[int, str, date | None], Cell] = {}
        self._parts: dict[int, tuple[Amounts, Parts]] = {}  # by the identity of the amounts
        self._whole_rows: dict[tuple[int, str], tuple[Cell, list[int]]] = {}  # by cell and currency: places in `_rows`

    def at(self, place: Place) -> Cell:
        """The cell of a place, made if there is none yet."""
        cell = self._placed.get(place)
        if cell is None:
            cell = self._placed[place] = Cell(
                place.campaign_id, place.site_id, place.offer_id, place.source_id, country=place.country,
                device=place.device, subs=place.subs, visit_day=place.visit_day,
            )  # fmt: skip
        return cell

    def unassigned(self, account_id: int, tag: str, visit_day: date | None = None) -> Cell:
        """The cell of an account's segment that no offer claims."""
        key = account_id, tag.lower(), visit_day
        if key not in self._unassigned:
            self._unassigned[key] = Cell(0, 0, 0, 0, account_id=account_id, tag=tag, visit_day=visit_day)
        return self._unassigned[key]

    def placed(self) -> list[tuple[Place, Cell]]:
        return list(self._placed.items())

    def add_amount(self, cell: Cell, currency: str, name: str, part: Part, *, times: int = 1) -> None:
        """Add a figure, or its stretch, to one of a cell's amounts, so many times."""
        amounts = cell.money.get(currency)
        if amounts is None:
            amounts = cell.money[currency] = Amounts()
        amount = part if isinstance(part, int) else part[1] - part[0]
        sum_before = getattr(amounts, name)
        if sum_before is None and times == 1 and isinstance(part, int):
            setattr(amounts, name, amount)  # one whole figure is its own sum
            return
        listed = self._listed(amounts, name)
        setattr(amounts, name, amount * times + (sum_before or 0))
        if amount:
            listed += [part] * times

    def add_rows(self, cell: Cell, currency: str, places: Iterable[int]) -> None:
        """Add the platform's rows at these places, of that currency, which belong to the cell whole."""
        self._whole_rows.setdefault((id(cell), currency), (cell, []))[1].extend(places)

    def sum_whole_rows(self) -> None:
        """Bring the rows that belong to a cell whole into it, measure by measure."""
        counts, amounts = (self._stated(names) for names in (PLATFORM_COUNTS, PLATFORM_AMOUNTS))
        for (_, currency), (cell, places) in self._whole_rows.items():
            pick = picker(places)
            _add_counts(cell, [_picked(column, pick) for column in counts])
            self._add_amounts(cell, currency, [_picked(column, pick) for column in amounts])
        self._whole_rows.clear()

    def _stated(self, names: Iterable[str]) -> list[tuple[Sequence[Any] | None, bool]]:
        """The columns of measures, None of one that no row states, and whether every row states it."""
        columns = [(self._rows.named[name], self._rows.is_whole(name)) for name in names]
        return [(column if is_whole or any(map(_is_known, column)) else None, is_whole) for column, is_whole in columns]

    def _add_amounts(self, cell: Cell, currency: str, figures: Sequence[Sequence[int]]) -> None:
        """Add figures of each amount that a platform states, all at once where there are none yet."""
        if not any(figures):
            return
        if currency in cell.money:
            for name, of_name in zip(PLATFORM_AMOUNTS, figures, strict=True):
                self._add_figures(cell, currency, name, of_name)
            return
        deposits, ngr, cpa, revshare, other = [sum(of_name) if of_name else None for of_name in figures]
        amounts = cell.money[currency] = Amounts(None, deposits, ngr, cpa, revshare, other)
        if max(map(len, figures)) > 1:
            listed: list[list[Part]] = [list(filter(None, of_name)) if len(of_name) > 1 else [] for of_name in figures]
            self._parts[id(amounts)] = amounts, Parts([], *listed)

    def _add_figures(self, cell: Cell, currency: str, name: str, figures: Sequence[int]) -> None:
        if len(figures) < 2:
            for amount in figures:
                self.add_amount(cell, currency, name, amount)
            return
        amounts = cell.money[currency]
        listed = self._listed(amounts, name)
        setattr(amounts, name, sum(figures) + (getattr(amounts, name) or 0))
        listed += filter(None, figures)

    def _listed(self, amounts: Amounts, name: str) -> list[Part]:
        """The parts of a sum, which from now on are listed."""
        entry = self._parts.get(id(amounts))
        if entry is None:
            entry = self._parts[id(amounts)] = amounts, Parts()
        listed: list[Part] = getattr(entry[1], name)
        if not listed and (whole := getattr(amounts, name)):
            listed.append(whole)
        return listed

    def all(self) -> list[Cell]:
        """The cells, whole; nothing can be added to them any more."""
        self.sum_whole_rows()
        for amounts, parts in self._parts.values():
            amounts.parts = msgspec.Raw(_encoder.encode(parts))
        self._parts.clear()
        return [*self._placed.values(), *self._unassigned.values()]


def _picked(column: tuple[Sequence[Any] | None, bool], pick: Callable[[Sequence[Any]], Sequence[Any]]) -> Sequence[int]:
    """The figures that are stated at some places of a column."""
    values, is_whole = column
    if values is None:
        return ()
    return pick(values) if is_whole else list(filter(_is_known, pick(values)))


_is_known = partial(is_not, None)


def _add_counts(cell: Cell, figures: Sequence[Sequence[int]]) -> None:
    """Add figures of each count that a platform states, all at once where there are none yet."""
    if cell.platform is None and any(figures):
        cell.platform = PlatformCounts(*[sum(of_name) if of_name else None for of_name in figures])
        return
    for name, of_name in zip(PLATFORM_COUNTS, figures, strict=True):
        if of_name:
            add_count(cell, name, sum(of_name))


def add_count(cell: Cell, name: str, count: int) -> None:
    """Add to one of the counts that the platform states."""
    if cell.platform is None:
        cell.platform = PlatformCounts()
    setattr(cell.platform, name, count + (getattr(cell.platform, name) or 0))


def stretches(parts: Sequence[int]) -> list[Part]:
    """The parts of a divided figure as stretches of it, in their order."""
    ends: list[Part] = []
    start = 0
    for part in parts:
        ends.append((start, start + part))
        start += part
    return ends
