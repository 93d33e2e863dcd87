"""Placements as subjects of automations: what is known of them, and their share of what a day cost. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from storage.ledger.automations.conditions import REVENUE, Condition
from storage.ledger.automations.rules import Action
from storage.ledger.errors import Refused
from storage.ledger.reports.allocate import first_positive, split

DAYS = 45
"""So far back clicks of placements are counted when the first automation asks for them."""


class PlacementClicks(msgspec.Struct, frozen=True, kw_only=True):
    """Clicks of a placement on a day; cost in micro-units of a currency."""

    day: int
    campaign: int
    source: int
    sub: str
    placement: str
    currency: str
    clicks: int
    unique_clicks: int
    bot_clicks: int
    cost: int


def check_placement_rule(action: Action, condition: Condition) -> None:
    """Raises Refused at `rule` for what is not known of a placement, or not by the hour."""
    if action.noun != "placement":
        return
    for comparison in condition.comparisons:
        if comparison.measure in REVENUE or comparison.measure in {"site_visits", "outgoing", "ctr"}:
            raise Refused(
                f"rule: {comparison.measure} is not known by placement: compare spend, registrations or FTDs, "
                "for instance with payout, what an FTD brings", field="rule",
            )  # fmt: skip
        if comparison.window.endswith("h"):
            raise Refused("rule: placements are counted by the day: write today or over 2d", field="rule")
        if comparison.window == "start" or (comparison.window.endswith("d") and int(comparison.window[:-1]) > DAYS - 1):
            raise Refused(f"rule: placements are counted for {DAYS - 1} days: write over 30d", field="rule")


def with_uploaded(
    rows: Iterable[PlacementClicks], uploaded: Mapping[tuple[int, int], Mapping[str, int]]
) -> list[PlacementClicks]:
    """The rows with what was uploaded of a campaign's day (amounts by currency, by campaign and day) in place of what
    its clicks cost."""
    costed: list[PlacementClicks] = []
    of_uploaded: dict[tuple[int, int], list[PlacementClicks]] = {}
    for row in rows:
        if (row.campaign, row.day) in uploaded:
            of_uploaded.setdefault((row.campaign, row.day), []).append(row)
        else:
            costed.append(row)
    for key, of_day in of_uploaded.items():
        for n, (currency, amount) in enumerate(uploaded[key].items()):
            parts = split(amount, first_positive([[row.clicks for row in of_day]]))
            nothing = {name: 0 for name in ("clicks", "unique_clicks", "bot_clicks") if n}  # counted with the first
            costed += [
                msgspec.structs.replace(row, cost=part, currency=currency, **nothing)
                for row, part in zip(of_day, parts, strict=True)
            ]
    return costed
