"""What a postback would do, step by step, without anything being stored."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec
from msgspec import Meta

from bot.core import permissions
from bot.core.arguments import Arguments, MissingArgument, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Fields, Message, Notice
from bot.core.permissions import Scope
from bot.forms.postback_context import processor
from storage.catalogue import names
from storage.ledger.errors import Missing
from storage.ledger.facts import Role
from storage.postbacks.conversions import ConversionProcessor, foresee
from storage.postbacks.postback_accounts import PostbackAccount
from storage.postbacks.requests import postback_request
from storage.tables import accounts


class SimulatedPostback(Arguments, kw_only=True):
    url: Annotated[str | None, Meta(description="a whole postback address, or only its query")] = None
    account: Annotated[str | None, refers("account", "whose postback, if no address is given")] = None
    click_id: Annotated[str | None, refers("click", "the click it is about")] = None
    event: str | None = None
    txn_id: str | None = None
    amount: str | None = None
    currency: str | None = None
    occurred_at: str | None = None
    status: str | None = None
    player_id: str | None = None


class ForecastShown(msgspec.Struct, frozen=True, kw_only=True):
    """What would come of it. Amounts are micro-units; `day` is the report day it would count on."""

    account: str
    outcome: str
    reason: str | None
    event: str | None
    click_id: str | None
    txn_id: str | None
    player_id: str | None
    status: str | None
    amount: int | None
    currency: str | None
    occurred_at: datetime
    day: str | None
    is_ftd: bool
    parameters: dict[str, Any]
    stored: bool = False


def forecast_card(_ctx: Context, forecast: ForecastShown) -> Message:
    level = "ok" if forecast.outcome in {"accepted", "updated", "duplicate"} else "warning"
    fields = tuple(
        (name, str(getattr(forecast, name)))
        for name in ("event", "click_id", "txn_id", "status", "amount", "currency", "day")
        if getattr(forecast, name) is not None
    )
    notes = (Notice(level, forecast.reason),) if forecast.reason else ()  # type: ignore[arg-type]
    return Message(
        f"This postback would be {forecast.outcome}; nothing was stored", (Fields(fields), *notes), private=True
    )


@command("simulate postback", role=Role.BUYER, scope=Scope.OWN, render=forecast_card, reads=True, positional=("url",))
async def simulate_postback(ctx: Context, new: SimulatedPostback) -> ForecastShown:
    """Show what a given postback would do; nothing is stored or sent."""
    placing = await processor(ctx)
    account, query = await _simulated_request(ctx, placing, new)
    request = postback_request(account, ctx.now, query=query.encode("utf-8", errors="replace"))
    entries, changes = await foresee(ctx.tx, [request], placing)
    entry, signal = entries[0], request.signal
    await _refuse_foreign(ctx, signal.click)
    made = next((c.derived for c in changes if entry.number in c.derived.requests), None)
    return ForecastShown(
        account=account.code, outcome=entry.outcome or "rejected", reason=entry.reason, event=signal.event,
        click_id=signal.click, txn_id=signal.txn_id, player_id=signal.player_id, status=signal.status,
        amount=signal.amount, currency=signal.currency, occurred_at=signal.occurred_at,
        day=made.occurred_at.astimezone(placing.zone).date().isoformat() if made else None,
        is_ftd=bool(made and made.is_ftd), parameters=request.decoded.kept(),
    )  # fmt: skip


async def _refuse_foreign(ctx: Context, click: str | None) -> None:
    """A postback address may name a click in ways of the account's own: judged once it has been read."""
    if ctx.actor.campaigns is not None and click:
        await permissions.judge(ctx, "click", click, field="url")


async def _simulated_request(
    ctx: Context, placing: ConversionProcessor, new: SimulatedPostback
) -> tuple[PostbackAccount, str]:
    parameters = {name: getattr(new, name) for name in new.__struct_fields__ if name not in {"url", "account"}}
    more = urlencode({name: value for name, value in parameters.items() if value is not None})
    if new.url is None:
        if new.account is None:
            raise MissingArgument("url: give a whole postback address, or account= and what it says", field="url")
        return await _account(ctx, placing, new.account), more
    parts = urlsplit(new.url)
    query = parts.query or (new.url if "=" in new.url and not parts.netloc else "")
    key = unquote(parts.path.rpartition("/postback/")[2].strip("/")) if "/postback/" in parts.path else ""
    whole = "&".join(part for part in (query, more) if part)
    if key in placing.book.by_key and placing.book.by_key[key].team_id == ctx.team_id:
        return placing.book.by_key[key], whole
    if new.account is not None:
        return await _account(ctx, placing, new.account), whole
    raise Missing("url: no account has that postback address: 'postback url <account>' gives it", field="url")


async def _account(ctx: Context, placing: ConversionProcessor, word: str) -> PostbackAccount:
    return placing.book.by_id[(await names.find(ctx.tx, accounts, ctx.team_id, word, field="account")).id]
