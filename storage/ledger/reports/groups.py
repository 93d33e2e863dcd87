"""Sums of groups of cells, and the report rows they make."""

from collections.abc import Mapping, Sequence

import msgspec

from storage.ledger.facts import Settlement
from storage.ledger.reports.report_rows import Layers, ReportRow

# Positions in a group's sums.
CLICKS = 0  # clicks, unique, bots, site visits, outgoing
SITE_VISITS = 3
LAYERS = 5  # postback, platform, merged of registrations, first deposits, deposits, qualified, deposit amount
AMOUNT = 17
NGR, COMMISSION, CPA, REVSHARE, OTHER, SPEND, VISITS = 20, 21, 22, 23, 24, 25, 26
_WIDTH = 27
SETTLED, PROVISIONAL = 1, 2
OFFERLESS = 2  # bits further up: cells without an offer decide only where there are no others

#: Which figure `unconverted` tells of, the weightiest first.
_WEIGHTIEST = ("commission", "spend", "ngr", "deposit_amount")


class Group:
    """Sums of one group; None is what nothing is known of."""

    __slots__ = ("allocated", "settlement", "sums", "tag", "tag_name", "unconverted")

    def __init__(self) -> None:
        self.sums: list[int | None] = [None] * _WIDTH
        self.settlement = 0
        self.allocated = False
        self.tag = ""
        self.tag_name = ""
        self.unconverted: dict[str, dict[str, int]] = {}

    def add(self, other: "Group") -> None:
        sums = self.sums
        for i, more in enumerate(other.sums):
            if more is not None:
                held = sums[i]
                sums[i] = more if held is None else held + more
        self.settlement |= other.settlement
        self.allocated = self.allocated or other.allocated
        for currency, figures in other.unconverted.items():
            held_figures = self.unconverted.setdefault(currency, {})
            for name, amount in figures.items():
                held_figures[name] = held_figures.get(name, 0) + amount


def note_unconverted(group: Group, currency: str, name: str, amount: int) -> None:
    """An amount without a rate; commission is noted by its part and as a whole."""
    figures = group.unconverted.setdefault(currency, {})
    names = (name, "commission") if name.startswith("commission_") else (name,)
    for one in names:
        figures[one] = figures.get(one, 0) + amount


def add_layers(sums: list[int | None], at: int, said: int | None, stated: int | None, *, settled: bool | None) -> None:
    """Add a measure: `said` by postbacks, `stated` by the platform; what is merged follows from the settlement.

    `settled` None: the deciding figure has no rate, so nothing is merged.
    """
    first, second = (stated, said) if settled else (said, stated)
    merged = None if settled is None else first if first is not None else second
    if said is not None:
        sums[at] = said + (sums[at] or 0)
    if stated is not None:
        sums[at + 1] = stated + (sums[at + 1] or 0)
    if merged is not None:
        sums[at + 2] = merged + (sums[at + 2] or 0)


def known_sum(amounts: Sequence[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def row_of(group: dict[str, str | None], of: Group) -> ReportRow:
    s = of.sums
    layers = [Layers(*s[at : at + 3]) for at in range(LAYERS, NGR, 3)]
    row = ReportRow(
        group=group,
        clicks=s[0], unique_clicks=s[1], bot_clicks=s[2], site_visits=s[3], outgoing=s[4],
        registrations=layers[0], first_deposits=layers[1], deposits=layers[2], qualified=layers[3],
        deposit_amount=layers[4],
        ngr=s[NGR], commission=s[COMMISSION], commission_cpa=s[CPA], commission_revshare=s[REVSHARE],
        commission_other=s[OTHER], spend=s[SPEND], profit=_less(s[COMMISSION], s[SPEND]), visits=s[VISITS],
        settlement=_settlement(of.settlement), allocated=of.allocated,
    )  # fmt: skip
    if of.tag_name:
        row = msgspec.structs.replace(row, tag_name=of.tag_name)
    if of.unconverted:
        figures = {currency: dict(sorted(named.items())) for currency, named in sorted(of.unconverted.items())}
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
