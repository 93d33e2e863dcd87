"""Campaigns compiled for the hot path: loaded whole whenever something configured changes, then only looked at."""

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import distribution, placements
from storage.catalogue.placements import NO_PLACEMENTS, Placements
from storage.clicks.caps import period_of
from storage.clicks.write_jobs import Budget, Cap, Click
from storage.db.cooperative import cooperative
from storage.ledger.addresses import origin_of
from storage.ledger.clicks.compiled_conditions import RuleIndex, asked, compiled
from storage.ledger.clicks.macros import Template
from storage.ledger.clicks.placements import PlacementGate
from storage.ledger.clicks.placements import gate as placement_gate
from storage.ledger.clicks.rotation import CompiledRule, Distribution, Rotation, Share
from storage.ledger.clicks.rotation_rules import node_of, spoken
from storage.ledger.clicks.visitor import Recognition, recognition
from storage.ledger.cost_models import CPM, FIXED, UNIQUE, price_of_click
from storage.ledger.distribution.weights import WHOLE
from storage.ledger.facts import SUBS
from storage.ledger.pacing import released
from storage.tables import (
    accounts,
    campaign_aliases,
    campaign_offers,
    campaigns,
    domains,
    offers,
    site_offers,
    sites,
    sources,
)
from storage.tables.types import EPOCH_DAY

OURS = ("click_id", "cost", "currency", *SUBS)
"""Parameters of a tracking link by our own names."""

SLOT = 900  # seconds: every zone's hours and days begin on one of these


class CapPlan(msgspec.Struct):
    """An offer's cap; `at` gives the one of a moment, worked out once per quarter hour."""

    offer_id: int
    event: str
    period: str
    limit: int
    zone: ZoneInfo
    _slot: int = -1
    _cap: Cap | None = None

    def at(self, slot: int) -> Cap:
        """`slot` is Unix time divided by SLOT."""
        if slot != self._slot or self._cap is None:
            day = period_of(datetime.fromtimestamp(slot * SLOT, UTC), self.period, self.zone)
            self._cap = Cap(self.offer_id, self.event, (day - EPOCH_DAY).days, self.limit)
            self._slot = slot
        return self._cap


class OfferPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where an offer's visitors go, and whether they may."""

    id: int
    code: str
    team_id: int
    template: Template
    paused: bool
    cap: CapPlan | None = None


class SitePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A site: `url` is where its visitors land, to be followed by `click=` and a click id; `offers` are ids in order.

    `origin` is that of a page which lies elsewhere: its script may ask for a click without a redirect.
    """

    id: int
    code: str
    team_id: int
    url: str
    paused: bool
    offers: tuple[int, ...] = ()
    origin: str = ""


class SourcePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A traffic source; `places` tells which of OURS a parameter on our link is, by theirs and by our own names."""

    id: int
    code: str
    places: dict[str, int]


class FastPlan(msgspec.Struct, frozen=True):
    """Offers by weight where nothing else has a say: no rule that matches, no cap, no pause."""

    offers: tuple[int, ...]
    marks: tuple[float, ...]  # where each offer's part of 0 … 1 ends
    offer_ids: frozenset[int]
    holdout: float = 0.0  # the part of 0 … 1, from 0 on, that goes by the weights set by hand

    def pick(self, roll: float) -> int:
        offers = self.offers
        return offers[0] if len(offers) == 1 else offers[bisect_right(self.marks, roll, 0, len(offers) - 1)]


class _City(Protocol):
    @property
    def city(self) -> str: ...


class UndecidedClick(Protocol):
    """A click as an index of rules asks it: without making a visitor of it first."""

    click: Click
    campaign: "CampaignPlan"

    @property
    def address(self) -> str: ...

    @property
    def geo(self) -> _City: ...


def _sub(place: int) -> Callable[[UndecidedClick], str]:
    return lambda job: job.click.subs[place]


CLICK_READERS: dict[str, Callable[[UndecidedClick], str]] = {
    "country": lambda job: job.click.country,
    "device": lambda job: job.click.agent.device,
    "os": lambda job: job.click.agent.os.lower(),
    "browser": lambda job: job.click.agent.browser.lower(),
    "language": lambda job: job.click.language,
    "source": lambda job: job.campaign.source.code,
    "city": lambda job: job.geo.city,
    **{name: _sub(place) for place, name in enumerate(SUBS)},
}
"""READERS of a visitor, of the click itself."""


class CampaignPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign ready to serve: nothing in it is looked up any more."""

    id: int
    code: str
    team_id: int
    site: SitePlan | None
    source: SourcePlan
    rotation: Rotation
    fallback: Template | None
    cost_model: str
    cost: int | None
    currency: str | None
    binding: bool
    to_site: bool
    paused: bool
    gate: PlacementGate | None = None
    country_prices: dict[str, int] = {}  # of a click, where they differ from `cost`
    budget_day: int | None = None
    budget_total: int | None = None
    released: tuple[int, ...] = ()  # of the day's budget, by the end of each quarter hour; empty: all of it
    recognition: Recognition | None = None
    special: bool = False  # has placement lists, a budget or a price per unique click

    def budgets(self, day: int, minute: int) -> tuple[Budget, ...]:
        """The budgets that a click of a report day (days since 1970) counts against at a minute of that day."""
        budgets = []
        if self.budget_day:
            limit = self.released[minute // 15] if self.released else self.budget_day
            budgets.append(Budget(self.id, day, limit, self.budget_day))
        if self.budget_total:
            budgets.append(Budget(self.id, 0, self.budget_total, self.budget_total))
        return tuple(budgets)

    index: RuleIndex[UndecidedClick] | None = None  # of the rules, where there are any
    quick: FastPlan | None = None
    quick_rules: tuple[FastPlan, ...] = ()  # in place of `quick` for visitors whom a rule matches, by its number
    segments: dict[str, FastPlan] = {}  # in place of `quick` for visitors of a country or device
    segmented_by_device: bool = False


class StoredRotation(msgspec.Struct, frozen=True):
    """A campaign's rules and weights as they are stored, and what was compiled of them."""

    rules: list[Any]
    shares: tuple[Share, ...]
    rotation: Rotation
    index: RuleIndex[UndecidedClick] | None
    quick_rules: tuple[FastPlan, ...]


