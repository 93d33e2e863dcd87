"""From cells to report rows: what counts as merged, what is known, converted and summed by group."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import compress
from operator import attrgetter, is_not
from typing import Any, NamedTuple, TypeVar

import msgspec

from storage.ledger.facts import PLATFORM_AMOUNTS, PLATFORM_COUNTS, SUBS, OfferFact
from storage.ledger.money import Rates, convert
from storage.ledger.reports.cells import AMOUNTS, Amounts, Cell, Part, Parts, PlatformCounts, PostbackCounts, read_parts
from storage.ledger.reports.groups import (
    OFFERLESS,
    PROVISIONAL,
    SETTLED,
    Group,
    Sums,
    note_unconverted,
    row_of,
    sum_of_groups,
)
from storage.ledger.reports.report_rows import ENTITIES, PERIODS, MergedReport, ReportRow, period


class View(msgspec.Struct, kw_only=True):
    """How a report looks at cells: groups, codes of entities, and what decides between the layers.

    `settled` holds (account, day); `accounts_since` and `offers_since` the first report day with a postback;
    `measures` what each account's platform reports.
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
    measures: Mapping[int, AbstractSet[str]] = {}
    names: Mapping[str, Mapping[str, str]] = {}  # of entities, by dimension and code
    group_codes: Mapping[str, Mapping[int, str | None]] = {}  # of campaigns, sites and offers, where `by` has group
    subs: tuple[int, ...] = ()  # positions from 0 of the sub ids that cells have, in their order
    keep: Callable[[Cell], bool] | None = None
    keep_day: Callable[[date], bool] | None = None
    keep_unassigned: Callable[[int], bool] | None = None


Value = TypeVar("Value")


def sorted_by(values: Mapping[str, Mapping[int, Value]], cell: Cell) -> Value | None:
    """What sorts a cell: its campaign's group or tags, without a campaign its site's, without both its offer's.

    So every cell has one group at most, and totals by group are those of the whole.
    """
    if cell.campaign_id:
        return values["campaign"].get(cell.campaign_id)
    return values["site"].get(cell.site_id) if cell.site_id else values["offer"].get(cell.offer_id)


class Block(NamedTuple):
    """Days that were summed before: their groups, and the groups that waited for revenue before they had a row."""

    rows: Mapping[tuple[Any, ...], Group]
    unassigned: Mapping[tuple[Any, ...], Group]
    waiting: AbstractSet[tuple[Any, ...]]


class Collapsing:
    """A report as it comes together, day by day: whoever has a lot of them may pause in between."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rows: dict[tuple[Any, ...], Group] = {}
        self._unassigned: dict[tuple[Any, ...], Group] = {}
        self._waiting: set[tuple[Any, ...]] = set()
        self._key_of = _keys(view)
        self._periods = [name for name in view.by if name in PERIODS]

    def add(self, day: date, cells: Sequence[Cell], reader: "DayReader | None" = None) -> None:
        """Read all cells of a day into their groups; what is merged depends on all of them.

        A `reader` of these cells that several reports share reads each of them once.
        """
        view, reader = self._view, reader or DayReader(day, cells, self._view)
        waiting: list[Cell] = []
        for cell in cells:
            shown = cell.visit_day or day
            if not view.first <= shown <= view.last or not (view.keep_day is None or view.keep_day(shown)):
                continue
            if cell.tag is not None:
                self._add_unassigned(cell, cell.tag, shown, reader)
            elif view.keep is not None and not view.keep(cell):
                continue
            elif cell.waiting:
                waiting.append(cell)
            else:
                reader.add(cell, self._rows, self._key_of(cell, shown))
        self._wait({self._key_of(cell, day) for cell in waiting if not reader.settled(cell)})

    def _wait(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Revenue of these groups may still come; those without a row yet are only noted."""
        for key in keys:
            group = self._rows.get(key)
            if group is not None:
                self._rows[key] = group = group.own()
                group.settlement |= PROVISIONAL
            else:
                self._waiting.add(key)

    def block(self) -> Block:
        """What has been added so far, to be added to other reports that look at the same days in the same way."""
        return Block(self._rows, self._unassigned, self._waiting)

    def add_block(self, block: Block) -> None:
        """Add days that follow on those added so far, just as `add` does one by one."""
        self._wait(block.waiting)
        for key, group in block.rows.items():
            _group_of(self._rows, key).add(group)
        for key, group in block.unassigned.items():
            own = _group_of(self._unassigned, key)
            own.add(group)
            own.tag, own.tag_name = own.tag or group.tag, group.tag_name

    def _add_unassigned(self, cell: Cell, tag: str, shown: date, reader: "DayReader") -> None:
        if self._view.keep_unassigned is not None and not self._view.keep_unassigned(cell.account_id):
            return
        key = (*(period(name, shown) for name in self._periods), cell.account_id, tag.lower())
        group = _group_of(self._unassigned, key)
        group.tag, group.tag_name = group.tag or tag, cell.tag_name
        reader.read(cell, group)

    def report(self) -> MergedReport:
        """Rows in the order of their groups, what has none last; the totals over all of it."""
        view, rows, unassigned = self._view, self.rows(), self.unassigned()
        return MergedReport(
            timezone=view.timezone,
            currency=view.rates.base,
            from_=view.first,
            to=view.last,
            rows=rows,
            unassigned=unassigned,
            totals=row_of({}, self.total()),
            names=names_of(codes_of([*rows, *unassigned]), view),
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
        return sum_of_groups([*self._rows.values(), *self._unassigned.values()])

    def _unassigned_row(self, key: tuple[Any, ...]) -> ReportRow:
        group = self._unassigned[key]
        named = (*key[:-2], self._view.codes["account"].get(key[-2]), group.tag)
        return row_of(dict(zip((*self._periods, "account", "tag"), named, strict=True)), group)


def _group_of(groups: dict[tuple[Any, ...], Group], key: tuple[Any, ...]) -> Group:
    group = groups.get(key)
    if group is None:
        group = groups[key] = Group()
    return group


def codes_of(rows: Iterable[ReportRow]) -> dict[str, list[str]]:
    """The codes of entities in these rows, by dimension."""
    codes: dict[str, set[str]] = {}
    for row in rows:
        for name, code in row.group.items():
            if code is not None and name in ENTITIES:
                codes.setdefault(name, set()).add(code)
    return {name: sorted(values) for name, values in codes.items()}


def names_of(codes: Mapping[str, Iterable[str]], view: View) -> dict[str, dict[str, str]]:
    """What people call the entities of these codes."""
    return {
        name: {code: view.names.get(name, {}).get(code, code) for code in codes[name]}
        for name in ENTITIES
        if name in codes
    }


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is None, value if value is not None else 0) for value in key)


