"""Who may do what: decided from a command's declaration and its arguments, before the command runs, on every face.

A role says what a person may do at all. A member limited to campaigns sees what serves one of them (or nothing yet),
changes only what serves no other campaign, and never what is the whole team's. Both follow from the declaration:
`role` and `scope` of the command, and `refers` of its fields. Lists ask `visible` for the same rule as a condition.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Table,
    Text,
    and_,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union,
)  # fmt: skip
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.arguments import NONE, meta, weighted_word
from bot.core.context import Actor, Context
from storage import tables as t
from storage.alerts import alert_states
from storage.catalogue import names
from storage.chat import subscriptions
from storage.clicks import queries
from storage.ledger.errors import CasinoFluxError, Forbidden, Missing, Refused
from storage.ledger.facts import Role

Ids = Select[Any] | Any
Condition = ColumnElement[bool]


class Scope(Enum):
    """What a command concerns beside what its fields refer to."""

    OPEN = "open"  # nothing of any campaign
    OWN = "own"  # campaigns, and of those only the actor's: its handler filters by `ctx.actor.campaigns`
    TEAM = "team"  # the whole team: refused to an actor limited to campaigns


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of entity with a name and a code. `serving` gives the ids that serve campaigns of a condition;
    without it the kind is the whole team's: visible to all, changed by none who is limited to campaigns."""

    table: Table
    serving: Callable[[Condition], Ids] | None = None


def _offers(campaign: Condition) -> Ids:
    """Offers that campaigns send to: by weight, through their site, by a rule, or as the alternative of one."""
    weighted = select(t.campaign_offers.c.offer_id).join(
        t.campaigns, t.campaigns.c.id == t.campaign_offers.c.campaign_id
    )
    on_site = select(t.site_offers.c.offer_id).join(t.campaigns, t.campaigns.c.site_id == t.site_offers.c.site_id)
    rules = cast(t.campaigns.c.rules, Text)
    ruled = select(t.offers.c.id).join(
        t.campaigns,
        and_(
            t.campaigns.c.team_id == t.offers.c.team_id, func.length(rules) > 2,
            rules.like(literal('%"').concat(t.offers.c.code).concat('"%')),
        ),
    )  # fmt: skip
    direct = union(*(query.where(campaign) for query in (weighted, on_site, ruled))).subquery()
    by = t.offers.alias()
    alternative = select(by.c.alternative_id).where(by.c.id.in_(select(direct)), by.c.alternative_id.is_not(None))
    return union(select(direct), alternative)


def _through_offers(column: Any) -> Callable[[Condition], Ids]:
    return lambda campaign: select(column).where(t.offers.c.id.in_(_offers(campaign)))


def _of_campaign(column: Any) -> Callable[[Condition], Ids]:
    return lambda campaign: select(column).where(campaign, column.is_not(None))


def _domains(campaign: Condition) -> Ids:
    return select(t.domains.c.id).join(t.campaigns, t.campaigns.c.site_id == t.domains.c.site_id).where(campaign)


#: What a field may refer to by code, name or id.
ENTITIES: dict[str, Entity] = {
    "campaign": Entity(t.campaigns, _of_campaign(t.campaigns.c.id)),
    "site": Entity(t.sites, _of_campaign(t.campaigns.c.site_id)),
    "source": Entity(t.sources, _of_campaign(t.campaigns.c.source_id)),
    "offer": Entity(t.offers, _offers),
    "casino": Entity(t.casinos, _through_offers(t.offers.c.casino_id)),
    "account": Entity(t.accounts, _through_offers(t.offers.c.account_id)),
    "domain": Entity(t.domains, _domains),
    "registrar": Entity(t.registrars),
    "member": Entity(t.members),
    "token": Entity(t.tokens),
    "view": Entity(t.views),
}


#: A published site that no campaign leads to is the team's, and so are its domains.
_ON_SITE = {"site": t.sites.c.id, "domain": t.domains.c.site_id}


def visible(actor: Actor, noun: str) -> Condition:
    """Condition on the noun's table: what the actor may see."""
    serving = ENTITIES[noun].serving
    if actor.campaigns is None or serving is None:
        return true()
    mine, others = _mine(actor)
    key = ENTITIES[noun].table.c.id
    if noun == "campaign":
        return key.in_(serving(mine))
    return or_(key.in_(serving(mine)), key.not_in(serving(others)))


