"""What a visitor or a postback would get, step by step, without anything being stored."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from bot.commands.campaigns import Offers, Rules, checked_rules, read_weights
from bot.commands.postbacks import processor
from bot.core import permissions
from bot.core.arguments import EMPTIES, NONE, Arguments, MissingArgument, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Fields, Message, Notice, Text
from bot.core.permissions import Scope
from bot.render.figures import money
from storage.catalogue import names
from storage.clicks import budgets, caps, plans
from storage.clicks.plans import CampaignPlan, Draft, OfferPlan, Plans, SitePlan
from storage.ledger.clicks.compiled_conditions import failing
from storage.ledger.clicks.macros import Template
from storage.ledger.clicks.rotation import Availability, AvailabilityOf, alternatives, chances, pick
from storage.ledger.clicks.rotation_rules import DEVICES, Visitor
from storage.ledger.clicks.rules_in_words import condition_in_words
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import SUBS, Reason, Role
from storage.ledger.numbers import read_float
from storage.postbacks.conversions import ConversionProcessor, preview
from storage.postbacks.postback_accounts import PostbackAccount
from storage.postbacks.requests import postback_request
from storage.tables import accounts, campaigns, offers
from storage.tables.types import EPOCH_DAY

_EXAMPLE_ID = "0123456789abcdefghjkmnp"
_WHY = {
    Reason.CHOSEN: "first choice", Reason.BOUND: "a returning visitor keeps what they saw",
    Reason.CAPPED: "the first choice's cap is full", Reason.PAUSED: "the first choice or the campaign is paused",
    Reason.NO_RULE: "no rule matched", Reason.FALLBACK: "nothing left but the fallback URL",
    Reason.SITE: "nothing left but the site", Reason.FAILED: "nothing is open",
    Reason.BLOCKED: "the placement is blocked", Reason.BUDGET: "the budget is used up",
    Reason.UNSEEN: "a returning visitor goes on to an offer they have not seen",
    Reason.PACED: "the budget's part for this time of day is used up",
    Reason.HOLDOUT: "one of the holdout, by the weights set by hand",
}  # fmt: skip


class ClickSimulation(Arguments):
    campaign: Annotated[str, refers("campaign", "whose tracking link")]
    country: Annotated[str, Meta(description="ISO-2, e.g. DE")] = ""
    device: Annotated[str, choices("what they hold", *DEVICES)] = "mobile"
    os: Annotated[str, Meta(description="e.g. iOS")] = ""
    browser: Annotated[str, Meta(description="e.g. Chrome")] = ""
    language: Annotated[str, Meta(description="e.g. de")] = ""
    at: Annotated[str | None, Meta(description="report time, 2026-10-01T14:30; now if absent")] = None
    saw: Annotated[list[str], refers("offer", "the offers they saw before, the last one at the end", most=50)] = []
    click_id: Annotated[str, Meta(description="the source's own click id")] = ""
    referrer: Annotated[str, Meta(description="the page they come from")] = ""
    ip: Annotated[str, Meta(description="their address")] = ""
    city: Annotated[str, Meta(description="e.g. Berlin")] = ""
    region: Annotated[list[str], Meta(description="code or name: BY, Bavaria")] = []
    returning: Annotated[bool, Meta(description="they were here before")] = False
    bot: Annotated[bool, Meta(description="a machine")] = False
    chance: Annotated[
        Decimal | None,
        Meta(description="where among 100 visitors they fall, for rules that take a part of the traffic"),
    ] = None
    offers: Annotated[Offers | None, EMPTIES] = None
    rules: Annotated[Rules | None, EMPTIES] = None
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    sub6: str = ""
    sub7: str = ""
    sub8: str = ""
    sub9: str = ""
    sub10: str = ""


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """How many of 100 such visitors would get an offer; null: none of the offers."""

    offer: str | None
    percent: float


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. `offer` and `rule` (its number) are null where none decides; `url` where they would land.

    `offer` is one of those that the visitor may get; `chances` are all of them.
    """

    campaign: str
    steps: list[str]
    rule: int | None
    offer: str | None
    reason: str
    url: str | None
    chances: list[Chance] = []


