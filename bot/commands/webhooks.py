"""Webhooks: addresses of the team's own that receive calls about events."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta, Struct, structs

from bot.core.arguments import Arguments, MissingArgument, choices, holds_credentials, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope, find, of_own_campaigns
from bot.render.figures import instant, plural
from storage.catalogue.entities import cursor, page
from storage.db.secrets import new_key
from storage.ledger.addresses import web_address
from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Role
from storage.ledger.outbound.webhooks import new_secret
from storage.outbound import delivery_log, webhooks
from storage.outbound.delivery_log import Call
from storage.outbound.webhooks import CONVERSIONS, EVENTS, MAX_WEBHOOKS, OF_ACCOUNTS, NewWebhook, Webhook
from storage.tables import webhooks as table


class AddedWebhook(Arguments):
    url: Annotated[str, holds_credentials("address that is called with POST: https://…")]
    events: Annotated[
        list[str], choices("the events it receives; all by default", "conversion", *EVENTS), Meta(extra={"items": 20})
    ] = []
    campaigns: Annotated[list[str], refers("campaign", "only what concerns these", changes=False)] = []
    name: Annotated[str | None, Meta(description="what the team calls it", extra={"text": 100})] = None


class WebhookEdit(Arguments):
    webhook: Annotated[str, refers("webhook", "which webhook, such as webhook-7")]
    url: Annotated[str | None, holds_credentials("address that is called from now on: https://…")] = None
    events: Annotated[
        list[str] | None,
        choices("all events it receives from now on", "conversion", *EVENTS),
        Meta(extra={"items": 20}),
    ] = None
    name: Annotated[str | None, Meta(description="what the team calls it", extra={"text": 100})] = None
    status: Annotated[str | None, choices("whether it receives events", "active", "paused")] = None


class OneWebhook(Arguments):
    webhook: Annotated[str, refers("webhook", "which webhook, such as webhook-7")]


class CallLog(Listing):
    webhook: Annotated[str | None, refers("webhook", "only this one's", changes=False)] = None
    state: Annotated[str | None, choices("only these", "queued", "sent", "dead", "skipped")] = None


class ResendCalls(Arguments):
    webhook: Annotated[str, refers("webhook", "which webhook, such as webhook-7")]
    id: Annotated[int | None, Meta(description="one call, by its number in 'webhook log'; else all dead ones")] = None


class Queued(Struct, frozen=True):
    """How many calls are queued."""

    webhook: str
    queued: int


def webhook_card(ctx: Context, webhook: Webhook) -> Message:
    events = ", ".join(event.replace("_", " ") for event in webhook.events)
    about = "all campaigns" if webhook.campaigns is None else ctx.names_of("campaign", webhook.campaigns)
    fields = [("Address", webhook.url), ("Events", events), ("About", about), ("Made by", webhook.made_by)]
    fields += [("Signing secret", webhook.secret)] if webhook.secret else []
    notices = [Notice("warning", f"It receives nothing: {webhook.stopped_why}")] if webhook.stopped_why else []
    notices += [Notice("warning", "Keep the secret now: it is not shown again.")] if webhook.secret else []
    other = "pause" if webhook.status == "active" else "resume"
    buttons = Buttons((
        Button("Test", f"webhook test {webhook.code}"), Button("Log", f"webhook log {webhook.code}"),
        Button(other.capitalize(), f"webhook {other} {webhook.code}"),
        Button("Remove", f"webhook remove {webhook.code}", style="danger"),
    ))  # fmt: skip
    title = f"Webhook {webhook.name} ({webhook.code}) · {webhook.status}"
    return Message(title, (Fields(tuple(fields)), *notices, buttons), private=True)


def webhook_table(_ctx: Context, listing: Page[Webhook]) -> Message:
    if not listing.items:
        return Message("No webhooks yet: webhook add url=https://… events=conversion,alert", private=True)
    rows = tuple(
        (hook.name, hook.code, hook.url, ", ".join(hook.events).replace("_", " "), hook.stopped_why or hook.status)
        for hook in listing.items
    )
    blocks: list[Block] = [Table(("Name", "Webhook", "Address", "Events", "State"), rows, phone=(0, 1, 3, 4))]
    if listing.next:
        blocks.append(Buttons((Button("More", f"webhook list after={listing.next}"),)))
    return Message("Webhooks", tuple(blocks), private=True)


def call_table(_ctx: Context, listing: Page[Call]) -> Message:
    if not listing.items:
        return Message("No webhook was called yet: webhook test tries one", private=True)
    rows = tuple(
        (str(call.id), call.webhook, call.event.replace("_", " "), call.state, str(call.attempts),
         instant(call.next_at), call.error or call.answer[:60])
        for call in listing.items
    )  # fmt: skip
    columns = ("Id", "Webhook", "Event", "State", "Tries", "Next try", "Answer or reason")
    blocks: list[Block] = [Table(columns, rows, numeric=(4,), phone=(1, 2, 3, 5, 6))]
    if listing.next:
        blocks.append(Buttons((Button("More", f"webhook log after={listing.next}"),)))
    return Message("Calls of webhooks, the latest first", tuple(blocks), private=True)


def queued_message(_ctx: Context, done: Queued) -> Message:
    log = Buttons((Button("Log", f"webhook log {done.webhook}"),))
    return Message(f"{plural(done.queued, 'call')} queued: the log has the answer in a moment", (log,), private=True)


def _events(words: list[str], ctx: Context) -> tuple[str, ...]:
    """The events that are named, in their order. Raises Refused, and Forbidden for those of whole accounts."""
    groups = {"conversion": CONVERSIONS, "conversions": CONVERSIONS, "all": EVENTS}
    limited = ctx.actor.campaigns is not None
    named = [word.strip().lower().replace(" ", "_").replace("-", "_") for word in words]
    if not named:
        return tuple(event for event in EVENTS if not (limited and event in OF_ACCOUNTS))
    chosen = {event for word in named for event in groups.get(word, (word,))}
    if unknown := chosen - {*EVENTS}:
        raise Refused(f"events: no {sorted(unknown)[0]!r}: there is conversion, {', '.join(EVENTS)}", field="events")
    if limited and chosen & OF_ACCOUNTS:
        raise Forbidden("events: sync and held_report concern whole accounts: ask an owner")
    return tuple(event for event in EVENTS if event in chosen)


async def _limit(ctx: Context) -> None:
    rows = (await ctx.tx.execute(webhooks.of_team(ctx.team_id))).all()
    if len(rows) >= MAX_WEBHOOKS:
        raise Refused(f"a team has {MAX_WEBHOOKS} webhooks at most: remove one first", field="url")


@command("webhook add", role=Role.BUYER, scope=Scope.OWN, render=webhook_card, positional=("url", "events"))
async def add_webhook(ctx: Context, new: AddedWebhook) -> Webhook:
    """Send events to an address, in calls signed as Standard Webhooks says; its secret is shown once."""
    url = web_address(new.url, field="url")
    events = _events(new.events, ctx)
    await _limit(ctx)
    codes = [(await find(ctx, "campaign", word, field="campaigns")).code for word in new.campaigns]
    secret = new_secret()
    made = await webhooks.add(ctx.tx, ctx.now, NewWebhook(
        team_id=ctx.team_id, name=new.name or urlsplit(url).hostname or url, url=url, events=events,
        campaigns=tuple(codes) if codes else ctx.actor.campaigns, secret=ctx.box.seal({"webhook_secret": secret}),
        role=ctx.actor.role, limits=ctx.actor.campaigns, member_id=ctx.actor.member_id, token_id=ctx.actor.token_id,
        made_by=ctx.actor.name,
    ))  # fmt: skip
    webhook = await _noted(ctx, made)
    return structs.replace(webhook, secret=secret)


async def _noted(ctx: Context, number: int, before: Webhook | None = None) -> Webhook:
    webhook = webhooks.shown(await webhooks.find(ctx.tx, ctx.team_id, str(number)), ctx.now)
    ctx.notes |= {"entity": "webhook", "entity_id": webhook.id, "before": before, "after": webhook}
    return webhook


@command("webhook list", role=Role.VIEWER, scope=Scope.OWN, render=webhook_table, reads=True)
async def list_webhooks(ctx: Context, new: Listing) -> Page[Webhook]:
    """The webhooks, the events each receives, and its state."""
    rows, following = await page(ctx.tx, webhooks.of_team(ctx.team_id), table.c.id, limit=new.limit, after=new.after)
    visible = [row for row in rows if of_own_campaigns(ctx.actor, webhooks.campaigns_of(row))]
    return Page([webhooks.shown(row, ctx.now) for row in visible], following)


@command("webhook show", role=Role.VIEWER, render=webhook_card, reads=True, positional=("webhook",))
async def show_webhook(ctx: Context, new: OneWebhook) -> Webhook:
    """One webhook, without its secret."""
    return webhooks.shown(await webhooks.find(ctx.tx, ctx.team_id, new.webhook), ctx.now)


@command("webhook pause", role=Role.BUYER, render=webhook_card, positional=("webhook",))
async def pause_webhook(ctx: Context, new: OneWebhook) -> Webhook:
    """Stop sending events to a webhook; those of the meantime are never sent."""
    return await _set(ctx, new.webhook, "paused")


@command("webhook resume", role=Role.BUYER, render=webhook_card, positional=("webhook",))
async def resume_webhook(ctx: Context, new: OneWebhook) -> Webhook:
    """Send events to a webhook again, with the rights of the member who resumes it if its creator has left."""
    return await _set(ctx, new.webhook, "active")


@command("webhook edit", role=Role.BUYER, render=webhook_card, positional=("webhook",))
async def edit_webhook(ctx: Context, new: WebhookEdit) -> Webhook:
    """Change a webhook; what is not named stays. It receives what the member who changed it last may see."""
    row = await webhooks.find(ctx.tx, ctx.team_id, new.webhook)
    before = webhooks.shown(row, ctx.now)
    if new.status not in {None, "active", "paused"}:
        raise Refused(f"status: active or paused, not {new.status!r}", field="status")
    values: dict[str, Any] = {"name": new.name, "status": new.status}
    if new.url is not None:
        values["url"] = web_address(new.url, field="url")
    if new.events is not None:
        values["events"] = list(_events(new.events, ctx))
    values = {name: value for name, value in values.items() if value is not None}
    if not values:
        raise MissingArgument("nothing to change: name a field, e.g. events=conversion", field="webhook")
    ctx.unchanged = all(getattr(row, name) == value for name, value in values.items())
    if not ctx.unchanged:
        await webhooks.change(ctx.tx, row.id, **values, **_rights(ctx))
        if "url" in values:
            await webhooks.move(ctx.tx, row.id, values["url"])
    return await _noted(ctx, row.id, before)


def _rights(ctx: Context) -> dict[str, Any]:
    """Whose rights limit what a webhook receives from now on: the actor's."""
    limits = ctx.actor.campaigns
    return {
        "role": ctx.actor.role.value, "member_id": ctx.actor.member_id, "token_id": ctx.actor.token_id,
        "made_by": ctx.actor.name, "limits": None if limits is None else list(limits),
    }  # fmt: skip


