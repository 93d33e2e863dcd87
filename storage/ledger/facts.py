"""The facts the ledger reckons with. Amounts are integer micro-units (1e-6) of their currency."""

from collections.abc import Sequence
from datetime import date
from enum import IntEnum, StrEnum
from typing import Literal, NamedTuple

import msgspec

#: Sub ids of a click, as links, reports and columns call them.
SUBS = tuple(f"sub{n}" for n in range(1, 11))

Currency = str

UPLOADED, POSTBACK_ONLY = "csv_upload", "postback_only"
WITHOUT_API = (POSTBACK_ONLY, UPLOADED)
"""Platforms that nothing is fetched from."""


class Role(StrEnum):
    """What a member may do; each role includes those below it."""

    VIEWER = "viewer"
    BUYER = "buyer"
    OWNER = "owner"

    def includes(self, other: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


class Event(StrEnum):
    """Conversion events, spelled so on every face."""

    REGISTRATION = "registration"
    FIRST_DEPOSIT = "first_deposit"
    DEPOSIT = "deposit"
    QUALIFIED = "qualified"
    REVERSAL = "reversal"


class Status(StrEnum):
    """A conversion's status; a later request never lowers its rank."""

    PENDING = "pending"
    APPROVED = "approved"
    REVERSED = "reversed"

    @property
    def rank(self) -> int:
        return list(Status).index(self)


class Outcome(StrEnum):
    """The outcome of a postback request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UPDATED = "updated"
    UNMATCHED = "unmatched"
    UNMAPPED = "unmapped"
    REJECTED = "rejected"


class Bot(IntEnum):
    """Why a click is taken for a machine's; 0 is a person."""

    NO = 0
    CRAWLER = 1
    HEAD = 2
    PREFETCH = 3
    PREVIEW = 4
    BURST = 5  # over 60 clicks a minute from one address


class Reason(IntEnum):
    """Why a click went where it went, when that was not the campaign's first choice."""

    CHOSEN = 0
    BOUND = 1  # a returning visitor kept what they saw
    CAPPED = 2  # the chosen offer's cap was full: alternative or next
    PAUSED = 3  # the chosen offer or the campaign was paused
    NO_RULE = 4  # no rule matched
    FALLBACK = 5  # nothing left but the fallback URL
    SITE = 6  # nothing left but the site
    FAILED = 7  # a look-up failed; sent on anyway
    BLOCKED = 8  # its placement is on a block list, or not on the allow list: fallback or neutral page
    BUDGET = 9  # the campaign's budget is used up: fallback or neutral page
    HOLDOUT = 10  # sent by the weights set by hand, for comparison with those that earnings set
    UNSEEN = 11  # a returning visitor went on to an offer they had not seen
    PACED = 12  # what the campaign's budget allows until this time of day is used up: fallback or neutral page


Settlement = Literal["settled", "provisional", "partial"]


class Figures(msgspec.Struct, frozen=True, gc=False):
    """What a platform says of one row; None where it does not report the measure."""

    visits: int | None = None
    registrations: int | None = None
    first_deposits: int | None = None
    deposits: int | None = None
    qualified: int | None = None
    deposit_amount: int | None = None
    ngr: int | None = None
    commission_cpa: int | None = None
    commission_revshare: int | None = None
    commission_other: int | None = None


#: Figures that platforms report: counts, amounts, and the parts that commission is the sum of.
PLATFORM_COUNTS, PLATFORM_AMOUNTS = Figures.__struct_fields__[:5], Figures.__struct_fields__[5:]
COMMISSION_PARTS = PLATFORM_AMOUNTS[2:]


class RevenueRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a platform's report, as a connector reads it.

    `day` is the platform's own label; `tag` names the segment that an offer claims, by its id where it has one, and
    `tag_name` is what people call it: an offer may claim either. `sub` is what the platform returned as our click id
    or campaign code, empty if nothing; `part` keeps rows apart that the platform groups further (brand, player).
    A row is known by day, tag, sub, part and currency; `tag_name` may change without a revision.
    """

    day: date
    tag: str
    currency: Currency
    figures: Figures
    sub: str = ""
    part: str = ""
    tag_name: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector fetched for days `first` to `last`, both included: rows, totals, the raw answer.

    `digest` is of the answer and of all that decides how it is read. With `same` it is the answer known already, and
    its rows were not read again. `measures` names the figures that the connector reports of every row there is: what a
    complete report has no row of is 0. `damage` says why the report must be held whatever its figures: cut off, rows
    repeated. `shape` names what the answer has that later ones of the account must have too (a totals line, header
    lines, a whole last line). With `assumed_days` its days were read by the account's setting since the file does not
    decide between day first and month first: what it would withdraw of settled days is to be refused.
    """

    first: date
    last: date
    rows: Sequence[RevenueRow]
    raw: bytes
    totals: Figures | None = None
    warnings: tuple[str, ...] = ()
    digest: str = ""
    same: bool = False
    measures: tuple[str, ...] = ()
    damage: str = ""
    shape: tuple[str, ...] = ()
    assumed_days: bool = False


class PlayerRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a platform says of one player: of a day, or in all until that day (`PlayerReport.totals`).

    `player` is the platform's id. `sub` is what came back as our click id or campaign code, `tag` names the segment.
    Measures are None where they are not reported; amounts are micro-units of `currency`.
    """

    player: str
    day: date
    currency: Currency
    tag: str = ""
    sub: str = ""
    country: str = ""
    registered: date | None = None
    ftd_day: date | None = None
    deposits: int | None = None
    deposit_amount: int | None = None
    ngr: int | None = None
    commission: int | None = None


class PlayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Players of an account, over days `first` to `last`, both included.

    With `totals` each row is all that a player has done until `last`, and players without a row have not changed; else
    rows are of days, and a player without a row on a day of the report did nothing on it.
    """

    first: date
    last: date
    rows: tuple[PlayerRow, ...]
    totals: bool = False
    warnings: tuple[str, ...] = ()


class ClickFact(msgspec.Struct, frozen=True, kw_only=True):
    """Clicks counted over one combination of dimensions on one report day. Ids are 0 when there is none."""

    day: date
    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()
    clicks: int = 0
    unique_clicks: int = 0
    bot_clicks: int = 0
    site_visits: int = 0
    outgoing: int = 0
    cost: int = 0
    currency: Currency = ""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Conversions alike that count (reversed ones do not), of one event in one place. `amount` is that of each of the
    `n`, None where none came.

    `visit_day` is the report day of the click, None if it is the day itself or unknown.
    """

    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    event: Event
    is_ftd: bool
    n: int
    amount: int | None = None
    currency: Currency = ""
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()
    visit_day: date | None = None


class RevenueFact(NamedTuple):
    """One revenue row of a day as believed at some instant, `id` its key in storage; the measures are those of
    `Figures`. A tuple, because there are many and databases answer with tuples."""

    id: int
    account_id: int
    tag: str
    tag_name: str
    currency: Currency
    sub: str
    visits: int | None = None
    registrations: int | None = None
    first_deposits: int | None = None
    deposits: int | None = None
    qualified: int | None = None
    deposit_amount: int | None = None
    ngr: int | None = None
    commission_cpa: int | None = None
    commission_revshare: int | None = None
    commission_other: int | None = None


class SpendFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign's traffic cost on a day, as uploaded or fetched."""

    day: date
    campaign_id: int
    amount: int
    currency: Currency


class ClickLink(msgspec.Struct, frozen=True, kw_only=True):
    """What a click id says of its revenue: whose it is, where the visit came from and went."""

    team_id: int = 0
    click_id: int
    day: date
    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    country: str = ""
    device: str = ""
    subs: tuple[str | None, ...] = ()


class OfferFact(msgspec.Struct, frozen=True, kw_only=True):
    """What merging needs to know of an offer."""

    id: int
    account_id: int
    casino_id: int
    tag_key: str | None
    has_postbacks: bool


class CampaignFact(msgspec.Struct, frozen=True, kw_only=True):
    """What merging needs to know of a campaign."""

    id: int
    code: str
    site_id: int
    source_id: int
