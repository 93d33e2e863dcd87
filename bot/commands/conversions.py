"""Conversions by hand: add one, correct one, import many, list them."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.commands.campaigns import own_campaign
from bot.commands.postbacks import processor
from bot.core import permissions
from bot.core.arguments import Arguments, choices, currency_code, refers, to_micros
from bot.core.command import COMMANDS, command, line_of
from bot.core.context import Context
from bot.core.limits import MAX_ROWS, limited
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope, own_campaigns
from bot.forms.imports import ImportedRow, Sent, rows_of, where
from bot.render.figures import amount, event_name, plural
from storage.catalogue import teams
from storage.catalogue.entities import codes, page
from storage.clicks import queries
from storage.ledger.errors import CasinoFluxError, Missing, Refused
from storage.ledger.facts import ClickLink, Event, Outcome, Role, Status
from storage.outbound.forwarding import forward_recorded
from storage.postbacks import manual_conversions
from storage.postbacks.conversions import ConversionProcessor
from storage.postbacks.manual_conversions import ManualConversion, OfCampaign, Transaction
from storage.postbacks.matching import outgoing_offers
from storage.postbacks.postback_accounts import PostbackAccount
from storage.tables import campaign_offers, campaigns, conversions, offers

_BATCH = 100  # rows of an import placed or recorded before other work has its turn
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
    latest: Annotated[bool, Meta(description="no: the oldest first")] = True


class Import(Arguments, kw_only=True):
    rows: Annotated[
        list[dict[str, Any]],
        limited("conversions, each with the fields of conversion add", items=MAX_ROWS, depth=3),
    ] = []
    csv: Annotated[str | None, Meta(description="or a table with a header line")] = None
    file: Sent = None
    again: Annotated[
        bool, Meta(description="import the same table again: its rows without click and txn_id count twice")
    ] = False


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


class _Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion and where it belongs: to a click at an account, or to a campaign; and the row of the import."""

    of_click: tuple[PostbackAccount, str, ManualConversion] | None = None
    of_campaign: OfCampaign | None = None
    place: str = ""


def conversion_card(ctx: Context, conversion: Conversion) -> Message:
    first = " · FTD" if conversion.is_ftd and conversion.event != "first_deposit" else ""
    fields = (
        ("Event", event_name(conversion.event) + first), ("Status", conversion.status),
        ("Amount", amount(conversion.amount, conversion.currency)),
        ("Day", conversion.day.isoformat()), ("Campaign", ctx.name("campaign", conversion.campaign)),
        ("Offer", ctx.name("offer", conversion.offer)), ("Transaction", conversion.txn_id or "–"),
        ("Marks", ", ".join(conversion.marks) or "–"),
    )  # fmt: skip
    return Message(f"Conversion {conversion.id}", (Fields(fields),))


def conversion_table(ctx: Context, page: Page[Conversion]) -> Message:
    if not page.items:
        return Message("No conversions here", private=True)
    rows = tuple(
        (str(c.id), c.day.isoformat(), event_name(c.event), c.status, ctx.name("campaign", c.campaign),
         ctx.name("offer", c.offer), ", ".join(c.marks))
        for c in page.items
    )  # fmt: skip
    columns = ("Id", "Day", "Event", "Status", "Campaign", "Offer", "Marks")
    blocks: list[Block] = [Table(columns, rows, phone=(0, 1, 2, 3, 4))]
    if page.next:
        blocks.append(Buttons((Button("Older", f"{ctx.notes['line']} after={page.next}"),)))
    return Message("Conversions, the latest first", tuple(blocks), private=True)


def imported_card(_ctx: Context, done: Imported) -> Message:
    notes = (Notice("info", f"known already: {'; '.join(done.known[:10])}"),) if done.known else ()
    return Message(f"{plural(done.added, 'conversion')} recorded", notes)


_IMPORTED = ("click_id", "campaign", "day", "event", "amount", "currency", "txn_id", "status", "player_id", "account",
             "offer")  # fmt: skip


