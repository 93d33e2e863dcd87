"""From cells to report rows: what counts as merged, what is known, converted and summed by group."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any

import msgspec

from storage.ledger.facts import OfferFact
from storage.ledger.money import Rates, convert
from storage.ledger.reports.cells import MONEY, Cell
from storage.ledger.reports.groups import (
    AMOUNT,
    COMMISSION,
    CPA,
    LAYERS,
    NGR,
    OFFERLESS,
    OTHER,
    PROVISIONAL,
    REVSHARE,
    SETTLED,
    SITE_VISITS,
    SPEND,
    VISITS,
    Group,
    add_layers,
    known_sum,
    note_unconverted,
    row_of,
)
from storage.ledger.reports.report_rows import PERIODS, SUB_NAMES, MergedReport, ReportRow, period


class View(msgspec.Struct, kw_only=True):
    """How a report looks at cells: groups, codes of entities, and what decides between the layers.

    `settled` holds (account, day); `postbacks_since` the first report day an account (and an offer) had a postback.
    """

    timezone: str
    first: date
    last: date
    by: tuple[str, ...]
    rates: Rates
    offers: Mapping[int, OfferFact]
    codes: Mapping[str, Mapping[int, str]]
    settled: AbstractSet[tuple[int, date]]
    account_ids: AbstractSet[int]
    accounts_since: Mapping[int, date]
    offers_since: Mapping[int, date]
    keep: Callable[[Cell], bool] | None = None
    keep_unassigned: Callable[[int], bool] | None = None


def collapse(days: Iterable[tuple[date, Sequence[Cell]]], view: View) -> MergedReport:
    """The report over the cells of several days."""
    collapsing = Collapsing(view)
    for day, cells in days:
        collapsing.add(day, cells)
    return collapsing.report()


class Collapsing:
    """A report as it comes together, day by day: whoever has a lot of them may pause in between."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rows: dict[tuple[Any, ...], Group] = {}
        self._unassigned: dict[tuple[Any, ...], Group] = {}
        self._key_of = _keys(view)
        self._periods = [name for name in view.by if name in PERIODS]

    def add(self, day: date, cells: Sequence[Cell]) -> None:
        """Read all cells of a day into their groups; what is merged depends on all of them."""
        view, reader = self._view, _DayReader(day, cells, self._view)
        waiting: list[Cell] = []
        for cell in cells:
            shown = cell.visit_day or day
            if not view.first <= shown <= view.last:
                continue
            if cell.tag is not None:
                self._add_unassigned(cell, cell.tag, shown, reader)
            elif view.keep is not None and not view.keep(cell):
                continue
            elif cell.waiting:
                waiting.append(cell)
            else:
                reader.read(cell, self._rows.setdefault(self._key_of(cell, shown), Group()))
        for cell in waiting:
            group = self._rows.get(self._key_of(cell, day))
            if group is not None and not reader.settled(cell):
                group.settlement |= PROVISIONAL

    def _add_unassigned(self, cell: Cell, tag: str, shown: date, reader: "_DayReader") -> None:
        if self._view.keep_unassigned is not None and not self._view.keep_unassigned(cell.account_id):
            return
        key = (*(period(name, shown) for name in self._periods), cell.account_id, tag.lower())
        group = self._unassigned.setdefault(key, Group())
        group.tag, group.tag_name = group.tag or tag, cell.tag_name
        reader.read(cell, group)

    def report(self) -> MergedReport:
        """Rows in the order of their groups, what has none last; the totals over all of it."""
        view = self._view
        return MergedReport(
            timezone=view.timezone,
            currency=view.rates.base,
            from_=view.first,
            to=view.last,
            rows=self.rows(),
            unassigned=self.unassigned(),
            totals=row_of({}, self.total()),
        )

    def rows(self) -> list[ReportRow]:
        """Rows in the order of their groups, what has none last."""
        by, rows = self._view.by, self._rows
        return [row_of(dict(zip(by, key, strict=True)), rows[key]) for key in sorted(rows, key=_order)]

    def unassigned(self) -> list[ReportRow]:
        """Rows of revenue that no offer claims."""
        return [self._unassigned_row(key) for key in sorted(self._unassigned, key=_order)]

    def total(self) -> Group:
        """The sums over all of it."""
        totals = Group()
        for group in (*self._rows.values(), *self._unassigned.values()):
            totals.add(group)
        return totals

    def _unassigned_row(self, key: tuple[Any, ...]) -> ReportRow:
        group = self._unassigned[key]
        named = (*key[:-2], self._view.codes["account"].get(key[-2]), group.tag)
        return row_of(dict(zip((*self._periods, "account", "tag"), named, strict=True)), group)


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is None, value if value is not None else 0) for value in key)


def _keys(view: View) -> Callable[[Cell, date], tuple[Any, ...]]:
    """The group key of a cell, dimension by dimension."""
    getters = [_getter(name, view) for name in view.by]
    return lambda cell, day: tuple([get(cell, day) for get in getters])


def _getter(name: str, view: View) -> Callable[[Cell, date], str | None]:
    if name in PERIODS:
        texts: dict[date, str] = {}
        return lambda _cell, day: texts.get(day) or texts.setdefault(day, period(name, day))
    if name in SUB_NAMES:
        at = [one for one in view.by if one in SUB_NAMES].index(name)
        return lambda cell, _day: (cell.subs[at] or None) if at < len(cell.subs) else None
    if name == "country":
        return lambda cell, _day: cell.country or None
    if name == "device":
        return lambda cell, _day: cell.device or None
    codes = view.codes[name]
    if name in {"casino", "account"}:
        by_offer = {one.id: codes.get(getattr(one, f"{name}_id")) for one in view.offers.values()}
        return lambda cell, _day: by_offer.get(cell.offer_id)
    return lambda cell, _day: codes.get(getattr(cell, f"{name}_id"))


