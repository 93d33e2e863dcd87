"""Domains: check, buy or add a host name, and lead it to a site."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, delete, insert

from bot.core.arguments import Arguments, MissingArgument, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope
from bot.forms.bulk_change import MOST, BulkChange, edit_each, edit_question, render_change
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import Sorting, read_sorting, sorting_fields
from bot.render.figures import money
from storage.catalogue import domains, names, registrars
from storage.catalogue.domains import Domain, Step
from storage.catalogue.registrars import Price
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import domains as table
from storage.tables import registrars as registrars_table
from storage.tables import sites

_SIGNS = {"done": "✓", "waiting": "…", "failed": "✗", "todo": "·", "skipped": "–"}

Which = Annotated[str, refers("domain", "which domain")]
WhichRegistrar = Annotated[str | None, refers("registrar", "which login; the only one if absent")]
Name = Annotated[str, Meta(description="host name: brand.com or go.brand.com")]


class NewDomain(Sorting):
    name: Name
    site: Annotated[str | None, refers("site", "site it leads to")] = None
    provider: Annotated[
        str | None, refers("registrar", "login that may set its DNS records; none: by hand", changes=False)
    ] = None


class DomainEdit(Sorting):
    domain: Annotated[list[str], refers("domain", "which domain; several separated by commas", most=MOST)]


class Attach(Arguments):
    domain: Which
    site: Annotated[str, refers("site", "site it leads to")]
    move: Annotated[bool, Meta(description="take it away from the site it leads to now")] = False


class Move(Arguments):
    domain: Annotated[str, refers("domain", "domain that is given up")]
    to: Annotated[str, refers("domain", "spare domain that takes its place")]


class OneDomain(Arguments):
    domain: Which


class DomainList(SortedList):
    site: Annotated[str | None, refers("site", "only this site's")] = None
    status: Annotated[str | None, choices("only these", domains.ADDED, domains.DNS, domains.LIVE, domains.FAILED)] = (
        None
    )


class DomainCheck(Arguments):
    name: Name
    registrar: WhichRegistrar = None


class DomainBuy(Arguments):
    name: Name
    site: Annotated[str | None, refers("site", "site it will lead to")] = None
    registrar: WhichRegistrar = None


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a domain is available. Prices are micro-units of the currency, a year; null is not known."""

    name: str
    shown_as: str
    available: bool
    price: int | None
    renewal: int | None
    currency: str | None
    premium: bool
    reason: str
    registrar: str | None
    warnings: list[str]


def domain_card(ctx: Context, domain: Domain) -> Message:
    fields = (
        ("Site", ctx.label("site", domain.site) if domain.site else "none yet"),
        ("Provider", _provider(ctx, domain)), ("Address", domain.url),
        ("Registered until", f"{domain.registered_until:%Y-%m-%d}" if domain.registered_until else "–"),
        *sorting_fields(ctx, domain),
    )  # fmt: skip
    blocks: list[Block] = [Fields(fields), *(Notice("warning", text) for text in domain.warnings)]
    if domain.records and domain.status != domains.LIVE:
        rows = tuple((record.type, record.name, record.value) for record in domain.records)
        blocks.append(Table(("DNS record", "Name", "Value"), rows))
    blocks.append(Table(("Step", "State"), tuple(_step_row(step) for step in domain.steps)))
    blocks += [Notice("warning", f"{step.detail} {step.fix}".strip()) for step in domain.steps if step.fix]
    blocks += [Notice("warning", text) for text in domain.health.get("faults", [])]
    if domain.status != domains.LIVE:
        blocks.append(Buttons((Button("Check now", f"domain verify {domain.code}"),)))
    return Message(f"Domain {domain.shown_as} ({domain.code}) · {domain.status}", tuple(blocks))


def _provider(ctx: Context, domain: Domain) -> str:
    return ctx.name("registrar", domain.provider) if domain.provider else "by hand"


def _step_row(step: Step) -> tuple[str, str]:
    return f"{_SIGNS[step.state]} {step.name}", step.detail or step.state


