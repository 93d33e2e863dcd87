"""Alerts: arm a rule in a room, see how they stand, acknowledge, snooze, remove."""

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from bot.alerts.backtest import run_backtest
from bot.alerts.context import AlertContext
from bot.commands.digests import chosen_campaigns, room_with_title
from bot.core.arguments import Arguments, MissingArgument, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Table
from bot.core.permissions import Scope, of_own_campaigns
from bot.forms.first_steps import begin
from bot.forms.sorting import Groups, Tags, scope_words, sorted_scope
from bot.render.figures import plural
from storage.alerts import alert_states
from storage.alerts.alert_states import Alert, NewAlert, Terms, Watch
from storage.catalogue.entities import page
from storage.chat import channels
from storage.ledger.alerts import alarms
from storage.ledger.alerts.thresholds import Rule, read_rule
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.schedule import read_minutes, read_quiet_hours, read_zone
from storage.tables import alerts as table

RULE = Meta(description='"ftd < 50% of 7d avg", "clicks < 100 in 1h", "no clicks for 30m", "sync failed" …')


class AlertRule(Arguments):
    rule: Annotated[str | None, RULE] = None
    kind: Annotated[str | None, Meta(description="a ready-made one: sync failed, no clicks for 30m, vanished …")] = None
    campaign: Annotated[
        list[str] | None, refers("campaign", "only these campaigns; all if absent", changes=False, most=200)
    ] = None
    group: Groups = []
    tag: Tags = []
    for_: Annotated[str | None, Meta(description="how long it must last before it is reported: 2h")] = None
    cooldown: Annotated[str, Meta(description="how long it stays silent after it has ended: 1h")] = "1h"
    quiet: Annotated[str | None, Meta(description="hours in which it waits: 22:00-07:00")] = None
    timezone: Annotated[str | None, Meta(description="zone of the quiet hours; default: the reports'")] = None
    channel: Annotated[str | None, Meta(description="slack:C…, telegram:-100… or terminal; default: here")] = None


class OneAlert(Arguments):
    alert: Annotated[str, refers("alert", "which alert, such as alert-7")]


HOW_LONG = Annotated[str, Meta(description="how long: 30m, 2h, 1d; off ends it")]


class Snooze(Arguments):
    alert: Annotated[str, refers("alert", "which alert, such as alert-7")]
    for_: HOW_LONG = "1h"


class Mute(Arguments):
    for_: HOW_LONG = "1h"


def alert_card(ctx: Context, alert: Alert) -> Message:
    fields = [
        ("Room", alert.room),
        ("State", alert.state),
        ("Campaigns", scope_words(ctx, alert)),
    ]
    fields += [("Must last", alert.for_)] if alert.for_ else []
    fields += [("Quiet hours", f"{alert.quiet} {alert.timezone}")] if alert.quiet else []
    fields += [("Fires for", ", ".join(alert.firing))] if alert.firing else []
    fields += [("Snoozed until", f"{alert.snoozed_until:%d %b %H:%M} UTC")] if alert.snoozed_until else []
    if alert.would_have_fired is not None:
        fields.append(("Last 30 days", _history(alert)))
    buttons = Buttons((
        Button("Snooze 1h", f"alert snooze {alert.code} 1h"),
        Button("Remove", f"alert remove {alert.code}", style="danger"),
    ))  # fmt: skip
    return Message(f"Alert {alert.code}: {alert.rule}", (Fields(tuple(fields)), buttons))


def _history(alert: Alert) -> str:
    days = alert.would_have_fired_on or []
    times = f"would have fired {plural(alert.would_have_fired, 'time')} in 30 days"
    return times + (f": {', '.join(days[:10])}" + (" …" if len(days) > 10 else "") if days else "")


def alert_table(ctx: Context, page: Page[Alert]) -> Message:
    if not page.items:
        first = begin(ctx, "New alert", "alert add")
        return Message('No alerts yet: alert add "ftd < 50% of 7d avg"', first, private=True)
    rows = tuple((o.code, o.rule, scope_words(ctx, o), o.room, o.state) for o in page.items)
    more = (Buttons((Button("More", f"alert list after={page.next}"),)),) if page.next else ()
    return Message("Alerts", (Table(("Alert", "Rule", "Campaigns", "Room", "State"), rows), *more), private=True)