def _keys(view: View) -> Callable[[Cell, date], tuple[Any, ...]]:
    """The group key of a cell, dimension by dimension."""
    getters = [_getter(name, view) for name in view.by]
    if len(getters) == 1:
        (only,) = getters
        return lambda cell, day: (only(cell, day),)
    return lambda cell, day: tuple([get(cell, day) for get in getters])


def _getter(name: str, view: View) -> Callable[[Cell, date], str | None]:
    if name in PERIODS:
        texts: dict[date, str] = {}
        return lambda _cell, day: texts.get(day) or texts.setdefault(day, period(name, day))
    if name in SUBS:
        place = view.subs.index(SUBS.index(name))
        return lambda cell, _day: (cell.subs[place] or None) if place < len(cell.subs) else None
    if name == "group":
        return lambda cell, _day: sorted_by(view.group_codes, cell)
    if name == "country":
        return lambda cell, _day: cell.country or None
    if name == "device":
        return lambda cell, _day: cell.device or None
    codes = view.codes[name]
    if name in {"casino", "account"}:
        by_offer = {offer.id: codes.get(getattr(offer, f"{name}_id")) for offer in view.offers.values()}
        return lambda cell, _day: by_offer.get(cell.offer_id)
    return lambda cell, _day: codes.get(getattr(cell, f"{name}_id"))


class Standing(NamedTuple):
    """How an offer stands on a day. `everywhere`: measured by postbacks even without a campaign."""

    settled: bool
    measured: bool
    everywhere: bool


