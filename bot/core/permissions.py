"""Who may do what: decided from a command's declaration and its arguments, before the command runs, on every face.

A role says what a person may do at all. A member limited to campaigns sees what serves one of them (or nothing yet),
changes only what serves no other campaign, and never what is the whole team's. Both follow from the declaration:
`role` and `scope` of the command, and `refers` of its fields. Lists ask `visible` for the same rule as a condition.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Protocol

import msgspec
from sqlalchemy import Row, Select, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.arguments import NONE, meta, weighted_word
from bot.core.context import Actor, Context
from bot.core.serving import (
    ENTITIES,
    Named,
    changeable,
    may_change,
    may_see,
    named_entities,
    of_campaigns,
    visible,
)
from storage import tables as t
from storage.alerts import alert_states
from storage.automations import automations
from storage.catalogue import names
from storage.chat import subscriptions
from storage.clicks import queries
from storage.ledger.errors import CasinoFluxError, Forbidden, Missing, Refused
from storage.ledger.facts import Role
from storage.outbound import webhooks


class Scope(Enum):
    """What a command concerns beside what its fields refer to."""

    OPEN = "open"  # nothing of any campaign
    OWN = "own"  # campaigns, and of those only the actor's: its handler filters by `ctx.actor.campaigns`
    TEAM = "team"  # the whole team: refused to an actor limited to campaigns


def own_campaigns(actor: Actor) -> Select[Any] | None:
    """Ids of the campaigns an actor is limited to; None for one who is not."""
    if actor.campaigns is None:
        return None
    return select(t.campaigns.c.id).where(of_campaigns(actor.team_id, actor.campaigns)[0])


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


_FEW = 20  # words that are looked up on the event loop


async def admit(command: Guarded, new: msgspec.Struct, ctx: Context) -> None:
    """Raises Forbidden at the field that names what the actor may not see or change, Missing where there is none."""
    check_role(command, ctx.actor)
    named = [
        (reference, words)
        for reference in command.references
        if (words := _words(reference, getattr(new, reference.name)))
    ]
    if ctx.actor.campaigns is None or not named:
        return

    async def admit_all(tx: AsyncConnection) -> None:
        known = await _known(tx, ctx.actor, named)
        for reference, words in named:
            await _admit(tx, ctx.actor, reference, words, known)

    if sum(len(words) for _, words in named) <= _FEW:
        await ctx.database.look(admit_all)
    else:
        async with ctx.database.read() as tx:
            await admit_all(tx)


async def find(ctx: Context, noun: str, word: str, *, field: str, changes: bool = False) -> Row[Any]:
    """The entity of that code, name or id, for rows that a declaration cannot see (a table of costs, rules in JSON).

    Raises Missing, and Forbidden as the gate does.
    """
    table = ENTITIES[noun].table
    row = await names.find(ctx.tx, table, ctx.team_id, word, field=field, suggest=visible(ctx.actor, noun))
    if ctx.actor.campaigns is not None:
        _check(ctx.actor, noun, await _named(ctx.tx, ctx.team_id, noun, row.id), word=word, changes=changes)
    return row


async def judge(ctx: Context, noun: str, word: str, *, field: str) -> None:
    """Raises Forbidden for what is not of the actor's campaigns: for words that are found only while a command runs."""
    reference = Reference(name=field, nouns=(noun,), changes=False, required=False, weighted=False)
    await _admit(ctx.tx, ctx.actor, reference, [word], await _known(ctx.tx, ctx.actor, [(reference, [word])]))


async def _known(
    tx: AsyncConnection, actor: Actor, named: list[tuple[Reference, list[str]]]
) -> dict[str, list[Named]]:  # fmt: skip
    """The entities that the words of all fields name, by kind."""
    words: dict[str, list[str]] = {}
    for reference, typed in named:
        for noun in reference.nouns:
            if noun in ENTITIES:
                words.setdefault(noun, []).extend(typed)
    return await named_entities(tx, actor.team_id, words) if words else {}


