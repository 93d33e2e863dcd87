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


async def no_clicks(look: AlertContext) -> list[Reading]:
    """One subject per campaign named, else the whole team; nothing can be missed that is younger than the silence."""
    found = []
    for name, scope in await look.scopes():
        span = look.now - timedelta(minutes=look.rule.minutes), look.now
        last = await live_counts.last_click(look.tx, scope, span)
        young = look.watch.created_at > span[0]
        subject = name or "all campaigns"
        found.append(Reading(
            subject=subject, broken=None if young and last is None else last is None, recovered=last is not None,
            text=f"no clicks on {subject} for {length(look.rule.minutes)}", over=f"clicks on {subject} again",
            why=f"stats today by source campaign={name}" if name else "stats today by campaign",
        ))  # fmt: skip
    return found


async def postback_failures(look: AlertContext) -> list[Reading]:
    span = look.now - timedelta(minutes=look.rule.minutes), look.now
    found = []
    for one in await live_counts.postback_answers(look.tx, look.watch.team_id, span):
        share = one.failed / one.total * 100
        found.append(Reading(
            subject=one.account, broken=share > look.rule.limit and one.total >= FEWEST_POSTBACKS,
            recovered=share <= look.rule.limit * 0.9,
            text=f"{one.failed} of {one.total} postbacks of {one.account} came to nothing ({share:.0f}%)",
            over=f"postbacks of {one.account} are accepted again", why=f"postback log account={one.account}",
        ))  # fmt: skip
    return found


async def sync_failed(look: AlertContext) -> list[Reading]:
    found = []
    for one in await attention.accounts_health(look.tx, look.watch.team_id, (), await look.account_ids()):
        why = one.error or one.paused_why or "paused"
        found.append(Reading(
            subject=one.code, broken=one.error is not None, recovered=one.error is None,
            text=f"sync of {one.code} failed: {why}", over=f"sync of {one.code} works again",
            why=f"sync status {one.code}",
        ))  # fmt: skip
    return found


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


async def sync_stale(look: AlertContext) -> list[Reading]:
    after = timedelta(minutes=look.rule.minutes)
    found = []
    for one in await attention.accounts_health(look.tx, look.watch.team_id, (), await look.account_ids()):
        if one.fetched:
            broken = one.stale(look.now, after)
            found.append(Reading(
                subject=one.code, broken=broken, recovered=not broken,
                text=f"no figures from {one.code} for over {length(look.rule.minutes)}",
                over=f"figures from {one.code} again", why=f"sync status {one.code}",
            ))  # fmt: skip
    return found


async def cap(look: AlertContext) -> list[Reading]:
    found = []
    for one in await live_counts.caps(look.tx, look.watch.team_id, await look.offer_ids()):
        period = caps.period_of(look.now, one.cap_period, ZoneInfo(one.timezone))
        used = await live_counts.cap_used(look.tx, one.id, one.cap_event, period)
        share = used / one.cap * 100
        found.append(Reading(
            subject=f"{one.code} {period}", broken=share >= look.rule.limit, recovered=share < look.rule.limit,
            text=f"{one.code}: {used} of a cap of {one.cap} {one.cap_event}s a {one.cap_period} ({share:.0f}%)",
            over=f"{one.code} is below its cap again", why=f"offer show {one.code}",
        ))  # fmt: skip
    return found


async def spend_without_registrations(look: AlertContext) -> list[Reading]:
    report = await look.report(look.today, look.today, ("campaign",))
    found = []
    for row in report.rows:
        name = row.group.get("campaign")
        if name and row.spend is not None:
            none = not row.registrations.merged
            found.append(Reading(
                subject=name, broken=none and row.spend > look.rule.limit * 1e6, recovered=not none,
                text=f"{name} has spent {figures.money(row.spend, report.currency)} today without a registration",
                over=f"{name} has registrations now", why=f"stats today by offer campaign={name}",
            ))  # fmt: skip
    return found


async def _domains(look: AlertContext) -> list[tuple[str, date | None, dict[str, object]]]:
    d = domains.c
    rows = await look.tx.execute(
        select(d.name, d.registered_until, d.state, d.status).where(d.team_id == look.watch.team_id)
    )
    return [(row.name, row.registered_until, {**row.state.get("health", {}), "status": row.status}) for row in rows]


async def domain_down(look: AlertContext) -> list[Reading]:
    found = []
    for name, _, health in await _domains(look):
        if health["status"] == "live" and "ok" in health:
            down = not health["ok"]
            found.append(Reading(
                subject=name, broken=down, recovered=not down,
                text=f"{name} is down: {health.get('error') or health.get('detail') or 'no answer'}",
                over=f"{name} is up again", why=f"domain show {name}",
            ))  # fmt: skip
    return found


async def domain_expiring(look: AlertContext) -> list[Reading]:
    by = look.today + timedelta(minutes=look.rule.minutes)
    return [
        Reading(
            subject=name, broken=until <= by, recovered=until > by, text=f"{name} runs out on {until:%d %b %Y}",
            over=f"{name} is renewed until {until:%d %b %Y}", why=f"domain show {name}",
        )
        for name, until, _ in await _domains(look)
        if until is not None
    ]  # fmt: skip


async def dead_offer_link(look: AlertContext) -> list[Reading]:
    """What hub.jobs.offer_links found at its last look."""
    found = []
    for one in await offer_checks.faults(look.tx, look.watch.team_id, await look.offer_ids()):
        found.append(Reading(
            subject=one.code, broken=one.fault is not None, recovered=one.fault is None,
            text=f"the link of {one.code} leads nowhere: {one.fault}", over=f"the link of {one.code} works again",
            why=f"offer show {one.code}",
        ))  # fmt: skip
    return found


CONDITIONS: dict[str, Callable[[AlertContext], Awaitable[list[Reading]]]] = {
    "figure": figure, "no clicks": no_clicks, "postback failures": postback_failures, "sync failed": sync_failed,
    "suspect": suspect, "sync stale": sync_stale, "cap": cap,
    "spend without registrations": spend_without_registrations,
    "domain down": domain_down, "domain expiring": domain_expiring,
    "dead offer link": dead_offer_link,
}  # fmt: skip
