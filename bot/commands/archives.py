"""Archive and restore: what is no longer wanted goes out of lists and keeps its figures; nothing is deleted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import Row, and_, select, update

from bot.commands import accounts, campaigns, casinos, offers, sites, sources
from bot.commands.accounts import AccountShown
from bot.core.arguments import refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Message
from bot.core.permissions import ENTITIES, Scope
from bot.forms.bulk_change import MOST, BulkChange, change_each, chosen, first_of, render_change, status_question
from bot.forms.sorting import SortedBy, sorted_by
from storage import tables as t
from storage.catalogue import accounts as stored_accounts
from storage.catalogue import casinos as casino_entries
from storage.catalogue import sources as stored_sources
from storage.catalogue.campaigns import Campaign, set_status, shown
from storage.catalogue.casinos import Casino
from storage.catalogue.groups import ACTIVE, ARCHIVED
from storage.catalogue.offers import Offer
from storage.catalogue.offers import shown as shown_offers
from storage.catalogue.sites import PUBLISHED, Site
from storage.catalogue.sources import Source
from storage.ledger.errors import Refused
from storage.ledger.facts import Role

SEVERAL = "; several separated by commas"


class SiteChoice(SortedBy):
    site: Annotated[list[str], refers("site", f"which site{SEVERAL}", most=MOST)] = []


class SourceChoice(SortedBy):
    source: Annotated[list[str], refers("source", f"which source{SEVERAL}", most=MOST)] = []


class CasinoChoice(SortedBy):
    casino: Annotated[list[str], refers("casino", f"which casino{SEVERAL}", most=MOST)] = []


class AccountChoice(SortedBy):
    account: Annotated[list[str], refers("account", f"which account{SEVERAL}", most=MOST)] = []


Rows = Sequence[Row[Any]]
Change = Callable[[Context, Row[Any], str], Awaitable[Any]]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of entity is put away: which are chosen, what each is set to, how it is shown."""

    noun: str
    choice: type[SortedBy]
    entity: Any
    card: Callable[[Context, Any], Message]
    shown: Callable[[Context, list[Any]], Awaitable[list[Any]]]
    put_away: str | None  # status in which an archived one stands; None: its own stays
    set_status: Change
    choose: Callable[[Context, Any], Awaitable[list[Row[Any]]]] | None = None
    loss: Callable[[Context, Rows], Awaitable[str]] | None = None
    used_by: tuple[str, Any] | None = None  # noun and column of what needs it
    role: Role = Role.BUYER
    asks: bool = False  # before one is archived, too


async def _set_column(ctx: Context, row: Row[Any], status: str) -> None:
    table = t.metadata.tables[_table_of(row)]
    await ctx.tx.execute(update(table).where(table.c.id == row.id).values(status=status))


def _table_of(row: Row[Any]) -> str:
    return "offers" if "casino_id" in row._mapping else "sites"


async def _set_nothing(_ctx: Context, _row: Row[Any], _status: str) -> None:
    """Of what has no status that anything depends on."""


async def _set_syncs(ctx: Context, row: Row[Any], status: str) -> None:
    if status == ACTIVE:
        await accounts.resume_syncs(ctx, row.id)
    elif row.paused_at is None:
        await ctx.tx.execute(update(t.accounts).where(t.accounts.c.id == row.id).values(paused_at=ctx.now))


async def _set_campaign(ctx: Context, row: Row[Any], status: str) -> None:
    await set_status(ctx.tx, row, status, ctx.now)


async def _figures_stopped(_ctx: Context, _rows: Rows) -> str:
    return "No more figures are fetched, until it is restored; those there are stay."


async def _off_domains(_ctx: Context, rows: Rows) -> str:
    live = [row.name for row in rows if row.status == PUBLISHED]
    return f"{first_of(live)} is taken off its domains." if live else "None of them is published."


async def _accounts_shown(ctx: Context, rows: list[Any]) -> list[AccountShown]:
    return [AccountShown(**msgspec.structs.asdict(stored_accounts.shown(ctx.box, row))) for row in rows]


async def _casinos_shown(_ctx: Context, rows: list[Any]) -> list[Casino]:
    return [casino_entries.entry(row) for row in rows]


KINDS = (
    Kind(
        noun="campaign", choice=campaigns.CampaignChoice, entity=Campaign, card=campaigns.campaign_card,
        shown=lambda ctx, rows: shown(ctx.tx, ctx.team_id, rows, public_url=ctx.deployment.public_url),
        put_away="paused", set_status=_set_campaign, choose=campaigns.chosen_campaigns, loss=campaigns.visitors_lost,
    ),
    Kind(
        noun="offer", choice=offers.OfferChoice, entity=Offer, card=offers.offer_card,
        shown=lambda ctx, rows: shown_offers(ctx.tx, ctx.team_id, rows), put_away="paused", set_status=_set_column,
        choose=offers.chosen_offers, loss=offers.visitors_lost,
    ),
    Kind(
        noun="site", choice=SiteChoice, entity=Site, card=sites.site_card, shown=sites.shown_sites,
        put_away="paused", set_status=_set_column, loss=_off_domains, used_by=("campaign", t.campaigns.c.site_id),
    ),
    Kind(
        noun="source", choice=SourceChoice, entity=Source, card=sources.source_card,
        shown=lambda ctx, rows: stored_sources.shown(ctx.tx, ctx.box, rows), put_away=None, set_status=_set_nothing,
        used_by=("campaign", t.campaigns.c.source_id),
    ),
    Kind(
        noun="casino", choice=CasinoChoice, entity=Casino, card=casinos.casino_card, shown=_casinos_shown,
        put_away=None, set_status=_set_nothing, used_by=("offer", t.offers.c.casino_id),
    ),
    Kind(
        noun="account", choice=AccountChoice, entity=AccountShown, card=accounts.account_card, shown=_accounts_shown,
        put_away="paused", set_status=_set_syncs, loss=_figures_stopped, used_by=("offer", t.offers.c.account_id),
        role=Role.OWNER, asks=True,
    ),
)  # fmt: skip


