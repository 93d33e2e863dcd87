"""Platform accounts: log in, look at what the platform shows, change, test, pause."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, func, not_, select

from bot.core.arguments import Arguments, choices, holds_credentials, refers, secret
from bot.core.command import command
from bot.core.context import Context, Sample
from bot.core.listing import Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope, visible
from bot.forms.account_forms import PLATFORMS, PRESETS, Checked, check_edit, check_new, same_login
from bot.forms.archiving import opposite, refuse_archived
from bot.forms.bulk_change import MOST, BulkChange, edit_each, edit_question, render_change
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import SETTINGS, Sorting, read_sorting, sorting_fields
from bot.render.figures import instant, plural
from storage.catalogue import accounts, names, offers
from storage.catalogue.accounts import Account
from storage.catalogue.groups import ACTIVE, ARCHIVED
from storage.clicks import caps
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import WITHOUT_API, Role
from storage.revenue import raw_reports, syncs
from storage.tables import accounts as table
from storage.tables import offers as offers_table


class Credentials(Sorting):
    """Every platform's credentials, of which it says which ones it needs; and what an account is sorted by."""

    token: Annotated[str | None, secret("affilka: statistic token")] = None
    key: Annotated[str | None, secret("income_access: report key")] = None
    client_id: Annotated[str | None, Meta(description="myaffiliates, netrefer: client identifier")] = None
    client_secret: Annotated[str | None, secret("myaffiliates, netrefer: client secret")] = None
    username: Annotated[str | None, Meta(description="netrefer, trackbox: user name of the API")] = None
    password: Annotated[str | None, secret("netrefer, trackbox: password of the API")] = None
    affiliate_id: Annotated[str | None, Meta(description="cellxpert, netrefer: affiliate id")] = None
    network_id: Annotated[str | None, Meta(description="tune: network id")] = None
    api_key: Annotated[
        str | None, secret("cellxpert, tune, smartico, alanbase, scaleo, everflow, affise, trackbox: API key")
    ] = None


class NewAccount(Credentials, kw_only=True):
    platform: Annotated[str, choices("the affiliate platform", *PLATFORMS, *PRESETS)]
    name: Annotated[str | None, Meta(description="default: the platform's")] = None
    base_url: Annotated[str | None, Meta(description="the programme's own address, https://…")] = None
    report_url: Annotated[str | None, secret("a report URL copied from the panel; only its dates are replaced")] = None
    timezone: Annotated[str, Meta(description="the platform's time zone, such as Europe/Malta")] = "UTC"
    currency: Annotated[str | None, Meta(description="the platform's currency; default: the reporting one")] = None
    tag_from: Annotated[str | None, Meta(description="dimension that names the segment an offer claims")] = None
    click_id_from: Annotated[str | None, Meta(description="where our click id comes back")] = None
    options: Annotated[dict[str, Any], holds_credentials("further settings of the platform, as JSON")] = {}
    sync_hour: Annotated[int, Meta(description="hour its figures of yesterday are ready, its own zone")] = 6
    history: Annotated[int, Meta(description="days the first sync reaches back")] = 30
    test: Annotated[bool, Meta(description="log in and look before saving")] = True
    force: Annotated[bool, Meta(description="connect a login that another account has already")] = False


class AccountEdit(Credentials, kw_only=True):
    account: Annotated[list[str], refers("account", "which account; several separated by commas", most=MOST)]
    name: str | None = None
    base_url: str | None = None
    report_url: Annotated[str | None, secret("a report URL copied from the panel")] = None
    timezone: str | None = None
    currency: str | None = None
    tag_from: str | None = None
    click_id_from: str | None = None
    options: Annotated[dict[str, Any] | None, holds_credentials("settings to change; null takes one away")] = None
    sync_hour: int | None = None
    test: Annotated[bool, Meta(description="log in before saving a changed login")] = True
    force: Annotated[bool, Meta(description="take over a login that another account has already")] = False


class OneAccount(Arguments):
    account: Annotated[str, refers("account", "which account")]


class AccountList(SortedList):
    status: Annotated[str | None, choices("only these", ACTIVE, "paused", ARCHIVED)] = None
    platform: Annotated[str | None, Meta(description="only this platform's")] = None


class AccountShown(Account, frozen=True, kw_only=True):
    """An account, the segments its platform shows, and those that no offer claims."""

    segments: list[str] = []
    unclaimed: list[str] = []
    sample: Sample | None = None