def domain_table(ctx: Context, page: Page[Domain]) -> Message:
    rows = tuple(
        (domain.shown_as, domain.status, ctx.name("site", domain.site), _provider(ctx, domain)) for domain in page.items
    )
    table = Table(("Domain", "Status", "Site", "Provider"), rows)
    return list_message(
        ctx,
        "domain",
        page,
        table,
        add="domain add brand.com site=…, or domain check brand.com",
    )


def availability_card(_ctx: Context, availability: Availability) -> Message:
    warnings = tuple(Notice("warning", text) for text in availability.warnings)
    if not availability.available:
        return Message(
            f"{availability.shown_as} cannot be had: {availability.reason or 'taken'}", warnings, private=True
        )
    if availability.price is None or availability.currency is None:
        price_note = Notice("info", "The price is known with a login: registrar add name=… kind=cloudflare …")
        return Message(f"{availability.shown_as} is free", (price_note, *warnings), private=True)
    price = f"{money(availability.price, availability.currency)} the first year"
    renewal = f", then {money(availability.renewal, availability.currency)}" if availability.renewal is not None else ""
    premium = (Notice("warning", "It is a premium name."),) if availability.premium else ()
    buy = Buttons((Button("Buy", f"domain buy {availability.name}", style="primary"),))
    return Message(f"{availability.shown_as} is free: {price}{renewal}", (*premium, *warnings, buy), private=True)


