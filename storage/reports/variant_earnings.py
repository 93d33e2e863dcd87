"""What visitors of a site's variants have earned: visitors and FTDs by variant, each FTD worth what one of its offer
brings in all (settled commission, the forecast where it pends)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from math import sqrt
from typing import Any

import msgspec
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.clicks.click_id import Codec, first_id_at
from storage.ledger.distribution.earnings import ClickValue, OfferDay, OfferHistory, click_values, mean
from storage.ledger.distribution.holdout import held_out
from storage.ledger.distribution.uplift import OfferOutcome
from storage.reports.analytics import named_variant
from storage.reports.distribution import DAYS, faults_of, held_offers, offer_history
from storage.reports.forecast import HISTORY, days_by_offer
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.reports.report_view import ReportQuery
from storage.tables import clicks, conversions, offers, site_offers, site_views
from storage.tables.types import EPOCH_DAY


class VariantEarnings(msgspec.Struct, frozen=True, kw_only=True):
    """Histories by variant, with visitors for clicks; what an FTD of each offer brings, in micro-units; `faults` says
    why they must not be acted on."""

    histories: dict[str, OfferHistory]
    values: dict[int, float]
    faults: tuple[str, ...] = ()
    settled: bool = False


async def variant_earnings(
    tx: AsyncConnection, site: Row[Any], variants: Sequence[str], *, timezone: str, currency: str, today: date,
    now: datetime, in_helper: ReportInHelper | None = None,
) -> VariantEarnings:  # fmt: skip
    """The last days of a site's variants."""
    query = ReportQuery(
        team_id=site.team_id, first=today - HISTORY, last=today, timezone=timezone, currency=currency,
        by=("day", "offer"),
    )  # fmt: skip
    mine = select(offers.c.code, offers.c.id).join(site_offers, site_offers.c.offer_id == offers.c.id)
    ids = {row.code: int(row.id) for row in await tx.execute(mine.where(site_offers.c.site_id == site.id))}
    rows = [row for row in (await report_of(tx, query, in_helper)).rows if row.group["offer"] in ids]
    by_offer = await days_by_offer(tx, query, rows)
    histories = {ids[days.offer]: offer_history(days, query, now) for days in by_offer}
    worth = dict(zip(histories, click_values(list(histories.values())), strict=True))
    first = today - timedelta(days=DAYS - 1)
    visitors, deposits = await _visitors(tx, site.id, first), await _first_deposits(tx, site.id, first)
    return VariantEarnings(
        histories={code: _history(code, visitors, deposits, worth, first) for code in variants},
        values={offer_id: value.first_deposit for offer_id, value in worth.items()},
        faults=tuple(faults_of(rows, ids, await held_offers(tx, site.team_id))),
        settled=any(days.settled for days in by_offer),
    )


def _history(
    code: str, visitors: dict[tuple[str, date], int], deposits: dict[tuple[str, date, int], int],
    worth: dict[int, ClickValue], first: date,
) -> OfferHistory:  # fmt: skip
    usual = ClickValue(mean=0.0, spread=0.0, first_deposit=mean([value.first_deposit for value in worth.values()]))
    days, by_offer = [], Counter[int]()
    for n in range(DAYS):
        day = first + timedelta(days=n)
        of_day = {offer: count for (variant, at, offer), count in deposits.items() if (variant, at) == (code, day)}
        by_offer.update(of_day)
        commission = sum(count * worth.get(offer, usual).first_deposit for offer, count in of_day.items())
        days.append(OfferDay(
            clicks=visitors.get((code, day), 0), first_deposits=sum(of_day.values()), commission=round(commission)
        ))  # fmt: skip
    strays = sum((count * worth.get(offer, usual).first_deposit_spread) ** 2 for offer, count in by_offer.items())
    whole = abs(sum(day.commission or 0 for day in days))
    return OfferHistory(days=tuple(days), doubt=sqrt(strays) / whole if whole else 0.0)


async def _visitors(tx: AsyncConnection, site_id: int, first: date) -> dict[tuple[str, date], int]:
    """People who saw each variant, by day."""
    v = site_views.c
    query = select(v.variant, v.day, func.count(v.visitor.distinct())).where(
        v.site_id == site_id, v.day >= (first - EPOCH_DAY).days
    )
    rows = await tx.execute(query.group_by(v.variant, v.day))
    return {(variant, EPOCH_DAY + timedelta(days=day)): int(n) for variant, day, n in rows}


async def _first_deposits(tx: AsyncConnection, site_id: int, first: date) -> dict[tuple[str, date, int], int]:
    """FTDs by the variant that the player's first view was of, day and offer."""
    c = conversions.c
    first_views = select(site_views.c.click_id, func.min(site_views.c.variant).label("variant")).where(
        site_views.c.site_id == site_id, site_views.c.click_id != 0
    )
    first_view = first_views.group_by(site_views.c.click_id).subquery()
    query = (
        select(first_view.c.variant, clicks.c.extra, c.day, c.offer_id)
        .join_from(conversions, first_view, first_view.c.click_id == c.click_id, isouter=True)
        .join(clicks, clicks.c.id == c.click_id, isouter=True)
        .where(c.site_id == site_id, c.day >= first, c.is_ftd, c.status != "reversed")
    )
    counts: defaultdict[tuple[str, date, int], int] = defaultdict(int)
    for row in await tx.execute(query):
        counts[row.variant or named_variant(row.extra), row.day, row.offer_id] += 1
    return dict(counts)


async def variant_outcomes(
    tx: AsyncConnection, site: Row[Any], codec: Codec, *, holdout: int, since: datetime, values: dict[int, float]
) -> list[OfferOutcome]:
    """FTDs by offer since a moment, of visitors who went by the shares in force and of the holdout: which of both a
    visitor is follows from the click they came with."""
    c, first_id = conversions.c, first_id_at(since)
    query = select(c.offer_id, c.click_id).where(
        c.site_id == site.id, c.campaign_id > 0, c.is_ftd, c.status != "reversed", c.click_id >= first_id
    )
    distributed, in_holdout = Counter[int](), Counter[int]()
    for offer_id, click_id in await tx.execute(query):
        side = in_holdout if held_out(site.id, codec.encode(click_id), holdout) else distributed
        side[offer_id] += 1
    usual = mean(list(values.values()))
    return [
        OfferOutcome(
            distributed=distributed[offer_id], held_out=in_holdout[offer_id], value=values.get(offer_id, usual)
        )
        for offer_id in sorted(distributed.keys() | in_holdout.keys())
    ]
