"""Which column of a report is which figure, and what figures make together."""

from collections.abc import Mapping, Sequence
from operator import sub
from typing import Any

import msgspec

from storage.ledger.dates import Order
from storage.ledger.facts import COMMISSION_PARTS, PLATFORM_AMOUNTS, PLATFORM_COUNTS, Figures, RevenueRow
from storage.ledger.revenue.packed_rows import measures_of, stated_columns

#: What a platform may give beside: the whole commission, and its part for leads.
EXTRAS = ("commission", "commission_cpl")

#: Measure -> the platform's column names for it, the preferred first; "A + B" is the sum of two.
Measures = Mapping[str, tuple[str, ...]]


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Where a report says what. Names are compared without case, blanks and punctuation."""

    measures: Measures
    day: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    tag_name: tuple[str, ...] = ()
    sub: tuple[str, ...] = ()
    part: tuple[str, ...] = ()  # all of them together keep rows apart
    currency: tuple[str, ...] = ()
    day_order: Order = ""

    def over(self, options: Mapping[str, Any]) -> "Columns":
        """With the account's own `columns` option (measure -> column name) laid over."""
        own = options.get("columns") or {}
        if not isinstance(own, Mapping):
            return self
        measures = dict(self.measures) | {name: (str(c),) for name, c in own.items() if name in self.measure_names()}
        ends = {name: (str(own[name]),) for name in ("day", "tag", "sub", "currency") if name in own}
        return msgspec.structs.replace(self, measures=measures, **ends)

    def reported(self) -> frozenset[str]:
        """The fields of Figures that these columns can give; the whole commission is given as its other part."""
        extras = {"commission": "commission_other", "commission_cpl": "commission_other"}
        return frozenset(extras.get(name, name) for name, columns in self.measures.items() if columns)

    def names(self) -> tuple[str, ...]:
        """Every column name known, as it is written."""
        ends = (*self.day, *self.tag, *self.tag_name, *self.sub, *self.part, *self.currency)
        return (*ends, *(part for group in self.measures.values() for name in group for part in name.split(" + ")))

    @staticmethod
    def measure_names() -> tuple[str, ...]:
        return (*PLATFORM_COUNTS, *PLATFORM_AMOUNTS, *EXTRAS)


class PlayerColumns(msgspec.Struct, frozen=True, kw_only=True):
    """Where a report of players says what. With `day` a line is of a player's day, else of all until now."""

    player: tuple[str, ...]
    day: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()
    ftd_day: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    sub: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    currency: tuple[str, ...] = ()
    day_order: Order = ""
    deposits: tuple[str, ...] = ()  # how many
    deposit_amount: tuple[str, ...] = ()
    ngr: tuple[str, ...] = ()
    commission: tuple[str, ...] = ()  # "A + B" is the sum of two

    def names(self) -> tuple[str, ...]:
        """Every column name known, as it is written."""
        values = [getattr(self, name) for name in PLAYER_FIELDS]
        return tuple(part for aliases in values for alias in aliases for part in alias.split(" + "))


PLAYER_FIELDS = (
    "player", "day", "registered", "ftd_day", "tag", "sub", "country", "currency",
    "deposits", "deposit_amount", "ngr", "commission",
)  # fmt: skip

#: Columns of files of players that people upload, whatever wrote them.
ANY_PLAYERS = PlayerColumns(
    player=("player", "player id", "user id", "customer reference", "customer reference id", "customer id",
            "registration id", "trader id"),
    day=("day", "date", "activity date", "dt"),
    registered=("registered", "registration date", "signup date", "sign up date", "registered at"),
    ftd_day=("ftd day", "first deposit date", "ftd date", "first deposit day"),
    tag=("tag", "campaign", "tracking code", "site id", "link id"),
    sub=("click id", "sub", "sub id", "tag clickid", "afp", "afp1", "var1", "payload", "anid"),
    country=("country", "country code"),
    currency=("currency",),
    deposits=("deposits count", "deposit count", "deposits"),
    deposit_amount=("deposit amount", "deposits sum", "total deposits", "deposit total", "deposits amount"),
    ngr=("ngr", "net revenue", "casino real ngr", "total ngr", "net pl"),
    commission=("commission", "total commission", "income", "partner income", "earnings"),
)  # fmt: skip


def figures_of(values: Mapping[str, int | None]) -> Figures:
    """Figures from measures; what the whole commission has beyond its named parts is `other`."""
    return figures_of_columns({measure: (value,) for measure, value in values.items()}, rows=1)[0]


def figures_of_columns(columns: Mapping[str, Sequence[int | None]], *, rows: int) -> list[Figures]:
    """The same of so many rows, from each measure's values in their order."""
    by_name, nothing = _with_other(columns, rows), (None,) * rows
    return list(map(Figures, *(by_name.get(name, nothing) for name in Figures.__struct_fields__)))


def figure_columns(columns: Mapping[str, Sequence[int | None]], *, rows: int) -> dict[str, Sequence[int | None]]:
    """The measures of `Figures` by column, those that no row states left out."""
    by_name = _with_other(columns, rows)
    return stated_columns({name: by_name[name] for name in Figures.__struct_fields__ if name in by_name})


def _with_other(columns: Mapping[str, Sequence[int | None]], rows: int) -> dict[str, Sequence[int | None]]:
    nothing = (None,) * rows
    total, cpa, revshare, *rest = (columns.get(name, nothing) for name in _COMMISSION)
    if any(None in column for column in (total, cpa, revshare)):
        other = list(map(_other, total, cpa, revshare, *rest))
    else:
        other = list(map(sub, map(sub, total, cpa), revshare))
    return {**columns, "commission_other": other}


_COMMISSION = ("commission", "commission_cpa", "commission_revshare", "commission_other", "commission_cpl")


def _other(total: int | None, cpa: int | None, revshare: int | None, other: int | None, cpl: int | None) -> int | None:
    return _sum(other, cpl) if total is None else total - (cpa or 0) - (revshare or 0)


def comparable(totals: Figures, rows: Sequence[RevenueRow]) -> Figures:
    """Totals without the parts of the commission, where rows split it otherwise than the totals do."""
    given = {part for part in COMMISSION_PARTS if getattr(totals, part) is not None}
    if measures_of(rows) & set(COMMISSION_PARTS) == given:
        return totals
    return msgspec.structs.replace(totals, commission_cpa=None, commission_revshare=None, commission_other=None)


def added(first: Figures, other: Figures) -> Figures:
    """Two rows' figures as one; None only where neither says anything."""
    names = Figures.__struct_fields__
    return Figures(**{name: _sum(getattr(first, name), getattr(other, name)) for name in names})


def _sum(first: int | None, other: int | None) -> int | None:
    if first is None or other is None:
        return other if first is None else first
    return first + other