@command("domain add", role=Role.BUYER, scope=Scope.OWN, render=domain_card, positional=("name", "site"))
async def add_domain(ctx: Context, new: NewDomain) -> Domain:
    """Add a domain of your own; its DNS records are set, or shown to be set by hand."""
    name = domains.read_name(new.name)
    await domains.refuse_taken(ctx.tx, name)
    site_id = (await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")).id if new.site else None
    provider = (
        await names.find(ctx.tx, registrars_table, ctx.team_id, new.provider, field="provider")
        if new.provider
        else None
    )
    return await _store_domain(
        ctx, name, site_id=site_id, provider=provider.code if provider else None, status=domains.ADDED,
        sorting=await read_sorting(ctx, new),
    )  # fmt: skip


async def _edits(ctx: Context, new: DomainEdit) -> str | None:
    return await edit_question(ctx, "domain", new)


@command("domain edit", role=Role.BUYER, render=render_change("domain", domain_card), positional=("domain",),
         confirm=_edits)  # fmt: skip
async def edit_domain(ctx: Context, new: DomainEdit) -> Domain | BulkChange[Domain]:
    """Change the group, tags or note of domains."""
    return await edit_each(ctx, "domain", new, lambda row: _edited(ctx, row, new), of_one=())


async def _edited(ctx: Context, row: Row[Any], new: DomainEdit) -> Domain:
    values = await read_sorting(ctx, new, row)
    if not values:
        raise MissingArgument("nothing to change: name a field, e.g. group=…", field="domain")
    return await _changed(ctx, row, values)


@command("domain attach", role=Role.BUYER, render=domain_card, positional=("domain", "site"))
async def attach_domain(ctx: Context, new: Attach) -> Domain:
    """Point a domain to a site."""
    row = await _domain(ctx, new.domain)
    site = await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")
    if row.site_id not in (None, site.id) and not new.move:
        other = await names.by_id(ctx.tx, sites, row.site_id)
        raise Refused(f"domain: {row.name} leads to site {other.code}: say move=true to take it away", field="domain")
    state = {name: value for name, value in row.state.items() if name != "moved_to"}
    return await _changed(ctx, row, {"site_id": site.id, "state": state})


@command("domain move", role=Role.BUYER, render=domain_card, positional=("domain", "to"))
async def move_domain(ctx: Context, new: Move) -> Domain:
    """Replace a blocked domain by a spare one; old links redirect to it, campaigns use it at once."""
    old, spare = await _domain(ctx, new.domain), await _domain(ctx, new.to, field="to")
    if old.site_id is None:
        raise Refused(f"domain: {old.name} leads to no site", field="domain")
    if old.id == spare.id or spare.site_id not in (None, old.site_id):
        raise Refused(f"to: {spare.name} is no spare: it leads to a site already", field="to")
    await domains.change(ctx.tx, old, {"site_id": None, "state": {**old.state, "moved_to": spare.name}})
    return await _changed(ctx, spare, {"site_id": old.site_id})


@command(
    "domain list", role=Role.VIEWER, scope=Scope.OWN, render=domain_table, reads=True, positional=("find",),
    sentence="find", aliases=("domain find",),
)  # fmt: skip
async def list_domains(ctx: Context, new: DomainList) -> Page[Domain]:
    """The team's domains and how far they have come."""
    query = of_team(ctx, "domain")
    if new.site:
        site = await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")
        query = query.where(table.c.site_id == site.id)
    rows, following = await listed(ctx, "domain", new, query)
    return Page(await domains.shown(ctx.tx, ctx.team_id, rows), following)


@command("domain show", role=Role.VIEWER, render=domain_card, reads=True, positional=("domain",))
async def show_domain(ctx: Context, new: OneDomain) -> Domain:
    """Every step of a domain, what it waits for, and the records it needs."""
    return (await domains.shown(ctx.tx, ctx.team_id, [await _domain(ctx, new.domain)]))[0]


@command("domain verify", role=Role.BUYER, render=domain_card, positional=("domain",))
async def verify_domain(ctx: Context, new: OneDomain) -> Domain:
    """Look at its DNS and certificate again, at once."""
    row = await _domain(ctx, new.domain)
    status = row.state.get("stopped_at", domains.ADDED) if row.status == domains.FAILED else row.status
    state = {**row.state, "tries": 0}
    return await _changed(ctx, row, {"status": status, "state": state, "next_step_at": ctx.now})


async def _loss(ctx: Context, new: OneDomain) -> str | None:
    row = await _domain(ctx, new.domain)
    return f"{row.name} will no longer lead anywhere here. The registration itself stays as it is."


@command("domain remove", role=Role.OWNER, render=domain_card, positional=("domain",), confirm=_loss)
async def remove_domain(ctx: Context, new: OneDomain) -> Domain:
    """Remove a domain from the team; its registration stays."""
    row = await _domain(ctx, new.domain)
    domain = (await domains.shown(ctx.tx, ctx.team_id, [row]))[0]
    await ctx.tx.execute(delete(table).where(table.c.id == row.id))
    ctx.notes |= {"entity": "domain", "entity_id": row.id, "before": domain}
    return domain


async def _ask_registrar(ctx: Context, new: DomainCheck | DomainBuy) -> tuple[Availability, int | None]:
    """What the registrar says of a name, outside any transaction; the second is the login's id."""
    name = domains.read_name(new.name)
    async with ctx.database.read() as tx:
        row = await registrars.chosen(tx, ctx.team_id, new.registrar)
    login = None
    if row is not None:
        login = {"kind": row.kind, "credentials": ctx.box.open(row.credentials_secret), "options": row.options}
    quote = (await ctx.ports.quotes(login, [name]))[0]
    availability = Availability(
        name=name, shown_as=domains.readable(name), available=quote["available"], price=quote["price"],
        renewal=quote["renewal"], currency=quote["currency"] if quote["price"] is not None else None,
        premium=quote["premium"], reason=quote["reason"], registrar=row.code if row is not None else None,
        warnings=domains.mixed_script_warnings(name),
    )  # fmt: skip
    return availability, row.id if row is not None else None


@command(
    "domain check",
    role=Role.VIEWER,
    scope=Scope.OPEN,
    render=availability_card,
    reads=True,
    positional=("name",),
    prepare=_ask_registrar,
)
async def check_domain(ctx: Context, new: DomainCheck) -> Availability:
    """Check whether a domain is available, its price, and what it costs from the second year on."""
    availability: Availability = ctx.prepared[0]
    return availability


async def _price_first(ctx: Context, new: DomainBuy) -> str | None:
    """The question before buying; the price shown is kept, and what is paid must be that price."""
    availability, registrar_id = await _ask_registrar(ctx, new)
    price = _priced(availability, registrar_id)
    async with ctx.database.begin() as tx:
        await registrars.store_quote(
            tx, team_id=ctx.team_id, actor=ctx.actor.name, name=availability.name,
            registrar_id=registrar_id or 0, price=price, now=ctx.now,
        )  # fmt: skip
    renewal = f", {money(price.renewal, price.currency)} a year after" if price.renewal is not None else ""
    cost = money(price.price, price.currency)
    bought = f"{availability.shown_as} will be bought at {availability.registrar} for {cost}{renewal}."
    return f"{bought} It cannot be given back."


def _priced(availability: Availability, registrar_id: int | None) -> Price:
    if registrar_id is None:
        raise Refused("registrar: there is no login to buy with: registrar add name=… kind=…", field="registrar")
    if not availability.available:
        raise Refused(f"name: {availability.shown_as} cannot be had: {availability.reason or 'taken'}", field="name")
    if availability.price is None or availability.currency is None:
        raise Refused(f"name: {availability.registrar} names no price for {availability.shown_as}", field="name")
    return Price(price=availability.price, renewal=availability.renewal, currency=availability.currency)


@command("domain buy", role=Role.OWNER, render=domain_card, positional=("name", "site"), confirm=_price_first,
         prepare=_ask_registrar)  # fmt: skip
async def buy_domain(ctx: Context, new: DomainBuy) -> Domain:
    """Buy a domain at the price that was confirmed, and set it up."""
    availability, registrar_id = ctx.prepared
    price = _priced(availability, registrar_id)
    quoted = await registrars.last_quote(
        ctx.tx,
        team_id=ctx.team_id,
        actor=ctx.actor.name,
        name=availability.name,
        registrar_id=registrar_id,
        now=ctx.now,
    )
    if quoted is None or (quoted.price, quoted.currency) != (price.price, price.currency):
        raise Refused(f"name: the price is {money(price.price, price.currency)} now: ask again", field="name")
    await domains.refuse_taken(ctx.tx, availability.name)
    site_id = (await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")).id if new.site else None
    quote = {"name": availability.name, "available": True, **msgspec.structs.asdict(price)}
    return await _store_domain(
        ctx,
        availability.name,
        site_id=site_id,
        provider=availability.registrar,
        status=domains.ORDERED,
        more={"quote": quote},
    )


async def _store_domain(
    ctx: Context,
    name: str,
    *,
    site_id: int | None,
    provider: str | None,
    status: str,
    more: dict[str, Any] | None = None,
    sorting: dict[str, Any] | None = None,
) -> Domain:
    """Store a domain, its first step due at once."""
    records = domains.required_records(name, ctx.deployment.public_url)
    steps = msgspec.to_builtins(domains.first_steps(status, provider))
    state = {"records": msgspec.to_builtins(records), "steps": steps, "tries": 0, **(more or {})}
    made = await ctx.tx.execute(insert(table).values(
        team_id=ctx.team_id, name=name, code=await names.code_for(ctx.tx, table, ctx.team_id, name), site_id=site_id,
        created_at=ctx.now, status=status, provider=provider, state=state, next_step_at=ctx.now,
        **(sorting or {}),
    ).returning(table))  # fmt: skip
    domain = (await domains.shown(ctx.tx, ctx.team_id, [made.one()]))[0]
    ctx.notes |= {"entity": "domain", "entity_id": domain.id, "after": domain}
    return domain


async def _domain(ctx: Context, word: str, *, field: str = "domain") -> Row[Any]:
    plain = word.strip().lower().removesuffix(".")
    return await names.find(ctx.tx, table, ctx.team_id, plain, field=field)


async def _changed(ctx: Context, row: Row[Any], values: dict[str, Any]) -> Domain:
    before = (await domains.shown(ctx.tx, ctx.team_id, [row]))[0]
    await domains.change(ctx.tx, row, values)
    domain = (await domains.shown(ctx.tx, ctx.team_id, [await names.by_id(ctx.tx, table, row.id)]))[0]
    ctx.notes |= {"entity": "domain", "entity_id": row.id, "before": before, "after": domain}
    return domain