def account_card(ctx: Context, account: AccountShown) -> Message:
    address = account.base_url or ("pasted report URL" if account.has_report_url else "–")
    fields = (
        ("Platform", account.platform), ("Address", address),
        ("Zone, currency", f"{account.timezone}, {account.currency}"), ("Login", ", ".join(account.credentials) or "–"),
        ("Last sync", instant(account.last_success_at, none="never")),
        ("Next sync", instant(account.next_sync_at)),
        *sorting_fields(ctx, account),
    )  # fmt: skip
    blocks: list[Block] = [Fields(fields), *_sampled(account)]
    if account.error or account.paused_why:
        blocks.append(Notice("error", str(account.paused_why or account.error)))
    label, other = opposite("account", account.status)
    buttons = [Button(label, f"{other} {account.code}")]
    if account.platform not in WITHOUT_API:
        buttons += [Button("Sync now", f"sync now {account.code}"), Button("Test", f"account test {account.code}")]
    blocks.append(Buttons(tuple(buttons)))
    return Message(f"Account {account.name} ({account.code}) · {account.status}", tuple(blocks))


def _sampled(account: AccountShown) -> list[Block]:
    blocks: list[Block] = []
    if account.sample is not None:
        columns = ", ".join(account.sample.columns) or "no figures"
        rows_read = plural(account.sample.rows, "row")
        blocks.append(Text(f"The login works: {rows_read} of the last seven days with {columns}."))
        blocks += [Notice("info", text) for text in account.sample.warnings]
    if account.segments:
        named = account.sample.names if account.sample else {}
        rows = tuple(
            (tag, named.get(tag, "–"), "none claims it" if tag in account.unclaimed else "claimed")
            for tag in account.segments
        )
        blocks.append(Table(("Segment", "Called", "Offer"), rows))
    return blocks


def account_table(ctx: Context, page: Page[Account]) -> Message:
    rows = tuple((a.name, a.code, a.platform, a.timezone, a.currency, a.error or a.status) for a in page.items)
    table = Table(("Account", "Code", "Platform", "Zone", "Currency", "State"), rows, phone=(0, 1, 5))
    return list_message(
        ctx,
        "account",
        page,
        table,
        add="account add platform=affilka base_url=… token=…",
    )


async def _prepare_new(ctx: Context, new: NewAccount) -> tuple[Checked, Sample | None]:
    checked = check_new(ctx, new)
    async with ctx.database.read() as tx:
        await names.code_for(tx, table, ctx.team_id, await _name(ctx, tx, new.name, checked))
        await _refuse_connected(ctx, tx, checked, force=new.force)
    return checked, await _probed(ctx, checked) if new.test and checked.has_api else None


@command("account add", role=Role.OWNER, render=account_card, positional=("platform",), prepare=_prepare_new)
async def add_account(ctx: Context, new: NewAccount) -> AccountShown:
    """Connect a platform account: logs in, shows a sample, and fetches the last 30 days in the background."""
    checked, sample = ctx.prepared
    await _refuse_connected(ctx, ctx.tx, checked, force=new.force)
    name = await _name(ctx, ctx.tx, new.name, checked)
    zone = checked.zone
    due = syncs.next_due(ctx.now, zone, checked.sync_hour) if checked.has_api else None
    account_id = await accounts.add(ctx.tx, ctx.box, team_id=ctx.team_id, now=ctx.now, login=checked.login, named={
        "name": name, "code": await names.code_for(ctx.tx, table, ctx.team_id, name),
        "platform": checked.platform, "sync_hour": checked.sync_hour, "next_sync_at": due,
        **await read_sorting(ctx, new),
    })  # fmt: skip
    if checked.has_api:
        today = ctx.now.astimezone(zone).date()
        first = checked.days_back(today, new.history)
        await syncs.queue(ctx.tx, team_id=ctx.team_id, account_id=account_id, now=ctx.now, first=first, last=today)
    return await _noted(ctx, account_id, sample=sample)


async def _prepare_edit(ctx: Context, new: AccountEdit) -> tuple[Checked, Sample | None] | None:
    """A login that works; nothing where several accounts are sorted, which is all that several can have done."""
    if len(new.account) != 1:
        return None
    async with ctx.database.read() as tx:
        row = await names.find(tx, table, ctx.team_id, new.account[0], field="account")
        checked = check_edit(ctx, new, row.platform, accounts.readable(ctx.box, row))
        await _refuse_connected(ctx, tx, checked, force=new.force, but=row.id)
    return checked, await _probed(ctx, checked) if new.test and checked.has_api and checked.login_changed else None


