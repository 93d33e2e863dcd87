"""Moving in from another tracker: read it, look through the dry run, say what its statuses mean, carry it out."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.commands.campaigns import own_campaign
from bot.core.arguments import Arguments, MissingFields, choices, currency_code, refers, secret
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_DAYS, day_range
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.render.figures import count, money, plural
from storage.catalogue.entities import cursor
from storage.chat import rooms
from storage.imports import imports
from storage.imports.imports import DONE, FAILED, QUEUED, READY, RUNNING, Import, PackedParts, Plan, Settings, Whose
from storage.imports.plans import TITLES, make_plan
from storage.ledger.credentials import plain_credential
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.imports.tracker import MEANINGS, Problem
from storage.reports import history

HISTORY_DAYS = 365
SHOWN_PROBLEMS = 25
Tracker = Annotated[str, Meta(description="address of the tracker's panel")]
Which = Annotated[int | None, Meta(description="number of the import; default: the latest")]


Encoding = Annotated[str | None, Meta(description="where it is not Unicode: windows-1251")]


class _ApiImport(Arguments, kw_only=True):
    from_: Annotated[date | None, day_range("first day of history; default: a year ago")] = None
    to: Annotated[date | None, Meta(description="last day of history; default: the day before the cut-over")] = None
    cutover: Annotated[date | None, Meta(description="first day of our own figures; default: today")] = None
    currency: Annotated[str | None, Meta(description="the tracker's main currency; default: the reporting one")] = None
    click_days: Annotated[int, Meta(description="days of its click log, beside all conversions", ge=0, le=90)] = 30


class KeitaroImport(_ApiImport):
    url: Tracker
    key: Annotated[str, secret("API key of its Admin API")]


class BinomImport(_ApiImport):
    url: Tracker
    key: Annotated[str, secret("API key of a user of the tracker")]


class VoluumImport(_ApiImport):
    access_id: Annotated[str, secret("access id, from Security settings")]
    key: Annotated[str, secret("access key of that id")]
    url: Annotated[str | None, Meta(description="address of the API, where it is another one")] = None


class RedtrackImport(_ApiImport):
    key: Annotated[str, secret("API key, from Tools, Integrations")]
    url: Annotated[str | None, Meta(description="address of the API, where it is another one")] = None


class ImportFile(Arguments, kw_only=True):
    file: Annotated[
        bytes | None, Meta(description="the exported table: comes with the message in a chat, as base64 over HTTP")
    ] = None
    csv: Annotated[str | None, Meta(description="or the table as text, with its header line")] = None
    encoding: Encoding = None


class CsvImport(ImportFile):
    kind: Annotated[
        str | None,
        choices("what it holds; default: what its columns say", "history", "clicks", "offers", "campaigns", "sources"),
    ] = None
    columns: Annotated[
        dict[str, str], Meta(description='what its columns are here, as JSON: {"Besuche": "clicks", "FTD": "status"}')
    ] = {}
    currency: Annotated[str | None, Meta(description="of its amounts; default: the reporting currency")] = None
    cutover: Annotated[date | None, Meta(description="first day of our own figures; default: today")] = None


class StatsdroneImport(Arguments, kw_only=True):
    file: Annotated[
        bytes | None,
        Meta(description="the table of its bulk connect: comes with the message, as base64 over HTTP"),
    ] = None
    csv: Annotated[str | None, secret("or the table as text: Program,username,password[,tags][,currency]")] = None
    encoding: Encoding = None


class OneImport(Arguments, kw_only=True):
    import_: Which = None


class StatusMap(Arguments, kw_only=True):
    statuses: Annotated[
        list[str] | dict[str, str],
        Meta(description=f"what each means: lead=registration,sale=first_deposit; one of {', '.join(MEANINGS)}"),
    ]
    import_: Which = None


class Cutover(Arguments, kw_only=True):
    campaign: Annotated[str, refers("campaign", "whose figures")]
    day: Annotated[date, Meta(description="first day of our own figures; imported ones count before it")]


class CutoverSet(msgspec.Struct, frozen=True):
    """From `day` on a campaign's figures are ours; `before` is the day until now."""

    campaign: str
    day: date
    before: date | None