def simulation_card(ctx: Context, simulation: Simulation) -> Message:
    name = ctx.name("campaign", simulation.campaign)
    place = ctx.label("offer", simulation.offer) if simulation.offer else simulation.url or "nowhere"
    steps = tuple(Text(f"{number}. {step}") for number, step in enumerate(simulation.steps, 1))
    if len(simulation.chances) > 1:
        parts = ", ".join(f"{chance.offer or 'none'} {chance.percent:.3g}%" for chance in simulation.chances)
        steps += (Text(f"Of 100 such visitors: {parts}"),)
    url = (Text(simulation.url, code=True),) if simulation.url else ()
    return Message(f"{name} → {place}", (*steps, *url), private=True)


@command("simulate click", role=Role.VIEWER, render=simulation_card, reads=True, positional=("campaign",))
async def simulate_click(ctx: Context, new: ClickSimulation) -> Simulation:
    """Show which rule, offer and URL a given visitor would get, also by other offers or rules; stores nothing."""
    row = await names.find(ctx.tx, campaigns, ctx.team_id, new.campaign, field="campaign")
    all_plans = await plans.load(ctx.tx, ctx.deployment.public_url, only=row.id, draft=await _draft(ctx, new))
    seen = [(await names.find(ctx.tx, offers, ctx.team_id, word, field="saw")).id for word in new.saw]
    return await _SimulatedClick(ctx, new, all_plans, all_plans.campaigns[row.code]).decide(seen)


async def _draft(ctx: Context, new: ClickSimulation) -> Draft:
    """The offers and rules to try in place of those that are stored. Raises Refused at their field."""
    words = [] if new.offers == [NONE] else new.offers
    return Draft(
        rules=None if new.rules is None else await checked_rules(ctx, new.rules),
        weights=None if words is None else await read_weights(ctx, words, []),
    )