async def _edits(ctx: Context, new: AccountEdit) -> str | None:
    return await edit_question(ctx, "account", new)


@command("account edit", role=Role.OWNER, render=render_change("account", account_card), positional=("account",),
         prepare=_prepare_edit, confirm=_edits)  # fmt: skip
async def edit_account(ctx: Context, new: AccountEdit) -> AccountShown | BulkChange[AccountShown]:
    """Change an account; a changed login is tried first, and one that works again is resumed."""
    of_one = set(AccountEdit.__struct_fields__) - {"account", *SETTINGS}
    return await edit_each(ctx, "account", new, lambda row: _edited(ctx, row, new), of_one=of_one)


async def _edited(ctx: Context, row: Row[Any], new: AccountEdit) -> AccountShown:
    sample = ctx.prepared[1] if ctx.prepared else None
    checked = check_edit(
        ctx, new, row.platform, accounts.readable(ctx.box, row)
    )  # it may have changed during the login
    await _refuse_connected(ctx, ctx.tx, checked, force=new.force, but=row.id)
    before = accounts.shown(ctx.box, row)
    values = {**accounts.sealed(ctx.box, checked.login), **await read_sorting(ctx, new, row)}
    if new.name and new.name != row.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=row.id)
        values["name"] = new.name
    if new.sync_hour is not None or new.timezone is not None:
        hour = row.sync_hour if new.sync_hour is None else new.sync_hour
        values |= {"sync_hour": hour, "next_sync_at": syncs.next_due(ctx.now, checked.zone, hour)}
    await accounts.change(ctx.tx, row.id, values)
    if sample is not None and row.paused_why:
        await resume_syncs(ctx, row.id)
    if new.tag_from is not None or new.timezone is not None:
        await offers.touch_revenue(ctx.tx, row.id)
    if new.timezone is not None:
        await raw_reports.resettle(ctx.tx, row, checked.zone)
        await caps.recount_account(ctx.tx, row.id, ctx.now, ctx.deployment.zone)
    return await _noted(ctx, row.id, sample=sample, before=before)


@command(
    "account list", role=Role.VIEWER, scope=Scope.OWN, render=account_table, reads=True, positional=("find",),
    sentence="find", aliases=("account find",),
)  # fmt: skip
async def list_accounts(ctx: Context, new: AccountList) -> Page[Account]:
    """The team's platform accounts."""
    query = of_team(ctx, "account")
    if new.status in {ACTIVE, "paused"}:
        query = query.where(table.c.paused_at.is_(None) if new.status == ACTIVE else table.c.paused_at.is_not(None))
    if new.platform:
        query = query.where(table.c.platform == ctx.ports.platform_options(new.platform)["name"])
    rows, following = await listed(ctx, "account", new, query)
    return Page([accounts.shown(ctx.box, row) for row in rows], following)


@command("account show", role=Role.VIEWER, render=account_card, reads=True, positional=("account",))
async def show_account(ctx: Context, new: OneAccount) -> AccountShown:
    """One account, with the segments its reports have shown."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    return await _shown(ctx, row.id)


async def _prepare_test(ctx: Context, new: OneAccount) -> Sample:
    async with ctx.database.read() as tx:
        row = await names.find(tx, table, ctx.team_id, new.account, field="account")
    login = accounts.opened(ctx.box, row)
    return await ctx.ports.probe(row.platform, msgspec.structs.asdict(login) | {"name": f"account {row.id}"})


@command(
    "account test", role=Role.BUYER, render=account_card, reads=True, positional=("account",), prepare=_prepare_test
)
async def test_account(ctx: Context, new: OneAccount) -> AccountShown:
    """Log in now and show what the last seven days look like."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    return await _shown(ctx, row.id, sample=ctx.prepared)


async def _figures_stopped(ctx: Context, new: OneAccount) -> str | None:
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    if row.paused_at is not None:
        return None
    on = select(func.count()).where(offers_table.c.account_id == row.id)
    count = (await ctx.tx.execute(on)).scalar_one()
    return f"No figures of {row.name} are fetched until it is resumed: revenue of its offers ({count:,}) stays pending."


