"""Cohorts: what players of a week, campaign or country did by age, and are worth; players from files; break-even."""

from datetime import date
from itertools import accumulate
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Table as Entities
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.arguments import Arguments, choices, refers, secret
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_DAYS, day_range
from bot.core.message import Block, Chart, File, Message, Notice, Series, Table, Text
from bot.core.permissions import Scope, own_campaigns
from bot.forms.imports import Sent
from bot.render.figures import NONE, count, money, percent, plural
from storage.catalogue import accounts as logins
from storage.catalogue import names
from storage.catalogue.entities import labels
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import PlayerReport, Role
from storage.ledger.money import MICRO, units
from storage.ledger.reports.cohorts import HORIZONS, CampaignDay, Forecast, break_even_day
from storage.ledger.tables import write_table
from storage.reports import cohort_sums
from storage.reports.cohort_sums import DIMENSIONS, Dimension
from storage.reports.cohorts import Cohort, CohortQuery, Cohorts, cohorts
from storage.reports.merged_report import merged_report
from storage.reports.report_view import ReportQuery
from storage.revenue import players
from storage.tables import accounts, campaigns, offers, sources

WEEKS = 26  # of registration, where nothing else is asked for
SHOWN = 26  # rows of a heat map
_ENTITIES: dict[str, Entities] = {"campaign": campaigns, "source": sources, "offer": offers, "account": accounts}


class CohortArguments(Arguments):
    by: Annotated[str, choices("what a row is", *DIMENSIONS)] = "week"
    show: Annotated[str, choices("what the heat map shows", "ltv", "retention")] = "ltv"
    from_: Annotated[date | None, day_range("first day of registration, by whole weeks: 26 weeks ago, if absent")] = (
        None
    )
    to: Annotated[date | None, Meta(description="last day of registration: today, if absent")] = None
    campaign: Annotated[list[str], refers("campaign", "only players of these campaigns")] = []
    source: Annotated[list[str], refers("source", "only those of these traffic sources")] = []
    offer: Annotated[list[str], refers("offer", "only those of these offers")] = []
    account: Annotated[list[str], refers("account", "only those of these accounts")] = []
    country: Annotated[list[str], Meta(description="only those of these countries: DE, AT")] = []
    format: Annotated[str, choices("what HTTP and the shell answer with", "json", "csv")] = "json"


class PlayerUpload(Arguments):
    account: Annotated[str, refers("account", "whose players")]
    csv: Annotated[str | None, Meta(description="the file, if it is short")] = None
    file: Sent = None


class UploadedPlayers(msgspec.Struct, frozen=True, kw_only=True):
    """Players taken from a file: how many, how many of them new, how many figures changed; `totals`: each line was all
    that a player has done until `last`. `outdated` ones are known to have done more since."""

    account: str
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    totals: bool
    players: int
    new: int
    changed: int
    outdated: int


class ForgetPlayer(Arguments):
    account: Annotated[str, refers("account", "which platform's player")]
    player: Annotated[str, secret("the player's id at the platform")]


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    forgotten: bool


class BreakEvenQuery(Arguments):
    campaign: Annotated[str, refers("campaign", "which campaign")]
    from_: Annotated[date | None, day_range("first day: when the campaign was created, if absent")] = None
    to: Annotated[date | None, Meta(description="last day: today, if absent")] = None


