"""Syncs: ask for one, see how they stand, decide about suspect reports, read unreadable reports again."""

from codecs import BOM_UTF8
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.alerts.messages import consequence, decision_buttons, held_rows, queue_held_message
from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_ROWS, day_range, limited
from bot.core.listing import Listing
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope, visible
from bot.forms.imports import Sent
from bot.render.figures import days, plural
from storage.catalogue import accounts, names
from storage.catalogue.entities import cursor, page
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import POSTBACK_ONLY, UPLOADED, WITHOUT_API, Report, Role
from storage.revenue import held_reports, syncs, unreadable_reports
from storage.revenue import revisions as revenue
from storage.revenue.held_reports import HeldFigure, HeldReport, HeldReports, HeldTotal
from storage.revenue.sync_status import Progress, statuses
from storage.tables import accounts as table


class SyncNow(Arguments):
    account: Annotated[str | None, refers("account", "which account; all if absent")] = None
    from_: Annotated[date | None, day_range("first day; default: the last week")] = None
    to: Annotated[date | None, Meta(description="last day; default: the account's today")] = None


class SyncStatus(Listing):
    account: Annotated[str | None, refers("account", "only this one")] = None


class OneSync(Arguments):
    account: Annotated[str, refers("account", "whose held report")]


class HeldRows(Listing, kw_only=True):
    account: Annotated[str, refers("account", "whose held report")]


class Upload(Arguments):
    account: Annotated[str, refers("account", "a csv_upload account")]
    csv: Annotated[str | None, Meta(description="the file, if it is short")] = None
    lines: Annotated[list[str], limited("or its lines, the header first", items=MAX_ROWS)] = []
    file: Sent = None


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an upload; `suspect` says why it is held, if it is."""

    account: str
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    rows: int
    revisions: int
    restated: int
    suspect: str | None
    warnings: list[str]


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """A sync is asked for; it runs in the background."""

    requested_at: datetime
    accounts: list[str]


class Statuses(msgspec.Struct, frozen=True):
    items: list[Progress]
    next: str | None = None


class HeldPage(msgspec.Struct, frozen=True, kw_only=True):
    """Reports held of an account, the sums they would change, and every figure, latest day first."""

    account: str
    reports: list[HeldReport]
    totals: list[HeldTotal]
    items: list[HeldFigure]
    next: str | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an account's held reports."""

    account: str
    reports: int
    rows: int = 0
    revisions: int = 0
    restated: int = 0


def requested(ctx: Context, done: Requested) -> Message:
    named = ", ".join(ctx.name("account", code) for code in done.accounts)
    buttons = Buttons((Button("Status", "sync status"),))
    return Message(f"Sync asked for: {named}", (Text("It runs in the background."), buttons), private=True)


def status_table(ctx: Context, statuses: Statuses) -> Message:
    if not statuses.items:
        return Message("No accounts to sync yet: account add platform=… base_url=…", private=True)
    if len(statuses.items) == 1:
        return _one_status(ctx, statuses.items[0])
    columns = ("Account", "State", "Last success (UTC)", "Rows", "Revised", "Restated", "Next (UTC)")
    rows = tuple(
        (ctx.name("account", status.account), _state(status), _at(status.last_success_at), f"{status.rows:,}",
         f"{status.revisions:,}", f"{status.restated:,}", _next_run(status))
        for status in statuses.items
    )  # fmt: skip
    faults = tuple(
        Notice("error", f"{ctx.name('account', status.account)}: {status.error}")
        for status in statuses.items
        if status.error
    )
    warnings = tuple(
        Notice("info", f"{ctx.name('account', status.account)}: {text}")
        for status in statuses.items
        for text in status.warnings
    )
    table = Table(columns, rows, numeric=(3, 4, 5), phone=(0, 1, 2))
    return Message("Syncs", (table, *faults, *warnings), private=True)


def _one_status(ctx: Context, status: Progress) -> Message:
    blocks: list[Block] = [Fields((
        ("Last attempt (UTC)", _at(status.last_attempt_at)), ("Last success (UTC)", _at(status.last_success_at)),
        ("Rows", f"{status.rows:,}"), ("Revised", f"{status.revisions:,}"), ("Restated", f"{status.restated:,}"),
        ("Next (UTC)", _next_run(status)),
    ))]  # fmt: skip
    blocks += [Notice("info", warning) for warning in status.warnings]
    if status.error:
        blocks.append(Notice("warning" if status.state == "suspect" else "error", status.error))
    if status.state == "suspect":
        blocks.append(decision_buttons(status.account))
    elif status.platform != UPLOADED:
        blocks.append(Buttons((Button("Sync now", f"sync now {status.account}"),)))
    return Message(f"Sync of {ctx.label('account', status.account)}: {_state(status)}", tuple(blocks), private=True)


def _state(status: Progress) -> str:
    if status.state == "idle" and status.platform == UPLOADED:
        return "by upload"
    return f"{status.state}, back to {status.reached}" if status.state == "running" and status.reached else status.state