def changeable(actor: Actor, noun: str) -> Condition:
    """Condition on the noun's table: what the actor may change."""
    serving = ENTITIES[noun].serving
    if actor.campaigns is None:
        return true()
    if serving is None:
        return not_(true())
    mine, others = _mine(actor)
    free = ENTITIES[noun].table.c.id.not_in(serving(others))
    if noun not in _ON_SITE:
        return free
    own_sites = select(t.campaigns.c.site_id).where(mine, t.campaigns.c.site_id.is_not(None))
    live = t.sites.alias()
    teams_own = select(live.c.id).where(live.c.status == "published", live.c.id.not_in(own_sites))
    return and_(free, or_(_ON_SITE[noun].is_(None), _ON_SITE[noun].not_in(teams_own)))


def own_campaigns(actor: Actor) -> Select[Any] | None:
    """Ids of the campaigns an actor is limited to; None for one who is not."""
    return None if actor.campaigns is None else select(t.campaigns.c.id).where(_mine(actor)[0])


def _mine(actor: Actor) -> tuple[Condition, Condition]:
    """Conditions on campaigns: the actor's own, and the team's others."""
    codes, team = actor.campaigns or (), t.campaigns.c.team_id == actor.team_id
    return and_(team, t.campaigns.c.code.in_(codes)), and_(team, t.campaigns.c.code.not_in(codes))


class Reference(msgspec.Struct, frozen=True):
    """A field that refers to entities: of which kinds, and whether its command changes them."""

    name: str
    nouns: tuple[str, ...]
    changes: bool
    required: bool
    weighted: bool


def references(parameters: type[msgspec.Struct], *, changes: bool) -> tuple[Reference, ...]:
    """The fields of a command that refer to entities; a command that changes something changes those, unless the
    declaration says otherwise."""
    fields = []
    for field in msgspec.structs.fields(parameters):
        extra = meta(field.type)[2]
        if nouns := extra.get("refers"):
            fields.append(Reference(
                field.name, tuple(nouns.split("|")), extra.get("changes", changes), field.required,
                extra.get("weighted", False),
            ))  # fmt: skip
    return tuple(fields)


class Guarded(Protocol):
    """What this module reads of a command (bot.core.command.Command)."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def scope(self) -> Scope: ...
    @property
    def references(self) -> tuple[Reference, ...]: ...


def check_role(command: Guarded, actor: Actor) -> None:
    """Raises Forbidden where the actor's role, or its limit to campaigns, rules the command out whatever it names."""
    if not actor.role.includes(command.role):
        raise Forbidden(f"{command.name!r} needs the role {command.role.value}; yours is {actor.role.value}")
    if actor.campaigns is not None and command.scope is Scope.TEAM:
        raise Forbidden(f"{command.name!r} concerns the whole team; you are limited to campaigns: ask an owner")


def may(command: Guarded, actor: Actor) -> bool:
    """Whether the actor may give the command at all."""
    return actor.role.includes(command.role) and not (actor.campaigns is not None and command.scope is Scope.TEAM)


async def admit(command: Guarded, new: msgspec.Struct, ctx: Context) -> None:
    """Raises Forbidden at the field that names what the actor may not see or change, Missing where there is none."""
    check_role(command, ctx.actor)
    if ctx.actor.campaigns is None or not command.references:
        return
    async with ctx.database.read() as tx:
        for reference in command.references:
            for word in _words(getattr(new, reference.name)):
                word = weighted_word(word)[0] if reference.weighted else word
                await _admit(tx, ctx.actor, reference, word)


async def find(ctx: Context, noun: str, word: str, *, field: str, changes: bool = False) -> Row[Any]:
    """The entity of that code, name or id, for rows that a declaration cannot see (a table of costs, rules in JSON).

    Raises Missing, and Forbidden as the gate does.
    """
    return await _find(ctx.tx, ctx.actor, noun, word, field=field, changes=changes)


async def judge(ctx: Context, noun: str, word: str, *, field: str) -> None:
    """Raises Forbidden for what is not of the actor's campaigns: for words that are found only while a command runs."""
    await _judge(ctx.tx, ctx.actor, noun, word, field=field, changes=False)


async def _admit(tx: AsyncConnection, actor: Actor, reference: Reference, word: str) -> None:
    field = reference.name.rstrip("_")
    for noun in reference.nouns[:-1]:
        try:
            await _judge(tx, actor, noun, word, field=field, changes=reference.changes)
        except Missing:
            continue
        return
    await _judge(tx, actor, reference.nouns[-1], word, field=field, changes=reference.changes)