def plan_message(shown: Import) -> Message:
    """How far an import is, and of one that is read the dry run."""
    title = f"Import {shown.id} from {TITLES[shown.system]} ({shown.host})"
    again = Button("Show", f"import show {shown.id}")
    if shown.state == FAILED:
        return Message(f"{title} failed", (Notice("error", shown.error or ""), Buttons((again,))), private=True)
    if shown.plan is None or shown.state in {QUEUED, RUNNING}:
        return Message(f"{title}: {_progress(shown)}", (Buttons((again,)),), private=True)
    blocks = (*_plan_blocks(shown, shown.plan), _next(shown))
    return Message(f"{title}: nothing is changed yet", blocks, private=True)


def _progress(shown: Import) -> str:
    done = shown.progress or {}
    if shown.state == QUEUED:
        return f"being read ({plural(done.get('done', 0), 'part')} so far)"
    share = f" ({100 * done['done'] // done['of']}%)" if done.get("of") else ""
    return f"being carried out{share}"


def _next(shown: Import) -> Buttons:
    return Buttons((
        Button("Import", f"import run {shown.id}", style="primary"), Button("Show again", f"import show {shown.id}"),
    ))  # fmt: skip


def _plan_blocks(shown: Import, plan: Plan) -> tuple[Block, ...]:
    rows = tuple(
        (f"{kind.capitalize()}s", count(plan.make.get(kind, 0)), count(plan.known.get(kind, 0)))
        for kind in plan.make
        if plan.make.get(kind) or plan.known.get(kind)
    )
    table = (Table(("What", "Would be made", "Here already"), rows, numeric=(1, 2)),) if rows else ()
    fields = (*_history_fields(shown, plan),)
    return (
        *table, *((Fields(fields),) if fields else ()), *_statuses(shown, plan),
        *(Notice("info", line) for line in (*plan.renamed[:10], *plan.kept[:10])),
        *_more(len(plan.renamed) + len(plan.kept), 20, "names and edits"),
        *problem_blocks(plan.problems, plan.more_problems),
    )  # fmt: skip


def _more(number: int, shown: int, noun: str) -> tuple[Block, ...]:
    return (Text(f"and {number - shown} more {noun}"),) if number > shown else ()


def _history_fields(shown: Import, plan: Plan) -> list[tuple[str, str]]:
    fields = []
    if past := plan.history:
        revenue = ", ".join(money(amount, currency) for currency, amount in past.revenue.items()) or "–"
        figures = (
            f"{plural(past.rows, 'row')}, {plural(past.clicks, 'click')}, {plural(past.conversions, 'conversion')}"
        )
        fields += [
            ("History", f"{past.first} to {past.last}: {figures}"),
            ("Its revenue", f"{revenue}: what its postbacks reported, kept apart from commission"),
            ("Our figures from", f"{shown.cutover} on, or a campaign's first click here"),
        ]  # fmt: skip
        if past.unrated:
            fields.append(("No rate", f"{', '.join(past.unrated)}: stays unconverted until rate set"))
    if plan.old_clicks:
        fields.append(("Click ids", f"{plan.old_clicks:,}: postbacks with them will find their campaign"))
    return fields


def _statuses(shown: Import, plan: Plan) -> tuple[Block, ...]:
    if not plan.statuses:
        return ()
    rows = tuple(
        (word, count(n), shown.meaning.get(word.casefold(), "–").replace("_", " ")) for word, n in plan.statuses.items()
    )
    unmapped = [word for word in plan.statuses if word.casefold() not in shown.meaning]
    hint = (
        (Notice("warning", f'say what they mean: import map {shown.id} statuses="{unmapped[0]}=first_deposit"'),)
        if unmapped
        else ()
    )
    return (Table(("Its status", "Conversions", "Means here"), rows[:20], numeric=(1,)), *hint)


def problem_blocks(problems: list[Problem], more: int) -> tuple[Block, ...]:
    rows = tuple((f"{problem.kind} {problem.name}"[:80], problem.why) for problem in problems[:SHOWN_PROBLEMS])
    rest = len(problems) - len(rows) + more
    return (Table(("What does not come over, or not whole", "Why"), rows, more=rest),) if rows else ()


def done_message(shown: Import) -> Message:
    """What an import did."""
    result = shown.result
    counts = {} if result is None else result.made
    words = [plural(n, kind) for kind, n in counts.items() if n]
    if result is not None:
        words += [plural(result.days, "row") + " of history"] if result.days else []
        words += [plural(result.old_clicks, "click id")] if result.old_clicks else []
    title = f"Import {shown.id} from {TITLES[shown.system]} is done: {', '.join(words) or 'all was here already'}"
    notes: tuple[Block, ...] = () if result is None else problem_blocks(result.problems, 0)
    if result is not None and result.left_out:
        notes += (Notice("warning", f"{result.left_out:,} click ids were left out: a team may have 2,000,000"),)
    buttons = [Button("History", f"history {shown.first}..{shown.last} by campaign")]
    if result is not None and result.old_clicks:
        buttons.append(Button("Try unmatched postbacks again", "postback replay outcome=unmatched"))
    return Message(title, (*notes, Buttons(tuple(buttons))), private=True)


