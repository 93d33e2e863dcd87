"""What the writer is given: clicks and outgoing clicks, made by hub per request, filled in while they are stored."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from storage.clicks.visitors import OFFER, OFFER_BITS, FurtherKeys, KeyPair, SeenVisitor
from storage.ledger.facts import Reason

CLICKS, UNIQUE, BOTS, VISITS, OUTGOING, COST = range(6)
"""Places in a roll-up row's counts."""

RollupKey = tuple[int, int, int, int, int, int, str, str, str]
"""team, report hour, campaign, site, offer, source, country, device, currency."""


class Agent(msgspec.Struct, eq=False):
    """A browser, as its user agent tells. `id` is its key in the dictionary table, 0 until a click of it is stored."""

    text: str
    device: str = "other"
    os: str = ""
    browser: str = ""
    bot: int = 0  # storage.ledger.facts.Bot
    id: int = 0
    mark: int = 0  # 64 bits of the text's hash


class Cap(msgspec.Struct, frozen=True):
    """A cap that a click's offer has in the period of the click. `limit` in clicks or, of other events, in those."""

    offer_id: int
    event: str
    period: int  # days since 1970 of the period's first day, platform's zone
    limit: int

    @property
    def key(self) -> tuple[int, str, int]:
        return self.offer_id, self.event, self.period


class Budget(msgspec.Struct, frozen=True):
    """A budget that a click counts against. `period`: days since 1970 of the report day, 0 for all days together;
    `limit` in micro-units. Of one that is spread over the day `limit` is what may be spent by now, `whole` all of it.
    """

    campaign_id: int
    period: int
    limit: int
    whole: int = 0


NOT_SHORT = frozenset({"ip_prefix", "extra", *(f"sub{n}" for n in range(3, 11))})
"""Columns that a click's short row leaves NULL."""


class Click(msgspec.Struct, eq=False):
    """A row of `clicks` in the making, and what only its roll-up needs. A missing text is empty, a missing cost -1.

    Python's sqlite3 takes four times as long to bind None or a member of an enumeration as to bind a string or a plain
    number; so missing values become NULL only in the statement (SQLite) or on the way to COPY (PostgreSQL), and rows
    have numbers of `bot` and `reason` (`+`).
    """

    id: int
    team_id: int
    campaign_id: int
    site_id: int
    source_id: int
    hour: int
    agent: Agent
    offer_id: int = 0
    unique: int = 0
    bot: int = 0
    reason: int = 0
    country: str = ""
    language: str = ""
    visitor: bytearray = bytearray()
    ip_hash: bytearray = bytearray()
    ip_prefix: str = ""
    referrer: str = ""
    source_click_id: str = ""
    cost: int = -1
    currency: str = ""
    subs: tuple[str, ...] = ("",) * 10
    extra: str = ""
    cap: Cap | None = None  # of the offer it was sent to; people only
    budgets: tuple[Budget, ...] = ()  # of its campaign, which its cost uses up; people only
    scope: int = 0  # the place that its visitor is new to, if that is not the campaign (storage.ledger.clicks.visitor)
    lifetime: int = 0  # how long its visitor counts as the same, in click ids, if that is not a day
    unseen: bool = False  # whether the offers that its visitor sees are remembered
    wide: bool = True  # whether it may have more than the columns of a `short_row`
    cost_of_unique: bool = False  # whether only a unique click costs something

    def not_unique(self) -> None:
        """Another click of the same visitor came first."""
        self.unique = 0
        if self.cost_of_unique:
            self.cost = 0

    def short_row(self, agent_id: int) -> tuple[Any, ...]:
        """What most clicks have, in the table's order but for NOT_SHORT: a third less work than a whole row."""
        subs = self.subs
        return (
            self.id, self.team_id, self.campaign_id, self.site_id, self.offer_id, self.source_id, self.hour,
            self.unique, +self.bot, +self.reason, agent_id, self.country, self.language, self.visitor, self.ip_hash,
            self.referrer, self.source_click_id, self.cost, self.currency, subs[0], subs[1],
        )  # fmt: skip

    def row(self, agent_id: int) -> tuple[Any, ...]:
        """Values in the order of the table's columns."""
        return (
            self.id, self.team_id, self.campaign_id, self.site_id, self.offer_id, self.source_id, self.hour,
            self.unique, +self.bot, +self.reason, agent_id, self.country, self.language, self.visitor, self.ip_hash,
            self.ip_prefix, self.referrer, self.source_click_id, self.cost, self.currency, *self.subs, self.extra,
        )  # fmt: skip


