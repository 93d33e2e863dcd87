"""What another tracker holds, in one form for all of them: its entities, its daily figures, its click ids.

Keys are the tracker's own ids. Amounts are micro-units. A connector (connectors.trackers) yields parts; the importer
(storage.imports) knows nothing of formats.
"""

from datetime import date, datetime
from typing import Any

import msgspec

from storage.ledger.facts import Event

KINDS = ("account", "source", "offer", "campaign")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What does not come over, or not whole: of which entity, and why."""

    kind: str
    name: str
    why: str


class TrackerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An affiliate network or program; the login at it is not known to a tracker."""

    key: str
    name: str
    currency: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""


class TrackerSource(msgspec.Struct, frozen=True, kw_only=True):
    """A traffic source. `parameters` are its names on our link by our own, `macros` what it puts there; `postback_url`
    has our placeholders and is sent for the statuses named, all of them if none is."""

    key: str
    name: str
    parameters: dict[str, str] = {}
    macros: dict[str, str] = {}
    postback_url: str = ""
    statuses: tuple[str, ...] = ()
    note: str = ""


class TrackerOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer; `url` has our macros. With `unknown` macros in it (kept as they are) it is made paused."""

    key: str
    name: str
    url: str
    account: str = ""
    markets: tuple[str, ...] = ()
    deal: str = ""
    cap: int | None = None
    cap_event: str = "first_deposit"
    cap_period: str = "day"
    alternative: str = ""
    paused: bool = False
    unknown: tuple[str, ...] = ()
    note: str = ""


class Weighted(msgspec.Struct, frozen=True):
    offer: str
    weight: int = 1


class TrackerRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rotation rule: conditions as storage.ledger.clicks.conditions has them, and where the visitor goes."""

    conditions: dict[str, Any]
    offers: tuple[Weighted, ...]


class TrackerCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign. `aliases` are the words that its old links are known by; `cost` is the model's price."""

    key: str
    name: str
    aliases: tuple[str, ...] = ()
    source: str = ""
    offers: tuple[Weighted, ...] = ()
    rules: tuple[TrackerRule, ...] = ()
    fallback_url: str = ""
    cost_model: str = "link"
    cost: int | None = None
    currency: str = ""
    binding: bool = True
    paused: bool = False
    note: str = ""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a tracker has set up, what of it cannot come over, and the names of entities deleted there that its
    figures or flows still refer to (by `kind:key`)."""

    accounts: tuple[TrackerAccount, ...] = ()
    sources: tuple[TrackerSource, ...] = ()
    offers: tuple[TrackerOffer, ...] = ()
    campaigns: tuple[TrackerCampaign, ...] = ()
    deleted: dict[str, str] = {}
    problems: tuple[Problem, ...] = ()
    by_name: bool = False  # a file that names entities: one that is here by that name is meant


class DayFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One day of one campaign, offer and country as the tracker counted it; None is not measured.

    `revenue` is what postbacks told the tracker. `statuses` are conversions by the tracker's own words.
    """

    day: date
    campaign: str
    currency: str
    offer: str = ""
    country: str = ""
    clicks: int | None = None
    unique_clicks: int | None = None
    conversions: int | None = None
    revenue: int | None = None
    cost: int | None = None
    statuses: dict[str, int] = {}


class OldClick(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A click id of the tracker, and where that visit came from and went."""

    click: str
    campaign: str
    offer: str = ""
    at: datetime | None = None
    country: str = ""
    source_click: str = ""
    status: str = ""


class Days(msgspec.Struct, frozen=True, tag=True):
    """Daily figures; rows of one key are summed."""

    rows: tuple[DayFigures, ...]


class OldClicks(msgspec.Struct, frozen=True, tag=True):
    rows: tuple[OldClick, ...]


Part = Setup | Days | OldClicks
#: What the team says a raw status means; `ignore` counts as nothing but a conversion.
MEANINGS = (*(str(event) for event in Event), "ignore")


def counted(statuses: dict[str, int], meaning: dict[str, str]) -> dict[str, int]:
    """Conversions by event, of the raw statuses that the team has mapped."""
    counts: dict[str, int] = {}
    for word, n in statuses.items():
        event = meaning.get(word.casefold())
        if event is not None and event != "ignore":
            counts[event] = counts.get(event, 0) + n
    return counts