@command("conversion add", role=Role.BUYER, scope=Scope.OWN, render=conversion_card)
async def add_conversion(ctx: Context, new: NewConversion) -> Conversion:
    """Record a conversion that no postback reported; it is marked as made by hand."""
    placing = await processor(ctx)
    placed = await _Placer(ctx, placing).place(new)
    ((number, outcome),) = await _record(ctx.tx, ctx, placing, [placed])
    if outcome not in {Outcome.ACCEPTED, Outcome.UPDATED}:
        if placed.of_campaign is not None:
            raise Refused(f"txn_id: {new.txn_id} is recorded already", field="txn_id")
        raise Refused("click_id: this conversion is recorded already", field="txn_id" if new.txn_id else "click_id")
    return await _noted(ctx, placing, number, outcome=outcome.value)


@command("conversion edit", role=Role.BUYER, render=conversion_card, positional=("conversion",))
async def edit_conversion(ctx: Context, new: ConversionEdit) -> Conversion:
    """Correct a conversion's status or amount; what the platform sends later does not undo it."""
    if new.status is None and new.amount is None:
        raise Refused("status: nothing to change: give status= or amount=", field="status")
    placing = await processor(ctx)
    row = await manual_conversions.find(ctx.tx, ctx.team_id, new.conversion)
    before = await _shown(ctx, placing, row)
    await manual_conversions.correct(
        ctx.tx, placing, row, status=_status(new.status) if new.status else None,
        amount=None if new.amount is None else to_micros(new.amount),
        currency=currency_code(new.currency, row.currency or "") or None,
    )  # fmt: skip
    return await _noted(ctx, placing, row.id, before=before)


