"""What the kinds of alerts look at: conditions give a reading per subject, events are reported once."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select

from bot.alerts.context import AlertContext, AlertEvent, Reading
from bot.alerts.figures import figure, start_of
from bot.alerts.messages import consequence
from bot.core.message import Button
from bot.core.serving import restated_offers, serving
from bot.render import figures
from storage.alerts import attention, live_counts
from storage.catalogue import offer_checks
from storage.clicks import caps
from storage.ledger.errors import CasinoFluxError
from storage.ledger.money import convert
from storage.ledger.schedule import minutes_text
from storage.revenue import restatements
from storage.revenue.held_reports import held_reports
from storage.revenue.restatements import Restated
from storage.tables import accounts, campaigns, domains, offers

FEWEST_POSTBACKS = 3  # fewer say nothing about a share


async def no_clicks(context: AlertContext) -> list[Reading]:
    """One subject per campaign named, else the whole team; nothing can be missed that is younger than the silence."""
    readings = []
    names = await context.names(campaigns)
    for code, scope in await context.scopes():
        span = context.now - timedelta(minutes=context.rule.minutes), context.now
        last = await live_counts.last_click(context.tx, scope, span)
        young = context.watch.created_at > span[0]
        about = names.get(code, code) or "all campaigns"
        silence = minutes_text(context.rule.minutes)
        readings.append(Reading(
            subject=code or "all campaigns", broken=None if young and last is None else last is None,
            recovered=last is not None, text=f"no clicks on {about} for {silence}", over=f"clicks on {about} again",
            why=f"stats today by source campaign={code}" if code else "stats today by campaign", about=about,
            measure=f"clicks in {silence}", value="0" if last is None else "",
            usual=await _usual_clicks(context, scope, span) if last is None else "",
            since=span[0] if last is None else None,
        ))  # fmt: skip
    return readings


async def _usual_clicks(context: AlertContext, scope: live_counts.Scope, span: live_counts.Span) -> str:
    """The average of the same minutes on the seven days before."""
    counts = [
        await live_counts.counted(
            context.tx, scope, "clicks", (start_of(context, span[0], days), start_of(context, span[1], days))
        )
        for days in range(1, 8)
    ]
    return f"{sum(counts) / len(counts):,.1f}, 7-day average"


async def postback_failures(context: AlertContext) -> list[Reading]:
    span = context.now - timedelta(minutes=context.rule.minutes), context.now
    readings = []
    names = await context.names(accounts)
    ids = await context.account_ids()
    for answer in await live_counts.postback_answers(context.tx, context.watch.team_id, span, ids):
        share = answer.failed / answer.total * 100
        counted = f"{answer.failed} of {answer.total} postbacks" if ids is None else "postbacks"
        about = names.get(answer.account, answer.account)
        readings.append(Reading(
            noun="Account", subject=answer.account, value=f"{share:.0f}%",
            broken=share > context.rule.limit and answer.total >= FEWEST_POSTBACKS,
            recovered=share <= context.rule.limit * 0.9,
            text=f"{counted} of {about} failed ({share:.0f}%)",
            over=f"postbacks of {about} are accepted again", why=f"postback log account={answer.account}",
            about=about, measure=f"postbacks that failed in {minutes_text(context.rule.minutes)}",
        ))  # fmt: skip
    return readings


async def sync_failed(context: AlertContext) -> list[Reading]:
    readings = []
    for account in await attention.accounts_health(context.tx, context.watch.team_id, (), await context.account_ids()):
        why = account.error or account.paused_why or "paused"
        readings.append(Reading(
            noun="Account", subject=account.code, broken=account.error is not None, recovered=account.error is None,
            text=f"sync of {account.name} failed: {why}", over=f"sync of {account.name} works again",
            why=f"sync status {account.code}", about=account.name, measure="sync",
            value="failed" if account.error else "works", since=account.last_success_at,
        ))  # fmt: skip
    return readings


async def _consequence(context: AlertContext, account_id: int) -> str:
    """What confirming a held report changes; empty where comparing fails or takes too long."""
    try:
        return consequence(await held_reports(context.tx, account_id, context.held_in_helper))
    except CasinoFluxError:
        return ""


async def suspect(context: AlertContext) -> list[Reading]:
    """Accounts whose report is held until a member confirms or discards it.

    Who watches the whole team sees what it would change: the account may serve other campaigns, too.
    """
    held = {
        row.code: row
        for row in await attention.suspects(context.tx, context.watch.team_id, await context.account_ids())
    }
    known = context.watch.history.alarms
    names = await context.names(accounts)
    notes = {}
    for code, row in held.items() if context.watch.campaigns is None else ():
        change = await _consequence(context, row.id) if code not in known else ""
        notes[code] = f": {row.reason}. {change}"
    return [
        Reading(
            noun="Account", subject=code, broken=code in held, recovered=code not in held,
            text=(
                f"a report of {names.get(code, code)} is held{notes.get(code, '')}"
                if code in held
                else ""
            ),
            over=f"no report of {names.get(code, code)} is held any more", why=f"sync show {code}",
            about=names.get(code, code), measure="report", value="held" if code in held else "none held",
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
                noun="Account", subject=account.code, broken=broken, recovered=not broken,
                text=f"no figures from {account.name} for over {minutes_text(context.rule.minutes)}",
                over=f"figures from {account.name} again", why=f"sync status {account.code}", about=account.name,
                measure="figures", value="none" if broken else "come in",
                since=account.last_success_at or account.created_at,
            ))  # fmt: skip
    return readings


_CAP_WORDS = {"click": "clicks", "registration": "registrations", "first_deposit": "FTDs"}


async def cap(context: AlertContext) -> list[Reading]:
    readings = []
    names = await context.names(offers)
    for offer_cap in await live_counts.caps(context.tx, context.watch.team_id, await context.offer_ids()):
        period = caps.period_of(context.now, offer_cap.cap_period, ZoneInfo(offer_cap.timezone))
        used = await live_counts.cap_used(context.tx, offer_cap.id, offer_cap.cap_event, period)
        share = used / offer_cap.cap * 100
        about = names.get(offer_cap.code, offer_cap.code)
        counted = _CAP_WORDS.get(offer_cap.cap_event, "clicks")
        readings.append(Reading(
            noun="Offer", subject=f"{offer_cap.code} {period}", broken=share >= context.rule.limit,
            recovered=share < context.rule.limit,
            text=f"{about}: {used} of a cap of {offer_cap.cap} {counted} a "
                 f"{offer_cap.cap_period} ({share:.0f}%)",
            over=f"{about} is below its cap again", why=f"offer show {offer_cap.code}", about=about,
            measure=f"cap of {offer_cap.cap:,} {counted} a {offer_cap.cap_period}",
            value=f"{used:,} ({share:.0f}%)",
        ))  # fmt: skip
    return readings


async def spend_without_registrations(context: AlertContext) -> list[Reading]:
    report = await context.report(context.today, context.today, ("campaign",))
    readings = []
    for row in report.rows:
        code = row.group.get("campaign")
        if code and row.spend is not None:
            none = not row.registrations.merged
            about, spent = report.names.get("campaign", {}).get(code, code), figures.money(row.spend, report.currency)
            readings.append(Reading(
                subject=code, broken=none and row.spend > context.rule.limit * 1e6, recovered=not none,
                text=f"{about} has spent {spent} today without a registration", about=about,
                over=f"{about} has registrations now", why=f"stats today by offer campaign={code}",
                measure="spend and registrations today",
                value=f"{spent}, {figures.plural(row.registrations.merged or 0, 'registration')}",
            ))  # fmt: skip
    return readings


async def _domains(context: AlertContext) -> list[tuple[str, date | None, dict[str, object]]]:
    d = domains.c
    query = select(d.name, d.registered_until, d.state, d.status).where(d.team_id == context.watch.team_id)
    if context.watch.campaigns is not None:
        query = query.where(d.id.in_(serving(context.watch.team_id, context.watch.campaigns, "domain")))
    rows = await context.tx.execute(query)
    return [(row.name, row.registered_until, {**row.state.get("health", {}), "status": row.status}) for row in rows]


async def domain_down(context: AlertContext) -> list[Reading]:
    readings = []
    for name, _, health in await _domains(context):
        if health["status"] == "live" and "ok" in health:
            down = not health["ok"]
            readings.append(Reading(
                noun="Domain", subject=name, broken=down, recovered=not down,
                text=f"{name} is down: {health.get('error') or health.get('detail') or 'no answer'}",
                over=f"{name} is up again", why=f"domain show {name}", about=name, measure="domain",
                value="down" if down else "up",
            ))  # fmt: skip
    return readings


async def domain_expiring(context: AlertContext) -> list[Reading]:
    by = context.today + timedelta(minutes=context.rule.minutes)
    return [
        Reading(
            noun="Domain", subject=name, broken=until <= by, recovered=until > by,
            text=f"{name} runs out on {until:%d %b %Y}",
            over=f"{name} is renewed until {until:%d %b %Y}", why=f"domain show {name}", about=name,
            measure="registration of the domain", value=f"ends {until:%d %b %Y}",
        )
        for name, until, _ in await _domains(context)
        if until is not None
    ]  # fmt: skip


async def dead_offer_link(context: AlertContext) -> list[Reading]:
    """What hub.jobs.offer_links found at its last look."""
    readings = []
    names = await context.names(offers)
    for fault in await offer_checks.faults(context.tx, context.watch.team_id, await context.offer_ids()):
        about = names.get(fault.code, fault.code)
        readings.append(Reading(
            noun="Offer", subject=fault.code, broken=fault.fault is not None, recovered=fault.fault is None,
            text=f"the link of {about} leads nowhere: {fault.fault}", over=f"the link of {about} works again",
            why=f"offer show {fault.code}", about=about, measure="link", value=fault.fault or "works",
        ))  # fmt: skip
    return readings


CONDITIONS: dict[str, Callable[[AlertContext], Awaitable[list[Reading]]]] = {
    "figure": figure, "no clicks": no_clicks, "postback failures": postback_failures, "sync failed": sync_failed,
    "suspect": suspect, "sync stale": sync_stale, "cap": cap,
    "spend without registrations": spend_without_registrations,
    "domain down": domain_down, "domain expiring": domain_expiring,
    "dead offer link": dead_offer_link,
}  # fmt: skip


OVERLAP = timedelta(minutes=2)  # what was committed late is looked at again
DISCREPANCY_DAYS = 7


async def first_deposits(context: AlertContext) -> list[AlertEvent]:
    """Every first deposit, or those above an amount of the report currency."""
    start = max((context.watch.history.seen or context.now) - OVERLAP, context.watch.created_at)
    rows = await live_counts.first_deposits_since(context.tx, await context.scope(), start, today=context.today)
    if context.rule.kind == "high-value ftd":
        rows = [row for row in rows if await high_value(context, row)]
    offer_names, campaign_names = await context.names(offers), await context.names(campaigns)
    return [
        AlertEvent(
            key=f"ftd:{row.id}",
            why=f"stats today by offer offer={row.offer}" if row.offer else "stats today by offer",
            text=f"FTD on {offer_names.get(row.offer, row.offer) or 'no offer'}"
            + (f" by {campaign_names[row.campaign_id]}" if row.campaign_id in campaign_names else "")
            + (f": {figures.amount(row.amount, row.currency)}" if row.amount is not None else ""),
        )
        for row in rows
    ]


async def high_value(context: AlertContext, row: Any) -> bool:
    """Whether a deposit exceeds the rule's amount; without a rate its own number decides."""
    if row.amount is None:
        return False
    base, limit = context.deployment.currency, context.rule.limit * 1e6
    if not row.currency or row.currency == base:
        return bool(row.amount > limit)
    rate = await context.rate(row.currency, row.day)
    return bool((row.amount if rate is None else convert(row.amount, rate)) > limit)