async def _set(ctx: Context, word: str, status: str) -> Webhook:
    row = await webhooks.find(ctx.tx, ctx.team_id, word)
    before = webhooks.shown(row, ctx.now)
    columns: dict[str, Any] = {"status": status}
    if status == "active" and before.stopped_why:
        columns |= _rights(ctx)
    ctx.unchanged = all(getattr(row, name) == value for name, value in columns.items())
    await webhooks.change(ctx.tx, row.id, **columns)
    return await _noted(ctx, row.id, before)


@command("webhook test", role=Role.BUYER, render=queued_message, positional=("webhook",))
async def test_webhook(ctx: Context, new: OneWebhook) -> Queued:
    """Call a webhook with an event of type test."""
    row = await webhooks.find(ctx.tx, ctx.team_id, new.webhook)
    await webhooks.queue_test(ctx.tx, row, ctx.now, f"test_{new_key()}")
    return Queued(f"webhook-{row.id}", 1)


@command("webhook log", role=Role.VIEWER, scope=Scope.OWN, render=call_table, reads=True, positional=("webhook",))
async def log_webhooks(ctx: Context, new: CallLog) -> Page[Call]:
    """Calls of webhooks, latest first, with every answer."""
    if new.webhook:
        rows = [await webhooks.find(ctx.tx, ctx.team_id, new.webhook)]
    else:
        rows = list((await ctx.tx.execute(webhooks.of_team(ctx.team_id))).all())
    webhook_ids = [row.id for row in rows if of_own_campaigns(ctx.actor, webhooks.campaigns_of(row))]
    items = await delivery_log.calls(
        ctx.tx, ctx.team_id, webhook_ids, state=new.state, limit=new.limit + 1, after=cursor(new.after)
    )
    shown = items[: new.limit]
    return Page(shown, str(shown[-1].id) if len(items) > new.limit else None)


