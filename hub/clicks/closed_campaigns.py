"""Campaigns and sites whose visitors find nothing open: the team is notified within a second, once a day each, and
again when what was opened meanwhile is closed."""

from collections import Counter

from bot.core.message import Button, Buttons, Message, Text
from hub.runtime.runtime import Runtime
from storage.chat import messages, rooms
from storage.clicks.plans import CampaignPlan, OfferPlan, Plans, SitePlan
from storage.ledger.facts import Reason

_Subject = tuple[str, int]
"""`campaign`, `site` or `budget` (of a campaign), and its id."""
_ADVICE = {
    "budget": "Their clicks are kept. A day's budget begins again at midnight; campaign edit … budget_day=… raises it."
}

#: Reasons of clicks that are sent to no offer although one may be open.
TURNED_AWAY = frozenset({Reason.BLOCKED, Reason.BUDGET, Reason.PACED})


def leads_anywhere(campaign: CampaignPlan) -> bool:
    """Whether a campaign has any offer or site, open or not."""
    return bool(campaign.rotation.members) or campaign.site is not None


class ClosedCampaigns:
    """Collects them during requests; `tell` queues the messages."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._new: dict[_Subject, tuple[int, str, str]] = {}  # team, campaign's code, text
        self._day = ""
        self._reported: set[_Subject] = set()
        self._times: Counter[_Subject] = Counter()  # reported today

    def add(self, campaign: CampaignPlan, reason: int) -> None:
        """A visitor of a campaign found no open offer."""
        if not leads_anywhere(campaign):
            text = f"Campaign {campaign.code} leads nowhere: it has no offer, no site and no fallback"
        else:
            why = "full" if reason == Reason.CAPPED else "paused or full"
            text = f"Campaign {campaign.code} has nothing open: its offers are {why}, and it has no fallback"
            if reason == Reason.NO_RULE:
                text = f"Campaign {campaign.code} has nothing open: no rule fits a visitor, and it has no fallback"
        self._note(("campaign", campaign.id), campaign.team_id, campaign.code, text)

    def add_budget(self, campaign: CampaignPlan) -> None:
        """A visitor of a campaign came when its budget was used up."""
        where = "go to its fallback" if campaign.fallback else "see a neutral page"
        text = f"The budget of campaign {campaign.code} is used up: visitors {where}"
        self._note(("budget", campaign.id), campaign.team_id, campaign.code, text)

    def add_site(self, site: SitePlan) -> None:
        """A visitor of a site found no open offer."""
        text = f"Site {site.code} has nothing open: its offers are paused or full"
        self._note(("site", site.id), site.team_id, "", text)

    def _note(self, subject: _Subject, team_id: int, campaign: str, text: str) -> None:
        if subject not in self._reported:
            self._new[subject] = team_id, campaign, text

    async def tell(self, plans: Plans) -> None:
        """Queue a message for each, in the rooms that have a digest or an alert, else for the owners."""
        today = self._runtime.clock().astimezone(self._runtime.deployment.zone).date().isoformat()
        if today != self._day:
            self._day = today
            self._reported.clear()
            self._times.clear()
        self._reported -= _opened(self._reported, plans) if self._reported else set()
        for subject, (team_id, campaign, text) in list(self._new.items()):
            await self._queue(subject, team_id, campaign, text)
            self._reported.add(subject)
            self._times[subject] += 1
            del self._new[subject]

    async def _queue(self, subject: _Subject, team_id: int, campaign: str, text: str) -> None:
        now = self._runtime.clock()
        kind, number = subject
        show = f"campaign show {campaign}" if campaign else "site list"
        message = Message(
            f"🔴 {text}",
            (
                Text(
                    _ADVICE.get(
                        kind,
                        "Visitors see a neutral page; their clicks are kept. Resume or add an offer, or "
                        "set a fallback.",
                    )
                ),
                Buttons((Button("Show", show), Button("Offers", "offer list"))),
            ),
        )
        async with self._runtime.database.begin() as tx:
            for room in await rooms.of_team(tx, team_id, campaign, now):
                await messages.queue(
                    tx, team_id=team_id, room_id=room.room_id, thread=room.thread, message=message, now=now,
                    key=f"closed:{kind}:{number}:{self._day}:{self._times[subject]}:{room.room_id}:{room.thread}",
                )  # fmt: skip


def _opened(reported: set[_Subject], plans: Plans) -> set[_Subject]:
    """Those that have something open again, whatever their caps: reported again if they close once more."""

    def is_open(offer: OfferPlan | None) -> bool:
        return offer is not None and not offer.paused and offer.cap is None

    opened: set[_Subject] = set()
    for campaign in plans.campaigns.values():
        if ("campaign", campaign.id) in reported:
            site = campaign.site is not None and not campaign.site.paused
            if campaign.fallback or site or any(is_open(plans.offers.get(n)) for n in campaign.rotation.members):
                opened.add(("campaign", campaign.id))
    for site_plan in plans.sites.values():
        if ("site", site_plan.id) in reported and any(is_open(plans.offers.get(n)) for n in site_plan.offers):
            opened.add(("site", site_plan.id))
    return opened
