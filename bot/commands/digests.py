"""Digests: subscribe a room, see who gets one, look at it now, unsubscribe."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.commands.stats import moment
from bot.core import permissions
from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Table
from bot.core.permissions import Scope, of_own_campaigns
from bot.core.tokenizer import day
from bot.digests import loading
from bot.digests.message import DigestRequest
from bot.forms.first_steps import begin
from bot.forms.sorting import Groups, Tags, scope_words, sorted_scope
from bot.render.terminal import render
from storage.catalogue.entities import page
from storage.catalogue.groups import SortedScope, campaigns_in
from storage.chat import channels, installations, rooms, subscriptions
from storage.chat.subscriptions import Subscription
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.schedule import Every, Schedule, covers, read_time, read_weekdays, read_zone
from storage.tables import subscriptions as table

EVERY = Annotated[Every, choices("how often", "day", "week", "month")]
CAMPAIGNS = Annotated[
    list[str] | None, refers("campaign", "only these campaigns; all if absent", changes=False, most=200)
]
WEEKDAYS = Meta(description="only on these: mon,tue,wed,thu,fri; a weekly one comes on the first")


class NewDigest(Arguments):
    at: Annotated[str, Meta(description="time of day, such as 09:00")] = "09:00"
    timezone: Annotated[str | None, Meta(description="its zone, such as Europe/Berlin; default: the reports'")] = None
    every: EVERY = "day"
    weekdays: Annotated[list[str], WEEKDAYS] = []
    campaigns: CAMPAIGNS = None
    group: Groups = []
    tag: Tags = []
    channel: Annotated[str | None, Meta(description="slack:C…, telegram:-100… or terminal; default: here")] = None


class DigestPreview(Arguments):
    digest: Annotated[str | None, refers("digest", "a subscription; default: this room's, else all campaigns")] = None
    every: EVERY | None = None
    campaigns: CAMPAIGNS = None
    group: Groups = []
    tag: Tags = []
    full: Annotated[bool, Meta(description="with all rows, not only what fits one screen")] = False
    day: Annotated[str | None, Meta(description="the last day it covers; default: yesterday")] = None
    since: Annotated[str | None, Meta(description="changes since when: 2026-10-05T09:00; default: the last one")] = None


class OneDigest(Arguments):
    digest: Annotated[str | None, refers("digest", "which one; default: the one of this room")] = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent now: the message, and its text as a terminal shows it."""

    from_: date = msgspec.field(name="from")
    to: date
    title: str
    text: str
    message: Message


def subscription_card(ctx: Context, subscription: Subscription) -> Message:
    zone = read_zone(subscription.timezone)
    when = subscription.next_at.astimezone(Schedule(every="day", at=read_time(subscription.at), timezone=zone).zone)
    following = f"{when:%a %d %b %Y %H:%M} {subscription.timezone}"
    fields = (
        ("Room", subscription.room), ("When", subscription.name),
        ("Campaigns", scope_words(ctx, subscription)),
        ("Next", following if subscription.status == "active" else "never: the room is lost"),
    )  # fmt: skip
    buttons = Buttons(
        (
            Button("Preview", f"digest preview {subscription.code}"),
            Button("Unsubscribe", f"digest unsubscribe {subscription.code}"),
        )
    )
    return Message(f"Digest {subscription.code} · {subscription.name}", (Fields(fields), buttons))


def removed_card(_ctx: Context, subscription: Subscription) -> Message:
    return Message(f"No more digest in {subscription.room} ({subscription.name})")


def subscription_table(ctx: Context, page: Page[Subscription]) -> Message:
    if not page.items:
        first = begin(ctx, "Daily digest here", "digest subscribe")
        return Message("No digests yet: digest subscribe at=09:00", first, private=True)
    rows = tuple((o.code, o.room, o.name, scope_words(ctx, o), o.status) for o in page.items)
    more = (Buttons((Button("More", f"digest list after={page.next}"),)),) if page.next else ()
    return Message("Digests", (Table(("Digest", "Room", "When", "Campaigns", "State"), rows), *more), private=True)


def preview_message(_ctx: Context, preview: Preview) -> Message:
    return msgspec.structs.replace(preview.message, private=True)


async def room_with_title(ctx: Context, new: Any) -> channels.Channel:
    """The channel of the command's `channel`, with what the chat calls it."""
    channel = room_named(ctx, new.channel)
    if channel.title or channel.private or channel.face == "terminal":
        return channel
    async with ctx.reading():
        workspace = await channels.workspace_of(ctx.tx, ctx.team_id, channel)
        token = await installations.token(ctx.tx, ctx.box, workspace)
    title = await ctx.ports.room_title(channel.face, channel.room, token=token)
    return msgspec.structs.replace(channel, title=title)


@command(
    "digest subscribe", role=Role.BUYER, scope=Scope.OWN, render=subscription_card, prepare=room_with_title,
)  # fmt: skip
async def subscribe(ctx: Context, new: NewDigest) -> Subscription:
    """Send this room the digest: every day, week or month at a time of day."""
    schedule = Schedule(
        every=new.every, at=read_time(new.at), weekdays=read_weekdays(new.weekdays),
        timezone=read_zone(new.timezone or ctx.deployment.timezone),
    )  # fmt: skip
    channel: channels.Channel = ctx.prepared
    room_id = await channels.room_of(ctx.tx, ctx.team_id, channel, ctx.now)
    made = await subscriptions.add(ctx.tx, ctx.now, subscriptions.NewSubscription(
        team_id=ctx.team_id, room_id=room_id, thread=channel.thread, schedule=schedule,
        campaigns=await chosen_campaigns(ctx, new.campaigns), scope=await sorted_scope(ctx, new.group, new.tag),
    ))  # fmt: skip
    subscription = await subscriptions.find(ctx.tx, ctx.team_id, str(made))
    ctx.notes |= {"entity": "digest", "entity_id": subscription.id, "after": subscription}
    return subscription