class BreakEven(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's spend and commission, cumulated day by day, and since when it has paid for itself. Micro-units."""

    campaign: str
    currency: str
    day: date | None
    days: int | None  # since its first day with spend
    spend: int
    commission: int
    items: list[CampaignDay]


def cohorts_message(ctx: Context, made: Cohorts) -> Message:
    if ctx.notes.get("file"):
        file: File = ctx.notes["file"]
        return Message(f"Cohorts by {made.by}", (file,), private=True)
    if made.until is None:
        return Message("No platform has reported players yet: player upload <account>, or set the account's option "
                       "players=true where its platform reports them", private=True)  # fmt: skip
    if not made.items:
        return Message(f"No player registered between {made.first} and {made.last}", private=True)
    blocks: list[Block] = [cohort_heat(made, ctx.notes.get("show", "ltv")), cohort_table(made)]
    if made.total is not None:
        blocks += [Text(_forecast_line(each, made.currency)) for each in made.total.forecast if each.horizon >= 90]
    reported = f"Players reported until {made.until:%d %b %Y}"
    blocks.append(Text(f"{reported}; LTV is commission per registered player, of weeks old enough for it"))
    blocks += [Notice("warning", f"{currency} has no rate: its amounts are left out") for currency in made.unconverted]
    span = f"{made.first:%d %b} – {made.last:%d %b %Y}"
    return Message(f"Cohorts by {made.by}, registered {span}", tuple(blocks), private=True)


def _forecast_line(made: Forecast, currency: str) -> str:
    between = f"{money(made.low, currency)} … {money(made.high, currency)}"
    return (f"Estimated LTV after {made.horizon} days: ≈ {money(made.estimate, currency)} ({between}, 80 %), "
            f"by {plural(made.weeks, 'matured week')}")  # fmt: skip


def cohort_heat(made: Cohorts, show: str) -> Chart:
    """The heat map: a row for each group, a column for each week of age."""
    retained = show == "retention"
    rows = made.items[-SHOWN:] if made.by == "week" else by_size(made)[:SHOWN]
    series = tuple(
        Series(group_name(made, row), tuple(
            None if value is None else round(value * 100, 1) if retained else int(value) / MICRO
            for value in (row.retention if retained else row.cumulated)
        ))
        for row in rows
    )  # fmt: skip
    most = max(
        (number + 1 for row in series for number, value in enumerate(row.values) if value is not None), default=0
    )
    known = (row for row in series if any(value is not None for value in row.values))
    series = tuple(msgspec.structs.replace(row, values=row.values[:most]) for row in known)
    title = "Depositors who deposit again, by week of age" if retained else "LTV by weeks since registration"
    labels = tuple(str(number + 1) for number in range(most))
    return Chart(title, labels, series, "%" if retained else made.currency, heat=True)


def by_size(made: Cohorts) -> list[Cohort]:
    """Groups with the most players first; weeks in their order."""
    if made.by == "week":
        return list(made.items)
    return sorted(made.items, key=lambda row: (-row.registrations, row.group))


def group_name(made: Cohorts, row: Cohort) -> str:
    return made.names.get(row.group, row.group) or NONE


def cohort_table(made: Cohorts) -> Table:
    columns = (made.by.capitalize(), "Registrations", "FTDs", "Reg2dep", "Deposits", "NGR", "LTV 30", "LTV 90",
               "LTV 180")  # fmt: skip
    rows = [_cells(made, row, group_name(made, row)) for row in by_size(made)]
    if made.total is not None and len(rows) > 1:
        rows.append(_cells(made, made.total, "Total"))
    return Table(columns, tuple(rows), numeric=tuple(range(1, 9)), phone=(0, 1, 2, 6, 7),
                 total=len(rows) > len(made.items))  # fmt: skip


def _cells(made: Cohorts, row: Cohort, name: str) -> tuple[str, ...]:
    return (
        name, count(row.registrations), count(row.first_deposits), percent(row.first_deposits, row.registrations),
        money(row.deposit_amount, made.currency), money(row.ngr, made.currency),
        *(money(row.ltv[str(horizon)], made.currency) for horizon in HORIZONS[1:]),
    )  # fmt: skip


def cohort_file(made: Cohorts) -> File:
    """Every figure as CSV: amounts in whole units, empty where nothing is known."""
    ages = [str(number + 1) for number in range(len(made.items[0].cumulated) if made.items else 0)]
    head = [made.by, "name", "registrations", "observed", "first_deposits", "days_to_ftd", "deposits",
            "deposit_amount", "ngr", "commission", *(f"ltv_{horizon}" for horizon in HORIZONS),
            *(f"forecast_{horizon}_{part}" for horizon in HORIZONS for part in ("estimate", "low", "high")),
            *(f"ltv_week_{age}" for age in ages), *(f"retention_week_{age}" for age in ages), "currency"]  # fmt: skip
    lines = [_line(made, row) for row in made.items]
    return File(f"cohorts-{made.by}-{made.first}-{made.last}.csv", write_table([head, *lines]))


def _line(made: Cohorts, row: Cohort) -> list[str]:
    forecasts = {each.horizon: each for each in row.forecast}
    ranges = [
        getattr(forecasts[horizon], part) if horizon in forecasts else None
        for horizon in HORIZONS
        for part in ("estimate", "low", "high")
    ]
    counts = (row.registrations, row.observed, row.first_deposits, row.days_to_ftd, row.deposits)
    amounts = (row.deposit_amount, row.ngr, row.commission, *row.ltv.values(), *ranges, *row.cumulated)
    return [
        row.group, group_name(made, row),
        *("" if value is None else str(value) for value in counts),
        *("" if value is None else f"{units(value):f}" for value in amounts),
        *("" if value is None else f"{value:.4f}" for value in row.retention), made.currency,
    ]  # fmt: skip


@command("cohorts", role=Role.VIEWER, scope=Scope.OWN, render=cohorts_message, reads=True, positional=("by",),
         aliases=("cohort list",))  # fmt: skip
async def show_cohorts(ctx: Context, new: CohortArguments) -> Cohorts:
    """Players by week of registration, campaign, source or country: FTDs, deposits, NGR, LTV after 7 to 180 days."""
    by, show = _chosen(new.by, DIMENSIONS, "by"), _chosen(new.show, ("ltv", "retention"), "show")
    in_csv = _chosen(new.format, ("json", "csv"), "format") == "csv"
    last = new.to or ctx.today
    first = new.from_ or date.fromordinal(max(last.toordinal() - 7 * (WEEKS - 1), 1))
    _check_range(first, last)
    made = await cohorts(ctx.tx, CohortQuery(
        team_id=ctx.team_id, first=first, last=last, by=by, currency=ctx.deployment.currency, keep=await _keep(ctx, new)
    ))  # fmt: skip
    made = await _named(ctx, made)
    ctx.notes |= {"show": show, "csv": in_csv} | ({"file": cohort_file(made)} if in_csv else {})
    return made


def _check_range(first: date, last: date) -> None:
    """Raises Refused for a range that ends before it starts, is too long, or is where there are no days."""
    if last < first:
        raise Refused(f"to: the range ends before it starts: {first}..{last}", field="to")
    if not 2000 <= first.year <= last.year <= 9998 or (last - first).days >= MAX_DAYS:
        raise Refused(f"from: {first}..{last}: at most {MAX_DAYS:,} days, from 2000 to 9998", field="from")


def _chosen(word: str, allowed: tuple[Any, ...], field: str) -> Any:
    if word.strip().lower() not in allowed:
        raise Refused(f"{field}: {word!r} is not one of {', '.join(allowed)}", field=field)
    return word.strip().lower()


async def _keep(ctx: Context, new: CohortArguments) -> dict[Dimension, tuple[str, ...]]:
    """The filters by ids; an actor limited to campaigns sees the players of those."""
    keep: dict[Dimension, tuple[str, ...]] = {}
    dimensions: tuple[Literal["campaign", "source", "offer", "account"], ...] = (
        "campaign", "source", "offer", "account",
    )  # fmt: skip
    for noun in dimensions:
        if words := getattr(new, noun):
            entities = [await names.find(ctx.tx, _ENTITIES[noun], ctx.team_id, word, field=noun) for word in words]
            keep[noun] = tuple(str(row.id) for row in entities)
    if new.country:
        keep["country"] = tuple(word.strip().upper() for word in new.country)
    own = own_campaigns(ctx.actor)
    if own is not None and "campaign" not in keep:
        keep["campaign"] = tuple(map(str, (await ctx.tx.execute(own)).scalars()))
    return keep


async def _named(ctx: Context, made: Cohorts) -> Cohorts:
    """Groups by code, with the names of the entities beside; weeks as 2026-W40."""
    if made.by == "week":
        weeks = [msgspec.structs.replace(row, group=_iso_week(date.fromisoformat(row.group))) for row in made.items]
        return msgspec.structs.replace(made, items=weeks)
    if made.by == "country":
        return made
    known = await labels(ctx.tx, _ENTITIES[made.by], ctx.team_id)
    by_id = {str(number): label for number, label in known.items()}
    rows = [
        msgspec.structs.replace(row, group=by_id[row.group].code if row.group in by_id else "") for row in made.items
    ]
    named = {by_id[row.group].code: by_id[row.group].name for row in made.items if row.group in by_id}
    return msgspec.structs.replace(made, items=sorted(rows, key=lambda row: row.group), names=named)


def _iso_week(monday: date) -> str:
    year, week, _ = monday.isocalendar()
    return f"{year}-W{week:02}"


def uploaded_card(ctx: Context, done: UploadedPlayers) -> Message:
    kind = f"totals until {done.last}" if done.totals else f"days from {done.first} to {done.last}"
    text = (
        f"{plural(done.players, 'player')} ({kind}): {count(done.new)} new, {plural(done.changed, 'figure')} changed."
    )
    late = (Notice("info", f"{plural(done.outdated, 'player')} skipped: later totals are known of them"),)
    return Message(f"Players uploaded for {ctx.name('account', done.account)}",
                   (Text(text), *(late if done.outdated else ())))  # fmt: skip


async def _record_players(ctx: Context, new: PlayerUpload) -> tuple[PlayerReport, players.RecordedPlayers]:
    """Read the file and record it in short transactions: clicks are kept in between."""
    async with ctx.database.read() as tx:
        row = await names.find(tx, accounts, ctx.team_id, new.account, field="account")
    text = new.csv
    raw, field = (text.encode(), "csv") if text else (new.file, "file")
    if not raw:
        raise Refused("file: missing: attach it to the message 'player upload <account>'", field="file")
    login = msgspec.structs.asdict(logins.opened(ctx.box, row))
    today = ctx.now.astimezone(logins.zone_of(row)).date()
    try:
        report = await ctx.ports.read_players(row.platform, login, raw, today)
    except ConnectorError as error:
        raise Refused(f"{field}: {error}", field=field) from None
    done = await players.record(ctx.database, ctx.box, row, report, now=ctx.now)
    await cohort_sums.rebuild(ctx.database)
    return report, done


@command("player upload", role=Role.BUYER, scope=Scope.TEAM, render=uploaded_card, positional=("account",),
         prepare=_record_players)  # fmt: skip
async def upload_players(ctx: Context, new: PlayerUpload) -> UploadedPlayers:
    """Take players from a platform's CSV, one line per player or per player and day; ids are kept as hashes."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    report, done = ctx.prepared
    return UploadedPlayers(
        account=row.code, first=report.first, last=report.last, totals=report.totals, players=done.players,
        new=done.new, changed=done.changed, outdated=done.outdated,
    )  # fmt: skip


def forgotten_card(ctx: Context, done: Forgotten) -> Message:
    account = ctx.name("account", done.account)
    if not done.forgotten:
        return Message(f"{account} has reported no such player, or it is forgotten already")
    return Message(f"A player of {account} is forgotten: figures, click id and id are gone")


async def _asks_to_forget(_ctx: Context, _new: ForgetPlayer) -> str:
    return "What the player did leaves the cohorts for good, and later reports of the player are not taken."


@command("player forget", role=Role.OWNER, render=forgotten_card, positional=("account", "player"),
         confirm=_asks_to_forget)  # fmt: skip
async def forget_player(ctx: Context, new: ForgetPlayer) -> Forgotten:
    """Erase a player, as the law may ask: cohorts lose what they did. Reports of revenue hold no person."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    done = await players.forget(ctx.tx, ctx.box, row, new.player)
    ctx.notes |= {"entity": f"player of {row.code}"}
    return Forgotten(account=row.code, forgotten=done)


def break_even_card(ctx: Context, made: BreakEven) -> Message:
    name = ctx.name("campaign", made.campaign)
    if not made.spend:
        title = f"{name} has no spend recorded: there is nothing to break even"
    elif made.day is None:
        missing = money(made.spend - made.commission, made.currency)
        title = f"{name} has not broken even: {missing} to go"
    else:
        title = f"{name} broke even on {made.day:%d %b %Y}, after {plural(made.days, 'day')}"
    sums_line = f"Spend {money(made.spend, made.currency)}, commission so far {money(made.commission, made.currency)}"
    return Message(title, (Text(sums_line), _cumulated(made)), private=True)


def _cumulated(made: BreakEven) -> Chart:
    spend = accumulate(day.spend or 0 for day in made.items)
    commission = accumulate(day.commission or 0 for day in made.items)
    labels_ = tuple(f"{day.day:%d %b}" for day in made.items)
    series = tuple(
        Series(name, tuple(value / MICRO for value in values))
        for name, values in (("Spend", spend), ("Commission", commission))
    )
    return Chart("Spend and commission, cumulated", labels_, series, made.currency)


@command("campaign breakeven", role=Role.VIEWER, render=break_even_card, reads=True, positional=("campaign",),
         aliases=("campaign break-even",))  # fmt: skip
async def show_break_even(ctx: Context, new: BreakEvenQuery) -> BreakEven:
    """Since when a campaign has paid for itself: commission against spend, cumulated from its first day."""
    row = await names.find(ctx.tx, campaigns, ctx.team_id, new.campaign, field="campaign")
    last = new.to or ctx.today
    earliest = date.fromordinal(max(last.toordinal() - MAX_DAYS + 1, 1))
    first = new.from_ or max(await _first_day(ctx.tx, row.id, ctx), earliest)
    _check_range(first, last)
    query = ReportQuery(team_id=ctx.team_id, first=first, last=last, by=("day",), campaigns=(row.code,),
                        timezone=ctx.deployment.timezone, currency=ctx.deployment.currency)  # fmt: skip
    report = await merged_report(ctx.tx, query)
    items = sorted(
        (CampaignDay(date.fromisoformat(each.group["day"]), each.spend, each.commission)
         for each in report.rows if each.group["day"]), key=lambda each: each.day,
    )  # fmt: skip
    begun = next((each.day for each in items if each.spend), None)
    even = break_even_day(items)
    return BreakEven(
        campaign=row.code, currency=report.currency, day=even, items=items,
        days=(even - begun).days + 1 if even is not None and begun is not None else None,
        spend=sum(each.spend or 0 for each in items), commission=sum(each.commission or 0 for each in items),
    )  # fmt: skip


async def _first_day(tx: AsyncConnection, campaign_id: int, ctx: Context) -> date:
    query = select(campaigns.c.created_at).where(campaigns.c.id == campaign_id)
    created: date = (await tx.execute(query)).scalar_one().astimezone(ctx.deployment.zone).date()
    return created
