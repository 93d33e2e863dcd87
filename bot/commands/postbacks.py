"""Postbacks: the address to give to a platform, what came, how it is read, what went on to the sources."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.arguments import Arguments, choices, refers
from bot.command import command
from bot.context import Context
from bot.listing import Listing, Page
from bot.message import Button, Buttons, Fields, Message, Notice, Table, Text
from bot.postback_desk import desk
from storage import clicks, inbox, mappings, names, outbound_log
from storage.entities import cursor
from storage.inbox import Logged, Wanted
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.facts import Event, Outcome, Role
from storage.ledger.postback_template import template_url
from storage.mappings import PostbackMapping
from storage.outbound_log import Sent
from storage.replays import replay
from storage.tables import accounts, sources

OUTCOMES = tuple(outcome.value for outcome in Outcome)
Account = Annotated[str, refers("account", "which platform account")]


class PostbackUrl(msgspec.Struct, frozen=True, kw_only=True):
    """An account's postback address, and a line to copy with the platform's own macros where they are known."""

    account: str
    url: str
    template: str
    parameters: list[str]


class ForAccount(Arguments):
    account: Account


class LogQuery(Listing, kw_only=True):
    outcome: Annotated[str | None, choices("only these", *OUTCOMES)] = None
    account: Annotated[str | None, refers("account", "only this account's")] = None
    click_id: Annotated[str | None, Meta(description="only this click's")] = None


class ReplayQuery(Arguments, kw_only=True):
    id: Annotated[int | None, Meta(description="one request, by its number in the log")] = None
    outcome: Annotated[str | None, choices("only these", *OUTCOMES)] = None
    account: Annotated[str | None, refers("account", "only this account's")] = None
    click_id: Annotated[str | None, Meta(description="only this click's")] = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests were looked at again, and what came of them."""

    replayed: int
    outcomes: dict[str, int]


class NewMapping(Arguments, kw_only=True):
    account: Account
    event: Annotated[str | None, Meta(description="the platform's event word; say to which of ours with as=")] = None
    parameter: Annotated[str | None, Meta(description="the platform's parameter name; say to which with as=")] = None
    status: Annotated[str | None, Meta(description="the platform's status word; say to which with as=")] = None
    as_: Annotated[str | None, Meta(description="our word for it; - takes the mapping away")] = None
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


def url_card(_ctx: Context, found: PostbackUrl) -> Message:
    return Message(
        f"Postback address of {found.account}",
        (
            Text("Give this to the platform (keep its own macros where it has others):"),
            Text(found.template, code=True),
            Text(f"Parameters it may send: {', '.join(found.parameters)}. GET, form or JSON, names in any case."),
            Buttons((Button("Log", f"postback log account={found.account}"),)),
        ),
        private=True,
    )


def log_table(_ctx: Context, found: Page[Logged]) -> Message:
    if not found.items:
        return Message("No postbacks here: 'postback url <account>' gives the address for the platform", private=True)
    rows = tuple(
        (str(one.id), f"{one.received_at:%m-%d %H:%M:%S}", one.account, one.outcome.value, one.event or "–",
         one.click_id or "–", one.reason or "")
        for one in found.items
    )  # fmt: skip
    columns = ("Id", "Received (UTC)", "Account", "Outcome", "Event", "Click", "Reason")
    return Message("Postbacks, the latest first", (Table(columns, rows),), private=True)


def replay_card(_ctx: Context, done: Replayed) -> Message:
    told = tuple((outcome, f"{n:,}") for outcome, n in sorted(done.outcomes.items()))
    return Message(f"{done.replayed:,} postbacks looked at again", (Fields(told),) if told else ())


def mapping_card(_ctx: Context, found: Mapped) -> Message:
    words = {**found.parameters, **found.events, **found.statuses}
    fields = list(words.items())
    fields += [(f"repeated {event}", what) for event, what in found.repeats.items()]
    if found.default_event:
        fields.append(("without an event", found.default_event))
    if found.allow:
        fields.append(("only from", ", ".join(found.allow)))
    notes = tuple(Notice("ok", f"{n:,} waiting postbacks are now {what}") for what, n in found.reclassified.items())
    return Message(f"Postback mapping of {found.account}", (Fields(tuple(fields)), *notes))


def sent_table(_ctx: Context, found: Page[Sent]) -> Message:
    if not found.items:
        return Message("Nothing was sent to a traffic source yet", private=True)
    rows = tuple(
        (str(one.id), one.source, one.event, one.state, str(one.attempts), one.error or one.answer[:60])
        for one in found.items
    )
    return Message(
        "Postbacks to traffic sources, the latest first",
        (Table(("Id", "Source", "Event", "State", "Tries", "Last answer"), rows, numeric=(4,)),), private=True,
    )  # fmt: skip


@command("postback url", role=Role.BUYER, says=url_card, reads=True, positional=("account",))
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