def removed_card(_ctx: Context, alert: Alert) -> Message:
    return Message(f"Alert {alert.code} removed: {alert.rule}")


def acknowledged_card(ctx: Context, alert: Alert) -> Message:
    return Message(f"{ctx.actor.name} acknowledged {alert.code}: {alert.rule}")


def snoozed_card(ctx: Context, alert: Alert) -> Message:
    if alert.snoozed_until is None:
        return Message(f"{ctx.actor.name} ended the snooze of {alert.code}: {alert.rule}")
    return Message(f"{ctx.actor.name} snoozed {alert.code} until {alert.snoozed_until:%d %b %H:%M} UTC: {alert.rule}")


def muted_card(ctx: Context, page: Page[Alert]) -> Message:
    if not page.items:
        return Message("No alerts to snooze", private=True)
    until = page.items[0].snoozed_until
    codes = ", ".join(alert.code for alert in page.items)
    if until is None:
        return Message(f"{ctx.actor.name} ended the snooze of {codes}")
    return Message(f"{ctx.actor.name} snoozed {codes} until {until:%d %b %H:%M} UTC")


@command(
    "alert add", role=Role.BUYER, scope=Scope.OWN, render=alert_card, positional=("rule",), sentence="rule",
    prepare=room_with_title,
)  # fmt: skip
async def add_alert(ctx: Context, new: AlertRule) -> Alert:
    """Arm an alert in this room, and say how often it would have fired in the last 30 days."""
    terms = _terms(ctx, new)
    channel: channels.Channel = ctx.prepared
    made = await alert_states.add(ctx.tx, ctx.now, NewAlert(
        team_id=ctx.team_id, room_id=await channels.room_of(ctx.tx, ctx.team_id, channel, ctx.now),
        thread=channel.thread, terms=terms, campaigns=await chosen_campaigns(ctx, new.campaign, field="campaign"),
        scope=await sorted_scope(ctx, new.group, new.tag),
    ))  # fmt: skip
    alert, watch = await alert_states.find(ctx.tx, ctx.team_id, str(made))
    fired = await run_backtest(
        AlertContext(ctx.tx, watch, ctx.now, ctx.deployment, in_helper=ctx.ports.report_in_helper)
    )
    alert = msgspec.structs.replace(alert, would_have_fired=fired.times, would_have_fired_on=fired.days)
    ctx.notes |= {"entity": "alert", "entity_id": alert.id, "after": alert}
    return alert


@command("alert list", role=Role.VIEWER, scope=Scope.OWN, render=alert_table, reads=True)
async def list_alerts(ctx: Context, new: Listing) -> Page[Alert]:
    """The alerts armed, and how each stands."""
    rows, following = await page(
        ctx.tx, alert_states.of_team(ctx.team_id), table.c.id, limit=new.limit, after=new.after
    )
    shown = map(alert_states.shown, rows)
    return Page([alert for alert in shown if of_own_campaigns(ctx.actor, alert.campaigns)], following)


@command("alert show", role=Role.VIEWER, render=alert_card, reads=True, positional=("alert",))
async def show_alert(ctx: Context, new: OneAlert) -> Alert:
    """One alert, and how often it would have fired in the last 30 days."""
    alert, watch = await alert_states.find(ctx.tx, ctx.team_id, new.alert)
    fired = await run_backtest(
        AlertContext(ctx.tx, watch, ctx.now, ctx.deployment, in_helper=ctx.ports.report_in_helper)
    )
    return msgspec.structs.replace(alert, would_have_fired=fired.times, would_have_fired_on=fired.days)


@command("alert ack", role=Role.BUYER, render=acknowledged_card, positional=("alert",))
async def acknowledge_alert(ctx: Context, new: OneAlert) -> Alert:
    """Acknowledge an alert: it is silent until it is over."""
    watch = await _held(ctx, new.alert)
    history = watch.history
    history.alarms = {subject: alarms.acknowledge(alarm) for subject, alarm in history.alarms.items()}
    return await _saved(ctx, watch)


@command("alert snooze", role=Role.BUYER, render=snoozed_card, positional=("alert", "for"))
async def snooze_alert(ctx: Context, new: Snooze) -> Alert:
    """Silence an alert for a while; it is sent again afterwards if it still holds."""
    return await _snooze(ctx, new.alert, _end(ctx, new.for_))


