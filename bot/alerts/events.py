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


async def first_deposits(look: AlertContext) -> list[AlertEvent]:
    """Every first deposit, or those above an amount of the report currency."""
    start = max((look.watch.history.seen or look.now) - OVERLAP, look.watch.created_at)
    rows = await live_counts.first_deposits_since(look.tx, await look.scope(), start, today=look.today)
    if look.rule.kind == "high-value ftd":
        rows = [row for row in rows if await high_value(look, row)]
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


async def high_value(look: AlertContext, row: Any) -> bool:
    """Whether a deposit exceeds the rule's amount; without a rate its own number decides."""
    if row.amount is None:
        return False
    base, limit = look.deployment.currency, look.rule.limit * 1e6
    if not row.currency or row.currency == base:
        return bool(row.amount > limit)
    rate = await look.rate(row.currency, row.day)
    return bool((row.amount if rate is None else convert(row.amount, rate)) > limit)


async def _restated(look: AlertContext) -> list[Restated]:
    start = look.watch.history.seen or look.watch.created_at
    ids = await look.account_ids()
    return await restatements.since(look.tx, look.watch.team_id, start - OVERLAP, account_ids=ids)


async def restatement(look: AlertContext) -> list[AlertEvent]:
    """Settled figures that moved by more than the limit, in percent."""
    return [_told(one, "restated") for one in await _restated(look) if moved(one) > look.rule.limit]


async def vanished(look: AlertContext) -> list[AlertEvent]:
    return [_told(one, "withdrawn") for one in await _restated(look) if one.vanished]


def moved(one: Restated) -> float:
    """By how many percent a figure moved; out of nothing counts as everything."""
    return abs((one.now or 0) - (one.before or 0)) / abs(one.before) * 100 if one.before else 100.0


def _told(one: Restated, what: str) -> AlertEvent:
    def said(value: int | None) -> str:
        return figures.money(value, one.currency) if one.measure in AMOUNTS else figures.count(value)

    measure = one.measure.replace("first_deposits", "FTDs").replace("ngr", "NGR")
    change = f"{said(one.before)} → {said(one.now)}"
    return AlertEvent(
        key=f"{what}:{one.account_id}:{one.day}:{one.tag}:{one.measure}:{one.now}",
        text=f"{one.day:%d %b} {one.account} / {one.tag or 'no tag'}: {measure} {what}, {change}",
        why=f"stats {one.day} by offer account={one.account}",
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


async def apart(look: AlertContext, first: date, last: date) -> list[SettledGap]:
    """Settled offer-days on which postbacks and platform differ by more than the limit, in percent of the larger."""
    report = await look.report(first, last, ("day", "offer"))
    found = []
    for row in report.rows:
        ours, theirs = row.first_deposits.postback, row.first_deposits.platform
        if row.settlement != "settled" or ours is None or theirs is None or ours == theirs:
            continue
        one = SettledGap(day=row.group["day"] or "", offer=row.group["offer"] or "", postback=ours, platform=theirs)
        if one.percent > look.rule.limit:
            found.append(one)
    return found


async def discrepancy(look: AlertContext) -> list[AlertEvent]:
    return [
        AlertEvent(
            key=f"discrepancy:{one.day}:{one.offer}:{one.postback}:{one.platform}", why=f"why {one.offer} {one.day}",
            text=f"{one.day} {one.offer}: {one.postback} FTDs by postbacks, {one.platform} by the platform "
            f"({one.percent:.0f}% apart)",
        )
        for one in await apart(look, look.today - timedelta(days=DISCREPANCY_DAYS), look.today)
    ]  # fmt: skip


async def dead_postbacks(look: AlertContext) -> list[AlertEvent]:
    start = (look.watch.history.seen or look.watch.created_at) - OVERLAP
    return [
        AlertEvent(key=f"dead:{row.id}", text=f"{row.event} could not be delivered to {row.host}", why="source list")
        for row in await live_counts.dead_postbacks(look.tx, look.watch.team_id, start)
    ]


EVENTS: dict[str, Callable[[AlertContext], Awaitable[list[AlertEvent]]]] = {
    "ftd": first_deposits, "high-value ftd": first_deposits, "restatement": restatement, "vanished": vanished,
    "discrepancy": discrepancy, "dead postback": dead_postbacks,
}  # fmt: skip
