"""What a campaign's offers have earned, as its distribution looks at it: merged days, the forecast where they pend."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.distribution.earnings import OfferDay, OfferHistory
from storage.ledger.facts import Reason
from storage.ledger.reports.report_rows import ReportRow
from storage.reports.forecast import HISTORY, OfferDays, days_by_offer, forecast_days, in_hand
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.reports.report_view import ReportQuery
from storage.tables import accounts, clicks, conversions, offers, revenue_reports

DAYS = 60  # that earnings are looked at
_INTERVAL = 2 * 1.2816  # standard deviations in an 80 % interval of a normal variable
_DAY = timedelta(days=1)

Histories = dict[str, dict[int, OfferHistory]]
"""Offers' histories by id, by segment; the empty one is all of the campaign's visitors."""


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's offers' histories; `faults` says why they must not be acted on."""

    histories: Histories
    faults: tuple[str, ...] = ()
    settled: bool = False  # whether any day of any offer is


async def earnings_of(
    tx: AsyncConnection, campaigns: Sequence[Row[Any]], members: Mapping[int, Sequence[int]], *, timezone: str,
    currency: str, today: date, now: datetime, in_helper: ReportInHelper | None = None,
) -> dict[int, Earnings]:  # fmt: skip
    """The earnings of campaigns of one team, by campaign id; `members` are the offers to look at.

    Merged figures as they are kept; only those by country or device are merged when read, from counts by the hour.
    """
    if not campaigns:
        return {}
    team_id = campaigns[0].team_id
    query = ReportQuery(
        team_id=team_id, first=today - HISTORY, last=today, timezone=timezone, currency=currency,
        by=("day", "campaign", "offer"), campaigns=tuple(campaign.code for campaign in campaigns),
    )  # fmt: skip
    whole = await report_of(tx, query, in_helper)
    held = await held_offers(tx, team_id)
    ids = {code: offer_id for offer_id, code in await tx.execute(
        select(offers.c.id, offers.c.code).where(offers.c.team_id == team_id)
    )}  # fmt: skip
    made = {}
    for campaign in campaigns:
        mine = set(members[campaign.id])
        rows = [row for row in whole.rows if row.group["campaign"] == campaign.code]
        segments = {"": [row for row in rows if ids.get(row.group["offer"] or "") in mine]}
        if campaign.distribute_by:
            segments |= await _segments(tx, query, campaign, in_helper)
        histories: Histories = {}
        settled = False
        for segment, of_segment in segments.items():
            by_offer = await days_by_offer(tx, query, of_segment)
            settled = settled or any(days.settled for days in by_offer)
            histories[segment] = {
                ids[days.offer]: offer_history(days, query, now) for days in by_offer if ids[days.offer] in mine
            }
        made[campaign.id] = Earnings(
            histories=histories, faults=tuple(faults_of(segments[""], ids, held)), settled=settled
        )  # fmt: skip
    return made


async def _segments(
    tx: AsyncConnection, query: ReportQuery, campaign: Row[Any], in_helper: ReportInHelper | None
) -> dict[str, list[ReportRow]]:
    """The campaign's rows by country or device; those without one are only in the whole."""
    by = campaign.distribute_by
    fine = msgspec.structs.replace(
        query, by=("day", "offer", by), campaigns=(campaign.code,), first=query.last - timedelta(days=DAYS)
    )
    segments: dict[str, list[ReportRow]] = {}
    for row in (await report_of(tx, fine, in_helper)).rows:
        if row.group[by]:
            segments.setdefault(row.group[by] or "", []).append(row)
    return segments


def offer_history(days: OfferDays, query: ReportQuery, now: datetime) -> OfferHistory:
    """An offer's last days: settled commission, the forecast where it pends."""
    expected, _ = forecast_days(days, query, now)
    estimates = {date.fromisoformat(day.day): day.forecast for day in expected if day.forecast}
    days_of_history = []
    for back in range(DAYS - 1, -1, -1):
        day = query.last - _DAY * back
        row = days.rows.get(day)
        estimate = estimates.get(day)
        days_of_history.append(OfferDay(
            clicks=(row.clicks or 0) if row else 0, first_deposits=in_hand(row) if row else 0,
            commission=((row.commission or 0) if row else 0) if day in days.settled else None,
            shared=(row.commission_revshare or 0) if row and day in days.settled else 0,
            pending=estimate.estimate if estimate else None,
            spread=(estimate.high - estimate.low) / _INTERVAL if estimate else 0.0,
        ))  # fmt: skip
    return OfferHistory(days=tuple(days_of_history))


async def held_offers(tx: AsyncConnection, team_id: int) -> dict[int, str]:
    """Offers whose account has a report that waits for a decision, with the account's name."""
    r = revenue_reports.c
    query = (
        select(offers.c.id, accounts.c.name)
        .join_from(offers, accounts, offers.c.account_id == accounts.c.id)
        .where(offers.c.team_id == team_id, accounts.c.id.in_(select(r.account_id).where(r.state == "suspect")))
    )
    return {row.id: row.name for row in await tx.execute(query)}


def faults_of(rows: Sequence[ReportRow], ids: Mapping[str, int], held: Mapping[int, str]) -> list[str]:
    """Why these figures must not be acted on, each reason once."""
    reasons: dict[str, None] = {}
    for row in rows:
        if name := held.get(ids.get(row.group["offer"] or "", 0)):
            reasons[f"a report of {name} is held as suspect: sync confirm or sync discard"] = None
        if row.unconverted:
            lacking = ", ".join(sorted(row.unconverted))
            reasons[f"{lacking} has no rate on {row.group['day']}: rate set"] = None
    return list(reasons)[:3]


class FirstDeposits(msgspec.Struct, frozen=True):
    """FTDs of an offer's visitors: of those sent by the weights that earnings set, and of the holdout."""

    distributed: int = 0
    held_out: int = 0


async def first_deposits_since(tx: AsyncConnection, campaign: Row[Any], since: datetime) -> dict[int, FirstDeposits]:
    """FTDs by offer, of clicks since a moment; each one's click is looked up by its id, and says how it was sent.

    Returning visitors, who keep what they saw, and those whom a rule or a closed offer sent on, are on neither side.
    """
    c, first_id = conversions.c, first_id_at(since)
    distributed = Reason.NO_RULE if campaign.rules else Reason.CHOSEN
    query = (
        select(c.offer_id, clicks.c.reason, func.count())
        .join_from(conversions, clicks, clicks.c.id == c.click_id)
        .where(
            c.team_id == campaign.team_id, c.campaign_id == campaign.id, c.day >= since.date() - _DAY, c.is_ftd,
            c.status != "reversed", c.click_id >= first_id, clicks.c.id >= first_id,
            clicks.c.reason.in_((distributed, Reason.HOLDOUT)),
        )
        .group_by(c.offer_id, clicks.c.reason)
    )  # fmt: skip
    counts: dict[int, FirstDeposits] = {}
    for offer_id, reason, n in await tx.execute(query):
        before = counts.get(offer_id, FirstDeposits())
        held_out = reason == Reason.HOLDOUT
        counts[offer_id] = FirstDeposits(
            before.distributed + (0 if held_out else n), before.held_out + (n if held_out else 0)
        )
    return counts