@command("alert mute", role=Role.BUYER, scope=Scope.OWN, render=muted_card, positional=("for",))
async def mute_alerts(ctx: Context, new: Mute) -> Page[Alert]:
    """Snooze every alert for a while."""
    until = _end(ctx, new.for_)
    rows = (await ctx.tx.execute(alert_states.of_team(ctx.team_id).order_by(table.c.id))).all()
    visible = [row for row in rows if of_own_campaigns(ctx.actor, row.campaigns)]
    before = [alert_states.shown(row) for row in visible]
    after = [await _snooze(ctx, str(row.id), until) for row in visible]
    ctx.notes = {"entity": "alert", "before": before, "after": after}
    return Page(after)


def _end(ctx: Context, length: str) -> datetime | None:
    """When a snooze of that length ends; None for `off`. Raises Refused at `for`."""
    if length.strip().lower() == "off":
        return None
    return ctx.now + timedelta(minutes=read_minutes(length, "for"))


async def _alert_lost(ctx: Context, new: OneAlert) -> str:
    alert, _ = await alert_states.find(ctx.tx, ctx.team_id, new.alert)
    return f"{alert.room} gets no more alerts for {alert.rule!r}, and the history of {alert.code} is deleted."


@command("alert remove", role=Role.BUYER, render=removed_card, positional=("alert",), confirm=_alert_lost)
async def remove_alert(ctx: Context, new: OneAlert) -> Alert:
    """Disarm an alert for good."""
    watch = await _held(ctx, new.alert)
    alert, _ = await alert_states.find(ctx.tx, ctx.team_id, str(watch.id))
    await alert_states.remove(ctx.tx, watch.id, ctx.now)
    ctx.notes |= {"entity": "alert", "entity_id": alert.id, "before": alert}
    return alert


async def _snooze(ctx: Context, word: str, until: datetime | None) -> Alert:
    watch = await _held(ctx, word)
    history = watch.history
    if until is not None:
        history.alarms = {subject: alarms.snooze(alarm) for subject, alarm in history.alarms.items()}
    before, _ = await alert_states.find(ctx.tx, ctx.team_id, str(watch.id))
    await alert_states.snooze(ctx.tx, watch.id, until)
    saved = await _saved(ctx, watch)
    ctx.notes["before"] = before
    return saved


async def _held(ctx: Context, word: str) -> Watch:
    """The alert as it stands now, held against others."""
    _, watch = await alert_states.find(ctx.tx, ctx.team_id, word)
    return await alert_states.again(ctx.tx, watch.id) or watch


async def _saved(ctx: Context, watch: Watch) -> Alert:
    before, _ = await alert_states.find(ctx.tx, ctx.team_id, str(watch.id))
    await alert_states.store(ctx.tx, watch.id, watch.history)
    alert, _ = await alert_states.find(ctx.tx, ctx.team_id, str(watch.id))
    ctx.notes |= {"entity": "alert", "entity_id": alert.id, "before": before, "after": alert}
    return alert


def _terms(ctx: Context, new: AlertRule) -> Terms:
    return Terms(
        rule=_rule(new, ctx.deployment.currency), cooldown=read_minutes(new.cooldown, "cooldown"),
        quiet=read_quiet_hours(new.quiet), timezone=read_zone(new.timezone or ctx.deployment.timezone),
    )  # fmt: skip


def _rule(new: AlertRule, currency: str) -> Rule:
    if bool(new.rule) == bool(new.kind):
        raise (Refused if new.rule else MissingArgument)(
            'rule: name a rule, such as "ftd < 50% of 7d avg", or a kind, such as "sync failed"', field="rule"
        )
    try:
        rule = read_rule(new.rule or (new.kind or "").replace("_", " "), currency)
    except Refused as error:
        raise Refused(str(error).replace("rule:", "kind:", 1), field="kind") if new.kind else error from None
    if not new.for_:
        return rule
    lasting = read_minutes(new.for_, "for")
    if rule.kind in {"no clicks", "sync stale"}:
        return msgspec.structs.replace(rule, minutes=lasting)
    return msgspec.structs.replace(rule, for_minutes=lasting)
