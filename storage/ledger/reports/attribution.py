"""How a revenue row finds its offer and its campaign (the three steps of the product's rules)."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import date

import msgspec

from storage.ledger.facts import CampaignFact, ClickLink, OfferFact
from storage.ledger.reports.cells import Place


class Grain(msgspec.Struct, frozen=True):
    """The dimensions of places beyond campaign, site, offer and source; `subs` are positions from 0."""

    country: bool = False
    device: bool = False
    subs: tuple[int, ...] = ()
    visit: bool = False

    @property
    def fine(self) -> bool:
        return self.country or self.device or bool(self.subs)


COARSE = Grain()


class Catalogue:
    """Today's offers, tags and campaigns, looked up the way revenue rows name them."""

    def __init__(self, offers: Iterable[OfferFact], campaigns: Iterable[CampaignFact]) -> None:
        self.offers = {offer.id: offer for offer in offers}
        self.campaigns = {campaign.id: campaign for campaign in campaigns}
        self._codes = {campaign.code.lower(): campaign for campaign in self.campaigns.values()}
        self._tags: dict[tuple[int, str], OfferFact] = {}
        self._untagged: dict[int, OfferFact] = {}
        for offer in sorted(self.offers.values(), key=lambda offer: -offer.id):  # the oldest claim stands
            if offer.tag_key is None:
                self._untagged[offer.account_id] = offer
            else:
                self._tags[offer.account_id, offer.tag_key] = offer

    def claim(self, account_id: int, tag: str, tag_name: str = "") -> OfferFact | None:
        """The offer whose tag is the row's (or its name); else the account's untagged offer, which takes the rest."""
        return (
            self._tags.get((account_id, tag.strip().lower()))
            or self._tags.get((account_id, tag_name.strip().lower()))
            or self._untagged.get(account_id)
        )

    def campaign_named(self, sub: str) -> CampaignFact | None:
        """The campaign whose code a platform returned in a sub id."""
        return self._codes.get(sub.lower()) if sub else None

    def subs_named(self, subs: AbstractSet[str]) -> set[str]:
        """Those of the sub ids that are codes of campaigns."""
        if self._codes.keys().isdisjoint(map(str.lower, subs)):
            return set()
        return {sub for sub in subs if sub.lower() in self._codes}

    def campaign_place(self, campaign_id: int, offer_id: int) -> Place:
        """Where a campaign's figures go when nothing is known of the visits behind them."""
        campaign = self.campaigns.get(campaign_id)
        site, source = (campaign.site_id, campaign.source_id) if campaign else (0, 0)
        return Place(campaign_id, site, offer_id, source)


def place_of_link(link: ClickLink, offer_id: int, grain: Grain, *, day: date) -> Place:
    """The place a known click gives a row of `offer_id` on `day`."""
    subs = tuple(link.subs[n] if n < len(link.subs) else None for n in grain.subs)
    return Place(
        link.campaign_id, link.site_id, offer_id, link.source_id,
        link.country if grain.country else "", link.device if grain.device else "", subs,
        link.day if grain.visit and link.day != day else None,
    )  # fmt: skip
