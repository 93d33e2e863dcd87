"""Who counts as the same visitor of a campaign: fields of `campaign create` and `campaign edit`."""

from typing import Annotated, Any

from msgspec import Meta

from bot.core.arguments import EMPTIES, NONE, choices
from bot.forms.campaign_costs import Costing
from bot.render.figures import length_in_words
from storage.catalogue.campaigns import Campaign
from storage.ledger.clicks.visitor import SCOPES
from storage.ledger.errors import Refused
from storage.ledger.schedule import minutes_text, read_minutes

_DAY = 1440


class Visiting(Costing):
    """Who counts as the same visitor."""

    unique_period: Annotated[
        str | None, Meta(description="how long a visitor counts as the same one: 12h, 7d; none: 1d"), EMPTIES
    ] = None
    unique_scope: Annotated[str | None, choices("what a visitor is new to", *SCOPES), EMPTIES] = None
    smart_rotation: Annotated[
        bool | None,
        Meta(description="returning visitors go on to offers they have not seen; without binding"),
    ] = None


def read_visiting(new: Visiting, *, site: bool, direct: bool) -> dict[str, Any]:
    """Columns of what is said of visitors, of a campaign with a site or straight to its offers. Raises Refused."""
    values: dict[str, Any] = {}
    if new.unique_period is not None:
        minutes = _DAY if new.unique_period == NONE else read_minutes(new.unique_period, "unique_period")
        values["unique_period"] = None if minutes == _DAY else minutes
    if new.unique_scope is not None:
        scope = SCOPES[0] if new.unique_scope == NONE else new.unique_scope.lower()
        if scope not in SCOPES:
            raise Refused(f"unique_scope: one of {', '.join(SCOPES)}", field="unique_scope")
        if scope == "site" and not site:
            raise Refused("unique_scope: the campaign has no site: site=…, or unique_scope=team", field="unique_scope")
        values["unique_scope"] = None if scope == SCOPES[0] else scope
    if new.smart_rotation is not None:
        if new.smart_rotation and site and not direct:
            raise Refused(
                "smart_rotation: its visitors choose an offer on the site: set direct=true first",
                field="smart_rotation",
            )
        values["smart_rotation"] = new.smart_rotation
    return values


def visiting_fields(campaign: Campaign) -> tuple[tuple[str, str], ...]:
    """What differs from the usual, as a card shows it."""
    fields: list[tuple[str, str]] = []
    if campaign.unique_period or campaign.unique_scope:
        scope = {"site": "the site", "team": "any campaign of the team"}.get(
            campaign.unique_scope or "", "the campaign"
        )
        period = campaign.unique_period or minutes_text(_DAY)
        fields.append(("Unique visitors", f"new to {scope} for {length_in_words(period)}"))
    if campaign.smart_rotation:
        fields.append(("Returning visitors", "go on to offers they have not seen"))
    return tuple(fields)