class _ReadImport(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of an import that are still to be recorded.

    `begun` rows were recorded when the same file was imported before and broken off; the fact `progress` says so. The
    fact `done` is kept of one that was imported whole, if nothing tells its rows from those of a second import.
    """

    placing: ConversionProcessor
    placed: list[_Placed]
    progress: str
    done: str
    begun: int

    @property
    def would_count_twice(self) -> bool:
        """Whether a row has neither a click nor a transaction, by which it would be known already."""
        return any(each.of_campaign is not None and not each.of_campaign.conversion.txn_id for each in self.placed)


async def _read_import(ctx: Context, new: Import) -> _ReadImport:
    """Read, place and check all rows before any is recorded, with turns for other work."""
    rows = await asyncio.to_thread(rows_of, new, _IMPORTED, amounts=("amount",), days=("day",))
    digest = await asyncio.to_thread(_digest, new)
    progress, done = f"import:{ctx.team_id}:{digest}", f"imported:{ctx.team_id}:{digest}"
    placed: list[_Placed] = []
    transactions: set[Transaction] = set()
    async with ctx.reading():
        begun, before = int(await teams.fact(ctx.tx, progress) or 0), await teams.fact(ctx.tx, done)
        placing = await processor(ctx)
        placer = _Placer(ctx, placing)
        for start in range(begun, len(rows), _BATCH):
            batch = await _place_rows(ctx, placer, rows[start : start + _BATCH], where(new))
            await _refuse_recorded(ctx, batch, transactions, where(new))
            placed += batch
            await asyncio.sleep(0)
    read = _ReadImport(placing=placing, placed=placed, progress=progress, done=done, begun=begun)
    if before and not new.again and not begun and read.would_count_twice:
        raise Refused(
            f"{where(new)}: this table was imported on {before} already, and its rows without click_id and txn_id "
            "would count twice: leave those out, or say again=yes",
            field=where(new),
        )
    return read


def _digest(new: Import) -> str:
    return sha256(msgspec.json.encode(msgspec.structs.replace(new, again=False))).hexdigest()


async def _place_rows(ctx: Context, placer: "_Placer", rows: Sequence[ImportedRow], field: str) -> list[_Placed]:
    await placer.look_up([row.text("click_id") for row in rows])
    placed = []
    for row in rows:
        try:
            conversion = await placer.place(_imported(ctx, row))
        except (CasinoFluxError, ValueError) as error:
            raise Refused(f"{row.place}: {error}", field=field) from None
        placed.append(msgspec.structs.replace(conversion, place=row.place))
    return placed


async def _refuse_recorded(ctx: Context, batch: Sequence[_Placed], earlier: set[Transaction], field: str) -> None:
    """Raises Refused for a transaction of a campaign that is recorded, or that an earlier row has."""
    rows = [(each.place, each.of_campaign) for each in batch if each.of_campaign is not None]
    known = await manual_conversions.recorded(
        ctx.tx, ctx.team_id, [campaign_conversion for _, campaign_conversion in rows], earlier
    )
    for (place, of_campaign), is_known in zip(rows, known, strict=True):
        if is_known:
            raise Refused(f"{place}: txn_id: {of_campaign.conversion.txn_id} is recorded already", field=field)


async def _record_import(ctx: Context, new: Import) -> Imported:
    """Record the rows in short transactions. An import that was broken off goes on where it stopped."""
    read, outcomes = await _read_import(ctx, new), list[Outcome]()
    await ctx.database.run_batches(
        partial(_record_batch, ctx=ctx, read=read, start=start, outcomes=outcomes)
        for start in range(0, len(read.placed), _BATCH)
    )
    async with ctx.database.begin() as tx:
        await teams.drop_fact(tx, read.progress)
        if read.would_count_twice:
            await teams.store_fact(tx, read.done, ctx.today.isoformat())
    repeated = [
        f"{conversion.place} ({outcome.value})"
        for conversion, outcome in zip(read.placed, outcomes, strict=True)
        if outcome is not Outcome.ACCEPTED
    ]
    return Imported(added=len(outcomes) - len(repeated), known=repeated)


async def _record_batch(
    tx: AsyncConnection, *, ctx: Context, read: _ReadImport, start: int, outcomes: list[Outcome]
) -> bool:
    """Record a batch and add the outcome of each of its rows; True, for no batch ends an import."""
    batch = read.placed[start : start + _BATCH]
    outcomes += [outcome for _, outcome in await _record(tx, ctx, read.placing, batch)]
    await teams.store_fact(tx, read.progress, str(read.begun + start + len(batch)))
    return True


@command("conversion import", role=Role.BUYER, scope=Scope.OWN, render=imported_card, prepare=_record_import)
async def import_conversions(ctx: Context, _new: Import) -> Imported:
    """Record many conversions at once, all or none; those known already are named and left alone."""
    done: Imported = ctx.prepared
    return done


@command("conversion list", role=Role.VIEWER, scope=Scope.OWN, render=conversion_table, reads=True)
async def list_conversions(ctx: Context, new: ConversionList) -> Page[Conversion]:
    """Conversions as they stand, the latest first, those made by hand marked."""
    query = select(conversions).where(conversions.c.team_id == ctx.team_id)
    if new.campaign:
        query = query.where(conversions.c.campaign_id == (await own_campaign(ctx, new.campaign)).id)
    elif (mine := own_campaigns(ctx.actor)) is not None:
        query = query.where(conversions.c.campaign_id.in_(mine))
    if new.event:
        query = query.where(conversions.c.event == new.event)
    if new.day:
        query = query.where(conversions.c.day == new.day)
    arguments = {name: value for name in ("campaign", "event", "day") if (value := getattr(new, name))}
    ctx.notes["line"] = line_of(COMMANDS["conversion list"], arguments | ({} if new.latest else {"latest": "no"}))
    rows, following = await page(ctx.tx, query, conversions.c.id, limit=new.limit, after=new.after, latest=new.latest)
    placing = await processor(ctx)
    return Page([await _shown(ctx, placing, row) for row in rows], following)


async def _record(
    tx: AsyncConnection, ctx: Context, placing: ConversionProcessor, placed: Sequence[_Placed]
) -> list[tuple[int, Outcome]]:
    """Record conversions; the id and the outcome of each, that of a campaign whose transaction is recorded 0."""
    clicked = [each.of_click for each in placed if each.of_click is not None]
    received = iter(await manual_conversions.add_to_clicks(tx, placing, clicked))
    of_campaigns = [each.of_campaign for each in placed if each.of_campaign is not None]
    known = await manual_conversions.recorded(tx, ctx.team_id, of_campaigns)
    new = [each for each, is_known in zip(of_campaigns, known, strict=True) if not is_known]
    made = await manual_conversions.add_to_campaigns(tx, ctx.team_id, ctx.now, placing.zone, new)
    await forward_recorded(tx, ctx.team_id, made, ctx.now)
    numbers = iter(made)
    is_known = iter(known)
    outcomes = []
    for each in placed:
        if each.of_click is not None:
            done = next(received)
            outcomes.append((done.conversion_id or 0, done.outcome))
        elif next(is_known):
            outcomes.append((0, Outcome.DUPLICATE))
        else:
            outcomes.append((next(numbers), Outcome.ACCEPTED))
    return outcomes


class _Placer:
    """Where conversions of one command belong; whatever several of them name is looked up once."""

    def __init__(self, ctx: Context, placing: ConversionProcessor) -> None:
        self._ctx = ctx
        self._placing = placing
        self._links: dict[int, ClickLink | None] = {}
        self._went_on: dict[int, list[int]] = {}
        self._campaigns: dict[str, Row[Any]] = {}
        self._accounts: dict[str, Row[Any]] = {}
        self._offers: dict[tuple[int, str | None, str | None], Row[Any] | None] = {}

    async def look_up(self, words: Sequence[str]) -> None:
        """Learn of many clicks at once."""
        ids = {number for word in words if word and (number := self._placing.codec.decode(word)) is not None}
        if fresh := ids - self._links.keys():
            links = await queries.links(self._ctx.tx, fresh)
            went_on = await outgoing_offers(self._ctx.tx, fresh)
            for number in fresh:
                self._links[number], self._went_on[number] = links.get(number), went_on.get(number, [])

    async def place(self, new: NewConversion) -> _Placed:
        """Raises Refused, Missing or Forbidden at the field at fault."""
        if new.event not in EVENTS:
            raise Refused(f"event: one of {', '.join(EVENTS)}", field="event")
        conversion = ManualConversion(
            event=Event(new.event), occurred_at=_moment(self._ctx, new.day), status=_status(new.status),
            amount=None if new.amount is None else to_micros(new.amount), txn_id=new.txn_id, player_id=new.player_id,
            currency=new.currency,
        )  # fmt: skip
        if new.click_id is not None:
            return await self._of_click(new, conversion)
        if new.campaign is None:
            raise Refused("click_id: give the click id, or campaign and day", field="click_id")
        if conversion.event is Event.REVERSAL:
            raise Refused("click_id: a reversal needs the click and the transaction it is about", field="click_id")
        return await self._of_campaign(new, conversion, await self._campaign(new.campaign))

    async def _of_campaign(self, new: NewConversion, conversion: ManualConversion, campaign: Row[Any]) -> _Placed:
        offer = await self._offer(new, campaign)
        account_id = offer.account_id if offer else None
        own = self._placing.book.by_id[account_id].rules.currency if account_id else None
        currency = currency_code(conversion.currency, own or campaign.currency or self._ctx.deployment.currency)
        of_campaign = OfCampaign(
            conversion=msgspec.structs.replace(conversion, currency=currency), campaign=campaign,
            offer_id=offer.id if offer else 0, account_id=account_id,
        )  # fmt: skip
        return _Placed(of_campaign=of_campaign)

    async def _of_click(self, new: NewConversion, conversion: ManualConversion) -> _Placed:
        word = (new.click_id or "").strip()
        await self.look_up([word])
        link = self._links.get(self._placing.codec.decode(word) or 0)
        if link is None or link.team_id != self._ctx.team_id:
            raise Missing(f"click_id: there is no click {word!r}", field="click_id")
        if link.campaign_id or self._ctx.actor.campaigns is not None:
            await self._campaign(str(link.campaign_id))
        account = await self._account(new, link)
        currency = currency_code(conversion.currency, account.rules.currency)
        return _Placed(of_click=(account, word, msgspec.structs.replace(conversion, currency=currency)))

    async def _campaign(self, word: str) -> Row[Any]:
        if word not in self._campaigns:
            self._campaigns[word] = await own_campaign(self._ctx, word)
        return self._campaigns[word]

    async def _named_account(self, word: str) -> Row[Any]:
        if word not in self._accounts:
            self._accounts[word] = await permissions.find(self._ctx, "account", word, field="account")
        return self._accounts[word]

    async def _account(self, new: NewConversion, link: ClickLink) -> PostbackAccount:
        if new.account:
            return self._placing.book.by_id[(await self._named_account(new.account)).id]
        accounts = [account for account in self._placing.book.by_id.values() if account.team_id == self._ctx.team_id]
        for offer in (link.offer_id, *self._went_on[link.click_id]):
            for account in accounts:
                if offer in account.offer_ids:
                    return account
        if len(accounts) == 1:
            return accounts[0]
        raise Refused("account: the click does not tell where it happened: name the account", field="account")

    async def _offer(self, new: NewConversion, campaign: Row[Any]) -> Row[Any] | None:
        key = campaign.id, new.offer, new.account
        if key not in self._offers:
            self._offers[key] = await self._find_offer(new, campaign)
        return self._offers[key]

    async def _find_offer(self, new: NewConversion, campaign: Row[Any]) -> Row[Any] | None:
        if new.offer:
            return await permissions.find(self._ctx, "offer", new.offer, field="offer")
        query = select(offers).join(campaign_offers, campaign_offers.c.offer_id == offers.c.id)
        rows = (await self._ctx.tx.execute(query.where(campaign_offers.c.campaign_id == campaign.id))).all()
        if new.account:
            account = await self._named_account(new.account)
            rows = [row for row in rows if row.account_id == account.id]
        if len(rows) > 1:
            named = ", ".join(row.code for row in rows)
            raise Refused(f"offer: the campaign has several: name one of {named}", field="offer")
        return rows[0] if rows else None


def _moment(ctx: Context, on: date | None) -> datetime:
    """Now for today, else noon of the report day."""
    if on is None or on == ctx.today:
        return ctx.now
    if on > ctx.today:
        raise Refused(f"day: {on} has not come yet", field="day")
    return datetime.combine(on, time(12), ctx.deployment.zone)


def _status(word: str) -> Status:
    try:
        return Status(word.lower())
    except ValueError:
        raise Refused(f"status: one of {', '.join(s.value for s in Status)}", field="status") from None


def _imported(ctx: Context, row: ImportedRow) -> NewConversion:
    cells = {name: row.text(name) for name in row.cells if name not in {"day", "amount"} and row.text(name)}
    if "event" not in cells:
        raise Refused("event: missing", field="event")
    if row.text("amount"):
        worth, currency = row.amount("amount")
        cells |= {"currency": currency} if currency else {}
    return NewConversion(
        **cells, day=row.day("day", ctx.today) if row.text("day") else None,
        amount=worth if row.text("amount") else None,
    )  # fmt: skip


async def _shown(ctx: Context, placing: ConversionProcessor, row: Row[Any], outcome: str | None = None) -> Conversion:
    campaign_codes = await codes(ctx.tx, campaigns, ctx.team_id)
    offer_codes = await codes(ctx.tx, offers, ctx.team_id)
    account = placing.book.by_id.get(row.account_id or 0)
    return Conversion(
        id=row.id, event=row.event, status=row.status, is_ftd=row.is_ftd, amount=row.amount, currency=row.currency,
        day=row.day, occurred_at=row.occurred_at, received_at=row.received_at,
        campaign=campaign_codes.get(row.campaign_id), offer=offer_codes.get(row.offer_id),
        account=account.code if account else None,
        click_id=placing.codec.encode(row.click_id) if row.click_id else None, player_id=row.player_id,
        txn_id=row.txn_id, marks=list(row.marks), origin=row.origin, outcome=outcome,
    )  # fmt: skip


async def _noted(
    ctx: Context,
    placing: ConversionProcessor,
    number: int,
    *,
    before: Conversion | None = None,
    outcome: str | None = None,
) -> Conversion:
    after = await _shown(ctx, placing, await manual_conversions.find(ctx.tx, ctx.team_id, number), outcome)
    ctx.notes |= {"entity": "conversion", "entity_id": number, "before": before, "after": after}
    return after