class Plans(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the hot path knows. Offers by id, and by (team, code); sites and campaigns by code; `hosts` are the
    teams of domains by their names; `rotations` are by the campaign's id."""

    campaigns: dict[str, CampaignPlan] = {}
    campaign_codes: dict[int, str] = {}
    sites: dict[str, SitePlan] = {}
    offers: dict[int, OfferPlan] = {}
    offer_codes: dict[tuple[int, str], int] = {}
    source_codes: dict[int, str] = {}
    alternatives: dict[int, int] = {}
    hosts: dict[str, int] = {}
    aliases: dict[tuple[int, str], str] = {}  # codes of campaigns by team and word of an old link
    placements: Placements = NO_PLACEMENTS
    rotations: dict[int, StoredRotation] = {}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A rotation that is not stored, for one campaign; None for what stays as it is stored."""

    rules: list[Any] | None = None
    weights: dict[int, int] | None = None  # by offer id, in order


STORED = Draft()
NO_SOURCE = SourcePlan(id=0, code="", places={name: place for place, name in enumerate(OURS)})


async def load(
    tx: AsyncConnection, public_url: str, before: Plans | None = None, *, only: int | None = None,
    draft: Draft = STORED,
) -> Plans:  # fmt: skip
    """All teams' plans, as the database has them now; `before` spares reading lists and compiling rules that have not
    changed. Clicks are answered meanwhile.

    With `only`, of campaigns that one, as it would be with `draft`.
    """
    listed = await placements.load(tx, before.placements if before else NO_PLACEMENTS)
    offer_rows = [row async for row in cooperative(await tx.execute(_OFFERS))]
    offer_plans = {row.id: _offer(row) async for row in cooperative(offer_rows)}
    alternatives = {row.id: row.alternative_id for row in offer_rows if row.alternative_id}
    site_plans = await _sites(tx, public_url)
    source_plans = {row.id: _source(row) for row in await tx.execute(select(sources))}
    codes = {(plan.team_id, plan.code): plan.id for plan in offer_plans.values()}
    shares = await _shares(tx)
    same_offers = before is not None and (before.offer_codes, before.alternatives) == (codes, alternatives)
    kept = before.rotations if before and same_offers else {}
    plans: dict[str, CampaignPlan] = {}
    rotations: dict[int, StoredRotation] = {}
    query = select(campaigns).order_by(campaigns.c.id)
    async for row in cooperative(await tx.execute(query if only is None else query.where(campaigns.c.id == only))):
        site = site_plans.get(row.site_id)
        # A campaign that names no offers has its site's, for when the site cannot be shown.
        drafted = None if draft.weights is None else tuple(Share(*weighted) for weighted in draft.weights.items())
        own = shares.get(row.id, ()) if drafted is None else drafted
        own = own or tuple(Share(offer_id_) for offer_id_ in (site.offers if site else ()))
        rules = (row.rules or []) if draft.rules is None else draft.rules
        stored = kept.get(row.id)
        if stored is None or (stored.rules, stored.shares) != (rules, own):
            stored = await _rotation(rules, own, row.team_id, codes=codes, alternatives=alternatives)
        rotations[row.id] = stored
        rotation = _distributed(stored.rotation, row, own, offer_plans)
        gate = placement_gate(listed.by_campaign.get(row.id, {}), listed.by_source.get(row.source_id, {}))
        plan = _campaign(row, site, source_plans.get(row.source_id, NO_SOURCE), rotation, gate=gate, index=stored.index)
        plan = msgspec.structs.replace(plan, **_quick(plan, offer_plans, stored.quick_rules))
        plans.setdefault(row.code, plan)
    return Plans(
        campaigns=plans,
        campaign_codes={plan.id: plan.code for plan in plans.values()},
        sites=_by_code(site_plans),
        offers=offer_plans,
        offer_codes=codes,
        source_codes={plan.id: plan.code for plan in source_plans.values()},
        alternatives=alternatives,
        hosts={row.name: row.team_id for row in await tx.execute(select(domains.c.name, domains.c.team_id))},
        aliases=await _aliases(tx),
        placements=listed,
        rotations=rotations,
    )


async def _aliases(tx: AsyncConnection) -> dict[tuple[int, str], str]:
    query = select(campaign_aliases.c.team_id, campaign_aliases.c.alias, campaigns.c.code)
    rows = await tx.execute(query.join(campaigns, campaigns.c.id == campaign_aliases.c.campaign_id))
    return {(row.team_id, row.alias): row.code async for row in cooperative(rows)}


_OFFERS = select(
    offers.c.id, offers.c.code, offers.c.team_id, offers.c.url, offers.c.status, offers.c.cap, offers.c.cap_event,
    offers.c.cap_period, offers.c.alternative_id, accounts.c.timezone,
).join_from(offers, accounts, offers.c.account_id == accounts.c.id)  # fmt: skip


def _offer(row: Any) -> OfferPlan:
    cap = None
    if row.cap is not None:
        cap = CapPlan(row.id, row.cap_event or "click", row.cap_period or "day", row.cap, ZoneInfo(row.timezone))
    return OfferPlan(
        id=row.id,
        code=row.code,
        team_id=row.team_id,
        template=Template(row.url),
        paused=row.status != "active",
        cap=cap,
    )


async def _sites(tx: AsyncConnection, public_url: str) -> dict[int, SitePlan]:
    live = select(domains.c.site_id, domains.c.name).where(domains.c.status == "live").order_by(domains.c.id.desc())
    hosts = {row.site_id: row.name for row in await tx.execute(live)}
    members: dict[int, list[int]] = {}
    ordered = select(site_offers).order_by(site_offers.c.site_id, site_offers.c.position)
    async for row in cooperative(await tx.execute(ordered)):
        members.setdefault(row.site_id, []).append(row.offer_id)
    return {
        row.id: SitePlan(
            id=row.id, code=row.code, team_id=row.team_id, paused=row.status == "paused",
            offers=tuple(members.get(row.id, ())),
            url=_page_url(row.page or _served_url(public_url, row.code, hosts.get(row.id))),
            origin=origin_of(row.page) if row.page else "",
        )
        async for row in cooperative(await tx.execute(select(sites).order_by(sites.c.id)))
    }  # fmt: skip


def _served_url(public_url: str, code: str, host: str | None) -> str:
    """Where we show a site."""
    return f"https://{host}/" if host else f"{public_url}/s/{code}"


def _page_url(address: str) -> str:
    """An address up to where `click=` follows."""
    return address + ("&" if "?" in address else "?")


def _by_code(site_plans: dict[int, SitePlan]) -> dict[str, SitePlan]:
    plans: dict[str, SitePlan] = {}
    for plan in site_plans.values():
        plans.setdefault(plan.code, plan)
    return plans


def _source(row: Any) -> SourcePlan:
    places = NO_SOURCE.places
    theirs = {str(theirs): places[ours] for ours, theirs in (row.parameters or {}).items() if theirs and ours in places}
    return SourcePlan(id=row.id, code=row.code, places=places | theirs)


async def _shares(tx: AsyncConnection) -> dict[int, tuple[Share, ...]]:
    shares_of: dict[int, list[Share]] = {}
    c = campaign_offers.c
    query = select(c.campaign_id, c.offer_id, c.weight).order_by(c.position)
    async for campaign_id, offer_id, weight in cooperative(await tx.execute(query)):
        shares_of.setdefault(campaign_id, []).append(Share(offer_id, weight))
    return {campaign_id: tuple(shares) for campaign_id, shares in shares_of.items()}


async def _rotation(
    stored: list[Any], shares: tuple[Share, ...], team_id: int, *, codes: dict[tuple[int, str], int],
    alternatives: dict[int, int],
) -> StoredRotation:  # fmt: skip
    rules = tuple([
        _rule(rule, n, lambda code: codes.get((team_id, code))) async for n, rule in cooperative(enumerate(stored))
    ])  # fmt: skip
    members = frozenset(share.offer_id for shares_ in (shares, *(rule.shares for rule in rules)) for share in shares_)
    conditions = [rule.condition for rule in rules]
    rotation = Rotation(
        rules=rules, shares=shares, alternatives=alternatives, members=members,
        asks=frozenset().union(*map(asked, conditions)),
    )  # fmt: skip
    index = RuleIndex(conditions, CLICK_READERS) if rules else None
    weighted = (rule.shares for rule in rules if any(share.weight for share in rule.shares))
    quick_rules = tuple([_fast(((shares_, 1.0),), members) async for shares_ in cooperative(weighted)])
    return StoredRotation(stored, shares, rotation, index, quick_rules)


def _distributed(
    rotation: Rotation, row: Any, shares: tuple[Share, ...], offer_plans: dict[int, OfferPlan]
) -> Rotation:
    """The rotation by the weights that earnings set, where the campaign hands its weights over."""
    shares_now = distribution.shares_in_force(row, shares, paused=lambda offer_id: offer_plans[offer_id].paused)
    if not shares_now.get(""):
        return rotation
    return msgspec.structs.replace(rotation, distribution=Distribution(
        shares=shares_now, by=row.distribute_by or "", holdout=distribution.holdout_of(row) / WHOLE
    ))  # fmt: skip


def _rule(rule: dict[str, Any], number: int, offer_id: Callable[[str], int | None]) -> CompiledRule:
    """An offer that is gone since the rule was written is passed over."""
    shares = tuple(
        Share(known_id, entry["weight"]) for entry in rule["offers"] if (known_id := offer_id(entry["offer"]))
    )
    condition = node_of(rule)
    return CompiledRule(compiled(condition, number), shares, spoken(rule), condition)


def _quick(plan: CampaignPlan, offers: dict[int, OfferPlan], quick_rules: tuple[FastPlan, ...]) -> dict[str, Any]:
    """The fields of a plan that answer where nothing but weights has a say; empty where something has."""
    rotation = plan.rotation
    special = any(offers[offer_id].paused or offers[offer_id].cap for offer_id in rotation.members)
    if len(quick_rules) < len(rotation.rules) or not any(share.weight for share in rotation.shares):
        return {}
    if special or plan.paused or plan.to_site or (plan.recognition and plan.recognition.unseen):
        return {}
    return _quick_default(rotation) | {"quick_rules": quick_rules}


def _quick_default(rotation: Rotation) -> dict[str, Any]:
    """Of visitors whom no rule matches."""
    if rotation.distribution is None:
        return {"quick": _fast(((rotation.shares, 1.0),), rotation.members)}
    holdout = rotation.distribution.holdout
    by_segment = {
        segment: _fast(((rotation.shares, holdout), (shares, 1 - holdout)), rotation.members, holdout)
        for segment, shares in rotation.distribution.shares.items()
    }
    quick = by_segment.pop("")
    return {"quick": quick, "segments": by_segment, "segmented_by_device": rotation.distribution.by == "device"}


def _fast(
    parts: tuple[tuple[tuple[Share, ...], float], ...], members: frozenset[int], holdout: float = 0.0
) -> FastPlan:
    """Each part's offers by weight, in its stretch of 0 … 1."""
    offer_ids, marks, begin = [], [], 0.0
    for shares, width in parts:
        total, so_far = sum(share.weight for share in shares), 0
        for share in shares if width else ():
            if share.weight:
                so_far += share.weight
                offer_ids.append(share.offer_id)
                marks.append(begin + width * so_far / total)
        begin += width
    return FastPlan(tuple(offer_ids), tuple(marks), members, holdout)


def _campaign(
    row: Any, site: SitePlan | None, source: SourcePlan, rotation: Rotation, *, gate: PlacementGate | None,
    index: RuleIndex[UndecidedClick] | None,
) -> CampaignPlan:  # fmt: skip
    return CampaignPlan(
        id=row.id, code=row.code, team_id=row.team_id, site=site, source=source, rotation=rotation,
        fallback=Template(row.fallback_url) if row.fallback_url else None,
        cost_model=FIXED if row.cost_model == CPM else row.cost_model,
        cost=price_of_click(row.cost_model, row.cost),
        currency=row.currency, binding=row.binding and not row.smart_rotation,
        to_site=site is not None and not row.direct,
        paused=row.status != "active", gate=gate,
        index=index,
        country_prices={
            country: price_of_click(row.cost_model, price) or 0
            for country, price in (row.country_costs or {}).items()
        },
        budget_day=row.budget_day, budget_total=row.budget_total,
        released=released(row.budget_day, row.usual_hours or ()) if row.budget_day and row.pacing else (),
        recognition=recognition(row),
        special=gate is not None or bool(row.budget_day or row.budget_total) or row.cost_model == UNIQUE,
    )  # fmt: skip
