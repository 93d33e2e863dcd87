"""What a platform owes by the month: commission, what bad months take from the next ones, what has been paid.

Deals differ in what becomes of a negative balance ("negative carryover"): `none` forgets it with the month, `account`
takes it into the next month, `brand` does so for each brand by itself, `player` only for players who are further down
than a threshold, each of whom then first earns back his own loss. Commission itself is never cut off at zero.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Rule = Literal["none", "account", "brand", "player"]
RULES: tuple[Rule, ...] = ("none", "account", "brand", "player")


class Earned(msgspec.Struct, frozen=True, kw_only=True):
    """Commission of a month by brand and player (empty where the platform does not tell), in micro-units."""

    month: str
    commission: int
    brand: str = ""
    player: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One month of an account in one currency. `payable` + `carried_out` + `waived` = `commission` + `carried_in`."""

    month: str
    commission: int
    carried_in: int  # negative balances brought from the month before
    payable: int
    carried_out: int
    waived: int  # a negative balance the deal forgets
    paid: int


def statements(earned: Iterable[Earned], paid: Mapping[str, int], *, rule: Rule, threshold: int = 0) -> list[Statement]:
    """The months in order, each with what the one before left; months of payments alone included."""
    months: dict[str, list[Earned]] = {month: [] for month in paid}
    for earning in earned:
        months.setdefault(earning.month, []).append(earning)
    carried: dict[str, int] = {}
    closed_months = []
    for month in sorted(months):
        brought = sum(carried.values())
        payable, carried, waived = _close(_by_unit(months[month], rule), carried, rule=rule, threshold=threshold)
        closed_months.append(Statement(
            month=month, commission=sum(earning.commission for earning in months[month]), carried_in=brought,
            payable=payable, carried_out=sum(carried.values()), waived=waived, paid=paid.get(month, 0),
        ))  # fmt: skip
    return closed_months


def _by_unit(earned: Iterable[Earned], rule: Rule) -> dict[str, int]:
    """Commission by what carries a loss on: the account as a whole, a brand, a player."""
    units: dict[str, int] = {}
    for earning in earned:
        unit = {"brand": earning.brand, "player": earning.player}.get(rule, "")
        units[unit] = units.get(unit, 0) + earning.commission
    return units


def _close(
    units: Mapping[str, int], carried: Mapping[str, int], *, rule: Rule, threshold: int
) -> tuple[int, dict[str, int], int]:
    """What of a month is payable, what is carried on by whom, what is forgotten."""
    balances = {unit: units.get(unit, 0) + carried.get(unit, 0) for unit in units.keys() | carried.keys()}
    if rule in {"account", "brand"}:
        on = {unit: balance for unit, balance in balances.items() if balance < 0}
        return sum(balance for balance in balances.values() if balance > 0), on, 0
    on = {unit: balance for unit, balance in balances.items() if rule == "player" and unit and balance < -threshold}
    rest = sum(balance for unit, balance in balances.items() if unit not in on)
    return max(rest, 0), on, min(rest, 0)
