"""What alerts on conditions see when they look: a reading per subject."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bot.alerts.context import AlertContext, Reading
from bot.alerts.figures import figure
from bot.alerts.held_reports import consequence
from bot.core.message import Button
from bot.render import figures
from storage.alerts import attention, live_counts
from storage.catalogue import offer_checks
from storage.clicks import caps
from storage.ledger.alerts.thresholds import length
from storage.revenue.held_reports import held_reports
from storage.tables import domains

FEWEST_POSTBACKS = 3  # fewer say nothing about a share


async def no_clicks(context: AlertContext) -> list[Reading]:
    """One subject per campaign named, else the whole team; nothing can be missed that is younger than the silence."""
    readings = []
    for name, scope in await context.scopes():
        span = context.now - timedelta(minutes=context.rule.minutes), context.now
        last = await live_counts.last_click(context.tx, scope, span)
        young = context.watch.created_at > span[0]
        subject = name or "all campaigns"
        readings.append(Reading(
            subject=subject, broken=None if young and last is None else last is None, recovered=last is not None,
            text=f"no clicks on {subject} for {length(context.rule.minutes)}", over=f"clicks on {subject} again",
            why=f"stats today by source campaign={name}" if name else "stats today by campaign",
        ))  # fmt: skip
    return readings


async def postback_failures(context: AlertContext) -> list[Reading]:
    span = context.now - timedelta(minutes=context.rule.minutes), context.now
    readings = []
    for answer in await live_counts.postback_answers(context.tx, context.watch.team_id, span):
        share = answer.failed / answer.total * 100
        readings.append(Reading(
            subject=answer.account, broken=share > context.rule.limit and answer.total >= FEWEST_POSTBACKS,
            recovered=share <= context.rule.limit * 0.9,
            text=f"{answer.failed} of {answer.total} postbacks of {answer.account} came to nothing ({share:.0f}%)",
            over=f"postbacks of {answer.account} are accepted again", why=f"postback log account={answer.account}",
        ))  # fmt: skip
    return readings


async def sync_failed(context: AlertContext) -> list[Reading]:
    readings = []
    for account in await attention.accounts_health(context.tx, context.watch.team_id, (), await context.account_ids()):
        why = account.error or account.paused_why or "paused"
        readings.append(Reading(
            subject=account.code, broken=account.error is not None, recovered=account.error is None,
            text=f"sync of {account.code} failed: {why}", over=f"sync of {account.code} works again",
            why=f"sync status {account.code}",
        ))  # fmt: skip
    return readings


async def suspect(look: AlertContext) -> list[Reading]:
    """Accounts whose report is held until a member confirms or discards it."""
    held = {row.code: row for row in await attention.suspects(look.tx, look.watch.team_id, await look.account_ids())}
    known = look.watch.history.alarms
    changes = {
        code: consequence(await held_reports(look.tx, row.id)) for code, row in held.items() if code not in known
    }
    return [
        Reading(
            subject=code, broken=code in held, recovered=code not in held,
            text=f"a report of {code} is held: {held[code].reason}. {changes.get(code, '')}" if code in held else "",
            over=f"no report of {code} is held any more", why=f"sync show {code}",
            buttons=(
                Button("Confirm", f"sync confirm {code}", style="primary"),
                Button("Discard", f"sync discard {code}", style="danger"),
            ),
        )
        for code in sorted({*held, *known})
    ]  # fmt: skip


async def sync_stale(context: AlertContext) -> list[Reading]:
    after = timedelta(minutes=context.rule.minutes)
    readings = []
    for account in await attention.accounts_health(context.tx, context.watch.team_id, (), await context.account_ids()):
        if account.fetched:
            broken = account.stale(context.now, after)
            readings.append(Reading(
                subject=account.code, broken=broken, recovered=not broken,
                text=f"no figures from {account.code} for over {length(context.rule.minutes)}",
                over=f"figures from {account.code} again", why=f"sync status {account.code}",
            ))  # fmt: skip
    return readings


async def cap(context: AlertContext) -> list[Reading]:
    readings = []
    for offer_cap in await live_counts.caps(context.tx, context.watch.team_id, await context.offer_ids()):
        period = caps.period_of(context.now, offer_cap.cap_period, ZoneInfo(offer_cap.timezone))
        used = await live_counts.cap_used(context.tx, offer_cap.id, offer_cap.cap_event, period)
        share = used / offer_cap.cap * 100
        readings.append(Reading(
            subject=f"{offer_cap.code} {period}", broken=share >= context.rule.limit,
            recovered=share < context.rule.limit,
            text=f"{offer_cap.code}: {used} of a cap of {offer_cap.cap} {offer_cap.cap_event}s a "
                 f"{offer_cap.cap_period} ({share:.0f}%)",
            over=f"{offer_cap.code} is below its cap again", why=f"offer show {offer_cap.code}",
        ))  # fmt: skip
    return readings


async def spend_without_registrations(context: AlertContext) -> list[Reading]:
    report = await context.report(context.today, context.today, ("campaign",))
    readings = []
    for row in report.rows:
        name = row.group.get("campaign")
        if name and row.spend is not None:
            none = not row.registrations.merged
            readings.append(Reading(
                subject=name, broken=none and row.spend > context.rule.limit * 1e6, recovered=not none,
                text=f"{name} has spent {figures.money(row.spend, report.currency)} today without a registration",
                over=f"{name} has registrations now", why=f"stats today by offer campaign={name}",
            ))  # fmt: skip
    return readings


async def _domains(context: AlertContext) -> list[tuple[str, date | None, dict[str, object]]]:
    d = domains.c
    rows = await context.tx.execute(
        select(d.name, d.registered_until, d.state, d.status).where(d.team_id == context.watch.team_id)
    )
    return [(row.name, row.registered_until, {**row.state.get("health", {}), "status": row.status}) for row in rows]


async def domain_down(context: AlertContext) -> list[Reading]:
    readings = []
    for name, _, health in await _domains(context):
        if health["status"] == "live" and "ok" in health:
            down = not health["ok"]
            readings.append(Reading(
                subject=name, broken=down, recovered=not down,
                text=f"{name} is down: {health.get('error') or health.get('detail') or 'no answer'}",
                over=f"{name} is up again", why=f"domain show {name}",
            ))  # fmt: skip
    return readings


async def domain_expiring(context: AlertContext) -> list[Reading]:
    by = context.today + timedelta(minutes=context.rule.minutes)
    return [
        Reading(
            subject=name, broken=until <= by, recovered=until > by, text=f"{name} runs out on {until:%d %b %Y}",
            over=f"{name} is renewed until {until:%d %b %Y}", why=f"domain show {name}",
        )
        for name, until, _ in await _domains(context)
        if until is not None
    ]  # fmt: skip


async def dead_offer_link(context: AlertContext) -> list[Reading]:
    """What hub.jobs.offer_links found at its last look."""
    readings = []
    for fault in await offer_checks.faults(context.tx, context.watch.team_id, await context.offer_ids()):
        readings.append(Reading(
            subject=fault.code, broken=fault.fault is not None, recovered=fault.fault is None,
            text=f"the link of {fault.code} leads nowhere: {fault.fault}", over=f"the link of {fault.code} works again",
            why=f"offer show {fault.code}",
        ))  # fmt: skip
    return readings


CONDITIONS: dict[str, Callable[[AlertContext], Awaitable[list[Reading]]]] = {
    "figure": figure, "no clicks": no_clicks, "postback failures": postback_failures, "sync failed": sync_failed,
    "suspect": suspect, "sync stale": sync_stale, "cap": cap,
    "spend without registrations": spend_without_registrations,
    "domain down": domain_down, "domain expiring": domain_expiring,
    "dead offer link": dead_offer_link,
}  # fmt: skip
