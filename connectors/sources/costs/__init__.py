"""What traffic cost, by the reports of the sources that have an API for it: one module each."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from connectors.http import Http
from connectors.sources.costs import adsterra, exoclick, google, meta, propellerads, tiktok
from connectors.sources.costs.report import CostQuery, CostReport

__all__ = ["COST_APIS", "CostApi", "CostQuery", "CostReport"]


class CostApi(msgspec.Struct, frozen=True, kw_only=True):
    """A source's report of costs. It is asked for once the setting `token` is given; `needs` are its others."""

    title: str
    fetch: Callable[[Http, Mapping[str, str], CostQuery], Awaitable[CostReport]]
    days: int  # back to which it restates
    campaign_sub: str  # the sub parameter of ours that holds its campaign id
    token: str = "cost_token"  # noqa: S105  the name of a setting
    needs: tuple[str, ...] = ()
    verified: str


#: By the name of the source's preset.
COST_APIS: Mapping[str, CostApi] = {
    "adsterra": CostApi(
        title=adsterra.TITLE, fetch=adsterra.fetch, days=7, campaign_sub="sub2", verified="seen in working clients"
    ),
    "exoclick": CostApi(
        title=exoclick.TITLE, fetch=exoclick.fetch, days=7, campaign_sub="sub2",
        verified="vendor's documentation; the zone of its days is inferred",
    ),
    "google": CostApi(
        title=google.TITLE, fetch=google.fetch, days=28, campaign_sub="sub1", token=google.TOKEN,
        needs=("client_id", "client_secret", "account_id"), verified="vendor's documentation",
    ),
    "meta": CostApi(
        title=meta.TITLE, fetch=meta.fetch, days=28, campaign_sub="sub1", needs=("ad_account_id",),
        verified="vendor's documentation; error codes are seen in working clients",
    ),
    "propellerads": CostApi(
        title=propellerads.TITLE, fetch=propellerads.fetch, days=7, campaign_sub="sub2",
        verified="seen in working clients",
    ),
    "tiktok": CostApi(
        title=tiktok.TITLE, fetch=tiktok.fetch, days=28, campaign_sub="sub1", needs=("advertiser_id",),
        verified="vendor's SDK; metrics and error codes are seen in working clients",
    ),
}  # fmt: skip