class DayReader:
    """Reads the cells of one day into groups, deciding what `merged` is for each offer.

    One that is `shared` by reports of different groups reads a cell once, and a group of one cell is that of the cell.
    """

    def __init__(self, day: date, cells: Sequence[Cell], view: View, *, shared: bool = False) -> None:
        self._groups: dict[int, Group] | None = {} if shared else None  # by the identity of the cell
        self._day = day
        self._view = view
        self._standings: dict[int, Standing] = {}
        self._stated = _stated(cells)
        self._reported: dict[int, AbstractSet[str]] = {}
        self._rates = {currency: view.rates.rate(currency, day) for cell in cells for currency in cell.money}

    def _standing(self, offer_id: int) -> Standing:
        standing = self._standings.get(offer_id)
        if standing is None:
            standing = self._standings[offer_id] = self._find_standing(offer_id)
        return standing

    def _find_standing(self, offer_id: int) -> Standing:
        offer = self._view.offers.get(offer_id)
        if offer is None:
            over = any((account_id, self._day) in self._view.settled for account_id in self._view.account_ids)
            return Standing(over, False, False)
        settled = (offer.account_id, self._day) in self._view.settled
        account_since = self._view.accounts_since.get(offer.account_id)
        own_since = self._view.offers_since.get(offer.id)
        measured = offer.has_postbacks and account_since is not None and account_since <= self._day
        return Standing(settled, measured, measured and own_since is not None and own_since <= self._day)

    def add(self, cell: Cell, groups: dict[tuple[Any, ...], Group], key: tuple[Any, ...]) -> None:
        """Add a cell to the group of that key, made if there is none yet."""
        if self._groups is None:
            self.read(cell, _group_of(groups, key))
            return
        of_cell = self._groups.get(id(cell))
        if of_cell is None:
            of_cell = self._groups[id(cell)] = Group()
            self.read(cell, of_cell)
            of_cell.is_shared = True
        before = groups.setdefault(key, of_cell)
        if before is not of_cell:
            groups[key] = before = before.own()
            before.add(of_cell)

    def settled(self, cell: Cell) -> bool:
        """Whether the day is settled for the cell's offer."""
        return self._standing(cell.offer_id).settled

    def _reports(self, offer_id: int) -> AbstractSet[str]:
        """Measures that the platform reports of the offer: what a settled day has no row of is 0."""
        reported = self._reported.get(offer_id)
        if reported is None:
            offer = self._view.offers.get(offer_id)
            of_account = self._view.measures.get(offer.account_id, frozenset()) if offer else frozenset()
            reported = self._reported[offer_id] = of_account | self._stated.get(offer_id, set())
        return reported

    def read(self, cell: Cell, group: Group) -> None:
        """Add a cell to its group."""
        if cell.tag is not None:
            settled, measured = (cell.account_id, self._day) in self._view.settled, False
        else:
            standing = self._standing(cell.offer_id)
            settled = standing.settled
            measured = cell.postback is not None or (standing.measured if cell.campaign_id else standing.everywhere)
            if cell.campaign_id or cell.site_id:
                _add_clicks(cell, group.sums)
        reported = self._reports(cell.offer_id) if settled and cell.tag is None and cell.offer_id else frozenset()
        _add_counts(cell, group.sums, settled=settled, measured=measured, reported=reported)
        self._add_money(cell, group, settled=settled, measured=measured, reported=reported)
        bit = SETTLED if settled else PROVISIONAL
        group.settlement |= bit if cell.tag is not None or cell.offer_id else bit << OFFERLESS
        group.allocated = group.allocated or cell.allocated

    def _add_money(
        self, cell: Cell, group: Group, *, settled: bool, measured: bool, reported: AbstractSet[str]
    ) -> None:
        sums = group.sums
        amounts, lacking = self._converted(cell, group) if cell.money else (_NO_AMOUNTS, _NONE_LACKING)
        if zeros := [name for name in reported if name not in lacking and getattr(amounts, name, 0) is None]:
            amounts = msgspec.structs.replace(amounts, **dict.fromkeys(zeros, 0))
        postback = amounts.postback_amount
        if postback is None and measured and "postback_amount" not in lacking:
            postback = None if cell.postback and cell.postback.deposits else 0
        deciding = "deposit_amount" if settled else "postback_amount"
        sums.deposit_amount.add(postback, amounts.deposit_amount, settled=None if deciding in lacking else settled)
        if amounts is not _NO_AMOUNTS:
            _add_amounts(amounts, sums)

    def _converted(self, cell: Cell, group: Group) -> tuple[Amounts, AbstractSet[str]]:
        """Amounts in the report's currency, each figure rounded by itself; and the names of those that lack a rate."""
        if len(cell.money) == 1:
            ((currency, amounts),) = cell.money.items()
            if self._rates[currency] == 1:
                return amounts, _NONE_LACKING
        whole = Amounts()
        lacking: set[str] = set()
        for currency, amounts in cell.money.items():
            rate = self._rates[currency]
            converted = amounts if rate is None or rate == 1 else _convert_all(amounts, rate)
            for name in AMOUNTS:
                amount = getattr(converted, name)
                if amount is None:
                    continue
                if rate is None:
                    lacking.add(name)
                    note_unconverted(group, currency, name, amount)
                else:
                    setattr(whole, name, amount + (getattr(whole, name) or 0))
        return whole, lacking