class _DayReader:
    """Reads the cells of one day into groups, deciding what `merged` is for each offer."""

    def __init__(self, day: date, cells: Sequence[Cell], view: View) -> None:
        self._day = day
        self._view = view
        self._offers: dict[int, tuple[bool, bool, bool]] = {}
        self._reported: dict[int, list[bool]] = {}  # offer: counts, then amounts, that its platform gave that day
        self._rates = {currency: view.rates.rate(currency, day) for cell in cells for currency in cell.money}
        for cell in cells:
            if cell.tag is None and (cell.platform or cell.money):
                self._note_reported(cell)

    def _note_reported(self, cell: Cell) -> None:
        reported = self._reported.setdefault(cell.offer_id, [False] * 10)
        for i, count in enumerate(cell.platform or ()):
            if count is not None:
                reported[i] = True
        for amounts in cell.money.values():
            for i in range(1, 6):
                if amounts[i] is not None:
                    reported[4 + i] = True

    def _standing(self, cell: Cell) -> tuple[bool, bool, bool]:
        """Of the cell's offer that day: settled; measured by postbacks; measured even without a campaign."""
        offer = self._view.offers.get(cell.offer_id)
        if offer is None:
            over = any((one, self._day) in self._view.settled for one in self._view.account_ids)
            return over, False, False
        settled = (offer.account_id, self._day) in self._view.settled
        account_since = self._view.accounts_since.get(offer.account_id)
        own_since = self._view.offers_since.get(offer.id)
        measured = offer.has_postbacks and account_since is not None and account_since <= self._day
        return settled, measured, measured and own_since is not None and own_since <= self._day

    def settled(self, cell: Cell) -> bool:
        """Whether the day is settled for the cell's offer."""
        return self._standing(cell)[0]

    def read(self, cell: Cell, group: Group) -> None:
        """Add a cell to its group."""
        if cell.tag is not None:
            settled, measured = (cell.account_id, self._day) in self._view.settled, False
        else:
            standing = self._offers.get(cell.offer_id)
            if standing is None:
                standing = self._offers[cell.offer_id] = self._standing(cell)
            settled = standing[0]
            measured = cell.postback is not None or (standing[1] if cell.campaign_id else standing[2])
        reported = self._reported.get(cell.offer_id) if settled and cell.tag is None else None
        sums = group.sums
        if cell.tag is None and (cell.campaign_id or cell.site_id):
            # Visits and outgoing clicks are only measured where there is a site.
            for i, count in enumerate(cell.clicks if cell.site_id else cell.clicks[:SITE_VISITS]):
                sums[i] = count + (sums[i] or 0)
        self._read_counts(cell, sums, settled=settled, measured=measured, reported=reported)
        self._read_money(cell, group, settled=settled, measured=measured, reported=reported)
        bit = SETTLED if settled else PROVISIONAL
        group.settlement |= bit if cell.tag is not None or cell.offer_id else bit << OFFERLESS
        group.allocated = group.allocated or cell.allocated

    def _read_counts(
        self, cell: Cell, sums: list[int | None], *, settled: bool, measured: bool, reported: list[bool] | None
    ) -> None:
        postback, platform = cell.postback, cell.platform
        for i in range(4):
            said = (postback[i] if postback else 0) if measured else None
            stated = platform[i + 1] if platform else None
            if stated is None and reported and reported[i + 1]:
                stated = 0  # the offer's day is settled, and the platform gave all of it to others
            add_layers(sums, LAYERS + 3 * i, said, stated, settled=settled)
        if platform and platform[0] is not None:
            sums[VISITS] = platform[0] + (sums[VISITS] or 0)

    def _read_money(
        self, cell: Cell, group: Group, *, settled: bool, measured: bool, reported: list[bool] | None
    ) -> None:
        amounts, lacking = self._converted(cell, group)
        said, stated = amounts[0], amounts[1]
        if said is None and measured and not lacking[0] and not (cell.postback and cell.postback[2]):
            said = 0
        zeros = [bool(reported and reported[4 + i]) and not lacking[i] for i in range(1, 6)] if reported else None
        if zeros:
            stated = 0 if stated is None and zeros[0] else stated
            for i in range(2, 6):
                if amounts[i] is None and zeros[i - 1]:
                    amounts[i] = 0
        sums = group.sums
        if lacking[1 if settled else 0]:
            add_layers(sums, AMOUNT, said, stated, settled=None)
        else:
            add_layers(sums, AMOUNT, said, stated, settled=settled)
        for at, amount in ((NGR, amounts[2]), (CPA, amounts[3]), (REVSHARE, amounts[4]), (OTHER, amounts[5]),
                           (COMMISSION, known_sum(amounts[3:6])), (SPEND, amounts[6])):  # fmt: skip
            if amount is not None:
                sums[at] = amount + (sums[at] or 0)

    def _converted(self, cell: Cell, group: Group) -> tuple[list[int | None], list[bool]]:
        """Amounts in the report's currency, each rounded by itself; and which of them lack a rate."""
        whole: list[int | None] = [None] * len(MONEY)
        lacking = [False] * len(MONEY)
        for currency, amounts in cell.money.items():
            rate = self._rates[currency]
            for i, amount in enumerate(amounts):
                if amount is None:
                    continue
                if rate is None:
                    lacking[i] = True
                    note_unconverted(group, currency, MONEY[i], amount)
                else:
                    converted = amount if rate == 1 else convert(amount, rate)
                    whole[i] = converted + (whole[i] or 0)
        return whole, lacking