async def _restated(context: AlertContext) -> list[Restated]:
    start = context.watch.history.seen or context.watch.created_at
    own = restated_offers(context.watch.team_id, context.watch.campaigns)
    return await restatements.since(context.tx, context.watch.team_id, start - OVERLAP, offer_ids=own)


async def restatement(context: AlertContext) -> list[AlertEvent]:
    """Settled figures that moved by more than the limit, in percent."""
    return [_event(row, "restated") for row in await _restated(context) if moved(row) > context.rule.limit]


async def vanished(context: AlertContext) -> list[AlertEvent]:
    return [_event(row, "withdrawn") for row in await _restated(context) if row.vanished]


def moved(restated: Restated) -> float:
    """By how many percent a figure moved; out of nothing counts as everything."""
    return abs((restated.now or 0) - (restated.before or 0)) / abs(restated.before) * 100 if restated.before else 100.0


def _event(restated: Restated, what: str) -> AlertEvent:
    moved = f"{figures.measure_name(restated.measure)} {what}, {' → '.join(figures.before_and_now(restated))}"
    return AlertEvent(
        key=f"{what}:{restated.account_id}:{restated.day}:{restated.tag}:{restated.measure}:{restated.now}",
        text=f"{restated.day:%d %b} {restated.account_name} / {restated.tag or 'no tag'}: {moved}",
        why=f"stats {restated.day} by offer account={restated.account}",
    )


