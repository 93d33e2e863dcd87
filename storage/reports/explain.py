"""Both layers of a day side by side, each difference with its probable cause and the ids to check."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks import queries as click_queries
from storage.ledger.clicks.click_id import Codec
from storage.ledger.dates import day_bounds
from storage.ledger.facts import Event, Outcome, Settlement, Status
from storage.ledger.money import convert
from storage.ledger.reports.discrepancies import ComparedConversion, Discrepancy, Evidence, Restatement, explain
from storage.ledger.reports.merge import Allocation
from storage.ledger.reports.report_rows import Layers, ReportRow
from storage.ledger.reports.shares import WEIGHED_BY, Weight
from storage.reports.day_facts import KnownClicks, catalogue, day_facts
from storage.reports.merged_report import ReportQuery
from storage.reports.rates import load_rates
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.tables import accounts, campaigns, conversions, offers, postbacks, revenue, revenue_revisions, settled_days

COUNTED = ("registrations", "first_deposits", "deposits", "qualified")
FRESH = timedelta(hours=48)  # a platform's batches may still come in


class BothLayers(msgspec.Struct, frozen=True, kw_only=True):
    """What each layer says of the day, and what is merged of it."""

    registrations: Layers
    first_deposits: Layers
    deposits: Layers
    qualified: Layers
    deposit_amount: Layers


class Allotted(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of an allocated row: what the row states, by what it is weighed, and the share asked about.

    `weighed_by` is clicks, registrations, first_deposits, deposits, qualified, or `equally`; `weight` is that of the
    campaign asked about, `of` the sum over all who take part. `stated` and `of` are null for a member limited to
    campaigns: they hold others' figures.
    """

    stated: int | None
    weighed_by: str
    weight: int
    of: int | None
    share: int


class AllocatedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's row that belongs to no one campaign. Amounts are micro-units of `currency`."""

    row: int
    offer: str
    tag: str
    currency: str
    measures: dict[str, Allotted]


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
    allocated: list[AllocatedRow] = []  # rows of which the campaign asked about has a share


def without_others(explained: Why) -> Why:
    """The same without figures that are of other campaigns, too: what whole rows state and stated before."""
    allocated = [
        msgspec.structs.replace(row, measures={
            name: msgspec.structs.replace(measure, stated=None, of=None) for name, measure in row.measures.items()
        })
        for row in explained.allocated
    ]  # fmt: skip
    discrepancies = [msgspec.structs.replace(each, restatement=None) for each in explained.discrepancies]
    return msgspec.structs.replace(explained, allocated=allocated, discrepancies=discrepancies)


async def why(
    tx: AsyncConnection, query: ReportQuery, *, now: datetime, in_helper: ReportInHelper | None = None
) -> Why:
    """Explain the (one-day) report of a campaign or an offer."""
    report = await report_of(tx, msgspec.structs.replace(query, by=("offer",)), in_helper)
    campaign_ids = await _campaign_ids(tx, query)
    discrepancies: list[Discrepancy] = []
    allocated: list[AllocatedRow] = []
    for row in report.rows:
        offer = await _offer(tx, query.team_id, row.group["offer"])
        if offer is not None:
            inquiry = _Inquiry(tx, query, offer, now, campaign_ids)
            discrepancies += await inquiry.discrepancies(row)
            if row.allocated and campaign_ids is not None:
                allocated += await _allocated(tx, query, offer, campaign_ids)
    return Why(
        day=query.first,
        campaign=query.campaigns[0] if query.campaigns else None,
        offer=query.offers[0] if query.offers else None,
        currency=query.currency,
        settlement=report.totals.settlement,
        layers=_layers(report.totals),
        discrepancies=discrepancies,
        offers=[
            OfferDay(offer=row.group["offer"], settlement=row.settlement, allocated=row.allocated, layers=_layers(row))
            for row in report.rows
        ],
        allocated=allocated,
    )