@command(
    "account pause",
    role=Role.OWNER,
    render=render_change("account", account_card, "paused"),
    positional=("account",),
    confirm=_figures_stopped,
)
async def pause_account(ctx: Context, new: OneAccount) -> AccountShown:
    """Fetch nothing more from an account until it is resumed; its postbacks are still accepted."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    refuse_archived("account", [row])
    ctx.unchanged = row.paused_at is not None
    if not ctx.unchanged:
        await accounts.change(ctx.tx, row.id, {"paused_at": ctx.now, "paused_why": None})
    return await _noted(ctx, row.id, before=accounts.shown(ctx.box, row))


@command("account resume", role=Role.OWNER, render=account_card, positional=("account",))
async def resume_account(ctx: Context, new: OneAccount) -> AccountShown:
    """Fetch from a paused account again, at once and then daily."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.account, field="account")
    refuse_archived("account", [row])
    await resume_syncs(ctx, row.id)
    return await _noted(ctx, row.id, before=accounts.shown(ctx.box, row))


async def resume_syncs(ctx: Context, account_id: int) -> None:
    row = await names.by_id(ctx.tx, table, account_id)
    await accounts.change(ctx.tx, account_id, {"paused_at": None, "paused_why": None, "error": None})
    if ctx.ports.platform_options(row.platform)["has_api"]:
        due = syncs.next_due(ctx.now, accounts.zone_of(row), row.sync_hour)
        await accounts.change(ctx.tx, account_id, {"next_sync_at": due})
        await syncs.queue(ctx.tx, team_id=ctx.team_id, account_id=account_id, now=ctx.now)


async def _name(ctx: Context, tx: Any, name: str | None, checked: Checked) -> str:
    """The name given, or the platform's, numbered if it is taken."""
    if name is not None:
        return name
    return await names.free_name(tx, table, ctx.team_id, checked.title)


async def _refuse_connected(ctx: Context, tx: Any, checked: Checked, *, force: bool, but: int = 0) -> None:
    """Two accounts with one login would count the same revenue twice. Raises Refused at the login's field."""
    login = checked.login
    if force or not checked.has_api or not checked.login_changed:
        return
    query = select(table).where(table.c.team_id == ctx.team_id, table.c.platform == checked.platform, table.c.id != but)
    for row in await tx.execute(query):
        if same_login(login, accounts.readable(ctx.box, row), dates=checked.url_dates):
            raise Refused(
                f"{checked.login_field}: account {row.name} ({row.code}) has this login already, and its revenue would "
                "count twice. Say force=true to connect it all the same",
                field=checked.login_field,
            )


async def _probed(ctx: Context, checked: Checked) -> Sample:
    try:
        return await ctx.ports.probe(checked.platform, msgspec.structs.asdict(checked.login))
    except (ConnectorError, Refused) as error:
        field = error.field if isinstance(error, Refused) else error.field or checked.login_field
        raise Refused(f"nothing was saved: {error} (test=false saves it all the same)", field=field) from None


async def _noted(
    ctx: Context, account_id: int, *, sample: Sample | None = None, before: Account | None = None
) -> AccountShown:
    account = await _shown(ctx, account_id, sample=sample)
    ctx.notes |= {"entity": "account", "entity_id": account_id, "before": before, "after": account}
    return account


async def _shown(ctx: Context, account_id: int, *, sample: Sample | None = None) -> AccountShown:
    account = accounts.shown(ctx.box, await names.by_id(ctx.tx, table, account_id))
    named = dict(await accounts.segments(ctx.tx, account_id))
    if sample is not None:
        named |= {tag: sample.names.get(tag, "") for tag in sample.segments}
    claimed = await accounts.claimed(ctx.tx, account_id)
    if ctx.actor.campaigns is not None:
        named = await _without_others(ctx, account_id, named)
        sample = sample and msgspec.structs.replace(
            sample, segments=tuple(tag for tag in sample.segments if tag in named), names={}
        )
    free = [tag for tag, name in sorted(named.items()) if not {tag.lower(), name.lower()} & claimed]
    return AccountShown(
        **msgspec.structs.asdict(account), segments=sorted(named), unclaimed=[t for t in free if t], sample=sample
    )


async def _without_others(ctx: Context, account_id: int, named: dict[str, str]) -> dict[str, str]:
    """Segments without those that offers of other campaigns alone claim."""
    others = await accounts.claimed(ctx.tx, account_id, not_(visible(ctx.actor, "offer")))
    return {tag: name for tag, name in named.items() if not {tag.lower(), name.lower()} & others}
