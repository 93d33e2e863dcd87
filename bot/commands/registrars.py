"""Logins at registrars and DNS hosts: added, listed, removed."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import delete, func, insert, select

from bot.core.arguments import Arguments, choices, refers, secret
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Message, Table
from bot.core.permissions import Scope
from bot.forms.entity_list import EntityList, list_message, listed, of_team
from storage.catalogue import domains, names, registrars
from storage.catalogue.registrars import RegistrarLogin
from storage.ledger.addresses import web_address
from storage.ledger.credentials import plain_credential
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import domains as domain_table
from storage.tables import registrars as table


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


def registrar_card(_ctx: Context, login: RegistrarLogin) -> Message:
    return Message(f"Registrar {login.name} ({login.code}) · {login.kind}", private=True)


def registrar_table(ctx: Context, page: Page[RegistrarLogin]) -> Message:
    table = Table(("Registrar", "Code", "Kind"), tuple((login.name, login.code, login.kind) for login in page.items))
    return list_message(ctx, "registrar", page, table, add="registrar add name=… kind=cloudflare …")


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


@command(
    "registrar list", role=Role.VIEWER, scope=Scope.OPEN, render=registrar_table, reads=True, positional=("find",),
    sentence="find", aliases=("registrar find",),
)  # fmt: skip
async def list_registrars(ctx: Context, new: EntityList) -> Page[RegistrarLogin]:
    """The team's logins at registrars and DNS hosts."""
    rows, following = await listed(ctx, "registrar", new, of_team(ctx, "registrar"))
    return Page([registrars.entry(row) for row in rows], following)


async def _login_lost(ctx: Context, new: OneRegistrar) -> str:
    row = await names.find(ctx.tx, table, ctx.team_id, new.registrar, field="registrar")
    served = select(func.count()).where(domain_table.c.team_id == ctx.team_id, domain_table.c.provider == row.code)
    count = (await ctx.tx.execute(served)).scalar_one()
    return f"The login {row.name} is forgotten; {count:,} of your domains can no longer be set up with it."


@command("registrar remove", role=Role.OWNER, render=registrar_card, positional=("registrar",), confirm=_login_lost)
async def remove_registrar(ctx: Context, new: OneRegistrar) -> RegistrarLogin:
    """Remove a login; domains set up with it stay as they are."""
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