def import_message(_ctx: Context, shown: Import) -> Message:
    return done_message(shown) if shown.state == DONE else plan_message(shown)


def import_table(_ctx: Context, page: Page[Import]) -> Message:
    if not page.items:
        return Message("No import yet: import keitaro url=… key=…, or import csv with a file", private=True)
    rows = tuple(
        (str(shown.id), TITLES[shown.system], shown.host, shown.state, f"{shown.created_at:%Y-%m-%d}", shown.made_by)
        for shown in page.items
    )
    columns = ("Import", "From", "Host", "State", "Since", "By")
    return Message("Imports", (Table(columns, rows, phone=(0, 1, 3)),), private=True)


def cutover_card(ctx: Context, done: CutoverSet) -> Message:
    before = f" (until now {done.before:%d %b %Y})" if done.before else ""
    return Message(f"Figures of {ctx.name('campaign', done.campaign)} are ours from {done.day:%d %b %Y} on{before}")


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An import that is to be stored: by the API (then it has a login), or with its parts."""

    host: str
    settings: Settings
    login: dict[str, str] = {}
    parts: list[tuple[str, bytes]] = []
    plan: Plan | None = None


async def _prepare_keitaro(ctx: Context, new: KeitaroImport) -> ImportRequest:
    return await _probed(ctx, "keitaro", new, {"url": new.url, "key": plain_credential(new.key, field="key")})


async def _probed(ctx: Context, system: str, new: _ApiImport, login: dict[str, str]) -> ImportRequest:
    """Refuse a wrong range before the network is asked, and a wrong login before anything is stored."""
    settings = _settings(ctx, new)
    return ImportRequest(host=await ctx.ports.probe_tracker(system, login), settings=settings, login=login)


def _settings(ctx: Context, new: _ApiImport) -> Settings:
    cutover = new.cutover or ctx.today
    last = new.to or min(cutover, ctx.today) - timedelta(days=1)
    first = new.from_ or last - timedelta(days=HISTORY_DAYS - 1)
    if last < first:
        raise Refused(f"to: {last} is before {first}: the other way round?", field="to")
    if last > ctx.today:
        raise Refused(f"to: {last} has not come yet", field="to")
    if (last - first).days >= MAX_DAYS:
        raise Refused(f"from: at most {MAX_DAYS:,} days of history", field="from")
    currency = currency_code(new.currency, ctx.deployment.currency)
    return Settings(first=first, last=last, cutover=cutover, click_days=new.click_days, options={"currency": currency})


async def _store(ctx: Context, system: str, request: ImportRequest) -> Import:
    room = await rooms.find(ctx.tx, ctx.room.face, ctx.room.workspace, ctx.room.room) if ctx.room else None
    number = await imports.add(
        ctx.tx, team_id=ctx.team_id, now=ctx.now, state=READY if request.plan else QUEUED, settings=request.settings,
        named={
            "system": system, "host": request.host, "made_by": ctx.actor.name,
            "plan": msgspec.to_builtins(request.plan),
            "credentials_secret": ctx.box.seal(request.login) if request.login else None,
            "room": {"id": room.id, "thread": ctx.room.thread} if room and ctx.room else None,
        },
    )  # fmt: skip
    await imports.add_parts(ctx.tx, number, 0, request.parts)
    return await _noted(ctx, number)


async def _noted(ctx: Context, number: int) -> Import:
    shown = imports.shown(await imports.find(ctx.tx, ctx.team_id, number))
    ctx.notes |= {"entity": "import", "entity_id": shown.id}
    return shown


@command("import keitaro", role=Role.OWNER, scope=Scope.TEAM, render=import_message, prepare=_prepare_keitaro)
async def import_keitaro(ctx: Context, new: KeitaroImport) -> Import:
    """Read a Keitaro: offers, sources, campaigns with flows, history, click ids; then show what would be made."""
    return await _store(ctx, "keitaro", ctx.prepared)


async def _prepare_binom(ctx: Context, new: BinomImport) -> ImportRequest:
    return await _probed(ctx, "binom", new, {"url": new.url, "key": plain_credential(new.key, field="key")})


@command("import binom", role=Role.OWNER, scope=Scope.TEAM, render=import_message, prepare=_prepare_binom)
async def import_binom(ctx: Context, new: BinomImport) -> Import:
    """Read a Binom 2: offers, sources, campaigns with rules, history, click ids; then show what would be made."""
    return await _store(ctx, "binom", ctx.prepared)


async def _prepare_voluum(ctx: Context, new: VoluumImport) -> ImportRequest:
    login = {name: plain_credential(getattr(new, name), field=name) for name in ("access_id", "key")}
    return await _probed(ctx, "voluum", new, login | ({"url": new.url} if new.url else {}))


@command("import voluum", role=Role.OWNER, scope=Scope.TEAM, render=import_message, prepare=_prepare_voluum)
async def import_voluum(ctx: Context, new: VoluumImport) -> Import:
    """Read a Voluum: offers, sources, campaigns with flows, history, click ids; then show what would be made."""
    return await _store(ctx, "voluum", ctx.prepared)


async def _prepare_redtrack(ctx: Context, new: RedtrackImport) -> ImportRequest:
    login = {"key": plain_credential(new.key, field="key")}
    return await _probed(ctx, "redtrack", new, login | ({"url": new.url} if new.url else {}))


@command("import redtrack", role=Role.OWNER, scope=Scope.TEAM, render=import_message, prepare=_prepare_redtrack)
async def import_redtrack(ctx: Context, new: RedtrackImport) -> Import:
    """Read a RedTrack: offers, sources, campaigns with streams, history, click ids; then show what would be made."""
    return await _store(ctx, "redtrack", ctx.prepared)


async def _prepare_csv(ctx: Context, new: CsvImport) -> ImportRequest:
    currency = currency_code(new.currency, ctx.deployment.currency)
    options = {
        "kind": new.kind or "", "columns": new.columns, "encoding": new.encoding or "", "currency": currency,
    }  # fmt: skip
    cutover = new.cutover or ctx.today
    return await _read_sent(ctx, "csv", new, options, cutover)


async def _read_sent(
    ctx: Context, system: str, new: ImportFile | StatsdroneImport, options: dict[str, Any], cutover: date
) -> ImportRequest:
    """What a file or a text would bring. Raises Refused at the one that came."""
    content = new.file or (new.csv or "").encode()
    if not content:
        raise MissingFields(["file"], {"file": "send the exported file along"})
    try:
        return await _read_file(ctx, system, content, options, cutover)
    except Refused as fault:
        if new.file or fault.field != "file":
            raise
        raise Refused(f"csv: {str(fault).removeprefix('file: ')}", field="csv") from None


async def _read_file(
    ctx: Context, system: str, content: bytes, options: dict[str, Any], cutover: date
) -> ImportRequest:
    parts = await ctx.ports.read_tracker_file(system, content, options)
    host = "file"
    whose = Whose(team_id=ctx.team_id, system=system, host=host)
    plan = await make_plan(ctx.database, whose, PackedParts(parts), currency=ctx.deployment.currency)
    first = plan.history.first if plan.history and plan.history.first else cutover - timedelta(days=1)
    last = plan.history.last if plan.history and plan.history.last else first
    if last > ctx.today:
        raise Refused(f"file: it has figures of {last}, which has not come yet", field="file")
    settings = Settings(first=first, last=last, cutover=cutover, options={"currency": options.get("currency", "")})
    return ImportRequest(host=host, settings=settings, parts=parts, plan=plan)


@command("import csv", role=Role.OWNER, scope=Scope.TEAM, render=import_message, positional=("kind",),
         prepare=_prepare_csv)  # fmt: skip
async def import_csv(ctx: Context, new: CsvImport) -> Import:
    """Read a table of history, click ids, offers, campaigns or sources, and show what importing it would do."""
    return await _store(ctx, "csv", ctx.prepared)


async def _prepare_statsdrone(ctx: Context, new: StatsdroneImport) -> ImportRequest:
    return await _read_sent(ctx, "statsdrone", new, {"encoding": new.encoding or ""}, ctx.today)


@command("import statsdrone", role=Role.OWNER, scope=Scope.TEAM, render=import_message, prepare=_prepare_statsdrone)
async def import_statsdrone(ctx: Context, new: StatsdroneImport) -> Import:
    """Read the table of StatsDrone's bulk connect: its programs become accounts, without their passwords."""
    return await _store(ctx, "statsdrone", ctx.prepared)


