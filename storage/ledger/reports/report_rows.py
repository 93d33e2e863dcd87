"""The merged report: its rows as everybody may rely on them (contract: Merged report). Money is in micro-units."""

from datetime import date

import msgspec
from msgspec import UNSET, UnsetType

from storage.ledger.errors import Refused
from storage.ledger.facts import SUBS, Settlement

PERIODS = ("day", "week", "month")
ENTITIES = ("campaign", "site", "offer", "casino", "account", "source", "group")
#: Measures of which a report has several layers.
LAYERED = ("registrations", "first_deposits", "deposits", "qualified", "deposit_amount")
DIMENSIONS = (*PERIODS, *ENTITIES, "country", "device", *SUBS)


class Layers(msgspec.Struct, frozen=True, gc=False):
    """One measure by layer. None is not measured, or not yet known; never 0."""

    postback: int | None = None
    platform: int | None = None
    merged: int | None = None


class ReportRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Measures of one group. `commission` is the platforms' total and may exceed its named parts.

    `profit` is what is known of commission less what is known of spend. `unconverted` holds, by currency, the sum that
    lacks a rate: of commission if that does, else of spend, NGR or deposit amount; `unconverted_figures` has them all.
    """

    group: dict[str, str | None]
    clicks: int | None = None
    unique_clicks: int | None = None
    bot_clicks: int | None = None
    site_visits: int | None = None
    outgoing: int | None = None
    registrations: Layers = Layers()
    first_deposits: Layers = Layers()
    deposits: Layers = Layers()
    qualified: Layers = Layers()
    deposit_amount: Layers = Layers()
    ngr: int | None = None
    commission: int | None = None
    commission_cpa: int | None = None
    commission_revshare: int | None = None
    commission_other: int | None = None
    spend: int | None = None
    profit: int | None = None
    visits: int | None = None  # as the platform counts them
    settlement: Settlement = "provisional"
    allocated: bool = False
    tag_name: str | UnsetType = UNSET
    unconverted: dict[str, int] | UnsetType = UNSET
    unconverted_figures: dict[str, dict[str, int]] | UnsetType = UNSET
    own: dict[str, float | None] | UnsetType = UNSET  # columns by formula, amounts in whole units


class ComparedRange(msgspec.Struct, frozen=True, kw_only=True):
    """The same report of the range that another is compared with: its rows by the same dimensions, and totals."""

    from_: date = msgspec.field(name="from")
    to: date
    rows: list[ReportRow]
    totals: ReportRow


class MergedReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by group, revenue no offer claims, and the sum of both, whichever rows are left out by `top` or `limit`.

    `names` maps the codes of the rows to names, by dimension. `next` is the cursor of the rows to come.
    """

    timezone: str
    currency: str
    from_: date = msgspec.field(name="from")
    to: date
    rows: list[ReportRow]
    unassigned: list[ReportRow]
    totals: ReportRow
    names: dict[str, dict[str, str]] = {}
    next: str | UnsetType | None = UNSET
    versus: ComparedRange | UnsetType = UNSET


def check_dimensions(by: tuple[str, ...]) -> None:
    """Raises Refused at `by` for a dimension there is not, or one named twice."""
    import difflib

    for dimension in by:
        if dimension == "tag":
            text = "by: rows by tag would count twice what has two of them: filter by tag=…, or group by group"
            raise Refused(text, field="by", word=dimension, near=("group",))
        if dimension not in DIMENSIONS:
            near = tuple(difflib.get_close_matches(dimension, DIMENSIONS, n=1))
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(DIMENSIONS)}"
            raise Refused(f"by: no dimension {dimension!r}: {hint}", field="by", word=dimension, near=near)
        if by.count(dimension) > 1:
            raise Refused(f"by: {dimension} is named twice", field="by")


def week(day: date) -> str:
    """The ISO week: 2026-W40."""
    year, number, _ = day.isocalendar()
    return f"{year}-W{number:02d}"


def period(dimension: str, day: date) -> str:
    """The group value of a day."""
    if dimension == "week":
        return week(day)
    return day.isoformat() if dimension == "day" else f"{day:%Y-%m}"
