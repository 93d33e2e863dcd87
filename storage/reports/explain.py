"""Both layers of a day side by side, each difference with its probable cause and the ids to check."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.ledger.clicks.click_id import Codec
from storage.ledger.dates import day_bounds
from storage.ledger.facts import Event, Outcome, Settlement, Status
from storage.ledger.reports.discrepancies import Discrepancy, Evidence, Seen, explain
from storage.ledger.reports.report_rows import Layers, ReportRow
from storage.reports.merged_report import ReportQuery, merged_report
from storage.tables import accounts, conversions, offers, postbacks, revenue, revenue_revisions

COUNTED = ("registrations", "first_deposits", "deposits", "qualified")
FRESH = timedelta(hours=48)  # a platform's batches may still come in


class BothLayers(msgspec.Struct, frozen=True, kw_only=True):
    """What each layer says of the day, and what is merged of it."""

    registrations: Layers
    first_deposits: Layers
    deposits: Layers
    qualified: Layers
    deposit_amount: Layers


class OfferDay(msgspec.Struct, frozen=True, kw_only=True):
    """One offer's share of the day."""

    offer: str | None
    settlement: Settlement
    allocated: bool
    layers: BothLayers


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The day explained. Amounts are micro-units of `currency`."""

    day: date
    campaign: str | None
    offer: str | None
    currency: str
    settlement: Settlement
    layers: BothLayers
    discrepancies: list[Discrepancy]
    offers: list[OfferDay]


async def why(tx: AsyncConnection, query: ReportQuery, *, now: datetime) -> Why:
    """Explain the (one-day) report of a campaign or an offer."""
    report = await merged_report(tx, msgspec.structs.replace(query, by=("offer",)))
    found: list[Discrepancy] = []
    for row in report.rows:
        offer = await _offer(tx, query.team_id, row.group["offer"])
        if offer is not None:
            found += await _Case(tx, query, offer, now).discrepancies(row)
    return Why(
        day=query.first,
        campaign=query.campaigns[0] if query.campaigns else None,
        offer=query.offers[0] if query.offers else None,
        currency=query.currency,
        settlement=report.totals.settlement,
        layers=_layers(report.totals),
        discrepancies=found,
        offers=[
            OfferDay(offer=row.group["offer"], settlement=row.settlement, allocated=row.allocated, layers=_layers(row))
            for row in report.rows
        ],
    )


def _layers(row: ReportRow) -> BothLayers:
    return BothLayers(
        registrations=row.registrations, first_deposits=row.first_deposits, deposits=row.deposits,
        qualified=row.qualified, deposit_amount=row.deposit_amount,
    )  # fmt: skip


async def _offer(tx: AsyncConnection, team_id: int, code: str | None) -> Any:
    o, a = offers.c, accounts.c
    query = select(o.id, o.code, o.tag_key, o.account_id, a.timezone).join(accounts, a.id == o.account_id)
    found: Any = (await tx.execute(query.where(o.team_id == team_id, o.code == code))).one_or_none()
    return found


class _Case:
    """One offer-day under inquiry."""

    def __init__(self, tx: AsyncConnection, query: ReportQuery, offer: Row[Any], now: datetime) -> None:
        self.tx = tx
        self.query = query
        self.day = query.first
        self.offer = offer
        self.now = now
        self.codec: Codec | None = None

    async def discrepancies(self, row: ReportRow) -> list[Discrepancy]:
        differing = [name for name in (*COUNTED, "deposit_amount") if _differs(getattr(row, name))]
        if not differing:
            return []
        key = await teams.fact(self.tx, "click_id_key")
        self.codec = Codec(bytes.fromhex(key)) if key else None
        happened = await self._conversions()
        stated = await self._stated()
        requests = await self._requests()
        found = []
        for measure in differing:
            layers = getattr(row, measure)
            counted = "deposits" if measure == "deposit_amount" else measure
            evidence = await self._evidence(counted, happened, stated, requests)
            told = explain(measure, layers.postback, layers.platform, evidence)
            if told is not None:
                found.append(msgspec.structs.replace(told, offer=self.offer.code))
        return found

    async def _evidence(
        self, measure: str, happened: Sequence[Row[Any]], stated: Sequence[Row[Any]], requests: Sequence[Row[Any]]
    ) -> Evidence:
        zone = ZoneInfo(self.offer.timezone)
        mine = [row for row in stated if self._claims(row)]
        others = [row for row in stated if not self._claims(row) and getattr(row, measure)]
        about = [one for one in requests if one.event is None or measure in _measures(one.event, is_ftd=True)]
        over = day_bounds(self.day, zone)[1]
        return Evidence(
            seen=[self._seen(one, zone) for one in happened if measure in _measures(one.event, is_ftd=one.is_ftd)],
            unmatched=[_named(one) for one in about if one.outcome == Outcome.UNMATCHED.value],
            unread=[_named(one) for one in about if one.outcome != Outcome.UNMATCHED.value],
            stated=[row.sub.lower() for row in mine if row.sub and getattr(row, measure)],
            earlier=await self._earlier([row.id for row in mine], measure),
            unclaimed=sorted({row.tag for row in others}) if await self._unclaimed(others) else (),
            untagged=self.offer.tag_key is None and len({row.tag_key for row in mine}) > 1,
            fresh=self.now < over + FRESH,
        )

    def _claims(self, row: Row[Any]) -> bool:
        return self.offer.tag_key in {None, row.tag_key, row.tag_name.strip().lower()}

    def _seen(self, one: Row[Any], zone: ZoneInfo) -> Seen:
        click = self.codec.encode(one.click_id) if self.codec and one.click_id else ""
        return Seen(
            ref=one.txn_id or one.player_id or click or f"conversion {one.id}",
            here=one.day == self.day,
            there=one.occurred_at.astimezone(zone).date() == self.day,
            counts=one.status != Status.REVERSED.value,
            player=one.player_id or click if one.event != Event.DEPOSIT.value else "",
            click=click,
        )

    async def _conversions(self) -> Sequence[Row[Any]]:
        """The offer's conversions of the day and of both days beside it."""
        c = conversions.c
        near = c.day.between(self.day - timedelta(days=1), self.day + timedelta(days=1))
        query = select(conversions).where(c.team_id == self.query.team_id, near, c.offer_id == self.offer.id)
        return (await self.tx.execute(query.order_by(c.id))).all()

    async def _stated(self) -> Sequence[Row[Any]]:
        r = revenue.c
        query = select(revenue).where(r.account_id == self.offer.account_id, r.day == self.day)
        return (await self.tx.execute(query.order_by(r.id))).all()

    async def _requests(self) -> Any:
        """Requests of the platform's day that made no conversion."""
        p = postbacks.c
        begin, end = day_bounds(self.day, ZoneInfo(self.offer.timezone))
        query = select(p.id, p.outcome, p.event, p.txn_id, p.player_id, p.click).where(
            p.account_id == self.offer.account_id,
            p.received_at >= begin,
            p.received_at < end + timedelta(hours=6),
            p.outcome.in_([Outcome.UNMATCHED.value, Outcome.UNMAPPED.value, Outcome.REJECTED.value]),
        )
        rows: Any = (await self.tx.execute(query.order_by(p.id).limit(200))).all()
        return rows

    async def _earlier(self, ids: Sequence[int], measure: str) -> list[int]:
        """What the platform's sum was before, at each moment it changed; the latest first."""
        v = revenue_revisions.c
        query = select(v.revenue_id, v[measure], v.recorded_at).where(v.revenue_id.in_(ids)).order_by(v.id)
        now: dict[int, int] = {}
        sums: dict[datetime, int] = {}
        for row in await self.tx.execute(query):
            now[row[0]] = row[1] or 0
            sums[row[2]] = sum(now.values())
        return list(sums.values())[-2::-1]

    async def _unclaimed(self, rows: Sequence[Row[Any]]) -> bool:
        """Whether some of these segments belong to no offer."""
        tags = {row.tag_key for row in rows} | {row.tag_name.strip().lower() for row in rows}
        o = offers.c
        mine = select(func.count()).where(
            o.account_id == self.offer.account_id, or_(o.tag_key.in_(tags), o.tag_key.is_(None))
        )
        return bool(rows) and (await self.tx.execute(mine)).scalar_one() == 0


def _differs(layers: Layers) -> bool:
    return layers.postback is not None and layers.platform is not None and layers.postback != layers.platform


def _measures(event: str, *, is_ftd: bool) -> set[str]:
    """Measures an event counts in."""
    named = {
        Event.REGISTRATION.value: {"registrations"}, Event.QUALIFIED.value: {"qualified"},
        Event.FIRST_DEPOSIT.value: {"deposits"}, Event.DEPOSIT.value: {"deposits"},
    }.get(event, set())  # fmt: skip
    return named | {"first_deposits"} if is_ftd and "deposits" in named else named


def _named(one: Row[Any]) -> str:
    return one.txn_id or one.player_id or one.click or f"request {one.id}"