class ClickJob:
    """One click to store. hub's own kind chooses the offer; this one goes where `click` says."""

    __slots__ = ("bound", "click", "further", "previous_day_visitor_id", "visitor_id")

    def __init__(self, click: Click, *, visitor_id: int = 0, previous_day_visitor_id: int = 0, bound: int = 0) -> None:
        self.click = click
        self.visitor_id = visitor_id  # key in `visitors`; 0 for one whom a cookie names, and for a bot
        self.previous_day_visitor_id = previous_day_visitor_id  # the same visitor under yesterday's key
        self.bound = bound  # the offer this visitor saw before, 0 if none is known
        self.further: FurtherKeys | None = None

    def decide(self) -> None:
        """Choose where to send it: sets `click.offer_id`, `.reason`, `.cap`. Called again if that cap proves full."""

    def not_unique(self) -> None:
        """Another process saw the visitor first."""
        self.click.not_unique()

    def over_budget(self, *, paced: bool) -> None:
        """Its cost does not fit into the budget, or (`paced`) not yet; `decide` is called again."""
        self.click.budgets = ()

    def give_up(self) -> None:
        """Its `decide` raised: it goes to no offer."""
        self.click.offer_id, self.click.reason, self.click.cap = 0, Reason.FAILED, None


def visitor_keys(jobs: Iterable[ClickJob]) -> list[KeyPair]:
    """All keys by which the visitors of clicks may be known."""
    keys = []
    for job in jobs:
        if job.visitor_id:
            keys.append((job.visitor_id, job.previous_day_visitor_id))
            if job.further is not None:
                keys += job.further.pairs()
    return keys


def recognise(job: ClickJob, further: FurtherKeys, entries: Mapping[int, int]) -> list[int]:
    """Tell a click whether its visitor is new, and what they have seen; returns the keys that are not known yet."""
    since = job.click.id - further.lifetime
    own = entries.get(job.visitor_id, 0)
    job.bound = own & OFFER if own >> OFFER_BITS >= since else 0
    known = entries.get(further.scope[0], 0) if further.scope else own
    job.click.unique = int(not further.known and known >> OFFER_BITS < since)
    further.seen = frozenset(
        offer for offer, (key, _) in further.offers.items() if entries.get(key, 0) >> OFFER_BITS >= since
    )
    keys = [job.visitor_id, further.scope[0]] if further.scope else [job.visitor_id]
    return [key for key in keys if entries.get(key, 0) >> OFFER_BITS < since]


def seen_rows(job: ClickJob, further: FurtherKeys, keys: Iterable[int]) -> list[SeenVisitor]:
    """What is to be remembered of a click that has decided: its new keys, and the offer that its visitor sees."""
    offer = job.click.offer_id
    more = [further.offers[offer][0]] if offer in further.offers else []
    return [(key, job.click.id, offer) for key in (*keys, *more)]


EARLY = 600_000 << 22
"""How much older the click of an outgoing one may be, in ids (ten minutes), and still be waiting in a spool."""


class OutgoingJob:
    """A visitor of a site going on to an offer with the click they came with."""

    __slots__ = ("bot", "cap", "click_id", "early", "found", "hour", "id", "offer_id", "site_id", "team_id")

    def __init__(self, *, id: int, team_id: int, click_id: int, site_id: int, hour: int, bot: int) -> None:  # noqa: A002
        self.id = id
        self.team_id = team_id
        self.click_id = click_id
        self.site_id = site_id
        self.offer_id = 0
        self.hour = hour
        self.bot = bot
        self.cap: Cap | None = None
        self.found = False  # whether the click it came with exists
        self.early = False  # whether that click may still come: it waits in another process's spool

    def decide(self, click: "OriginClick | None") -> None:
        """Choose the offer, knowing the click they came with (None: it could not be looked up)."""

    def give_up(self) -> None:
        """Its `decide` raised: it goes to no offer."""
        self.offer_id, self.cap = 0, None


class OriginClick(msgspec.Struct, frozen=True):
    """The stored click that an outgoing one came with."""

    id: int
    team_id: int
    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    hour: int
    unique: int
    bot: int
    cost: int | None
    currency: str | None
    country: str | None
    device: str | None
    source_click_id: str | None
    subs: tuple[str | None, ...]


Job = ClickJob | OutgoingJob
