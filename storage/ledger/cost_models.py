"""What a campaign's traffic costs: the models there are, and what each needs."""

import msgspec

LINK, FIXED, CPM, UNIQUE, CPA, REVSHARE, PER_DAY, DAILY, NONE = (
    "link", "fixed", "cpm", "unique", "cpa", "revshare", "per_day", "daily", "none",
)  # fmt: skip
MODELS = (LINK, FIXED, CPM, UNIQUE, CPA, REVSHARE, PER_DAY, DAILY, NONE)
PRICED = frozenset({FIXED, CPM, UNIQUE, CPA, REVSHARE, PER_DAY})
#: Each click has its cost from the start: these can have a budget.
PER_CLICK = frozenset({LINK, FIXED, CPM, UNIQUE})
#: Spend is worked out when a day is merged.
MERGED = frozenset({CPA, REVSHARE, PER_DAY})
BY_COUNTRY = frozenset({FIXED, CPM, UNIQUE})
EVENTS = ("registration", "first_deposit", "qualified")
WORDS = {
    "link": LINK, "parameter": LINK, "param": LINK, "auto": LINK, "macro": LINK, "per_click": FIXED, "fixed": FIXED,
    "cpc": FIXED, "click": FIXED, "cpm": CPM, "mille": CPM, "unique": UNIQUE, "per_unique": UNIQUE, "cpu": UNIQUE,
    "cpa": CPA, "per_action": CPA, "revshare": REVSHARE, "rev_share": REVSHARE, "share": REVSHARE, "per_day": PER_DAY,
    "day_rate": PER_DAY, "daily": DAILY, "day": DAILY, "upload": DAILY, "uploaded": DAILY, "none": NONE,
}  # fmt: skip
WHOLE_SHARE = 100 * 1_000_000
"""A rev share of 100 per cent, as it is stored: per cent in millionths."""


class CostRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign's traffic costs on a day by a model of MERGED. `cost` in micro-units (a rev share: per cent in
    millionths)."""

    model: str
    cost: int
    currency: str
    event: str = "first_deposit"


def price_of_click(model: str, cost: int | None) -> int | None:
    """Micro-units of one click: of a CPM a thousandth."""
    return cost // 1000 if model == CPM and cost is not None else cost


def share_of(amount: int, share: int) -> int:
    """A share (per cent in millionths) of an amount, rounded half to even; of a negative amount it is negative."""
    whole, rest = divmod(amount * share, WHOLE_SHARE)
    return whole + (2 * rest > WHOLE_SHARE or (2 * rest == WHOLE_SHARE and whole % 2 == 1))
