"""Where a click goes: the writer asks each job to decide, and once it is on disk the job tells the URL."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from hub.clicks.state import State
from storage.clicks.plans import SLOT, CampaignPlan, Plans, SitePlan
from storage.clicks.write_jobs import Click, ClickJob, OriginClick, OutgoingJob
from storage.ledger.clicks.macros import SUBS
from storage.ledger.clicks.rotation import Availability, alternatives, pick
from storage.ledger.clicks.rotation_rules import Visitor
from storage.ledger.facts import Reason

_NOBODY = Visitor()


class CampaignJob(ClickJob):
    """A click on a tracking link."""

    __slots__ = ("_state", "_to_fallback", "_to_site", "campaign", "place", "plans", "roll", "seconds", "word")

    def __init__(self, state: State, campaign: CampaignPlan, click: Click, *, seconds: float) -> None:
        self.click = click
        self.visitor_id = self.previous_day_visitor_id = self.bound = 0
        self._state = state
        self.plans = state.plans
        self.campaign = campaign
        self.seconds = seconds
        self.roll = random.random()
        self.word = state.codec.encode(click.id)
        self._to_fallback = self._to_site = False
        #: What visitors are told apart on: the campaign, or minus the site where there is none.
        self.place = campaign.id or -click.site_id

    def decide(self) -> None:
        """By the campaign's plan; what is shut is passed over, and there is nearly always somewhere to go."""
        click, plan = self.click, self.campaign
        quick = plan.quick
        if quick is not None:
            kept = self.bound if plan.binding and self.bound in quick.known else 0
            click.offer_id = kept or quick.pick(self.roll)
            click.reason = Reason.BOUND if kept else Reason.CHOSEN
            return None
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
        found = pick(
            plan.rotation, self._visitor(), availability=self._state.availability(self.plans, self.seconds),
            bound=self.bound if plan.binding else 0, roll=self.roll,
        )  # fmt: skip
        if found.offer_id:
            return self._go(found.offer_id, Reason.PAUSED if plan.paused else found.reason)
        if plan.fallback:
            return self._fall_back(Reason.FALLBACK)
        if plan.site and not plan.site.paused:
            self._to_site = True
            click.offer_id, click.reason = 0, Reason.SITE
            return None
        # Nothing is open and nothing stands behind it: better the full or paused offer than nowhere.
        click.offer_id = last_resort(self.plans, [share.offer_id for share in plan.rotation.shares], self.roll)
        click.reason = found.reason if click.offer_id else Reason.FAILED
        return None

    def _go(self, offer_id: int, reason: Reason) -> None:
        self.click.offer_id, self.click.reason = offer_id, reason
        cap = self.plans.offers[offer_id].cap
        if cap and not self.click.bot:
            self.click.cap = cap.at(int(self.seconds) // SLOT)

    def _fall_back(self, reason: Reason) -> None:
        self._to_fallback = True
        self.click.offer_id, self.click.reason = 0, reason

    def _visitor(self) -> Visitor:
        if not self.campaign.rotation.rules:
            return _NOBODY
        click = self.click
        local = datetime.fromtimestamp(self.seconds, self._state.zone)
        return Visitor(
            country=click.country, device=click.agent.device, os=click.agent.os, browser=click.agent.browser,
            language=click.language, source=self.campaign.source.code, subs=click.subs,
            minute=local.hour * 60 + local.minute, weekday=local.weekday(),
        )  # fmt: skip

    def url(self) -> str | None:
        """Where the visitor is sent; None if the campaign leads nowhere at all."""
        if self._to_site and self.campaign.site:
            return f"{self.campaign.site.url}?click={self.word}"
        offer = self.plans.offers.get(self.click.offer_id)
        template = offer.template if offer and not self._to_fallback else self.campaign.fallback
        return template.fill_for(self, _VALUES) if template else None

    def _offer_code(self) -> str:
        offer = self.plans.offers.get(self.click.offer_id)
        return offer.code if offer else ""


def _sub(place: int) -> Callable[[CampaignJob], str]:
    return lambda job: job.click.subs[place]


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
    **{name: _sub(place) for place, name in enumerate(SUBS)},
}


