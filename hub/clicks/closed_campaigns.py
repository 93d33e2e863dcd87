"""Campaigns and sites whose visitors find nothing open: the team is told within a second, once a day each."""

from bot.core.message import Button, Buttons, Message, Text
from hub.runtime.runtime import Runtime
from storage.chat import messages, rooms
from storage.clicks.plans import CampaignPlan, SitePlan
from storage.ledger.facts import Reason

_Subject = tuple[str, int]
"""`campaign` or `site`, and its id."""


class ClosedCampaigns:
    """Collects them during requests; `tell` queues the messages."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._new: dict[_Subject, tuple[int, str, str]] = {}  # team, campaign's code, text
        self._day = ""
        self._told: set[_Subject] = set()

    def add(self, campaign: CampaignPlan, reason: int) -> None:
        """A visitor of a campaign found no open offer."""
        why = "full" if reason == Reason.CAPPED else "paused or full"
        text = f"Campaign {campaign.code} has nothing open: its offers are {why}, and it has no fallback"
        self._note(("campaign", campaign.id), campaign.team_id, campaign.code, text)

    def add_site(self, site: SitePlan) -> None:
        """A visitor of a site found no open offer."""
        text = f"Site {site.code} has nothing open: its offers are paused or full"
        self._note(("site", site.id), site.team_id, "", text)

    def _note(self, subject: _Subject, team_id: int, campaign: str, text: str) -> None:
        if subject not in self._told:
            self._new[subject] = team_id, campaign, text

    async def tell(self) -> None:
        """Queue a message for each, in the rooms that have a digest or an alert, else for the owners."""
        today = self._runtime.clock().astimezone(self._runtime.deployment.zone).date().isoformat()
        if today != self._day:
            self._day = today
            self._told.clear()
        for subject, (team_id, campaign, text) in list(self._new.items()):
            await self._queue(subject, team_id, campaign, text)
            self._told.add(subject)
            del self._new[subject]

    async def _queue(self, subject: _Subject, team_id: int, campaign: str, text: str) -> None:
        now = self._runtime.clock()
        kind, number = subject
        show = f"campaign show {campaign}" if campaign else "site list"
        message = Message(
            f"🔴 {text}",
            (
                Text("Visitors see a neutral page; their clicks are kept. Resume or add an offer, or set a fallback."),
                Buttons((Button("Show", show), Button("Offers", "offer list"))),
            ),
        )
        async with self._runtime.database.begin() as tx:
            for room in await rooms.of_team(tx, team_id, campaign, now):
                await messages.queue(
                    tx, team_id=team_id, room_id=room.room_id, thread=room.thread, message=message, now=now,
                    key=f"closed:{kind}:{number}:{self._day}:{room.room_id}:{room.thread}",
                )  # fmt: skip