@command("import show", role=Role.OWNER, scope=Scope.TEAM, render=import_message, reads=True, positional=("import",))
async def show_import(ctx: Context, new: OneImport) -> Import:
    """An import: how far it is, what it would do, or what it did."""
    return imports.shown(await imports.find(ctx.tx, ctx.team_id, new.import_))


@command("import list", role=Role.OWNER, scope=Scope.TEAM, render=import_table, reads=True)
async def list_imports(ctx: Context, new: Listing) -> Page[Import]:
    """The team's imports, latest first."""
    rows = await imports.listed(ctx.tx, ctx.team_id, limit=new.limit + 1, after=cursor(new.after))
    shown = [imports.shown(row) for row in rows[: new.limit]]
    return Page(shown, str(shown[-1].id) if len(rows) > new.limit else None)


@command("import map", role=Role.OWNER, scope=Scope.TEAM, render=import_message, positional=("import",))
async def map_statuses(ctx: Context, new: StatusMap) -> Import:
    """Say what the tracker's raw statuses mean; an import that is done is carried out again with `import run`."""
    row = await _idle(ctx, new.import_)
    settings = imports.settings_of(row)
    known = {word.casefold(): word for word in shown_statuses(row)}
    meaning = dict(settings.meaning)
    for word, event in _pairs(new.statuses).items():
        if known and word.casefold() not in known:
            raise Refused(f"statuses: no status {word!r}: there is {', '.join(known.values())}", field="statuses")
        if event not in MEANINGS:
            raise Refused(f"statuses: {word}={event}: one of {', '.join(MEANINGS)}", field="statuses")
        meaning[word.casefold()] = event
    await imports.change(ctx.tx, row.id, settings=msgspec.structs.replace(settings, meaning=meaning))
    if row.state == DONE:
        await imports.change(ctx.tx, row.id, state=READY)
    return await _noted(ctx, row.id)