@command("postback log", role=Role.VIEWER, says=log_table, reads=True)
async def postback_log(ctx: Context, new: LogQuery) -> Page[Logged]:
    """Every postback that came, with what became of it and why."""
    wanted = await _wanted(ctx, new)
    after = cursor(new.after)
    if not 1 <= new.limit <= 500:
        raise Refused("limit: between 1 and 500", field="limit")
    items = await inbox.log(ctx.tx, ctx.team_id, wanted, limit=new.limit + 1, after=after)
    more = len(items) > new.limit
    items = items[: new.limit]
    return Page(items, str(items[-1].id) if more else None)


@command("postback replay", role=Role.BUYER, says=replay_card, positional=("id",))
async def replay_postbacks(ctx: Context, new: ReplayQuery) -> Replayed:
    """Read stored postbacks again, one by its number or all that fit; nothing is counted twice."""
    wanted = await _wanted(ctx, new)
    if new.id is None and wanted == Wanted():
        wanted = Wanted(outcome=Outcome.UNMATCHED.value)
    outcomes = await replay(ctx.tx, ctx.team_id, wanted, await desk(ctx))
    total = sum(outcomes.values())
    if new.id is not None and not total:
        raise Refused(f"id: no postback {new.id}: 'postback log' lists them", field="id")
    return Replayed(replayed=total, outcomes=dict(outcomes))


@command("postback map", role=Role.BUYER, says=mapping_card, positional=("account", "event", "as"))
async def map_postbacks(ctx: Context, new: NewMapping) -> Mapped:
    """Say what a platform's words mean; requests that waited for it are read again at once."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    before = mappings.mapping_of(row)
    values = _changes(ctx, new)
    if not values:
        return Mapped(account=row.code, **msgspec.structs.asdict(before))
    await mappings.change(ctx.tx, row, values)
    fresh = await desk(ctx)
    account = fresh.book.by_id[row.id]
    if account.fault:
        raise Refused(account.fault, field="allow" if new.allow else "events")
    found: dict[str, int] = {}
    for outcome in (Outcome.UNMAPPED, Outcome.UNMATCHED, Outcome.REJECTED):
        waiting = Wanted(outcome=outcome.value, account_id=row.id)
        for came, n in (await replay(ctx.tx, ctx.team_id, waiting, fresh)).items():
            if came not in {outcome.value, "unchanged"}:
                found[came] = found.get(came, 0) + n
    now = mappings.mapping_of(await names.by_id(ctx.tx, accounts, row.id))
    ctx.notes |= {"entity": "account", "entity_id": row.id, "before": before, "after": now}
    return Mapped(account=row.code, reclassified=found, **msgspec.structs.asdict(now))


class SentQuery(Listing, kw_only=True):
    state: Annotated[str | None, choices("only these", "queued", "sent", "dead", "skipped")] = None
    source: Annotated[str | None, refers("source", "only to this source")] = None


class ResendQuery(Arguments, kw_only=True):
    id: Annotated[int | None, Meta(description="one, by its number in 'postback sent'; else all dead ones")] = None


class Resent(msgspec.Struct, frozen=True):
    """How many messages are queued again."""

    queued: int
    at: datetime


@command("postback sent", role=Role.VIEWER, says=sent_table, reads=True)
async def sent_postbacks(ctx: Context, new: SentQuery) -> Page[Sent]:
    """What traffic sources were told, with every answer."""
    source = await names.find(ctx.tx, sources, ctx.team_id, new.source, field="source") if new.source else None
    items = await outbound_log.history(
        ctx.tx, ctx.team_id, state=new.state, source_id=source.id if source else None,
        limit=new.limit + 1, after=cursor(new.after),
    )  # fmt: skip
    more = len(items) > new.limit
    items = items[: new.limit]
    return Page(items, str(items[-1].id) if more else None)


@command(
    "postback resend", role=Role.BUYER, positional=("id",),
    says=lambda _ctx, done: Message(f"{done.queued:,} postbacks are queued again"),
)  # fmt: skip
async def resend_postbacks(ctx: Context, new: ResendQuery) -> Resent:
    """Send a postback to its traffic source again: one, or all that were given up."""
    return Resent(await outbound_log.resend(ctx.tx, ctx.team_id, now=ctx.now, number=new.id), ctx.now)


async def _wanted(ctx: Context, new: Any) -> Wanted:
    account: Row[Any] | None = None
    if new.account:
        account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    if new.outcome is not None and new.outcome not in OUTCOMES:
        raise Refused(f"outcome: one of {', '.join(OUTCOMES)}", field="outcome")
    one = getattr(new, "id", None)
    return Wanted(
        outcome=new.outcome,
        account_id=account.id if account else None,
        click=new.click_id,
        click_id=await _click_number(ctx, new.click_id),
        ids=(one,) if one is not None else (),
    )


async def _click_number(ctx: Context, word: str | None) -> int | None:
    if not word:
        return None
    try:
        return (await clicks.codec(ctx.tx)).decode(word.strip())
    except CasinoFluxError:
        return None  # no click was ever made: the id as it came is what is looked for


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
    values: dict[str, Any] = {kind: mappings.checked(kind, given) for kind, given in words.items() if given}
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