class _SimulatedClick:
    """A click that is not stored: what it is decided by, and the steps of the decision so far."""

    def __init__(self, ctx: Context, new: ClickSimulation, all_plans: Plans, plan: CampaignPlan) -> None:
        self._ctx, self._new, self._plans, self._plan = ctx, new, all_plans, plan
        self._visitor = _visitor(ctx, plan, new)
        self._steps = [f"visitor: {_described(self._visitor)}"]

    async def decide(self, seen: list[int]) -> Simulation:
        """Where a visitor goes who has seen these offers."""
        plan, steps = self._plan, self._steps
        if plan.gate and (refusal := plan.gate.explain(self._visitor.subs)):
            steps.append(refusal)
            return self._turned_away(Reason.BLOCKED)
        if (refused := await self._budget_used()) is not None:
            return self._turned_away(refused)
        if plan.paused:
            steps.append(f"the campaign is paused{': the fallback URL' if plan.fallback else ', and has no fallback'}")
            if plan.fallback:
                return self._result(Reason.PAUSED, self._filled(plan.fallback))
        if plan.to_site and plan.site and not plan.site.paused:
            steps.append(f"the campaign leads to site {plan.site.code}, whose links carry the click on to the offers")
            return self._result(Reason.PAUSED if plan.paused else Reason.CHOSEN, self._site_url(plan.site))
        return await self._by_rotation(seen)

    async def _by_rotation(self, seen: list[int]) -> Simulation:
        plan, all_plans, visitor = self._plan, self._plans, self._visitor
        availability = await self._availability()
        distribution = plan.rotation.distribution
        roll = distribution.holdout if distribution else 0.0  # none of the holdout
        bound = seen[-1] if seen and plan.binding else 0
        unseen = plan.recognition is not None and plan.recognition.unseen
        known = seen if unseen else []
        choice = pick(plan.rotation, visitor, availability=availability, bound=bound, roll=roll, seen=known)
        self._add_rules(choice.rule)
        offer = all_plans.offers.get(choice.offer_id)
        reason = Reason.PAUSED if plan.paused and offer else choice.reason
        self._steps.append(f"offer {offer.code if offer else 'none'}: {_WHY[reason]}")
        landing = self._landing(offer, rule=choice.rule, reason=reason)
        likely = chances(plan.rotation, visitor, availability=availability, bound=bound, seen=known)
        parts = [
            Chance(offer=all_plans.offers[offer_id].code if offer_id in all_plans.offers else None,
                   percent=round(share * 100, 4))
            for offer_id, share in likely.items()
        ]  # fmt: skip
        return msgspec.structs.replace(landing, chances=parts)

    async def _budget_used(self) -> Reason | None:
        """Why the click does not fit into the budgets; each of them gets a step."""
        plan, ctx = self._plan, self._ctx
        refused, price = None, plan.country_prices.get(self._visitor.country, plan.cost) or 0
        for budget in plan.budgets((ctx.today - EPOCH_DAY).days, self._visitor.minute):
            used = await budgets.used(ctx.tx, plan.id, EPOCH_DAY + timedelta(days=budget.period))
            kind = "of the day" if budget.period else "in all"
            currency = plan.currency or ctx.deployment.currency
            self._steps.append(f"budget {kind}: {money(used, currency)} of {money(budget.whole, currency)} used")
            if budget.limit < budget.whole:
                self._steps.append(f"by this time of day {money(budget.limit, currency)} may be spent")
            if used >= budget.whole or used + price > budget.whole:
                refused = Reason.BUDGET
            elif used >= budget.limit or used + price > budget.limit:
                refused = refused or Reason.PACED
        return refused

    async def _availability(self) -> AvailabilityOf:
        """Which of the campaign's offers and alternatives are open now, as the database counts; closed ones get a
        step."""
        all_plans, members, ctx = self._plans, self._plan.rotation.members, self._ctx
        reached = members.union(*(alternatives(all_plans.alternatives, offer_id) for offer_id in members))
        shut: dict[int, Availability] = {}
        for offer in (all_plans.offers[offer_id] for offer_id in sorted(reached & all_plans.offers.keys())):
            if offer.paused:
                shut[offer.id] = Availability.PAUSED
                self._steps.append(f"offer {offer.code} is paused")
            elif offer.cap and (usage := await caps.used(ctx.tx, offer.id, ctx.now)) and usage[0] >= usage[1]:
                shut[offer.id] = Availability.CAPPED
                self._steps.append(f"offer {offer.code} is full: {usage[0]} of {usage[1]} {offer.cap.event}s")
        return lambda offer_id: (
            shut.get(offer_id, Availability.OPEN) if offer_id in all_plans.offers else Availability.PAUSED
        )

    def _add_rules(self, decided: int) -> None:
        """A step for each rule up to the one that decided, or for all and the weights."""
        rotation, visitor = self._plan.rotation, self._visitor
        for number, rule in enumerate(rotation.rules):
            matches = rule.matches(visitor)
            fails = failing(rule.condition, visitor, number)
            part = f": {condition_in_words(fails)} fails" if fails is not None and fails != rule.condition else ""
            self._steps.append(f"rule {number + 1} ({rule.text}) {'matches' if matches else 'does not match'}{part}")
            if number == decided:
                return
        distribution = rotation.distribution
        shares = distribution.of(visitor) if distribution else rotation.shares
        total = sum(share.weight for share in shares) or 1
        known = self._plans.offers
        among = [f"{known[s.offer_id].code} {s.weight / total:.0%}" for s in shares if s.offer_id in known]
        how = "by what the offers earn" if distribution else "by weight"
        self._steps.append(f"{how}: " + (", ".join(among) or "the campaign has no offers"))

    def _turned_away(self, reason: Reason) -> Simulation:
        """To the fallback, or a neutral page; never to an offer."""
        fallback = self._plan.fallback
        self._steps.append("the fallback URL" if fallback else "a neutral page")
        return self._result(reason, self._filled(fallback) if fallback else None)

    def _landing(self, offer: OfferPlan | None, *, rule: int, reason: Reason) -> Simulation:
        plan = self._plan
        if offer:
            return self._result(reason, self._filled(offer.template, offer), offer=offer.code, rule=rule)
        if plan.fallback:
            self._steps.append("the fallback URL")
            return self._result(Reason.FALLBACK, self._filled(plan.fallback), rule=rule)
        if plan.site and not plan.site.paused:
            self._steps.append(f"site {plan.site.code}")
            return self._result(Reason.SITE, self._site_url(plan.site), rule=rule)
        self._steps.append("nothing is open: a neutral page")
        return self._result(reason if plan.rotation.members else Reason.FAILED, None, rule=rule)

    def _result(self, reason: Reason, url: str | None, *, offer: str | None = None, rule: int = -1) -> Simulation:
        return Simulation(
            campaign=self._plan.code, steps=self._steps, rule=rule + 1 if rule >= 0 else None, offer=offer,
            reason=reason.name.lower(), url=url,
        )  # fmt: skip

    @staticmethod
    def _site_url(site: SitePlan) -> str:
        return f"{site.url}click={_EXAMPLE_ID}"

    def _filled(self, template: Template, offer: OfferPlan | None = None) -> str:
        """An address with its macros filled for this click."""
        plan, new = self._plan, self._new
        values = {
            "click_id": _EXAMPLE_ID, "campaign": plan.code, "source": plan.source.code,
            "offer": offer.code if offer else "", "site": plan.site.code if plan.site else "",
            "source_click_id": new.click_id, "country": new.country.upper(), "device": new.device,
            "timestamp": str(int(self._ctx.now.timestamp())), "random": "1234567890",
            **{name: getattr(new, name) for name in SUBS},
        }  # fmt: skip
        return template.fill(values.__getitem__)