async def _campaign_ids(tx: AsyncConnection, query: ReportQuery) -> frozenset[int] | None:
    """The campaigns asked about; None: all."""
    if query.campaigns is None:
        return None
    c = campaigns.c
    mine = select(c.id).where(c.team_id == query.team_id, c.code.in_(query.campaigns))
    return frozenset((await tx.execute(mine)).scalars())


async def _allocated(
    tx: AsyncConnection, query: ReportQuery, offer: Row[Any], campaign_ids: AbstractSet[int]
) -> list[AllocatedRow]:
    """The offer's rows that were divided, with the share of these campaigns."""
    named = await catalogue(tx, query.team_id)
    facts = await day_facts(tx, query.facts_query, query.first)
    allotment = Allocation(facts, named).of_offer(offer.id)
    weights = [weight for party, weight in allotment.parties.items() if party.campaign_id in campaign_ids]
    if not weights:
        return []
    places = [place.campaign_id in campaign_ids for place in allotment.share.places]
    rows: list[AllocatedRow] = []
    for row in sorted(facts.revenue, key=attrgetter("id")):
        claimed = named.claim(row.account_id, row.tag, row.tag_name)
        if claimed is None or claimed.id != offer.id or row.sub in facts.links or named.campaign_named(row.sub):
            continue
        measures: dict[str, Allotted] = {}
        for name, kinds in WEIGHED_BY.items():
            if (stated := getattr(row, name)) is not None:
                parts = allotment.share.divide(stated, kinds)
                share = sum(part for part, mine in zip(parts, places, strict=True) if mine)
                measures[name] = _allotted(stated, share, kinds, list(allotment.parties.values()), weights)
        rows.append(AllocatedRow(row=row.id, offer=offer.code, tag=row.tag, currency=row.currency, measures=measures))
    return rows


def _allotted(
    stated: int, share: int, kinds: Sequence[str], every: Sequence[Weight], own: Sequence[Weight]
) -> Allotted:
    for kind in kinds:
        if whole := sum(getattr(weight, kind) for weight in every):
            weight = sum(getattr(weight, kind) for weight in own)
            return Allotted(stated=stated, weighed_by=kind, weight=weight, of=whole, share=share)
    return Allotted(stated=stated, weighed_by="equally", weight=len(own), of=len(every), share=share)


def _layers(row: ReportRow) -> BothLayers:
    return BothLayers(
        registrations=row.registrations, first_deposits=row.first_deposits, deposits=row.deposits,
        qualified=row.qualified, deposit_amount=row.deposit_amount,
    )  # fmt: skip


async def _offer(tx: AsyncConnection, team_id: int, code: str | None) -> Any:
    o, a = offers.c, accounts.c
    query = select(o.id, o.code, o.tag_key, o.account_id, a.timezone).join(accounts, a.id == o.account_id)
    row: Any = (await tx.execute(query.where(o.team_id == team_id, o.code == code))).one_or_none()
    return row


