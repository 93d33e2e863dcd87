"""Sums of groups of cells, and the report rows they make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from storage.ledger.facts import Settlement
from storage.ledger.reports.report_rows import LAYERED, Layers, ReportRow

SETTLED, PROVISIONAL = 1, 2
OFFERLESS = 2  # bits further up: cells without an offer decide only where there are no others

#: Which figure `unconverted` names, the weightiest first.
_WEIGHTIEST = ("commission", "spend", "ngr", "deposit_amount")

PLAIN = (
    "clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "ngr", "commission", "commission_cpa",
    "commission_revshare", "commission_other", "spend", "visits",
)  # fmt: skip


class LayerSums(msgspec.Struct, array_like=True, gc=False):
    """One measure of a group, by layer; None is what nothing is known of."""

    postback: int | None = None
    platform: int | None = None
    merged: int | None = None

    def add(self, postback: int | None, platform: int | None, *, settled: bool | None) -> None:
        """Add both layers of a cell; what is merged follows from the settlement.

        `settled` None: the deciding figure has no rate, so nothing is merged.
        """
        if postback is not None:
            self.postback = postback + (self.postback or 0)
        if platform is not None:
            self.platform = platform + (self.platform or 0)
        if settled is None:
            return
        merged = platform if postback is None or (settled and platform is not None) else postback
        if merged is not None:
            self.merged = merged + (self.merged or 0)

    def add_known(self, postback: int | None, platform: int | None, merged: int | None) -> None:
        if postback is not None:
            self.postback = postback + (self.postback or 0)
        if platform is not None:
            self.platform = platform + (self.platform or 0)
        if merged is not None:
            self.merged = merged + (self.merged or 0)

    def layers(self) -> Layers:
        return Layers(self.postback, self.platform, self.merged)


class Sums(msgspec.Struct, array_like=True, gc=False):
    """The measures of a group; None is what nothing is known of."""

    clicks: int | None = None
    unique_clicks: int | None = None
    bot_clicks: int | None = None
    site_visits: int | None = None
    outgoing: int | None = None
    registrations: LayerSums = msgspec.field(default_factory=LayerSums)
    first_deposits: LayerSums = msgspec.field(default_factory=LayerSums)
    deposits: LayerSums = msgspec.field(default_factory=LayerSums)
    qualified: LayerSums = msgspec.field(default_factory=LayerSums)
    deposit_amount: LayerSums = msgspec.field(default_factory=LayerSums)
    ngr: int | None = None
    commission: int | None = None
    commission_cpa: int | None = None
    commission_revshare: int | None = None
    commission_other: int | None = None
    spend: int | None = None
    visits: int | None = None

    def add(self, other: "Sums") -> None:
        for name, more in zip(PLAIN, _plain_of(other), strict=True):
            if more is not None:
                setattr(self, name, more + (getattr(self, name) or 0))
        for layers, others in zip(_layers_of(self), _layers_of(other), strict=True):
            layers.add_known(others.postback, others.platform, others.merged)


_plain_of: Callable[[Sums], tuple[int | None, ...]] = attrgetter(*PLAIN)
_layers_of: Callable[[Sums], tuple[LayerSums, ...]] = attrgetter(*LAYERED)


class Group:
    """Sums of one group, and how its figures came about."""

    __slots__ = ("allocated", "is_shared", "settlement", "sums", "tag", "tag_name", "unconverted")

    def __init__(self) -> None:
        self.sums = Sums()
        self.settlement = 0
        self.allocated = False
        self.tag = ""
        self.tag_name = ""
        self.unconverted: dict[str, dict[str, int]] = {}
        self.is_shared = False  # by several reports: whoever adds to it takes `own()`

    def own(self) -> "Group":
        """The group itself, or a copy of one that is shared."""
        if not self.is_shared:
            return self
        copied = Group()
        copied.add(self)
        copied.tag, copied.tag_name = self.tag, self.tag_name
        return copied

    def add(self, other: "Group") -> None:
        self.sums.add(other.sums)
        self.add_marks(other)

    def add_marks(self, other: "Group") -> None:
        """Add what is beside the sums."""
        self.settlement |= other.settlement
        self.allocated = self.allocated or other.allocated
        for currency, figures in other.unconverted.items():
            amounts = self.unconverted.setdefault(currency, {})
            for name, amount in figures.items():
                amounts[name] = amounts.get(name, 0) + amount


def sum_of_groups(groups: Sequence[Group]) -> Group:
    """What adding them one to another gives, a measure at a time."""
    total, sums = Group(), [group.sums for group in groups]
    for name, column in zip(PLAIN, zip(*map(_plain_of, sums), strict=True), strict=bool(sums)):
        setattr(total.sums, name, _sum_of_known(column))
    for layers, of_measure in zip(_layers_of(total.sums), zip(*map(_layers_of, sums), strict=True), strict=bool(sums)):
        columns = zip(*map(_numbers_of, of_measure), strict=True)
        layers.postback, layers.platform, layers.merged = map(_sum_of_known, columns)
    for group in groups:
        total.add_marks(group)
    return total


_numbers_of: Callable[[LayerSums], tuple[int | None, ...]] = attrgetter(*LayerSums.__struct_fields__)


def _sum_of_known(numbers: Iterable[int | None]) -> int | None:
    present = [number for number in numbers if number is not None]
    return sum(present) if present else None


def note_unconverted(group: Group, currency: str, name: str, amount: int) -> None:
    """An amount without a rate; commission is noted by its part and as a whole."""
    figures = group.unconverted.setdefault(currency, {})
    names = (name, "commission") if name.startswith("commission_") else (name,)
    for noted in names:
        figures[noted] = figures.get(noted, 0) + amount


def row_of(names: dict[str, str | None], group: Group) -> ReportRow:
    s = group.sums
    row = ReportRow(
        group=names,
        clicks=s.clicks, unique_clicks=s.unique_clicks, bot_clicks=s.bot_clicks, site_visits=s.site_visits,
        outgoing=s.outgoing,
        registrations=s.registrations.layers(), first_deposits=s.first_deposits.layers(),
        deposits=s.deposits.layers(), qualified=s.qualified.layers(), deposit_amount=s.deposit_amount.layers(),
        ngr=s.ngr, commission=s.commission, commission_cpa=s.commission_cpa,
        commission_revshare=s.commission_revshare, commission_other=s.commission_other, spend=s.spend,
        profit=_less(s.commission, s.spend), visits=s.visits, settlement=_settlement(group.settlement),
        allocated=group.allocated,
    )  # fmt: skip
    if group.tag_name:
        row = msgspec.structs.replace(row, tag_name=group.tag_name)
    if group.unconverted:
        figures = {currency: dict(sorted(named.items())) for currency, named in sorted(group.unconverted.items())}
        weightiest = {currency: _weightiest(named) for currency, named in figures.items()}
        row = msgspec.structs.replace(row, unconverted=weightiest, unconverted_figures=figures)
    return row


def _less(commission: int | None, spend: int | None) -> int | None:
    return None if commission is None and spend is None else (commission or 0) - (spend or 0)


def _weightiest(figures: Mapping[str, int]) -> int:
    return next((figures[name] for name in _WEIGHTIEST if name in figures), next(iter(figures.values())))


def _settlement(bits: int) -> Settlement:
    of_offers = bits & (SETTLED | PROVISIONAL) or bits >> OFFERLESS
    if of_offers == SETTLED:
        return "settled"
    return "partial" if of_offers == SETTLED | PROVISIONAL else "provisional"
