"""Where a click goes: the writer has each job decide, and once it is on disk the job names the URL."""

import random
from collections.abc import Callable, Sequence

from hub.clicks.state import State
from hub.requests.country import NOWHERE
from storage.clicks.plans import CLICK_READERS, SLOT, CampaignPlan, FastPlan, Plans, SitePlan
from storage.clicks.write_jobs import Click, ClickJob, OriginClick, OutgoingJob
from storage.ledger.clicks.rotation import Availability, alternatives, pick
from storage.ledger.clicks.rotation_rules import Visitor
from storage.ledger.cost_models import LINK
from storage.ledger.facts import SUBS, Bot, Reason

_ANY_VISITOR = Visitor()
# Python 3.11 looks a member of an enumeration up by calling a function; every click asks for one of these.
_CHOSEN, _BOUND, _HOLDOUT, _NO_RULE = Reason.CHOSEN, Reason.BOUND, Reason.HOLDOUT, Reason.NO_RULE


class CampaignJob(ClickJob):
    """A click on a tracking link."""

    __slots__ = (
        "_refused", "_state", "_to_fallback", "_to_site", "address", "campaign", "geo", "place", "plans", "roll",
        "seconds", "word",
    )  # fmt: skip

    def __init__(self, state: State, campaign: CampaignPlan, click: Click, seconds: float) -> None:
        self.click = click
        self.visitor_id = self.previous_day_visitor_id = self.bound = 0
        self.further = None
        self._state = state
        self.plans = state.plans
        self.campaign = campaign
        self.seconds = seconds
        self.roll = random.random()
        self.word = state.codec.encode(click.id)
        self._to_fallback = self._to_site = False
        self._refused: Reason | None = None  # by the budget
        #: The client's address and where it lies, if a rule of the campaign asks: in memory only.
        self.address = ""
        self.geo = NOWHERE
        #: What a visitor is a visitor of: the campaign, or minus the site where there is none.
        self.place = campaign.id or -click.site_id

    def decide(self) -> None:
        """By the campaign's plan; a paused or full offer is passed over, and never a last resort."""
        click, plan = self.click, self.campaign
        if plan.special and (refusal := self._refusal()) is not None:
            return self._reject(refusal)
        quick = plan.quick
        among = plan.index.candidates(self) if plan.index is not None else ()
        if quick is not None:
            return self._decide_quickly(quick, among)
        self._to_fallback = self._to_site = False
        click.cap = None
        reason = Reason.CHOSEN
        if plan.paused:
            reason = Reason.PAUSED
            if plan.fallback:
                return self._fall_back(Reason.PAUSED)
        if plan.to_site and plan.site and not plan.site.paused:
            self._to_site = True
            click.offer_id, click.reason = 0, reason
            return None
        picked = pick(
            plan.rotation, self._visitor(), availability=self._state.availability(self.plans, self.seconds),
            bound=self.bound if plan.binding else 0, roll=self.roll,
            seen=self.further.seen if self.further is not None else (), among=among,
        )  # fmt: skip
        if picked.offer_id:
            return self._choose(picked.offer_id, Reason.PAUSED if plan.paused else picked.reason)
        if plan.fallback:
            return self._fall_back(Reason.FALLBACK)
        if plan.site and not plan.site.paused:
            self._to_site = True
            click.offer_id, click.reason = 0, Reason.SITE
            return None
        click.offer_id, click.reason = 0, picked.reason if plan.rotation.members else Reason.FAILED
        return None

    def _decide_quickly(self, quick: FastPlan, among: Sequence[int]) -> None:
        """Where every offer is open: what the visitor saw, the first rule that matches, the weights."""
        click, plan = self.click, self.campaign
        if self.bound and plan.binding and self.bound in quick.offer_ids:
            click.offer_id, click.reason = self.bound, _BOUND
            return
        if among and (number := plan.rotation.first_match(self._visitor(), among)) >= 0:
            click.offer_id, click.reason = plan.quick_rules[number].pick(self.roll), _CHOSEN
            return
        if plan.segments:
            segment = click.agent.device if plan.segmented_by_device else click.country
            quick = plan.segments.get(segment, quick)
        click.offer_id = quick.pick(self.roll)
        if self.roll < quick.holdout:
            click.reason = _HOLDOUT
        else:
            click.reason = _CHOSEN if plan.index is None else _NO_RULE

    def give_up(self) -> None:
        """Its `decide` raised: it goes to the site, the fallback, or the first offer that is open."""
        super().give_up()
        plan = self.campaign
        self._to_site = bool(plan.to_site and plan.site and not plan.site.paused)
        self._to_fallback = not self._to_site and plan.fallback is not None
        if not self._to_site and not self._to_fallback:
            availability = self._state.availability(self.plans, self.seconds)
            shares = [share.offer_id for share in plan.rotation.shares]
            self.click.offer_id = next(
                (offer_id for offer_id in (*shares, *plan.rotation.members)
                 if availability(offer_id) is Availability.OPEN), 0
            )  # fmt: skip

    def _refusal(self) -> Reason | None:
        """Why no offer is chosen although one may be open; a click that is not unique costs nothing where those do."""
        plan, click = self.campaign, self.click
        if not click.unique:
            click.not_unique()
        if self._refused is not None:
            return self._refused
        return Reason.BLOCKED if plan.gate is not None and plan.gate.refuses(click.subs) else None

    def over_budget(self, *, paced: bool) -> None:
        """What its own price would have cost ends with the budget; a cost on the link the source has charged."""
        self._refused, self.click.budgets = Reason.PACED if paced else Reason.BUDGET, ()
        if self.campaign.cost_model != LINK:
            self.click.cost = 0

    def _reject(self, reason: Reason) -> None:
        """To the fallback, or to a neutral page; never to an offer or the site."""
        self._to_site, self._to_fallback = False, True
        self.click.offer_id, self.click.reason, self.click.cap = 0, reason, None

    def _choose(self, offer_id: int, reason: Reason) -> None:
        self.click.offer_id, self.click.reason = offer_id, reason
        cap = self.plans.offers[offer_id].cap
        if cap and not self.click.bot:
            self.click.cap = cap.at(int(self.seconds) // SLOT)

    def _fall_back(self, reason: Reason) -> None:
        self._to_fallback = True
        self.click.offer_id, self.click.reason = 0, reason

    def _visitor(self) -> Visitor:
        rotation = self.campaign.rotation
        if not rotation.rules and not (rotation.distribution and rotation.distribution.by):
            return _ANY_VISITOR
        click = self.click
        minute, weekday = self._state.local(self.seconds)
        return Visitor(
            country=click.country, device=click.agent.device, os=click.agent.os, browser=click.agent.browser,
            language=click.language, source=self.campaign.source.code, subs=click.subs, minute=minute, weekday=weekday,
            referrer=click.referrer, address=self.address, city=self.geo.city, regions=self.geo.regions,
            unique=bool(click.unique), bot=click.bot != Bot.NO, roll=self.roll,
        )  # fmt: skip

    def offers_seen(self) -> tuple[int, ...]:
        """The offers that the visitor's cookie names from now on, this click's at the end."""
        seen = self.further.seen - {self.click.offer_id} if self.further is not None else ()
        return *sorted(seen), self.click.offer_id

    def url(self) -> str | None:
        """Where the visitor is sent; None if nothing is open and there is no fallback."""
        if self._to_site and self.campaign.site:
            return f"{self.campaign.site.url}click={self.word}"
        offer = self.plans.offers.get(self.click.offer_id)
        template = offer.template if offer and not self._to_fallback else self.campaign.fallback
        return template.fill_for(self, _VALUES) if template else None

    def _offer_code(self) -> str:
        offer = self.plans.offers.get(self.click.offer_id)
        return offer.code if offer else ""


_VALUES: dict[str, Callable[[CampaignJob], str]] = {
    "click_id": lambda job: job.word,
    "campaign": lambda job: job.campaign.code,
    "site": lambda job: job.campaign.site.code if job.campaign.site else "",
    "offer": lambda job: job._offer_code(),
    "source": lambda job: job.campaign.source.code,
    "source_click_id": lambda job: job.click.source_click_id,
    "country": lambda job: job.click.country,
    "device": lambda job: job.click.agent.device,
    "timestamp": lambda job: moment("timestamp", job.seconds),
    "random": lambda job: moment("random", job.seconds),
    **{name: CLICK_READERS[name] for name in SUBS},
}


class FailedJob(CampaignJob):
    """A click whose request could not be read."""

    __slots__ = ()

    def decide(self) -> None:
        self.give_up()


class SiteJob(CampaignJob):
    """A click that begins on a site, with no campaign before it: fast launch."""

    __slots__ = ("_clicked", "_site")

    def __init__(self, state: State, site: SitePlan, offer_id: int, click: Click, seconds: float) -> None:
        super().__init__(state, state.no_campaign(site), click, seconds)
        self._site = site
        self._clicked = offer_id

    def decide(self) -> None:
        self.click.cap = None
        offer_id, reason = open_site_offer(self._state, self.plans, self._site, self._clicked, self.seconds)
        if offer_id:
            self._choose(offer_id, reason)
        else:
            self.click.offer_id, self.click.reason = 0, reason

    def give_up(self) -> None:
        """Its `decide` raised: it goes back to the site."""
        ClickJob.give_up(self)
        self._to_site = not self._site.paused


class GoingJob(OutgoingJob):
    """A visitor of a site going on with the click of a campaign."""

    __slots__ = ("_clicked", "_origin", "_site", "_state", "plans", "seconds", "word")

    def __init__(
        self, state: State, site: SitePlan, offer_id: int, *, outgoing_id: int, click_id: int, word: str,
        seconds: float, bot: int,
    ) -> None:  # fmt: skip
        super().__init__(
            id=outgoing_id, team_id=site.team_id, click_id=click_id, site_id=site.id, hour=state.hour(seconds), bot=bot
        )
        self._state = state
        self._site = site
        self._clicked = offer_id
        self._origin: OriginClick | None = None
        self.plans = state.plans
        self.seconds = seconds
        self.word = word

    def decide(self, click: OriginClick | None) -> None:
        self._origin = click
        self.offer_id, _ = open_site_offer(self._state, self.plans, self._site, self._clicked, self.seconds)
        offer = self.plans.offers.get(self.offer_id)
        counts = offer and offer.cap and not self.bot
        self.cap = offer.cap.at(int(self.seconds) // SLOT) if counts and offer and offer.cap else None

    def url(self) -> str | None:
        """Where the visitor is sent; None if none of the site's offers is open."""
        offer = self.plans.offers.get(self.offer_id)
        return offer.template.fill(self.value) if offer else None

    def value(self, macro: str) -> str:
        """A macro's value, of the click they came with."""
        origin = self._origin
        if macro == "click_id":
            return self.word
        if macro in {"timestamp", "random"}:
            return moment(macro, self.seconds)
        if macro == "offer":
            return self.plans.offers[self.offer_id].code
        if macro == "site":
            return self._site.code
        if origin is None:
            return ""
        if macro.startswith("sub"):
            return origin.subs[int(macro[3:]) - 1] or ""
        if macro == "campaign":
            return self.plans.campaign_codes.get(origin.campaign_id, "")
        if macro == "source":
            return self.plans.source_codes.get(origin.source_id, "")
        return str(getattr(origin, macro, "") or "")


def open_site_offer(state: State, plans: Plans, site: SitePlan, clicked: int, seconds: float) -> tuple[int, Reason]:
    """The offer a site's visitor goes on to: the clicked one, its alternative, the site's next; 0 if none is open."""
    availability = state.availability(plans, seconds)
    preferred = availability(clicked)
    if preferred is Availability.OPEN:
        return clicked, Reason.CHOSEN
    reason = Reason.CAPPED if preferred is Availability.CAPPED else Reason.PAUSED
    for offer_id in (*alternatives(plans.alternatives, clicked), *site.offers):
        if availability(offer_id) is Availability.OPEN:
            return offer_id, reason
    return 0, reason


def moment(macro: str, seconds: float) -> str:
    return str(int(seconds)) if macro == "timestamp" else str(random.getrandbits(53))
