"""Cells: what both layers say of a day of one campaign, site, offer and source; nothing decided, nothing converted."""

from datetime import date
from typing import Any

import msgspec

from storage.ledger.facts import Figures

#: Positions in `Cell.clicks`.
CLICKS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing")
#: Positions in `Cell.postback`, and after `visits` in `Cell.platform`.
COUNTS = ("registrations", "first_deposits", "deposits", "qualified")
#: Positions in `Cell.money`, per currency.
MONEY = (
    "postback_amount",
    "deposit_amount",
    "ngr",
    "commission_cpa",
    "commission_revshare",
    "commission_other",
    "spend",
)
SPEND = 6

Place = tuple[int, int, int, int, str, str, tuple[str | None, ...], date | None]
"""Campaign, site, offer, source, country, device, subs, visit day: where a figure belongs."""


class Cell(msgspec.Struct, array_like=True, gc=False):
    """Figures of one place on one day. None is what nobody has given.

    `account_id` and `tag` are those of revenue that no offer claims, else 0 and None. `visit_day` is the day the cell
    is counted on when that is not the day it happened. `platform` starts with the platform's own visits. A `waiting`
    cell holds nothing: its campaign had the offer that day, and revenue of it may still come.
    """

    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    account_id: int = 0
    tag: str | None = None
    tag_name: str = ""
    allocated: bool = False
    clicks: list[int] = []
    postback: list[int] | None = None
    platform: list[int | None] | None = None
    money: dict[str, list[int | None]] = {}
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()
    visit_day: date | None = None
    waiting: bool = False


class Cells:
    """The cells of a day as they come together."""

    def __init__(self) -> None:
        self._placed: dict[Place, Cell] = {}
        self._unassigned: dict[tuple[int, str, date | None], Cell] = {}

    def at(self, place: Place) -> Cell:
        """The cell of a place, made if there is none yet."""
        cell = self._placed.get(place)
        if cell is None:
            campaign, site, offer, source, country, device, subs, visit_day = place
            cell = Cell(
                campaign, site, offer, source, country=country, device=device, subs=subs, visit_day=visit_day,
                clicks=[0, 0, 0, 0, 0],
            )  # fmt: skip
            self._placed[place] = cell
        return cell

    def unassigned(self, account_id: int, tag: str, visit_day: date | None = None) -> Cell:
        """The cell of an account's segment that no offer claims."""
        key = account_id, tag.lower(), visit_day
        if key not in self._unassigned:
            self._unassigned[key] = Cell(0, 0, 0, 0, account_id=account_id, tag=tag, visit_day=visit_day)
        return self._unassigned[key]

    def placed(self) -> list[tuple[Place, Cell]]:
        return list(self._placed.items())

    def all(self) -> list[Cell]:
        return [*self._placed.values(), *self._unassigned.values()]


def add_money(cell: Cell, currency: str, position: int, amount: int | None) -> None:
    """Add to one of a cell's amounts; None adds nothing."""
    if amount is None:
        return
    held = cell.money.get(currency)
    if held is None:
        held = cell.money[currency] = [None] * len(MONEY)
    held[position] = amount + (held[position] or 0)


def add_figures(cell: Cell, currency: str, counts: Any, amounts: Any) -> None:
    """Add a platform's figures, or a part of them: `counts` and `amounts` in the order of `figures_of`."""
    if any(count is not None for count in counts):
        held = cell.platform
        if held is None:
            cell.platform = list(counts)
        else:
            for i, count in enumerate(counts):
                if count is not None:
                    held[i] = count + (held[i] or 0)
    if any(amount is not None for amount in amounts):
        money = cell.money.get(currency)
        if money is None:
            cell.money[currency] = [None, *amounts, None]
        else:
            for i, amount in enumerate(amounts, start=1):
                if amount is not None:
                    money[i] = amount + (money[i] or 0)


def figures_of(figures: Figures) -> tuple[list[int | None], list[int | None]]:
    """A platform's counts and amounts in the order cells hold them."""
    f = figures
    return (
        [f.visits, f.registrations, f.first_deposits, f.deposits, f.qualified],
        [f.deposit_amount, f.ngr, f.commission_cpa, f.commission_revshare, f.commission_other],
    )
