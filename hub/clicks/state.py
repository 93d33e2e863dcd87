"""What every click looks at: plans, codec, hash keys, today's hour; replaced from outside, never locked."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hub.runtime.runtime import utc_now
from storage.clicks.plans import NO_SOURCE, SLOT, CampaignPlan, Plans, SitePlan
from storage.ledger.clicks.click_id import ClickIdGenerator, Codec
from storage.ledger.clicks.rotation import Availability, AvailabilityOf, Rotation
from storage.ledger.clicks.visitor import Keys
from storage.tables.types import EPOCH_DAY

Full = set[tuple[int, str, int]]


class State:
    """Made at start, then refreshed: `plans` on every change of configuration, `keys` every day."""

    def __init__(
        self, *, codec: Codec, click_ids: ClickIdGenerator, zone: ZoneInfo, clock: Callable[[], datetime], full: Full
    ) -> None:
        self.codec = codec
        self.click_ids = click_ids
        self.zone = zone
        self.clock = clock
        self.seconds = time.time if clock is utc_now else lambda: clock().timestamp()  # Unix time
        self.plans = Plans()
        self.keys = Keys(date.min, b"")
        self._full = full
        self._hour = 0
        self._hour_from = self._hour_until = 0.0  # Unix times between which it is that hour
        self._minute = -1
        self._local = 0, 0

    def local(self, seconds: float) -> tuple[int, int]:
        """Minute of the report day, and weekday (0 for Monday), of a Unix time."""
        minute = int(seconds) // 60
        if minute != self._minute:
            local = datetime.fromtimestamp(seconds, self.zone)
            self._local = local.hour * 60 + local.minute, local.weekday()
            self._minute = minute
        return self._local

    def hour(self, seconds: float) -> int:
        """The report hour of a Unix time: days since 1970 * 24 + hour of the day, in the reporting zone."""
        if not self._hour_from <= seconds < self._hour_until:
            begins = int(seconds) // SLOT * SLOT
            local = datetime.fromtimestamp(begins, UTC).astimezone(self.zone)
            self._hour = (local.date() - EPOCH_DAY).days * 24 + local.hour
            self._hour_from, self._hour_until = begins, begins + SLOT
        return self._hour

    def availability(self, plans: Plans, seconds: float) -> AvailabilityOf:
        """Tells of offers whether they are open at a Unix time, as far as this process knows."""
        slot = int(seconds) // SLOT
        full, offers = self._full, plans.offers

        def availability(offer_id: int) -> Availability:
            offer = offers.get(offer_id)
            if offer is None or offer.paused:
                return Availability.PAUSED
            if full and offer.cap and offer.cap.at(slot).key in full:
                return Availability.CAPPED
            return Availability.OPEN

        return availability

    def no_campaign(self, site: SitePlan) -> CampaignPlan:
        """What stands for the campaign of visitors who came to a site by themselves."""
        return CampaignPlan(
            id=0, code="", team_id=site.team_id, site=site, source=NO_SOURCE, rotation=Rotation(), fallback=None,
            cost_model="none", cost=None, currency=None, binding=False, to_site=False, paused=False,
        )  # fmt: skip