@command("webhook resend", role=Role.BUYER, render=queued_message, positional=("webhook", "id"))
async def resend_calls(ctx: Context, new: ResendCalls) -> Queued:
    """Call a webhook again: with one call of its log, or with all that were given up."""
    row = await webhooks.find(ctx.tx, ctx.team_id, new.webhook)
    queued = await webhooks.resend(ctx.tx, ctx.team_id, [row.id], now=ctx.now, number=new.id)
    return Queued(f"webhook-{row.id}", queued)


async def _lost(ctx: Context, new: OneWebhook) -> str:
    row = await webhooks.find(ctx.tx, ctx.team_id, new.webhook)
    return f"{row.name} receives nothing any more, and its secret is deleted; calls still queued are dropped."


@command(
    "webhook remove", role=Role.BUYER, positional=("webhook",), confirm=_lost,
    render=lambda _, webhook: Message(f"Webhook {webhook.name} is removed"),
)  # fmt: skip
async def remove_webhook(ctx: Context, new: OneWebhook) -> Webhook:
    """Remove a webhook for good."""
    webhook = webhooks.shown(await webhooks.find(ctx.tx, ctx.team_id, new.webhook), ctx.now)
    await webhooks.remove(ctx.tx, webhook.id, ctx.now)
    ctx.notes |= {"entity": "webhook", "entity_id": webhook.id, "before": webhook}
    return webhook
