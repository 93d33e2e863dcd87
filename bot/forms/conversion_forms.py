"""What commands on conversions take and give, and how the answers read."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.core.arguments import Arguments, choices, refers
from bot.core.context import Context
from bot.core.limits import MAX_ROWS, limited
from bot.core.listing import Listing, Page
from bot.core.message import Fields, Message, Notice, Table
from bot.forms.imports import Sent
from storage.ledger.facts import Event, Status

EVENTS = tuple(event.value for event in Event)


class NewConversion(Arguments, kw_only=True):
    click_id: Annotated[str | None, refers("click", "our click id, as the platform knows it", changes=False)] = None
    campaign: Annotated[str | None, refers("campaign", "if the click is not known")] = None
    day: Annotated[date | None, Meta(description="report day it happened; today if absent")] = None
    event: Annotated[str, choices("what happened", *EVENTS)]
    amount: Annotated[Decimal | None, Meta(description="in whole units: 50 or 49.90")] = None
    currency: Annotated[str | None, Meta(description="of the amount; default: the account's")] = None
    txn_id: Annotated[str | None, Meta(description="the platform's transaction id")] = None
    status: Annotated[str, choices("how sure it is", *(s.value for s in Status))] = "approved"
    player_id: Annotated[str | None, Meta(description="the platform's id of the player")] = None
    account: Annotated[
        str | None, refers("account", "where it happened, if the click does not tell", changes=False)
    ] = None
    offer: Annotated[str | None, refers("offer", "which deal, if the campaign has several", changes=False)] = None


class ConversionEdit(Arguments, kw_only=True):
    conversion: Annotated[int, refers("conversion", "its number, as 'conversion list' shows it")]
    status: Annotated[str | None, choices("what it is now", *(s.value for s in Status))] = None
    amount: Annotated[Decimal | None, Meta(description="in whole units: 50 or 49.90")] = None
    currency: str | None = None


class ConversionList(Listing, kw_only=True):
    campaign: Annotated[str | None, refers("campaign", "only this campaign's")] = None
    event: Annotated[str | None, choices("only these", *EVENTS)] = None
    day: Annotated[date | None, Meta(description="only of this report day")] = None
    latest: Annotated[bool, Meta(description="the latest first")] = False


class Import(Arguments, kw_only=True):
    rows: Annotated[
        list[dict[str, Any]],
        limited("conversions, each with the fields of conversion add", items=MAX_ROWS, depth=3),
    ] = []
    csv: Annotated[str | None, Meta(description="or a table with a header line")] = None
    file: Sent = None


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """How many were added, and which lines were known already."""

    added: int
    known: list[str]


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as it stands. Amounts are micro-units."""

    id: int
    event: str
    status: str
    is_ftd: bool
    amount: int | None
    currency: str | None
    day: date
    occurred_at: datetime
    received_at: datetime
    campaign: str | None
    offer: str | None
    account: str | None
    click_id: str | None
    player_id: str | None
    txn_id: str | None
    marks: list[str]
    origin: str
    outcome: str | None = None


def conversion_card(_ctx: Context, conversion: Conversion) -> Message:
    worth = f"{conversion.amount / 1_000_000:,.2f} {conversion.currency}" if conversion.amount is not None else "–"
    first = " · first deposit" if conversion.is_ftd and conversion.event != "first_deposit" else ""
    fields = (
        ("Event", conversion.event + first), ("Status", conversion.status), ("Amount", worth),
        ("Day", conversion.day.isoformat()), ("Campaign", conversion.campaign or "–"),
        ("Offer", conversion.offer or "–"),
        ("Transaction", conversion.txn_id or "–"), ("Marks", ", ".join(conversion.marks) or "–"),
    )  # fmt: skip
    return Message(f"Conversion {conversion.id}", (Fields(fields),))


def conversion_table(_ctx: Context, page: Page[Conversion]) -> Message:
    if not page.items:
        return Message("No conversions here", private=True)
    rows = tuple(
        (str(c.id), c.day.isoformat(), c.event, c.status, c.campaign or "–", ", ".join(c.marks)) for c in page.items
    )
    return Message("Conversions", (Table(("Id", "Day", "Event", "Status", "Campaign", "Marks"), rows),), private=True)


def imported_card(_ctx: Context, done: Imported) -> Message:
    notes = (Notice("info", f"known already: {'; '.join(done.known[:10])}"),) if done.known else ()
    return Message(f"{done.added:,} conversions recorded", notes)