async def _judge(tx: AsyncConnection, actor: Actor, noun: str, word: str, *, field: str, changes: bool) -> None:
    if noun in ENTITIES:
        await _find(tx, actor, noun, word, field=field, changes=changes)
    elif not await _FACTS[noun](tx, actor, word):
        raise Forbidden(f"{field}: {noun} {word} is not of your campaigns: ask an owner")


async def _find(tx: AsyncConnection, actor: Actor, noun: str, word: str, *, field: str, changes: bool) -> Row[Any]:
    table = ENTITIES[noun].table
    row = await names.find(tx, table, actor.team_id, word, field=field, suggest=visible(actor, noun))
    if actor.campaigns is None:
        return row
    may_change = changeable(actor, noun) if changes else true()  # left out where nothing asks for it: it costs time
    query = select(visible(actor, noun).label("visible"), may_change.label("changeable"))
    verdict = (await tx.execute(query.select_from(table).where(table.c.id == row.id))).one()
    if not verdict.visible:
        raise Forbidden(f"{noun} {row.code} is not one of yours: ask an owner")
    if not verdict.changeable:
        raise Forbidden(f"{noun} {row.code} serves more than your campaigns: ask an owner")
    return row


def _words(value: Any) -> Iterable[str]:
    if value is None or value in ("", NONE):
        return ()
    values = value if isinstance(value, list | tuple) else (value,)
    return dict.fromkeys(str(element) for element in values)


async def _click(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    """A click that does not exist is for the command to miss."""
    try:
        number = (await queries.codec(tx)).decode(word.strip())
    except CasinoFluxError:
        return True
    stored = await queries.show(tx, actor.team_id, number) if number is not None else None
    return stored is None or await _is_own(tx, actor, stored["campaign_id"])


async def _conversion(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    c = t.conversions.c
    return await _of_own(tx, actor, select(c.campaign_id).where(c.id == _number(word), c.team_id == actor.team_id))


async def _delivery(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    query = select(t.conversions.c.campaign_id).join(t.outbound, t.outbound.c.conversion_id == t.conversions.c.id)
    mine = query.where(t.outbound.c.id == _number(word), t.outbound.c.team_id == actor.team_id)
    return await _of_own(tx, actor, mine)


async def _postback(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    p = t.postbacks.c
    here = select(p.id).where(p.id == _number(word), p.team_id == actor.team_id)
    if (await tx.execute(here)).first() is None:
        return True
    about = [
        exists().where(
            table.c.id == p.click_id, table.c.campaign_id.in_(select(t.campaigns.c.id).where(_mine(actor)[0]))
        )
        for table in (t.clicks, t.click_links)
    ]
    return (await tx.execute(here.where(or_(*about)))).first() is not None


async def _alert(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    return of_own_campaigns(actor, (await alert_states.find(tx, actor.team_id, word))[0].campaigns)


async def _digest(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    return of_own_campaigns(actor, (await subscriptions.find(tx, actor.team_id, word)).campaigns)


def of_own_campaigns(actor: Actor, codes: Iterable[str] | None) -> bool:
    """Whether what concerns these campaigns (None: all) concerns the actor's only."""
    return actor.campaigns is None or (codes is not None and set(codes) <= set(actor.campaigns))


async def _of_own(tx: AsyncConnection, actor: Actor, query: Select[Any]) -> bool:
    row = (await tx.execute(query)).first()
    return row is None or await _is_own(tx, actor, row.campaign_id)


async def _is_own(tx: AsyncConnection, actor: Actor, campaign_id: int) -> bool:
    own = own_campaigns(actor)
    return own is None or (await tx.execute(own.where(t.campaigns.c.id == campaign_id))).first() is not None


def _number(word: str) -> int:
    return int(word) if word.isdecimal() and len(word) < 19 else 0


#: What a field may refer to that has no name; one that does not exist is for the command to miss.
_FACTS = {
    "click": _click, "conversion": _conversion, "delivery": _delivery, "postback": _postback, "alert": _alert,
    "digest": _digest,
}  # fmt: skip


def scope_of(declared: Scope | None, role: Role, fields: tuple[Reference, ...]) -> tuple[Scope, bool]:
    """A command's scope, and whether it follows from the declaration: what names its entity is judged by that;
    anything else that does not say is the team's, and a test asks for a word about it."""
    if declared is not None:
        return declared, True
    if any(field.required for field in fields):
        return Scope.OWN, True
    return Scope.TEAM, role is Role.OWNER


__all__ = [
    "ENTITIES", "Entity", "Reference", "Refused", "Scope", "admit", "changeable", "check_role", "find", "judge", "may",
    "of_own_campaigns", "own_campaigns", "references", "scope_of", "visible",
]  # fmt: skip
