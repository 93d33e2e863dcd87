"""Postbacks: the address for a platform, the log and its replay, the mapping of an account, what sources were sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope, own_campaigns
from bot.forms.first_steps import begin
from bot.render.figures import event_name, instant, plural
from storage.catalogue import names
from storage.catalogue.entities import cursor
from storage.clicks import queries
from storage.clicks.queries import codec
from storage.ledger.errors import CasinoFluxError, Missing, Refused
from storage.ledger.facts import Event, Outcome, Role
from storage.ledger.postbacks.template import template_url
from storage.outbound import delivery_log
from storage.outbound.delivery_log import Sent
from storage.outbound.forwarding import forward
from storage.postbacks import mappings
from storage.postbacks import requests as inbox
from storage.postbacks.conversions import ConversionProcessor
from storage.postbacks.mappings import PostbackMapping
from storage.postbacks.postback_accounts import load
from storage.postbacks.replay import replay
from storage.postbacks.requests import Logged, RequestFilter
from storage.tables import accounts, sources

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
    """How many requests were judged again, and their outcomes."""

    replayed: int
    outcomes: dict[str, int]


def url_card(ctx: Context, address: PostbackUrl) -> Message:
    return Message(
        f"Postback address of {ctx.name('account', address.account)}",
        (
            Text("Give this to the platform (keep its own macros where it has others):"),
            Text(address.template, code=True),
            Text(f"Parameters it may send: {', '.join(address.parameters)}. GET, form or JSON, names in any case."),
            Buttons((Button("Log", f"postback log account={address.account}"),)),
        ),
        private=True,
    )


def log_table(ctx: Context, page: Page[Logged]) -> Message:
    if not page.items:
        first = begin(ctx, "Address for a platform", "postback url")
        return Message(
            "No postbacks here: 'postback url <account>' gives the address for the platform", first, private=True
        )
    rows = tuple(
        (str(postback.id), f"{postback.received_at:%m-%d %H:%M:%S}", ctx.name("account", postback.account),
         postback.outcome.value, event_name(postback.event), postback.click_id or "–", postback.reason or "")
        for postback in page.items
    )  # fmt: skip
    columns = ("Id", "Received (UTC)", "Account", "Outcome", "Event", "Click", "Reason")
    return Message("Postbacks, the latest first", (Table(columns, rows, phone=(1, 2, 3, 4, 6)),), private=True)


def replay_card(_ctx: Context, done: Replayed) -> Message:
    outcomes = tuple((outcome, f"{n:,}") for outcome, n in sorted(done.outcomes.items()))
    return Message(f"{plural(done.replayed, 'postback')} looked at again", (Fields(outcomes),) if outcomes else ())


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
    """Every postback received, with its outcome and the reason."""
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


Account = Annotated[str, refers("account", "which platform account")]


class NewMapping(Arguments, kw_only=True):
    account: Account
    event: Annotated[str | None, Meta(description="the platform's event word; say to which of ours with as=")] = None
    parameter: Annotated[str | None, Meta(description="the platform's parameter name; say to which with as=")] = None
    status: Annotated[str | None, Meta(description="the platform's status word; say to which with as=")] = None
    as_: Annotated[str | None, Meta(description="our word for it; - removes the mapping")] = None
    events: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"purchase": "deposit"}')] = {}
    parameters: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"s1": "click_id"}')] = {}
    statuses: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"2": "pending"}')] = {}
    repeats: Annotated[dict[str, str], Meta(description='per event ignore, update or count: {"deposit": "count"}')] = {}
    default_event: Annotated[str | None, choices("event of requests that name none", *(e.value for e in Event))] = None
    has_ftd_event: Annotated[bool | None, Meta(description="no: the first deposit counts as the FTD")] = None
    allow: Annotated[list[str] | None, Meta(description="only from these addresses or networks; any for all")] = None
    hmac_secret: Annotated[str | None, Meta(description="shared secret of signed postbacks; - for none",
                                            extra={"secret": True})] = None  # fmt: skip
    hmac_parameter: Annotated[str | None, Meta(description="parameter or header of the signature")] = None


class Mapped(PostbackMapping, frozen=True, kw_only=True):
    """The account's mapping now, and what became of the requests that had waited for it."""

    account: str
    reclassified: dict[str, int] = {}


def mapping_card(ctx: Context, mapping: Mapped) -> Message:
    words = {**mapping.parameters, **mapping.events, **mapping.statuses}
    fields = list(words.items())
    fields += [(f"repeated {event}", what) for event, what in mapping.repeats.items()]
    if mapping.default_event:
        fields.append(("without an event", mapping.default_event))
    if mapping.allow:
        fields.append(("only from", ", ".join(mapping.allow)))
    notes = tuple(Notice("ok", f"{n:,} waiting postbacks are now {what}") for what, n in mapping.reclassified.items())
    return Message(f"Postback mapping of {ctx.name('account', mapping.account)}", (Fields(tuple(fields)), *notes))