def _next_run(one: Progress) -> str:
    return "with the next upload" if one.platform == UPLOADED else _at(one.next_run_at)


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def held_page(ctx: Context, held: HeldPage) -> Message:
    reports = HeldReports(
        account=held.account, reports=held.reports, totals=held.totals, figures=held.items, count=len(held.items)
    )
    return held_rows(reports, ctx.name("account", held.account), more=held.next is not None)


def confirmed(ctx: Context, done: Decided) -> Message:
    text = f"{plural(done.rows, 'row')} taken over, {done.revisions:,} revised"
    return Message(f"Confirmed for {ctx.name('account', done.account)}", (Notice("ok", text),))


def discarded(ctx: Context, done: Decided) -> Message:
    kept = Notice("ok", "The numbers stay as they were.")
    return Message(f"Discarded for {ctx.name('account', done.account)}", (kept,))


def uploaded(ctx: Context, done: Uploaded) -> Message:
    notices = tuple(Notice("info", text) for text in done.warnings)
    if done.suspect:
        notices = (Notice("warning", f"Held: {done.suspect}"), *notices)
    text = Text(f"{plural(done.rows, 'row')} of {days(done.first, done.last)}, {done.revisions:,} new or changed.")
    return Message(f"Figures uploaded for {ctx.name('account', done.account)}", (text, *notices))


@command("sync now", role=Role.BUYER, scope=Scope.TEAM, render=requested, positional=("account",))
async def sync_now(ctx: Context, new: SyncNow) -> Requested:
    """Fetch revenue now, in the background; any range may be asked for."""
    rows = await _chosen_accounts(ctx, new)
    for row in rows:
        first, last = _window(ctx, new, row)
        await syncs.queue(ctx.tx, team_id=ctx.team_id, account_id=row.id, now=ctx.now, first=first, last=last)
    return Requested(requested_at=ctx.now, accounts=[row.code for row in rows])


@command("sync status", role=Role.VIEWER, scope=Scope.OWN, render=status_table, reads=True, positional=("account",))
async def sync_status(ctx: Context, new: SyncStatus) -> Statuses:
    """How fresh each account's figures are, what was restated, what is wrong, and when the next sync is."""
    query = select(table).where(table.c.team_id == ctx.team_id, visible(ctx.actor, "account"))
    if new.account:
        account = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
        query = query.where(table.c.id == account.id)
    else:
        query = query.where(table.c.platform != POSTBACK_ONLY)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    return Statuses(await statuses(ctx.tx, rows), following)


@command("sync show", role=Role.VIEWER, scope=Scope.TEAM, render=held_page, reads=True, positional=("account",))
async def sync_show(ctx: Context, new: HeldRows) -> HeldPage:
    """What a held report would change: which rows, from what to what."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    start = cursor(new.after) or 0
    end = start + new.limit
    held = await held_reports.held_reports(ctx.tx, row.id, ctx.ports.held_in_helper, start=start, limit=new.limit)
    return HeldPage(
        account=held.account, reports=held.reports, totals=held.totals, items=held.figures,
        next=str(end) if end < held.count else None,
    )  # fmt: skip


async def _changes_of_confirming(ctx: Context, new: OneSync) -> str:
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    return consequence(await held_reports.held_reports(ctx.tx, row.id, ctx.ports.held_in_helper))


async def _record_held(ctx: Context, new: OneSync) -> revenue.Recorded:
    """Record the held reports in short transactions: clicks are kept in between."""
    async with ctx.database.read() as tx:
        row = await names.find(tx, table, ctx.team_id, new.account, field="account")
    return await held_reports.confirm(
        ctx.database,
        account_id=row.id,
        now=ctx.now,
        zone=accounts.zone_of(row),
        in_helper=ctx.ports.compare_held_in_helper,
    )


@command(
    "sync confirm", role=Role.BUYER, scope=Scope.TEAM, render=confirmed, positional=("account",),
    confirm=_changes_of_confirming, prepare=_record_held,
)  # fmt: skip
async def sync_confirm(ctx: Context, new: OneSync) -> Decided:
    """Record a report that was held as suspect: its figures are right after all."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    done: revenue.Recorded = ctx.prepared
    return Decided(
        account=row.code, reports=done.reports, rows=done.rows, revisions=done.revisions, restated=done.restated
    )


@command("sync discard", role=Role.BUYER, scope=Scope.TEAM, render=discarded, positional=("account",))
async def sync_discard(ctx: Context, new: OneSync) -> Decided:
    """Discard a report that was held as suspect; the numbers stay as they were."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    count = await held_reports.discard(ctx.tx, account_id=row.id)
    return Decided(account=row.code, reports=count)


@command("sync read", role=Role.BUYER, scope=Scope.TEAM, render=requested, positional=("account",))
async def sync_read(ctx: Context, new: OneSync) -> Requested:
    """Read an account's kept unreadable answers again, after a fix."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    report_ids = await unreadable_reports.unreadable(ctx.tx, row.id)
    if not report_ids:
        raise Refused(f"account {row.code} has no unreadable report that could be read again", field="account")
    for report_id in report_ids:
        await syncs.queue(ctx.tx, team_id=ctx.team_id, account_id=row.id, now=ctx.now, again=report_id)
    return Requested(requested_at=ctx.now, accounts=[row.code])