def _visitor(ctx: Context, plan: CampaignPlan, new: ClickSimulation) -> Visitor:
    local = _moment(ctx.now, new.at, ctx.deployment.zone)
    return Visitor(
        country=new.country.upper(), device=new.device.lower(), os=new.os, browser=new.browser,
        language=new.language.lower(), source=plan.source.code, subs=tuple(getattr(new, name) or None for name in SUBS),
        minute=local.hour * 60 + local.minute, weekday=local.weekday(), referrer=new.referrer, address=new.ip,
        city=new.city.lower(), regions=tuple(region.lower() for region in new.region),
        unique=not (new.returning or new.saw or new.bot), bot=new.bot or new.device.lower() == "bot",
        chance=_part(new.chance),
    )  # fmt: skip


def _part(chance: Decimal | None) -> float:
    if chance is None:
        return 0.0
    if not 0 <= chance < 100:
        raise Refused("chance: from 0 up to 100, without 100 itself", field="chance")
    return read_float(chance) / 100


def _moment(now: datetime, at: str | None, zone: ZoneInfo) -> datetime:
    if at is None:
        return now.astimezone(zone)
    try:
        return datetime.fromisoformat(at).replace(tzinfo=zone)
    except ValueError:
        raise Refused(f"at: {at!r} is not a time: write 2026-10-01T14:30", field="at") from None


def _described(visitor: Visitor) -> str:
    words = [f"{name} {value}" for name in ("country", "device", "os", "browser", "language", "source")
             if (value := getattr(visitor, name))]  # fmt: skip
    words += [f"{name} {value}" for name, value in (
        ("referrer", visitor.referrer), ("ip", visitor.address), ("city", visitor.city),
        ("region", ", ".join(visitor.regions)),
    ) if value]  # fmt: skip
    words += ["a machine" if visitor.bot else "new" if visitor.unique else "returning"]
    words += [f"sub{n} {value}" for n, value in enumerate(visitor.subs, 1) if value]
    return ", ".join([*words, f"at {visitor.minute // 60:02}:{visitor.minute % 60:02}"])


class SimulatedPostback(Arguments, kw_only=True):
    url: Annotated[str | None, Meta(description="a whole postback address, or only its query")] = None
    account: Annotated[str | None, refers("account", "whose postback, if no address is given")] = None
    click_id: Annotated[str | None, refers("click", "the click it is about")] = None
    event: str | None = None
    txn_id: str | None = None
    amount: str | None = None
    currency: str | None = None
    occurred_at: str | None = None
    status: str | None = None
    player_id: str | None = None


