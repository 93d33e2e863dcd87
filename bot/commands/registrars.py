"""Logins at registrars and DNS hosts, and buying domains with them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import delete, func, insert, select

from bot.commands.domains import Name, domain_card, made_domain
from bot.core.arguments import Arguments, choices, refers, secret
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Message, Notice, Table
from bot.core.permissions import Scope
from bot.render.figures import money
from storage.catalogue import domains, names, registrars
from storage.catalogue.domains import Domain
from storage.catalogue.entities import page
from storage.catalogue.registrars import Price, RegistrarLogin
from storage.ledger.addresses import web_address
from storage.ledger.credentials import plain_credential
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import domains as domain_table
from storage.tables import registrars as table
from storage.tables import sites

Which = Annotated[str | None, refers("registrar", "which login; the only one if absent")]


class NewRegistrar(Arguments):
    name: Annotated[str, Meta(description="what the team calls this login")]
    kind: Annotated[str, choices("whose login it is", "cloudflare", "porkbun", "namecheap", "safe_browsing")]
    token: Annotated[str | None, secret("Cloudflare: API token")] = None
    account_id: Annotated[str | None, Meta(description="Cloudflare: account id")] = None
    api_key: Annotated[str | None, secret("Porkbun, Namecheap, Google Safe Browsing: API key")] = None
    secret_key: Annotated[str | None, secret("Porkbun: secret API key")] = None
    api_user: Annotated[str | None, Meta(description="Namecheap: user name")] = None
    client_ip: Annotated[str | None, Meta(description="Namecheap: this server's allowed address")] = None
    base_url: Annotated[str | None, Meta(description="another address of its API, e.g. its sandbox")] = None
    options: Annotated[dict[str, Any], secret("settings of the connector, as JSON, such as the buyer's contact")] = (
        msgspec.field(default_factory=dict)
    )


class OneRegistrar(Arguments):
    registrar: Annotated[str, refers("registrar", "which login")]


class DomainCheck(Arguments):
    name: Name
    registrar: Which = None


class DomainBuy(Arguments):
    name: Name
    site: Annotated[str | None, refers("site", "site it will lead to")] = None
    registrar: Which = None


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a domain can be had. Prices are micro-units of the currency, a year; null is not known."""

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


def registrar_card(_ctx: Context, login: RegistrarLogin) -> Message:
    return Message(f"Registrar {login.name} ({login.code}) · {login.kind}", private=True)


def registrar_table(_ctx: Context, page: Page[RegistrarLogin]) -> Message:
    if not page.items:
        return Message("No registrars yet: registrar add name=… kind=cloudflare …", private=True)
    rows = tuple((login.code, login.kind) for login in page.items)
    return Message("Registrars", (Table(("Registrar", "Kind"), rows),), private=True)


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


@command("registrar add", role=Role.OWNER, render=registrar_card, positional=("name", "kind"))
async def add_registrar(ctx: Context, new: NewRegistrar) -> RegistrarLogin:
    """Keep a login at a registrar or DNS host; it is encrypted and never shown again."""
    fields = ("token", "account_id", "api_key", "secret_key", "api_user", "client_ip")
    values = {name: plain_credential(value, field=name) for name in fields if (value := getattr(new, name))}
    credentials = ctx.ports.registrar_credentials(new.kind, values)
    options = {**new.options, **({"base_url": web_address(new.base_url, field="base_url")} if new.base_url else {})}
    made = await ctx.tx.execute(insert(table).values(
        team_id=ctx.team_id, name=new.name, code=await names.code_for(ctx.tx, table, ctx.team_id, new.name),
        created_at=ctx.now, kind=new.kind.strip().lower(), options=options,
        credentials_secret=ctx.box.seal(credentials),
    ).returning(table))  # fmt: skip
    login = registrars.entry(made.one())
    ctx.notes |= {"entity": "registrar", "entity_id": login.id, "after": login}
    return login


@command("registrar list", role=Role.VIEWER, scope=Scope.OPEN, render=registrar_table, reads=True)
async def list_registrars(ctx: Context, new: Listing) -> Page[RegistrarLogin]:
    """The team's logins at registrars and DNS hosts."""
    query = select(table).where(table.c.team_id == ctx.team_id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    return Page([registrars.entry(row) for row in rows], following)


async def _login_lost(ctx: Context, new: OneRegistrar) -> str:
    row = await names.find(ctx.tx, table, ctx.team_id, new.registrar, field="registrar")
    served = select(func.count()).where(domain_table.c.team_id == ctx.team_id, domain_table.c.provider == row.code)
    count = (await ctx.tx.execute(served)).scalar_one()
    return f"The login {row.name} is forgotten; {count:,} of your domains can no longer be set up with it."


@command("registrar remove", role=Role.OWNER, render=registrar_card, positional=("registrar",), confirm=_login_lost)
async def remove_registrar(ctx: Context, new: OneRegistrar) -> RegistrarLogin:
    """Forget a login; domains set up with it stay as they are."""
    login = registrars.entry(await names.find(ctx.tx, table, ctx.team_id, new.registrar, field="registrar"))
    used = select(domain_table.c.name).where(
        domain_table.c.team_id == ctx.team_id, domain_table.c.provider == login.code,
        domain_table.c.status.in_((domains.ORDERED, domains.BOUGHT)),
    )  # fmt: skip
    if busy := (await ctx.tx.execute(used)).scalars().first():
        raise Refused(f"registrar: {busy} is being bought with it: wait until that is done", field="registrar")
    await ctx.tx.execute(delete(table).where(table.c.id == login.id))
    ctx.notes |= {"entity": "registrar", "entity_id": login.id, "before": login}
    return login


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
    """Whether a domain can be had, its price, and what it costs from the second year on."""
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
    return await made_domain(
        ctx,
        availability.name,
        site_id=site_id,
        provider=availability.registrar,
        status=domains.ORDERED,
        more={"quote": quote},
    )