def shown_statuses(row: Row[Any]) -> Mapping[str, int]:
    statuses: Mapping[str, int] = (row.plan or {}).get("statuses", {})
    return statuses


def _pairs(words: list[str] | dict[str, str]) -> dict[str, str]:
    if isinstance(words, dict):
        return {word: meaning.strip().lower() for word, meaning in words.items()}
    pairs = {}
    for word in words:
        status, equals, meaning = word.rpartition("=")
        if not equals or not status.strip():
            raise Refused(f"statuses: {word!r}: write lead=registration", field="statuses")
        pairs[status.strip()] = meaning.strip().lower()
    return pairs


async def _idle(ctx: Context, number: int | None) -> Row[Any]:
    """The import, which is not being read or carried out. Raises Refused, Missing."""
    row = await imports.find(ctx.tx, ctx.team_id, number)
    if row.state in {QUEUED, RUNNING}:
        raise Refused(f"import: {row.id} is under way: 'import show {row.id}' says how far it is", field="import")
    if row.state == FAILED:
        raise Refused(f"import: {row.id} failed ({row.error}): begin it again", field="import")
    return row


@command("import run", role=Role.OWNER, scope=Scope.TEAM, render=import_message, positional=("import",))
async def run_import(ctx: Context, new: OneImport) -> Import:
    """Carry out an import whose dry run you have seen; goes on in the background, and can be repeated."""
    row = await _idle(ctx, new.import_)
    if not await imports.count_parts(ctx.tx, row.id):
        raise Refused(f"import: what was read for {row.id} is not kept any more: begin it again", field="import")
    await imports.change(ctx.tx, row.id, state=RUNNING, progress={"done": 0, "of": 0})
    return await _noted(ctx, row.id)


@command("import cutover", role=Role.OWNER, scope=Scope.TEAM, render=cutover_card, positional=("campaign", "day"))
async def set_cutover(ctx: Context, new: Cutover) -> CutoverSet:
    """Say from which day on a campaign's figures are ours: imported ones count before it."""
    campaign = await own_campaign(ctx, new.campaign)
    if new.day > ctx.today + timedelta(days=366):
        raise Refused(f"day: {new.day} is over a year ahead", field="day")
    before = await history.set_cutover(ctx.tx, ctx.team_id, campaign.id, new.day)
    ctx.notes |= {"entity": "campaign", "entity_id": campaign.id, "before": {"day": before, "campaign": campaign.code},
                  "after": {"day": new.day, "campaign": campaign.code}}  # fmt: skip
    return CutoverSet(campaign.code, new.day, before)