class SettledGap(msgspec.Struct, frozen=True, kw_only=True):
    """An offer-day on which the two layers tell different numbers of first deposits."""

    day: str
    offer: str
    postback: int
    platform: int

    @property
    def percent(self) -> float:
        return abs(self.postback - self.platform) / max(self.postback, self.platform) * 100


async def settled_gaps(context: AlertContext, first: date, last: date) -> list[SettledGap]:
    """Settled offer-days on which postbacks and platform differ by more than the limit, in percent of the larger."""
    report = await context.report(first, last, ("day", "offer"))
    gaps = []
    for row in report.rows:
        ours, theirs = row.first_deposits.postback, row.first_deposits.platform
        if row.settlement != "settled" or ours is None or theirs is None or ours == theirs:
            continue
        gap = SettledGap(day=row.group["day"] or "", offer=row.group["offer"] or "", postback=ours, platform=theirs)
        if gap.percent > context.rule.limit:
            gaps.append(gap)
    return gaps


async def discrepancy(context: AlertContext) -> list[AlertEvent]:
    names = await context.names(offers)
    return [
        AlertEvent(
            key=f"discrepancy:{gap.day}:{gap.offer}:{gap.postback}:{gap.platform}", why=f"why {gap.offer} {gap.day}",
            text=f"{gap.day} {names.get(gap.offer, gap.offer)}: {gap.postback} FTDs by postbacks, {gap.platform} by "
            f"the platform ({gap.percent:.0f}% apart)",
        )
        for gap in await settled_gaps(context, context.today - timedelta(days=DISCREPANCY_DAYS), context.today)
    ]  # fmt: skip


async def dead_postbacks(context: AlertContext) -> list[AlertEvent]:
    start = (context.watch.history.seen or context.watch.created_at) - OVERLAP
    return [
        AlertEvent(
            key=f"dead:{row.id}",
            text=f"{figures.event_name(row.event)} could not be delivered to {row.host}",
            why="source list",
        )
        for row in await live_counts.dead_postbacks(context.tx, await context.scope(), start)
    ]


EVENTS: dict[str, Callable[[AlertContext], Awaitable[list[AlertEvent]]]] = {
    "ftd": first_deposits, "high-value ftd": first_deposits, "restatement": restatement, "vanished": vanished,
    "discrepancy": discrepancy, "dead postback": dead_postbacks,
}  # fmt: skip
