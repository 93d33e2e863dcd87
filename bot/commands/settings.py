"""Settings of the chat a member writes in, and the deployment's time zone and currency."""

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


def settings_card(ctx: Context, settings: Settings) -> Message:
    rights = (
        settings.role.value
        if settings.campaigns is None
        else f"{settings.role.value}, only {ctx.names_of('campaign', settings.campaigns)}"
    )
    fields = (
        ("You", f"{settings.member}, {rights}"), ("Reports", f"{settings.timezone} days, {settings.currency}"),
        ("Address", settings.public_url), ("Digests here", ", ".join(settings.digests) or "none"),
        ("Alerts here", ", ".join(settings.alerts) or "none"),
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
        digests=[f"{subscription.code} ({subscription.name})" for subscription in map(subscriptions.shown, digests)
                 if of_own_campaigns(ctx.actor, subscription.campaigns)],
        alerts=[f"{alert.code} ({alert.rule})" for alert in map(alert_states.shown, armed)
                if of_own_campaigns(ctx.actor, alert.campaigns)],
    )  # fmt: skip