async def _admit(
    tx: AsyncConnection, actor: Actor, reference: Reference, words: list[str], known: dict[str, list[Named]]
) -> None:
    """Raises Forbidden for what the actor may not use so, Missing for what none of the field's kinds has."""
    for noun in reference.nouns[:-1]:
        words = await _judge(tx, actor, noun, words, reference, known.get(noun, []), skips=True)
    noun = reference.nouns[-1]
    await _judge(tx, actor, noun, words, reference, known.get(noun, []))


async def _judge(
    tx: AsyncConnection, actor: Actor, noun: str, words: list[str], reference: Reference, known: list[Named], *,
    skips: bool = False,
) -> list[str]:  # fmt: skip
    """Raises Forbidden for what the actor may not use so. Words that name nothing are given back with `skips`, else
    Missing is raised."""
    missing = []
    field = reference.name.rstrip("_")
    for word in words:
        try:
            if noun not in ENTITIES:
                await _check_fact(tx, actor, noun, word, field=field)
                continue
            entity = _meant(known, word.strip()) or await _looked_up(tx, actor, noun, word, field=field)
            _check(actor, noun, entity, word=word, changes=reference.changes)
        except Missing:
            if not skips:
                raise
            missing.append(word)
    return missing


def _meant(known: list[Named], word: str) -> Named | None:
    """Which of the entities a word names: by code, then by name as typed, then by id."""
    by_word = {str(entity.id): entity for entity in known} | {entity.name: entity for entity in known}
    by_code = {entity.code: entity for entity in known}
    return by_code.get(word.lower()) or by_word.get(word)


async def _looked_up(tx: AsyncConnection, actor: Actor, noun: str, word: str, *, field: str) -> Named:
    """What a word names that is neither a code nor a name as typed. Raises Missing."""
    table = ENTITIES[noun].table
    row = await names.find(tx, table, actor.team_id, word, field=field, suggest=visible(actor, noun))
    return await _named(tx, actor.team_id, noun, row.id)


async def _named(tx: AsyncConnection, team_id: int, noun: str, number: int) -> Named:
    entities = (await named_entities(tx, team_id, {noun: [str(number)]}))[noun]
    return next(entity for entity in entities if entity.id == number)


def _check(actor: Actor, noun: str, entity: Named, *, word: str, changes: bool) -> None:
    if not may_see(actor, noun, entity):  # a refusal says no more than was known
        raise Forbidden(f"{noun} {word.strip()} is not one of yours: ask an owner")
    if changes and not may_change(actor, noun, entity):
        raise Forbidden(f"{noun} {entity.code} serves more than your campaigns: ask an owner")


async def _check_fact(tx: AsyncConnection, actor: Actor, noun: str, word: str, *, field: str) -> None:
    if not await _FACTS[noun](tx, actor, word):
        raise Forbidden(f"{field}: {noun} {word} is not of your campaigns: ask an owner")


def _words(reference: Reference, value: Any) -> list[str]:
    if value is None or value in ("", NONE, [NONE]):
        return []
    values = dict.fromkeys(str(element) for element in (value if isinstance(value, list | tuple) else (value,)))
    if "group" in reference.nouns:
        values.pop(NONE, None)  # what is in no group
    return [weighted_word(word)[0] if reference.weighted else word for word in values]


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
    own = own_campaigns(actor)
    if own is None:
        return True
    about = [
        exists().where(table.c.id == p.click_id, table.c.campaign_id.in_(own)) for table in (t.clicks, t.click_links)
    ]
    return (await tx.execute(here.where(or_(*about)))).first() is not None


async def _alert(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    return of_own_campaigns(actor, (await alert_states.find(tx, actor.team_id, word))[0].campaigns)


async def _automation(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    return of_own_campaigns(actor, (await automations.find(tx, actor.team_id, word)).campaigns)


async def _webhook(tx: AsyncConnection, actor: Actor, word: str) -> bool:
    return of_own_campaigns(actor, webhooks.campaigns_of(await webhooks.find(tx, actor.team_id, word)))


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
    "automation": _automation, "digest": _digest, "webhook": _webhook,
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
    "ENTITIES", "Reference", "Refused", "Scope", "admit", "changeable", "check_role", "find", "judge", "may",
    "of_own_campaigns", "own_campaigns", "references", "scope_of", "visible",
]  # fmt: skip