@command("digest list", role=Role.VIEWER, scope=Scope.OWN, render=subscription_table, reads=True)
async def list_digests(ctx: Context, new: Listing) -> Page[Subscription]:
    """The rooms that get a digest, and when."""
    query = subscriptions.of_team(ctx.team_id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    shown = map(subscriptions.shown, rows)
    return Page(
        [subscription for subscription in shown if of_own_campaigns(ctx.actor, subscription.campaigns)], following
    )


@command(
    "digest preview", role=Role.VIEWER, scope=Scope.OWN, render=preview_message, reads=True, positional=("digest",)
)
async def preview(ctx: Context, new: DigestPreview) -> Preview:
    """The digest as it would be sent now."""
    subscription = await _named_or_here(ctx, new.digest, every=new.every)
    every: Every = new.every or (subscription.every if subscription else "day")
    campaigns = new.campaigns if new.campaigns is not None else (subscription.campaigns if subscription else None)
    named = await sorted_scope(ctx, new.group, new.tag)
    if named is None and subscription is not None:
        named = SortedScope(groups=tuple(subscription.groups), tags=tuple(subscription.tags))
    chosen = await campaigns_in(ctx.tx, ctx.team_id, named, await chosen_campaigns(ctx, campaigns))
    schedule = Schedule(every=every, at=read_time("00:00"), timezone="UTC")
    first, last = covers(schedule, _moment_of(ctx, new.day), ctx.deployment.zone)
    request = DigestRequest(
        team_id=ctx.team_id, first=first, last=last, every=every, campaigns=chosen,
        told_until=moment(new.since, ctx, "since") or (
            subscription.told_until if subscription else ctx.now - timedelta(days=1)
        ),
        now=ctx.now, deployment=ctx.deployment, full=new.full,
    )  # fmt: skip
    message = await loading.build(ctx.tx, request, in_helper=ctx.ports.report_in_helper)
    return Preview(from_=first, to=last, title=message.title, text=render(message), message=message)


@command("digest unsubscribe", role=Role.BUYER, scope=Scope.OWN, render=removed_card, positional=("digest",))
async def unsubscribe(ctx: Context, new: OneDigest) -> Subscription:
    """Stop a room's digest."""
    subscription = await _named_or_here(ctx, new.digest, only=True)
    if subscription is None:
        raise Refused("digest: which one? 'digest list' shows them", field="digest")
    await subscriptions.remove(ctx.tx, subscription.id)
    ctx.notes |= {"entity": "digest", "entity_id": subscription.id, "before": subscription}
    return subscription


def _moment_of(ctx: Context, word: str | None) -> datetime:
    """When a digest whose last day is this one would be sent. Raises Refused at `day`."""
    if not word:
        return ctx.now
    try:
        last = day(word, ctx.today)
    except ValueError as error:
        raise Refused(f"day: {error}", field="day") from None
    if not 2000 <= last.year <= 9000:
        raise Refused(f"day: {last}: days from the year 2000 on can be asked for", field="day")
    return datetime.combine(last + timedelta(days=1), time(12), ctx.deployment.zone)


async def _named_or_here(
    ctx: Context, word: str | None, *, only: bool = False, every: Every | None = None
) -> Subscription | None:
    if word:
        return await subscriptions.find(ctx.tx, ctx.team_id, word)
    if ctx.room is None:
        return None
    channel = room_named(ctx, None)
    room = await rooms.find(ctx.tx, channel.face, channel.workspace, channel.room)
    here = await subscriptions.of_room(ctx.tx, ctx.team_id, room.id, channel.thread) if room else []
    here = [subscription for subscription in here if of_own_campaigns(ctx.actor, subscription.campaigns)]
    here.sort(key=lambda subscription: subscription.every != every)
    if only and len(here) > 1:
        raise Refused(f"digest: which one? {', '.join(subscription.code for subscription in here)}", field="digest")
    return here[0] if here else None


def room_named(ctx: Context, named: str | None) -> channels.Channel:
    """The channel named, else the room of the call; over HTTP there is none, and lists only show it."""
    if named:
        channel = channels.read(named)
        if channel.face == "slack" and not channel.workspace and ctx.room and ctx.room.face == "slack":
            return msgspec.structs.replace(channel, workspace=ctx.room.workspace)
        return channel
    if ctx.room is None:
        return channels.read("terminal")
    room = ctx.room
    return channels.Channel(
        face=room.face, room=room.room, workspace=room.workspace, title=room.title, private=room.private,
        thread=room.thread if room.face == "telegram" else "",
    )  # fmt: skip


async def chosen_campaigns(
    ctx: Context, words: list[str] | None, *, field: str = "campaigns"
) -> tuple[str, ...] | None:
    """Codes of the campaigns asked for, within those the actor is limited to."""
    if not words:
        return ctx.actor.campaigns
    codes = [(await permissions.find(ctx, "campaign", word, field=field)).code for word in words]
    return tuple(dict.fromkeys(codes))