class SiteJob(CampaignJob):
    """A click that begins on a site, with no campaign before it: fast launch."""

    __slots__ = ("_site", "_wanted")

    def __init__(self, state: State, site: SitePlan, offer_id: int, click: Click, *, seconds: float) -> None:
        super().__init__(state, state.no_campaign(site), click, seconds=seconds)
        self._site = site
        self._wanted = offer_id

    def decide(self) -> None:
        self.click.cap = None
        offer_id, reason = onward(self._state, self.plans, self._site, self._wanted, self.seconds)
        self._go(offer_id, reason)
        if reason is Reason.FAILED:
            self.click.cap = None


class GoingJob(OutgoingJob):
    """A visitor of a site going on with the click of a campaign."""

    __slots__ = ("_came", "_site", "_state", "_wanted", "plans", "seconds", "word")

    def __init__(
        self, state: State, site: SitePlan, offer_id: int, *, outgoing_id: int, click_id: int, word: str,
        seconds: float, bot: int,
    ) -> None:  # fmt: skip
        super().__init__(
            id=outgoing_id, team_id=site.team_id, click_id=click_id, site_id=site.id, hour=state.hour(seconds), bot=bot
        )
        self._state = state
        self._site = site
        self._wanted = offer_id
        self._came: OriginClick | None = None
        self.plans = state.plans
        self.seconds = seconds
        self.word = word

    def decide(self, click: OriginClick | None) -> None:
        self._came = click
        self.offer_id, reason = onward(self._state, self.plans, self._site, self._wanted, self.seconds)
        offer = self.plans.offers[self.offer_id]
        counts = offer.cap and not self.bot and reason is not Reason.FAILED
        self.cap = offer.cap.at(int(self.seconds) // SLOT) if counts and offer.cap else None

    def url(self) -> str:
        return self.plans.offers[self.offer_id].template.fill(self.value)

    def value(self, macro: str) -> str:
        """A macro's value, of the click they came with."""
        came = self._came
        if macro == "click_id":
            return self.word
        if macro in {"timestamp", "random"}:
            return moment(macro, self.seconds)
        if macro == "offer":
            return self.plans.offers[self.offer_id].code
        if macro == "site":
            return self._site.code
        if came is None:
            return ""
        if macro.startswith("sub"):
            return came.subs[int(macro[3:]) - 1] or ""
        if macro == "campaign":
            return self.plans.campaign_codes.get(came.campaign_id, "")
        if macro == "source":
            return self.plans.source_codes.get(came.source_id, "")
        return str(getattr(came, macro, "") or "")


def onward(state: State, plans: Plans, site: SitePlan, wanted: int, seconds: float) -> tuple[int, Reason]:
    """The offer a site's visitor goes on to: the wanted one, its alternative, the site's next; never none."""
    availability = state.availability(plans, seconds)
    preferred = availability(wanted)
    if preferred is Availability.OPEN:
        return wanted, Reason.CHOSEN
    reason = Reason.CAPPED if preferred is Availability.CAPPED else Reason.PAUSED
    for offer_id in (*alternatives(plans.alternatives, wanted), *site.offers):
        if availability(offer_id) is Availability.OPEN:
            return offer_id, reason
    return wanted, Reason.FAILED


def last_resort(plans: Plans, offers: Sequence[int], roll: float) -> int:
    """An offer although none is open: one that is only full before one that is paused; 0 if there are none."""
    known = [one for one in offers if one in plans.offers]
    active = [one for one in known if not plans.offers[one].paused]
    among = active or known
    return among[int(roll * len(among))] if among else 0


def moment(macro: str, seconds: float) -> str:
    return str(int(seconds)) if macro == "timestamp" else str(random.getrandbits(53))