@command("postback map", role=Role.OWNER, render=mapping_card, positional=("account", "event", "as"))
async def map_postbacks(ctx: Context, new: NewMapping) -> Mapped:
    """Say what a platform's words mean; requests that waited for it are read again at once."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    before = mappings.mapping_of(row)
    values = _changes(ctx, new)
    if not values:
        return Mapped(account=row.code, **msgspec.structs.asdict(before))
    await mappings.change(ctx.tx, row, values)
    fresh = await processor(ctx)
    account = fresh.book.by_id[row.id]
    if account.fault:
        raise Refused(account.fault, field="allow" if new.allow else "events")
    counts: dict[str, int] = {}
    for outcome in (Outcome.UNMAPPED, Outcome.UNMATCHED, Outcome.REJECTED):
        waiting = RequestFilter(outcome=outcome.value, account_id=row.id)
        for result, n in (await replay(ctx.tx, ctx.team_id, waiting, fresh)).items():
            if result not in {outcome.value, "unchanged"}:
                counts[result] = counts.get(result, 0) + n
    now = mappings.mapping_of(await names.by_id(ctx.tx, accounts, row.id))
    ctx.notes |= {"entity": "account", "entity_id": row.id, "before": before, "after": now}
    return Mapped(account=row.code, reclassified=counts, **msgspec.structs.asdict(now))


def _changes(ctx: Context, new: NewMapping) -> dict[str, Any]:
    words: dict[str, dict[str, str]] = {
        "events": dict(new.events), "parameters": dict(new.parameters), "statuses": dict(new.statuses),
        "repeats": dict(new.repeats),
    }  # fmt: skip
    for kind, word in (("events", new.event), ("parameters", new.parameter), ("statuses", new.status)):
        if word is not None:
            if new.as_ is None:
                raise Refused(f"as: say what {word!r} means, e.g. as=deposit", field="as")
            words[kind][word] = new.as_
    values: dict[str, Any] = {kind: mappings.checked(kind, entries) for kind, entries in words.items() if entries}
    if new.default_event is not None:
        values["default_event"] = mappings.checked("events", {"-": new.default_event})["-"]
        values["default_event"] = None if values["default_event"] == "-" else values["default_event"]
    if new.has_ftd_event is not None:
        values["has_ftd_event"] = new.has_ftd_event
    if new.allow is not None:
        values["allow"] = [] if new.allow == ["any"] else new.allow
    if new.hmac_secret is not None:
        values["hmac_sealed"] = None if new.hmac_secret == "-" else ctx.box.seal(new.hmac_secret)  # noqa: S105
    if new.hmac_parameter is not None:
        values["hmac_parameter"] = new.hmac_parameter
    return values


class SentQuery(Listing, kw_only=True):
    state: Annotated[str | None, choices("only these", "queued", "sent", "dead", "skipped")] = None
    source: Annotated[str | None, refers("source", "only to this source")] = None


class ResendQuery(Arguments, kw_only=True):
    id: Annotated[int | None, refers("delivery", "one, by its number in 'postback sent'; else all dead ones")] = None


class Resent(msgspec.Struct, frozen=True):
    """How many messages are queued again."""

    queued: int
    at: datetime


def sent_table(ctx: Context, page: Page[Sent]) -> Message:
    if not page.items:
        first = begin(ctx, "Sources", "source list")
        return Message("Nothing was sent to a traffic source yet", first, private=True)
    rows = tuple(
        (
            str(delivery.id),
            ctx.name("source", delivery.source),
            event_name(delivery.event),
            delivery.state,
            str(delivery.attempts),
            instant(delivery.next_at),
            delivery.reason or delivery.error or delivery.answer[:60],
        )
        for delivery in page.items
    )
    columns = ("Id", "Source", "Event", "State", "Tries", "Next try", "Answer or reason")
    table = Table(columns, rows, numeric=(4,), phone=(1, 2, 3, 5, 6))
    return Message("Postbacks to traffic sources, the latest first", (table,), private=True)


@command("postback sent", role=Role.VIEWER, scope=Scope.OWN, render=sent_table, reads=True)
async def sent_postbacks(ctx: Context, new: SentQuery) -> Page[Sent]:
    """Postbacks sent to traffic sources, with every answer."""
    source = await names.find(ctx.tx, sources, ctx.team_id, new.source, field="source") if new.source else None
    items = await delivery_log.history(
        ctx.tx, ctx.team_id, state=new.state, source_id=source.id if source else None,
        limit=new.limit + 1,
        after=cursor(new.after), campaigns=own_campaigns(ctx.actor),
    )  # fmt: skip
    more = len(items) > new.limit
    items = items[: new.limit]
    return Page(items, str(items[-1].id) if more else None)


@command(
    "postback resend", role=Role.BUYER, scope=Scope.OWN, positional=("id",),
    render=lambda _ctx, done: Message(f"{plural(done.queued, 'postback')} queued again"),
)  # fmt: skip
async def resend_postbacks(ctx: Context, new: ResendQuery) -> Resent:
    """Send a postback to its traffic source again: one, or all that were given up."""
    return Resent(
        await delivery_log.resend(ctx.tx, ctx.team_id, now=ctx.now, number=new.id, campaigns=own_campaigns(ctx.actor)),
        ctx.now,
    )


async def processor(ctx: Context) -> ConversionProcessor:
    """A processor of this command's transaction."""

    def words(platform: str) -> Mapping[str, Any]:
        try:
            words: Mapping[str, Any] = ctx.ports.platform_options(platform).get("words") or {}
        except (Missing, ModuleNotFoundError):
            return {}
        return words

    return ConversionProcessor(
        book=await load(ctx.tx, words),
        codec=await codec(ctx.tx),
        zone=ctx.deployment.zone,
        now=ctx.now,
        forward=forward,
    )
