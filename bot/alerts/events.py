"""What alerts on happenings hear: first deposits, restatements, what vanished, discrepancies, dead postbacks."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import msgspec

from bot.alerts.context import AlertContext, AlertEvent
from bot.render import figures
from storage.alerts import live_counts
from storage.ledger.money import convert
from storage.revenue import restatements
from storage.revenue.restatements import AMOUNTS, Restated

OVERLAP = timedelta(minutes=2)  # what was committed late is looked at again
DISCREPANCY_DAYS = 7


async def first_deposits(context: AlertContext) -> list[AlertEvent]:
    """Every first deposit, or those above an amount of the report currency."""
    start = max((context.watch.history.seen or context.now) - OVERLAP, context.watch.created_at)
    rows = await live_counts.first_deposits_since(context.tx, await context.scope(), start, today=context.today)
    if context.rule.kind == "high-value ftd":
        rows = [row for row in rows if await high_value(context, row)]
    return [
        AlertEvent(
            key=f"ftd:{row.id}",
            why=f"stats today by offer offer={row.offer}" if row.offer else "stats today by offer",
            text=f"FTD on {row.offer or 'no offer'}" + (f": {_amount(row)}" if row.amount is not None else ""),
        )
        for row in rows
    ]


def _amount(row: Any) -> str:
    return figures.money(row.amount, row.currency) if row.currency else f"{row.amount / 1e6:,.2f}"


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
    ids = await context.account_ids()
    return await restatements.since(context.tx, context.watch.team_id, start - OVERLAP, account_ids=ids)


async def restatement(context: AlertContext) -> list[AlertEvent]:
    """Settled figures that moved by more than the limit, in percent."""
    return [_event(row, "restated") for row in await _restated(context) if moved(row) > context.rule.limit]


async def vanished(context: AlertContext) -> list[AlertEvent]:
    return [_event(row, "withdrawn") for row in await _restated(context) if row.vanished]


def moved(restated: Restated) -> float:
    """By how many percent a figure moved; out of nothing counts as everything."""
    return abs((restated.now or 0) - (restated.before or 0)) / abs(restated.before) * 100 if restated.before else 100.0


def _event(restated: Restated, what: str) -> AlertEvent:
    def written(value: int | None) -> str:
        return figures.money(value, restated.currency) if restated.measure in AMOUNTS else figures.count(value)

    measure = restated.measure.replace("first_deposits", "FTDs").replace("ngr", "NGR")
    change = f"{written(restated.before)} → {written(restated.now)}"
    return AlertEvent(
        key=f"{what}:{restated.account_id}:{restated.day}:{restated.tag}:{restated.measure}:{restated.now}",
        text=f"{restated.day:%d %b} {restated.account} / {restated.tag or 'no tag'}: {measure} {what}, {change}",
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
    return [
        AlertEvent(
            key=f"discrepancy:{gap.day}:{gap.offer}:{gap.postback}:{gap.platform}", why=f"why {gap.offer} {gap.day}",
            text=f"{gap.day} {gap.offer}: {gap.postback} FTDs by postbacks, {gap.platform} by the platform "
            f"({gap.percent:.0f}% apart)",
        )
        for gap in await settled_gaps(context, context.today - timedelta(days=DISCREPANCY_DAYS), context.today)
    ]  # fmt: skip


async def dead_postbacks(context: AlertContext) -> list[AlertEvent]:
    start = (context.watch.history.seen or context.watch.created_at) - OVERLAP
    return [
        AlertEvent(key=f"dead:{row.id}", text=f"{row.event} could not be delivered to {row.host}", why="source list")
        for row in await live_counts.dead_postbacks(context.tx, context.watch.team_id, start)
    ]


EVENTS: dict[str, Callable[[AlertContext], Awaitable[list[AlertEvent]]]] = {
    "ftd": first_deposits, "high-value ftd": first_deposits, "restatement": restatement, "vanished": vanished,
    "discrepancy": discrepancy, "dead postback": dead_postbacks,
}  # fmt: skip