class _RecordedUpload(msgspec.Struct, frozen=True):
    """A report that was uploaded, and the result."""

    report: Report
    recorded: revenue.Recorded


async def _record_upload(ctx: Context, new: Upload) -> _RecordedUpload:
    """Read the file and record it in short transactions, as a sync does: clicks are kept in between."""
    async with ctx.database.read() as tx:
        row = await names.find(tx, table, ctx.team_id, new.account, field="account")
    login = msgspec.structs.asdict(accounts.opened(ctx.box, row))
    text = new.csv or "\n".join(new.lines)
    raw = BOM_UTF8 + text.encode() if text else new.file  # text is UTF-8, whatever encoding the account's files have
    if not raw:
        raise Refused("file: missing: attach it to the message 'sync upload <account>'", field="file")
    try:
        report = await ctx.ports.read_upload(row.platform, login, raw, _today_of(ctx, row))
        async with ctx.database.read() as tx:
            await _refuse_undecided_days(tx, new, row, report)
        recorded = await revenue.record_in_slices(
            ctx.database, team_id=ctx.team_id, account_id=row.id, run_id=None, report=report, now=ctx.now,
            zone=accounts.zone_of(row), in_helper=ctx.ports.compare_in_helper,
        )  # fmt: skip
    except ConnectorError as error:
        raise Refused(str(error), field=_upload_field(new)) from None
    if recorded.suspect:
        await queue_held_message(ctx.database, ctx.team_id, row.id, now=ctx.now, in_helper=ctx.ports.held_in_helper)
    return _RecordedUpload(report, recorded)


@command(
    "sync upload", role=Role.BUYER, scope=Scope.TEAM, render=uploaded, positional=("account",), prepare=_record_upload
)
async def sync_upload(ctx: Context, new: Upload) -> Uploaded:
    """Import figures from a CSV; the days in it are replaced, their history is kept."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    upload: _RecordedUpload = ctx.prepared
    report, done = upload.report, upload.recorded
    fresh = {} if done.suspect else {"last_success_at": ctx.now}
    warnings = list(report.warnings)
    await accounts.change(
        ctx.tx, row.id, {"last_attempt_at": ctx.now, "error": None, "sync_warnings": warnings, **fresh}
    )
    return Uploaded(
        account=row.code, first=report.first, last=report.last, rows=done.rows, revisions=done.revisions,
        restated=done.restated, suspect=done.suspect, warnings=warnings,
    )  # fmt: skip


async def _refuse_undecided_days(tx: AsyncConnection, new: Upload, row: Row[Any], report: Report) -> None:
    """Days that could be read in two ways must not withdraw settled figures: the other way may be the right one."""
    if not report.assumed_days:
        return
    days = await held_reports.withdrawn_settled_days(tx, row.id, report)
    if not days:
        return
    shown = ", ".join(f"{day}" for day in days[:5]) + (" …" if len(days) > 5 else "")
    field = _upload_field(new)
    raise Refused(
        f"{field}: its dates can be read day first or month first, and as read they would withdraw figures of "
        f"{plural(len(days), 'settled day')} ({shown}): write the days as 2026-10-31, or say "
        f'how they are meant: account edit {row.code} options=\'{{"day_order": "dmy"}}\'',
        field=field,
    )


def _upload_field(new: Upload) -> str:
    return "csv" if new.csv else "lines" if new.lines else "file"


async def _chosen_accounts(ctx: Context, new: SyncNow) -> list[Row[Any]]:
    """The accounts meant: the one named, or all that can be fetched from."""
    if new.account is None:
        query = select(table).where(
            table.c.team_id == ctx.team_id, table.c.paused_at.is_(None), table.c.platform.not_in(WITHOUT_API)
        )
        rows = list(await ctx.tx.execute(query.order_by(table.c.id)))
        if not rows:
            raise Refused("no account to sync: add one with account add, or resume a paused one", field="account")
        return rows
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    if row.platform in WITHOUT_API:
        raise Refused(f"account {row.code} has no reporting API ({row.platform}): nothing to fetch", field="account")
    if row.paused_at is not None:
        why = f" ({row.paused_why})" if row.paused_why else ""
        raise Refused(f"account {row.code} is paused{why}: account resume {row.code} syncs it again", field="account")
    return [row]


def _window(ctx: Context, new: SyncNow, row: Row[Any]) -> tuple[date | None, date | None]:
    """The days asked for; the end is never after the account's own today."""
    if new.from_ is None and new.to is None:
        return None, None
    today = _today_of(ctx, row)
    last = min(new.to or today, today)
    first = new.from_ or last
    if first > today:
        raise Refused(f"from: {first} is still to come where the account is ({today} there)", field="from")
    if first > last:
        raise Refused("from: the range ends before it starts", field="from")
    return first, last


def _today_of(ctx: Context, row: Row[Any]) -> date:
    """The account's own today."""
    return ctx.now.astimezone(accounts.zone_of(row)).date()