def _add_amounts(amounts: Amounts, sums: Sums) -> None:
    """Add what has no layers: NGR, commission by its parts and as a whole, spend. Written out, since cells are many."""
    if (ngr := amounts.ngr) is not None:
        sums.ngr = ngr + (sums.ngr or 0)
    if (cpa := amounts.commission_cpa) is not None:
        sums.commission_cpa = cpa + (sums.commission_cpa or 0)
        sums.commission = cpa + (sums.commission or 0)
    if (revshare := amounts.commission_revshare) is not None:
        sums.commission_revshare = revshare + (sums.commission_revshare or 0)
        sums.commission = revshare + (sums.commission or 0)
    if (other := amounts.commission_other) is not None:
        sums.commission_other = other + (sums.commission_other or 0)
        sums.commission = other + (sums.commission or 0)
    if (spend := amounts.spend) is not None:
        sums.spend = spend + (sums.spend or 0)


_NO_AMOUNTS = Amounts()
_NONE_LACKING: AbstractSet[str] = frozenset()


def _stated(cells: Sequence[Cell]) -> dict[int, set[str]]:
    """The measures that some row of each offer states."""
    stated: dict[int, set[str]] = {}
    for cell in cells:
        if cell.tag is not None or not (cell.platform or cell.money):
            continue
        names = stated.setdefault(cell.offer_id, set())
        if len(names) == len(PLATFORM_COUNTS) + len(PLATFORM_AMOUNTS):
            continue
        if cell.platform:
            names.update(compress(PLATFORM_COUNTS, map(_is_known, _counts_of(cell.platform))))
        for amounts in cell.money.values():
            names.update(compress(PLATFORM_AMOUNTS, map(_is_known, _amounts_of(amounts))))
    return stated


_counts_of: Callable[[PlatformCounts], tuple[int | None, ...]] = attrgetter(*PLATFORM_COUNTS)
_amounts_of: Callable[[Amounts], tuple[int | None, ...]] = attrgetter(*PLATFORM_AMOUNTS)
_is_known = partial(is_not, None)


def _add_clicks(cell: Cell, sums: Sums) -> None:
    """Visits and outgoing clicks are only measured where there is a site."""
    counts = cell.clicks
    sums.clicks = counts.clicks + (sums.clicks or 0)
    sums.unique_clicks = counts.unique_clicks + (sums.unique_clicks or 0)
    sums.bot_clicks = counts.bot_clicks + (sums.bot_clicks or 0)
    if cell.site_id:
        sums.site_visits = counts.site_visits + (sums.site_visits or 0)
        sums.outgoing = counts.outgoing + (sums.outgoing or 0)


def _add_counts(cell: Cell, sums: Sums, *, settled: bool, measured: bool, reported: AbstractSet[str]) -> None:
    """Add the counts that have layers, and visits. Written out, since cells are many."""
    postback = (cell.postback or _NO_CONVERSIONS) if measured else None
    platform = cell.platform or _NO_COUNTS
    if zeros := [name for name in PLATFORM_COUNTS if name in reported and getattr(platform, name) is None]:
        platform = msgspec.structs.replace(platform, **dict.fromkeys(zeros, 0))
    if postback is not None:
        sums.registrations.add(postback.registrations, platform.registrations, settled=settled)
        sums.first_deposits.add(postback.first_deposits, platform.first_deposits, settled=settled)
        sums.deposits.add(postback.deposits, platform.deposits, settled=settled)
        sums.qualified.add(postback.qualified, platform.qualified, settled=settled)
    elif platform is not _NO_COUNTS:
        sums.registrations.add(None, platform.registrations, settled=settled)
        sums.first_deposits.add(None, platform.first_deposits, settled=settled)
        sums.deposits.add(None, platform.deposits, settled=settled)
        sums.qualified.add(None, platform.qualified, settled=settled)
    if platform.visits is not None:
        sums.visits = platform.visits + (sums.visits or 0)


_NO_CONVERSIONS = PostbackCounts()
_NO_COUNTS = PlatformCounts()


def _convert_all(amounts: Amounts, rate: Decimal) -> Amounts:
    """Amounts of one currency in another. Stretches of a figure are converted so that they sum to the figure's."""
    converted = Amounts()
    parts = read_parts(amounts.parts) if amounts.parts != _NO_PARTS else Parts()
    for name in AMOUNTS:
        amount = getattr(amounts, name)
        if amount is not None:
            listed: Sequence[Part] = getattr(parts, name) or (amount,)
            setattr(converted, name, sum(_convert_part(part, rate) for part in listed))
    return converted


def _convert_part(part: Part, rate: Decimal) -> int:
    if isinstance(part, int):
        return convert(part, rate)
    start, end = part
    return convert(end, rate) - convert(start, rate)


_NO_PARTS = msgspec.Raw(b"null")