def _declare(kind: Kind) -> None:
    noun = kind.noun

    async def question(ctx: Context, new: Any) -> str | None:
        rows = await _chosen(ctx, kind, new, archived=False)
        await _refuse_used(ctx, kind, rows)
        changing = [row for row in rows if row.archived_from is None]
        if kind.asks and len(changing) == 1 and kind.loss:
            return f"Archives {noun} {changing[0].name}. {await kind.loss(ctx, changing)}"
        return await status_question(
            ctx, noun, rows, words=getattr(new, noun), changing=changing, verb="Archives", loss=kind.loss
        )

    async def archive(ctx: Context, new: Any) -> Any:
        rows = await _chosen(ctx, kind, new, archived=False)
        await _refuse_used(ctx, kind, rows)
        return await change_each(
            ctx, noun, rows, changing=[row for row in rows if row.archived_from is None],
            shown=lambda rows: kind.shown(ctx, rows), change=lambda row: _archive(ctx, kind, row),
        )  # fmt: skip

    async def asked(ctx: Context, new: Any) -> str | None:
        rows = await _chosen(ctx, kind, new, archived=True)
        changing = [row for row in rows if row.archived_from is not None]
        return await status_question(ctx, noun, rows, words=getattr(new, noun), changing=changing, verb="Restores")

    async def restore(ctx: Context, new: Any) -> Any:
        rows = await _chosen(ctx, kind, new, archived=True)
        return await change_each(
            ctx, noun, rows, changing=[row for row in rows if row.archived_from is not None],
            shown=lambda rows: kind.shown(ctx, rows), change=lambda row: _restore(ctx, kind, row),
        )  # fmt: skip

    archive.__doc__ = f"Put {noun}s away: out of lists, their figures stay; `{noun} list status=archived` has them."
    restore.__doc__ = f"Take archived {noun}s back, as they were."
    several: Any = BulkChange
    hints = {"ctx": Context, "new": kind.choice, "return": kind.entity | several[kind.entity]}
    archive.__annotations__ = restore.__annotations__ = hints
    card = kind.card
    command(f"{noun} archive", role=kind.role, scope=Scope.OWN, render=render_change(noun, card, ARCHIVED),
            positional=(noun,), confirm=question)(archive)  # fmt: skip
    command(f"{noun} restore", role=kind.role, scope=Scope.OWN, render=render_change(noun, card, "restored"),
            positional=(noun,), confirm=asked)(restore)  # fmt: skip


async def _chosen(ctx: Context, kind: Kind, new: Any, *, archived: bool) -> list[Row[Any]]:
    if kind.choose is not None:
        return await kind.choose(ctx, new, archived=archived)  # type: ignore[call-arg]
    where = await sorted_by(ctx, kind.noun, new)
    return await chosen(ctx, kind.noun, getattr(new, kind.noun), where=where, archived=archived)


async def _archive(ctx: Context, kind: Kind, row: Row[Any]) -> None:
    table = ENTITIES[kind.noun].table
    before = _status(row)
    if kind.put_away is not None and before in {ACTIVE, PUBLISHED}:
        await kind.set_status(ctx, row, kind.put_away)
    await ctx.tx.execute(update(table).where(table.c.id == row.id).values(archived_from=before))


async def _restore(ctx: Context, kind: Kind, row: Row[Any]) -> None:
    table = ENTITIES[kind.noun].table
    await ctx.tx.execute(update(table).where(table.c.id == row.id).values(archived_from=None))
    if kind.put_away is not None and row.archived_from in {ACTIVE, PUBLISHED}:
        await kind.set_status(ctx, row, row.archived_from)


def _status(row: Row[Any]) -> str:
    """Its status; of an account whether it is paused, of a source that it is there."""
    if "paused_at" in row._mapping:
        return "paused" if row.paused_at else ACTIVE
    return str(row._mapping.get("status", ACTIVE))


async def _refuse_used(ctx: Context, kind: Kind, rows: Rows) -> None:
    """Raises Refused where something that is not archived needs one of them."""
    if kind.used_by is None:
        return
    noun, column = kind.used_by
    needs = column.table.c
    for row in rows:
        used = select(needs.name).where(and_(column == row.id, needs.archived_from.is_(None)))
        if users := list((await ctx.tx.execute(used.order_by(needs.id))).scalars()):
            raise Refused(
                f"{kind.noun}: {row.name} is used by {noun} {first_of(users)}: archive what uses it first",
                field=kind.noun,
            )


for _kind in KINDS:
    _declare(_kind)