class _Inquiry:
    """One offer-day under inquiry; with `campaign_ids`, only what is those campaigns'."""

    def __init__(
        self, tx: AsyncConnection, query: ReportQuery, offer: Row[Any], now: datetime,
        campaign_ids: AbstractSet[int] | None,
    ) -> None:  # fmt: skip
        self.tx = tx
        self.query = query
        self.day = query.first
        self.offer = offer
        self.now = now
        self.campaign_ids = campaign_ids
        self.codec: Codec | None = None

    async def discrepancies(self, row: ReportRow) -> list[Discrepancy]:
        differing = [name for name in (*COUNTED, "deposit_amount") if _differs(getattr(row, name))]
        if not differing:
            return []
        key = await teams.fact(self.tx, "click_id_key")
        self.codec = Codec(bytes.fromhex(key)) if key else None
        happened = await self._conversions()
        claimed, others = await self._revenue()
        requests = await self._requests()
        discrepancies = []
        for measure in differing:
            layers = getattr(row, measure)
            counted = "deposits" if measure == "deposit_amount" else measure
            evidence = await self._evidence(measure, counted, happened, claimed, others, requests)
            if measure == "deposit_amount":
                evidence = msgspec.structs.replace(evidence, is_amount=not _differs(row.deposits))
            discrepancy = explain(measure, layers.postback, layers.platform, evidence)
            if discrepancy is not None:
                discrepancies.append(msgspec.structs.replace(discrepancy, offer=self.offer.code))
        return discrepancies

    async def _evidence(
        self, measure: str, counted: str, happened: Sequence[Row[Any]], claimed: Sequence[Row[Any]],
        others: Sequence[Row[Any]], requests: Sequence[Row[Any]],
    ) -> Evidence:  # fmt: skip
        zone = ZoneInfo(self.offer.timezone)
        about = [request for request in requests if request.event is None or counted in _measures(request.event)]
        unclaimed = [row for row in others if getattr(row, counted)]
        segments = sorted({row.tag for row in claimed if getattr(row, counted)})
        return Evidence(
            conversions=[
                self._compared_conversion(conversion, zone)
                for conversion in happened
                if counted in _measures(conversion.event, is_ftd=conversion.is_ftd)
            ],
            unmatched=[_named(request) for request in about if request.outcome == Outcome.UNMATCHED.value],
            unread=[_named(request) for request in about if request.outcome != Outcome.UNMATCHED.value],
            stated=[row.sub.lower() for row in claimed if row.sub and getattr(row, counted)],
            restated=await self._restated(claimed, measure),
            unclaimed=sorted({row.tag for row in unclaimed}) if await self._unclaimed(unclaimed) else (),
            segments=segments if self.offer.tag_key is None and len(segments) > 1 else (),
            fresh=self.now < day_bounds(self.day, zone)[1] + FRESH,
        )

    def _claims(self, row: Row[Any]) -> bool:
        return self.offer.tag_key in {None, row.tag_key, row.tag_name.strip().lower()}

    def _compared_conversion(self, conversion: Row[Any], zone: ZoneInfo) -> ComparedConversion:
        click = self.codec.encode(conversion.click_id) if self.codec and conversion.click_id else ""
        return ComparedConversion(
            ref=conversion.txn_id or conversion.player_id or click or f"conversion {conversion.id}",
            here=conversion.day == self.day,
            there=conversion.occurred_at.astimezone(zone).date() == self.day,
            counts=conversion.status != Status.REVERSED.value,
            player=conversion.player_id or "",
            click=click,
            amount=conversion.amount,
            currency=conversion.currency or "",
            occurred_at=conversion.occurred_at,
            once=conversion.event != Event.DEPOSIT.value,
        )

    async def _conversions(self) -> Sequence[Row[Any]]:
        """The offer's conversions of the day and of both days beside it."""
        c = conversions.c
        near = c.day.between(self.day - timedelta(days=1), self.day + timedelta(days=1))
        query = select(conversions).where(c.team_id == self.query.team_id, near, c.offer_id == self.offer.id)
        if self.campaign_ids is not None:
            query = query.where(c.campaign_id.in_(self.campaign_ids))
        return (await self.tx.execute(query.order_by(c.id))).all()

    async def _revenue(self) -> tuple[list[Row[Any]], list[Row[Any]]]:
        """The account's rows of the day: those of the offer (and not of another campaign), and those of no offer's."""
        r = revenue.c
        query = select(revenue).where(r.account_id == self.offer.account_id, r.day == self.day)
        rows = (await self.tx.execute(query.order_by(r.id))).all()
        claimed = [row for row in rows if self._claims(row)]
        others = [row for row in rows if not self._claims(row)]
        if self.campaign_ids is None:
            return claimed, others
        links = await KnownClicks(self.tx, self.query.team_id).links({row.sub for row in claimed if row.sub})
        named = await catalogue(self.tx, self.query.team_id)

        def placed(row: Row[Any]) -> int | None:
            if row.sub in links:
                return links[row.sub].campaign_id
            campaign = named.campaign_named(row.sub)
            return campaign.id if campaign else None

        return [row for row in claimed if placed(row) is None or placed(row) in self.campaign_ids], others

    async def _requests(self) -> Sequence[Row[Any]]:
        """Requests of the platform's day that made no conversion, and are not of another campaign's click."""
        p = postbacks.c
        begin, end = day_bounds(self.day, ZoneInfo(self.offer.timezone))
        query = select(p.id, p.outcome, p.event, p.txn_id, p.player_id, p.click, p.click_id).where(
            p.account_id == self.offer.account_id,
            p.received_at >= begin,
            p.received_at < end + timedelta(hours=6),
            p.outcome.in_([Outcome.UNMATCHED.value, Outcome.UNMAPPED.value, Outcome.REJECTED.value]),
        )
        rows: Sequence[Any] = (await self.tx.execute(query.order_by(p.id).limit(200))).all()
        links = await click_queries.links(self.tx, {row.click_id for row in rows if row.click_id})

        def own(row: Row[Any]) -> bool:
            link = links.get(row.click_id)
            if link is None:
                return True
            here = link.offer_id in {0, self.offer.id}
            return here and (self.campaign_ids is None or link.campaign_id in self.campaign_ids)

        return [row for row in rows if own(row)]

    async def _restated(self, rows: Sequence[Row[Any]], measure: str) -> list[Restatement]:
        """Changes of the platform's sum after the day was settled; the latest first. Amounts are converted."""
        s, v = settled_days.c, revenue_revisions.c
        settled = select(s.settled_at).where(s.account_id == self.offer.account_id, s.day == self.day)
        since = (await self.tx.execute(settled)).scalar_one_or_none()
        if since is None:
            return []
        rates = await self._rates(rows) if measure == "deposit_amount" else None
        query = select(v.recorded_at, v.revenue_id, v[measure]).where(v.revenue_id.in_([row.id for row in rows]))
        revised = [tuple(row) for row in await self.tx.execute(query.order_by(v.id))]
        revised_ids = {row_id for _, row_id, _ in revised}
        first = [(row.recorded_at, row.id, getattr(row, measure)) for row in rows if row.id not in revised_ids]
        now: dict[int, int] = {}
        changes: dict[datetime, Restatement] = {}
        for at, row_id, figure in sorted([*first, *revised], key=lambda revision: revision[0]):
            before = sum(now.values())
            rate = rates[row_id] if rates else None
            now[row_id] = (figure or 0) if rates is None else convert(figure or 0, rate) if rate else 0
            if at > since:
                earlier = changes.get(at)
                ids = [*(earlier.rows if earlier else []), row_id]
                start = earlier.before if earlier else before
                changes[at] = Restatement(before=start, after=sum(now.values()), at=at, rows=ids)
        return [change for change in reversed(changes.values()) if change.before != change.after]

    async def _rates(self, claimed: Sequence[Row[Any]]) -> dict[int, Decimal | None]:
        """What an amount of each row is multiplied by for the report's currency; None without a rate."""
        currencies = {row.currency for row in claimed}
        rates = await load_rates(
            self.tx, self.query.team_id, self.query.currency, currencies, self.day, self.day
        )  # fmt: skip
        return {row.id: rates.rate(row.currency, self.day) for row in claimed}

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


def _measures(event: str, *, is_ftd: bool = True) -> set[str]:
    """Measures an event counts in."""
    named = {
        Event.REGISTRATION.value: {"registrations"}, Event.QUALIFIED.value: {"qualified"},
        Event.FIRST_DEPOSIT.value: {"deposits"}, Event.DEPOSIT.value: {"deposits"},
    }.get(event, set())  # fmt: skip
    return named | {"first_deposits"} if is_ftd and "deposits" in named else named


def _named(request: Row[Any]) -> str:
    return request.txn_id or request.player_id or request.click or f"request {request.id}"