class ForecastShown(msgspec.Struct, frozen=True, kw_only=True):
    """What would come of it. Amounts are micro-units; `day` is the report day it would count on."""

    account: str
    outcome: str
    reason: str | None
    event: str | None
    click_id: str | None
    txn_id: str | None
    player_id: str | None
    status: str | None
    amount: int | None
    currency: str | None
    occurred_at: datetime
    day: str | None
    is_ftd: bool
    parameters: dict[str, Any]
    stored: bool = False


def forecast_card(_ctx: Context, forecast: ForecastShown) -> Message:
    level = "ok" if forecast.outcome in {"accepted", "updated", "duplicate"} else "warning"
    fields = tuple(
        (name, str(getattr(forecast, name)))
        for name in ("event", "click_id", "txn_id", "status", "amount", "currency", "day")
        if getattr(forecast, name) is not None
    )
    notes = (Notice(level, forecast.reason),) if forecast.reason else ()  # type: ignore[arg-type]
    return Message(
        f"This postback would be {forecast.outcome}; nothing was stored", (Fields(fields), *notes), private=True
    )


@command("simulate postback", role=Role.BUYER, scope=Scope.OWN, render=forecast_card, reads=True, positional=("url",))
async def simulate_postback(ctx: Context, new: SimulatedPostback) -> ForecastShown:
    """Show what a given postback would do; nothing is stored or sent."""
    placing = await processor(ctx)
    account, query = await _simulated_request(ctx, placing, new)
    request = postback_request(account, ctx.now, query=query.encode("utf-8", errors="replace"))
    entries, changes = await preview(ctx.tx, [request], placing)
    entry, signal = entries[0], request.signal
    await _refuse_foreign(ctx, signal.click)
    made = next((c.derived for c in changes if entry.number in c.derived.requests), None)
    return ForecastShown(
        account=account.code, outcome=entry.outcome or "rejected", reason=entry.reason, event=signal.event,
        click_id=signal.click, txn_id=signal.txn_id, player_id=signal.player_id, status=signal.status,
        amount=signal.amount, currency=signal.currency, occurred_at=signal.occurred_at,
        day=made.occurred_at.astimezone(placing.zone).date().isoformat() if made else None,
        is_ftd=bool(made and made.is_ftd), parameters=request.decoded.by_name(),
    )  # fmt: skip


async def _refuse_foreign(ctx: Context, click: str | None) -> None:
    """A postback address may name a click in ways of the account's own: judged once it has been read."""
    if ctx.actor.campaigns is not None and click:
        await permissions.judge(ctx, "click", click, field="url")


async def _simulated_request(
    ctx: Context, placing: ConversionProcessor, new: SimulatedPostback
) -> tuple[PostbackAccount, str]:
    parameters = {name: getattr(new, name) for name in new.__struct_fields__ if name not in {"url", "account"}}
    more = urlencode({name: value for name, value in parameters.items() if value is not None})
    if new.url is None:
        if new.account is None:
            raise MissingArgument("url: give a whole postback address, or account= and what it says", field="url")
        return await _account(ctx, placing, new.account), more
    parts = urlsplit(new.url)
    query = parts.query or (new.url if "=" in new.url and not parts.netloc else "")
    key = unquote(parts.path.rpartition("/postback/")[2].strip("/")) if "/postback/" in parts.path else ""
    whole = "&".join(part for part in (query, more) if part)
    if key in placing.book.by_key and placing.book.by_key[key].team_id == ctx.team_id:
        return placing.book.by_key[key], whole
    if new.account is not None:
        return await _account(ctx, placing, new.account), whole
    raise Missing("url: no account has that postback address: 'postback url <account>' gives it", field="url")


async def _account(ctx: Context, placing: ConversionProcessor, word: str) -> PostbackAccount:
    return placing.book.by_id[(await names.find(ctx.tx, accounts, ctx.team_id, word, field="account")).id]
