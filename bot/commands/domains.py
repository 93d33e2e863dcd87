"""Domains: check, buy or add a host name, and lead it to a site."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row, delete, insert, select

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope, visible
from storage.catalogue import domains, names
from storage.catalogue.domains import Domain, Step
from storage.catalogue.entities import page
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import domains as table
from storage.tables import registrars, sites

_SIGNS = {"done": "✓", "waiting": "…", "failed": "✗", "todo": "·", "skipped": "–"}

Which = Annotated[str, refers("domain", "which domain")]
Name = Annotated[str, Meta(description="host name: brand.com or go.brand.com")]


class NewDomain(Arguments):
    name: Name
    site: Annotated[str | None, refers("site", "site it leads to")] = None
    provider: Annotated[
        str | None, refers("registrar", "login that may set its DNS records; none: by hand", changes=False)
    ] = None


class Attach(Arguments):
    domain: Which
    site: Annotated[str, refers("site", "site it leads to")]
    move: Annotated[bool, Meta(description="take it away from the site it leads to now")] = False


class Move(Arguments):
    domain: Annotated[str, refers("domain", "domain that is given up")]
    to: Annotated[str, refers("domain", "spare domain that takes its place")]


class OneDomain(Arguments):
    domain: Which


class DomainList(Listing):
    site: Annotated[str | None, refers("site", "only this site's")] = None
    status: Annotated[str | None, choices("only these", domains.ADDED, domains.DNS, domains.LIVE, domains.FAILED)] = (
        None
    )


def domain_card(ctx: Context, domain: Domain) -> Message:
    fields = (
        ("Site", domain.site or "none yet"), ("Provider", domain.provider or "by hand"), ("Address", domain.url),
        ("Registered until", f"{domain.registered_until:%Y-%m-%d}" if domain.registered_until else "–"),
    )  # fmt: skip
    blocks: list[Block] = [Fields(fields), *(Notice("warning", text) for text in domain.warnings)]
    if domain.records and domain.status != domains.LIVE:
        rows = tuple((record.type, record.name, record.value) for record in domain.records)
        blocks.append(Table(("DNS record", "Name", "Value"), rows))
    blocks.append(Table(("", "Step", "State"), tuple(_step_row(step) for step in domain.steps)))
    blocks += [Notice("warning", f"{step.detail} {step.fix}".strip()) for step in domain.steps if step.fix]
    blocks += [Notice("warning", text) for text in domain.health.get("faults", [])]
    if domain.status != domains.LIVE:
        blocks.append(Buttons((Button("Check now", f"domain verify {domain.code}"),)))
    return Message(f"Domain {domain.shown_as} ({domain.code}) · {domain.status}", tuple(blocks))


def _step_row(step: Step) -> tuple[str, str, str]:
    return _SIGNS[step.state], step.name, step.detail or step.state


def domain_table(_ctx: Context, page: Page[Domain]) -> Message:
    if not page.items:
        return Message("No domains yet: domain add brand.com site=…, or domain check brand.com", private=True)
    rows = tuple(
        (domain.shown_as, domain.site or "–", domain.provider or "by hand", domain.status) for domain in page.items
    )
    more = (Buttons((Button("More", f"domain list after={page.next}"),)),) if page.next else ()
    return Message("Domains", (Table(("Domain", "Site", "Provider", "Status"), rows), *more), private=True)


@command("domain add", role=Role.BUYER, scope=Scope.OWN, render=domain_card, positional=("name", "site"))
async def add_domain(ctx: Context, new: NewDomain) -> Domain:
    """Use a domain of one's own; its DNS records are set, or shown to be set by hand."""
    name = domains.read_name(new.name)
    await domains.refuse_taken(ctx.tx, name)
    site_id = (await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")).id if new.site else None
    provider = (
        await names.find(ctx.tx, registrars, ctx.team_id, new.provider, field="provider") if new.provider else None
    )
    return await made_domain(
        ctx, name, site_id=site_id, provider=provider.code if provider else None, status=domains.ADDED
    )


@command("domain attach", role=Role.BUYER, render=domain_card, positional=("domain", "site"))
async def attach_domain(ctx: Context, new: Attach) -> Domain:
    """Lead a domain to a site."""
    row = await _domain(ctx, new.domain)
    site = await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")
    if row.site_id not in (None, site.id) and not new.move:
        other = await names.by_id(ctx.tx, sites, row.site_id)
        raise Refused(f"domain: {row.name} leads to site {other.code}: say move=true to take it away", field="domain")
    state = {name: value for name, value in row.state.items() if name != "moved_to"}
    return await _changed(ctx, row, {"site_id": site.id, "state": state})


@command("domain move", role=Role.BUYER, render=domain_card, positional=("domain", "to"))
async def move_domain(ctx: Context, new: Move) -> Domain:
    """Put a spare domain in a blocked one's place; old links lead on to it, campaigns follow by themselves."""
    old, spare = await _domain(ctx, new.domain), await _domain(ctx, new.to, field="to")
    if old.site_id is None:
        raise Refused(f"domain: {old.name} leads to no site", field="domain")
    if old.id == spare.id or spare.site_id not in (None, old.site_id):
        raise Refused(f"to: {spare.name} is no spare: it leads to a site already", field="to")
    await domains.change(ctx.tx, old, {"site_id": None, "state": {**old.state, "moved_to": spare.name}})
    return await _changed(ctx, spare, {"site_id": old.site_id})


@command("domain list", role=Role.VIEWER, scope=Scope.OWN, render=domain_table, reads=True)
async def list_domains(ctx: Context, new: DomainList) -> Page[Domain]:
    """The team's domains and how far they have come."""
    query = select(table).where(table.c.team_id == ctx.team_id, visible(ctx.actor, "domain"))
    if new.site:
        site = await names.find(ctx.tx, sites, ctx.team_id, new.site, field="site")
        query = query.where(table.c.site_id == site.id)
    if new.status:
        query = query.where(table.c.status == new.status)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
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
    """Forget a domain; what is registered stays registered."""
    row = await _domain(ctx, new.domain)
    domain = (await domains.shown(ctx.tx, ctx.team_id, [row]))[0]
    await ctx.tx.execute(delete(table).where(table.c.id == row.id))
    ctx.notes |= {"entity": "domain", "entity_id": row.id, "before": domain}
    return domain


async def made_domain(
    ctx: Context,
    name: str,
    *,
    site_id: int | None,
    provider: str | None,
    status: str,
    more: dict[str, Any] | None = None,
) -> Domain:
    """Store a domain, its first step due at once."""
    records = domains.required_records(name, ctx.deployment.public_url)
    steps = msgspec.to_builtins(domains.first_steps(status, provider))
    state = {"records": msgspec.to_builtins(records), "steps": steps, "tries": 0, **(more or {})}
    made = await ctx.tx.execute(insert(table).values(
        team_id=ctx.team_id, name=name, code=await names.code_for(ctx.tx, table, ctx.team_id, name), site_id=site_id,
        created_at=ctx.now, status=status, provider=provider, state=state, next_step_at=ctx.now,
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
