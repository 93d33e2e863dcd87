"""Postbacks of platforms: the address to give to them, what came, reading it again."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Row

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Table, Text
from bot.core.permissions import Scope
from bot.forms.postback_context import processor
from storage.catalogue import names
from storage.catalogue.entities import cursor
from storage.clicks import queries
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.facts import Outcome, Role
from storage.ledger.postbacks.template import template_url
from storage.postbacks import requests as inbox
from storage.postbacks.replay import replay
from storage.postbacks.requests import Logged, RequestFilter
from storage.tables import accounts

OUTCOMES = tuple(outcome.value for outcome in Outcome)


class PostbackUrl(msgspec.Struct, frozen=True, kw_only=True):
    """An account's postback address, and a line to copy with the platform's own macros where they are known."""

    account: str
    url: str
    template: str
    parameters: list[str]


class ForAccount(Arguments):
    account: Annotated[str, refers("account", "which platform account", changes=True)]  # whoever has it may post to it


class LogQuery(Listing, kw_only=True):
    outcome: Annotated[str | None, choices("only these", *OUTCOMES)] = None
    account: Annotated[str | None, refers("account", "only this account's")] = None
    click_id: Annotated[str | None, refers("click", "only this click's", changes=False)] = None


class ReplayQuery(Arguments, kw_only=True):
    id: Annotated[int | None, refers("postback", "one request, by its number in the log")] = None
    outcome: Annotated[str | None, choices("only these", *OUTCOMES)] = None
    account: Annotated[str | None, refers("account", "only this account's", changes=False)] = None
    click_id: Annotated[str | None, refers("click", "only this click's", changes=False)] = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests were looked at again, and what came of them."""

    replayed: int
    outcomes: dict[str, int]


def url_card(_ctx: Context, address: PostbackUrl) -> Message:
    return Message(
        f"Postback address of {address.account}",
        (
            Text("Give this to the platform (keep its own macros where it has others):"),
            Text(address.template, code=True),
            Text(f"Parameters it may send: {', '.join(address.parameters)}. GET, form or JSON, names in any case."),
            Buttons((Button("Log", f"postback log account={address.account}"),)),
        ),
        private=True,
    )


def log_table(_ctx: Context, page: Page[Logged]) -> Message:
    if not page.items:
        return Message("No postbacks here: 'postback url <account>' gives the address for the platform", private=True)
    rows = tuple(
        (str(postback.id), f"{postback.received_at:%m-%d %H:%M:%S}", postback.account, postback.outcome.value,
         postback.event or "–", postback.click_id or "–", postback.reason or "")
        for postback in page.items
    )  # fmt: skip
    columns = ("Id", "Received (UTC)", "Account", "Outcome", "Event", "Click", "Reason")
    return Message("Postbacks, the latest first", (Table(columns, rows),), private=True)


def replay_card(_ctx: Context, done: Replayed) -> Message:
    outcomes = tuple((outcome, f"{n:,}") for outcome, n in sorted(done.outcomes.items()))
    return Message(f"{done.replayed:,} postbacks looked at again", (Fields(outcomes),) if outcomes else ())


@command("postback url", role=Role.BUYER, render=url_card, reads=True, positional=("account",))
async def postback_url(ctx: Context, new: ForAccount) -> PostbackUrl:
    """The address an affiliate platform is to call, one per account."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    url = f"{ctx.deployment.public_url}/postback/{row.postback_key}"
    words = ctx.ports.platform_options(row.platform).get("words") or {}
    return PostbackUrl(
        account=row.code,
        url=url,
        template=template_url(url, row.platform, words.get("parameters", {})),
        parameters=["click_id", "event", "txn_id", "amount", "currency", "occurred_at", "status", "player_id"],
    )


@command("postback log", role=Role.VIEWER, scope=Scope.OWN, render=log_table, reads=True)
async def postback_log(ctx: Context, new: LogQuery) -> Page[Logged]:
    """Every postback that came, with what became of it and why."""
    filters = await _request_filter(ctx, new)
    after = cursor(new.after)
    if not 1 <= new.limit <= 500:
        raise Refused("limit: between 1 and 500", field="limit")
    items = await inbox.log(ctx.tx, ctx.team_id, filters, limit=new.limit + 1, after=after)
    more = len(items) > new.limit
    items = items[: new.limit]
    return Page(items, str(items[-1].id) if more else None)


@command("postback replay", role=Role.BUYER, scope=Scope.OWN, render=replay_card, positional=("id",))
async def replay_postbacks(ctx: Context, new: ReplayQuery) -> Replayed:
    """Read stored postbacks again, one by its number or all that fit; nothing is counted twice."""
    filters = await _request_filter(ctx, new)
    if new.id is None and filters == RequestFilter(campaigns=filters.campaigns):
        filters = msgspec.structs.replace(filters, outcome=Outcome.UNMATCHED.value)
    outcomes = await replay(ctx.tx, ctx.team_id, filters, await processor(ctx))
    total = sum(outcomes.values())
    if new.id is not None and not total:
        raise Refused(f"id: no postback {new.id}: 'postback log' lists them", field="id")
    return Replayed(replayed=total, outcomes=dict(outcomes))


async def _request_filter(ctx: Context, new: Any) -> RequestFilter:
    account: Row[Any] | None = None
    if new.account:
        account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    if new.outcome is not None and new.outcome not in OUTCOMES:
        raise Refused(f"outcome: one of {', '.join(OUTCOMES)}", field="outcome")
    postback_id = getattr(new, "id", None)
    return RequestFilter(
        outcome=new.outcome,
        account_id=account.id if account else None,
        click=new.click_id,
        click_id=await _click_number(ctx, new.click_id),
        ids=(postback_id,) if postback_id is not None else (),
        campaigns=ctx.actor.campaigns,
    )


async def _click_number(ctx: Context, word: str | None) -> int | None:
    if not word:
        return None
    try:
        return (await queries.codec(ctx.tx)).decode(word.strip())
    except CasinoFluxError:
        return None  # no click was ever made: the id as it came is what is looked for
