"""Settings of the chat one speaks in, and what the deployment reckons in."""

import msgspec

from bot.core.arguments import Arguments
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Button, Buttons, Fields, Message
from bot.core.permissions import Scope, of_own_campaigns
from storage.alerts import alert_states
from storage.chat import rooms, subscriptions
from storage.ledger.facts import Role
from storage.tables import alerts as alert_table
from storage.tables import subscriptions as subscription_table


class NoArguments(Arguments):
    pass


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Who one is here, the reports' zone and currency, and what this chat is sent."""

    member: str
    role: Role
    campaigns: list[str] | None
    timezone: str
    currency: str
    public_url: str
    digests: list[str]
    alerts: list[str]


def settings_card(_ctx: Context, found: Settings) -> Message:
    told = found.role.value if found.campaigns is None else f"{found.role.value}, only {', '.join(found.campaigns)}"
    fields = (
        ("You", f"{found.member}, {told}"), ("Reports", f"{found.timezone} days, {found.currency}"),
        ("Address", found.public_url), ("Digests here", ", ".join(found.digests) or "none"),
        ("Alerts here", ", ".join(found.alerts) or "none"),
    )  # fmt: skip
    ways = (
        Button("New digest", "digest subscribe"), Button("New alert", "alert add"), Button("Digests", "digest list"),
        Button("Alerts", "alert list"), Button("Members", "member list"), Button("Accounts", "account list"),
    )  # fmt: skip
    return Message("Settings", (Fields(fields), Buttons(ways)), private=True)


@command("settings", role=Role.VIEWER, scope=Scope.OPEN, render=settings_card, reads=True)
async def settings(ctx: Context, _new: NoArguments) -> Settings:
    """Who you are here, and what this chat is sent."""
    room = await rooms.find(ctx.tx, ctx.room.face, ctx.room.workspace, ctx.room.room) if ctx.room else None
    room_id = room.id if room else 0
    digests = await ctx.tx.execute(subscriptions.of_team(ctx.team_id).where(subscription_table.c.room_id == room_id))
    armed = await ctx.tx.execute(alert_states.of_team(ctx.team_id).where(alert_table.c.room_id == room_id))
    mine = ctx.actor.campaigns
    return Settings(
        member=ctx.actor.name, role=ctx.actor.role, campaigns=None if mine is None else list(mine),
        timezone=ctx.deployment.timezone, currency=ctx.deployment.currency, public_url=ctx.deployment.public_url,
        digests=[f"{one.code} ({one.name})" for one in map(subscriptions.shown, digests)
                 if of_own_campaigns(ctx.actor, one.campaigns)],
        alerts=[f"{one.code} ({one.rule})" for one in map(alert_states.shown, armed)
                if of_own_campaigns(ctx.actor, one.campaigns)],
    )  # fmt: skip
