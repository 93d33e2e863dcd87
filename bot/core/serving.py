"""Which campaigns an entity serves, and so what a member limited to campaigns may see and change of it.

`ENTITIES` says it once, as links between entities and campaigns. Lists ask for a condition (`visible`, `changeable`),
which is kept per actor; the gate asks `named_entities` about the words of all fields in one statement.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    false,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.context import Actor
from storage import tables as t
from storage.catalogue import groups
from storage.db.bulk_sql import Compiled, fetch

Condition = ColumnElement[bool]
Ids = Any
"""A select of entity ids, or a list of them."""
Links = list[Select[Any]]
"""Selects of (entity id, campaign code), to be read together."""

_CODE = t.campaigns.c.code


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of entity with a name and a code. `links` tells which entities (of these ids; None: all) serve campaigns
    that meet a condition; without it the kind is the whole team's: visible to all, changed by none who is limited to
    campaigns."""

    table: Table
    links: Callable[[Condition, Ids | None], Links] | None = None
    key: str = "id"  # what links hold of an entity: its id, or its code


def _linked(column: Any, campaign: Condition, ids: Ids | None) -> Select[Any]:
    """Links by a column that stands in a join with campaigns."""
    query = select(column.label("id"), _CODE.label("campaign")).where(campaign, column.is_not(None))
    return query if ids is None else query.where(column.in_(ids))


def _of_campaign(column: Any) -> Callable[[Condition, Ids | None], Links]:
    return lambda campaign, ids: [_linked(column, campaign, ids)]


def _domains(campaign: Condition, ids: Ids | None) -> Links:
    on_site = t.campaigns.c.site_id == t.domains.c.site_id
    return [_linked(t.domains.c.id, campaign, ids).join_from(t.domains, t.campaigns, on_site)]


def _offers(campaign: Condition, ids: Ids | None) -> Links:
    """Offers that campaigns send to: by weight, by a rule, through their site, or as the alternative of one of
    those."""
    by = t.offers.alias()
    first = select(by.c.id).where(by.c.alternative_id.in_(ids)) if ids is not None else None
    return [*_sent_to(campaign, ids), *_through(_sent_to(campaign, first), by, by.c.alternative_id, ids)]


def _through(links: Links, table: Any, column: Any, ids: Ids | None) -> Links:
    """Links of what the linked entities, rows of a table, refer to by a column. One select for each link, not one over
    their union: those SQLite searches by their keys."""
    referred = []
    for link in links:
        sub = link.subquery()
        query = select(column.label("id"), sub.c.campaign).join_from(sub, table, sub.c.id == table.c.id)
        query = query.where(column.is_not(None))
        referred.append(query if ids is None else query.where(column.in_(ids)))
    return referred


def _sent_to(campaign: Condition, ids: Ids | None) -> Links:
    weights, shown, offers, own = t.campaign_offers.c, t.site_offers.c, t.offers.c, t.campaigns.c
    rules = cast(own.rules, Text).label("rules")
    # Distinct, so that SQLite picks the campaigns that have rules before it looks at offers.
    ruled = select(own.team_id, _CODE, rules).where(campaign, func.length(own.rules) > 2).distinct().subquery()
    named = ruled.c.rules.like(literal('%"offer":"').concat(offers.code).concat('"%'))
    in_rules = select(offers.id.label("id"), ruled.c.code.label("campaign")).join_from(
        t.offers, ruled, and_(ruled.c.team_id == offers.team_id, named)
    )
    return [
        _linked(weights.offer_id, campaign, ids).join_from(
            t.campaign_offers, t.campaigns, own.id == weights.campaign_id
        ),
        _linked(shown.offer_id, campaign, ids).join_from(t.site_offers, t.campaigns, own.site_id == shown.site_id),
        in_rules if ids is None else in_rules.where(offers.id.in_(ids)),
    ]


def _through_offers(column: Any) -> Callable[[Condition, Ids | None], Links]:
    def links(campaign: Condition, ids: Ids | None) -> Links:
        offers = select(t.offers.c.id).where(column.in_(ids)) if ids is not None else None
        return _through(_offers(campaign, offers), t.offers, column, ids)

    return links


def _groups(campaign: Condition, ids: Ids | None) -> Links:
    """Codes of the groups that hold what serves campaigns."""
    links: Links = []
    for noun, table in groups.SORTED.items():
        held = None if ids is None else select(table.c.id).where(table.c.group_code.in_(ids))
        links += _through(_LINKS[noun](campaign, held), table, table.c.group_code, ids)
    return links


_LINKS: dict[str, Callable[[Condition, Ids | None], Links]] = {
    "campaign": _of_campaign(t.campaigns.c.id), "site": _of_campaign(t.campaigns.c.site_id),
    "source": _of_campaign(t.campaigns.c.source_id), "offer": _offers,
    "casino": _through_offers(t.offers.c.casino_id), "account": _through_offers(t.offers.c.account_id),
    "domain": _domains,
}  # fmt: skip

#: What a field may refer to by code, name or id.
ENTITIES: dict[str, Entity] = {
    **{noun: Entity(groups.SORTED[noun], links) for noun, links in _LINKS.items()},
    "group": Entity(t.groups, _groups, key="code"),
    "registrar": Entity(t.registrars),
    "member": Entity(t.members),
    "token": Entity(t.tokens),
    "view": Entity(t.views),
}

#: A published site that no campaign leads to is the team's, and so are its domains.
_ON_SITE = {"site": t.sites.c.id, "domain": t.domains.c.site_id}


def visible(actor: Actor, noun: str) -> Condition:
    """Condition on the noun's table: what the actor may see."""
    return true() if actor.campaigns is None else _conditions(actor.team_id, actor.campaigns, noun)[0]


def changeable(actor: Actor, noun: str) -> Condition:
    """Condition on the noun's table: what the actor may change."""
    return true() if actor.campaigns is None else _conditions(actor.team_id, actor.campaigns, noun)[1]


@lru_cache(maxsize=1_000)
def _conditions(team_id: int, codes: tuple[str, ...], noun: str) -> tuple[Condition, Condition]:
    """What a limited member may see and change. Kept, since making them takes longer than reading by them."""
    entity = ENTITIES[noun]
    if entity.links is None:
        return true(), not_(true())
    mine, others = of_campaigns(team_id, codes)
    key = entity.table.c[entity.key]
    own, foreign = (_served(entity.links(condition, None)) for condition in (mine, others))
    shown = key.in_(own) if noun == "campaign" else or_(key.in_(own), key.not_in(foreign))
    if noun not in _ON_SITE:
        return shown, key.not_in(foreign)
    own_sites = select(t.campaigns.c.site_id).where(mine, t.campaigns.c.site_id.is_not(None))
    live = t.sites.alias()
    teams_own = select(live.c.id).where(live.c.status == "published", live.c.id.not_in(own_sites))
    return shown, and_(key.not_in(foreign), or_(_ON_SITE[noun].is_(None), _ON_SITE[noun].not_in(teams_own)))


def _served(links: Links) -> Any:
    return select(union_all(*links).subquery().c.id)


def serving(team_id: int, codes: Collection[str], noun: str) -> Select[tuple[int]]:
    """Ids of the entities of a kind that serve one of these campaigns."""
    links = ENTITIES[noun].links
    if links is None:
        raise ValueError(f"{noun} serves no campaign")
    served: Select[tuple[int]] = _served(links(of_campaigns(team_id, codes)[0], None))
    return served


def restated_offers(team_id: int, codes: Collection[str] | None) -> Select[tuple[int]] | None:
    """Ids of the offers whose figures, as a platform states them, are those campaigns' alone: they serve no other one.
    None for all campaigns: all offers."""
    if codes is None:
        return None
    foreign = _served(_offers(of_campaigns(team_id, codes)[1], None))
    own = serving(team_id, codes, "offer")
    return select(t.offers.c.id).where(t.offers.c.id.in_(own), t.offers.c.id.not_in(foreign))


def of_campaigns(team_id: int, codes: Collection[str]) -> tuple[Condition, Condition]:
    """Conditions on campaigns: those of the codes, and the team's others."""
    team = t.campaigns.c.team_id == team_id
    return and_(team, _CODE.in_(codes)), and_(team, _CODE.not_in(codes))


class Named(msgspec.Struct, kw_only=True):
    """An entity that a word names, with the codes of the campaigns that it serves."""

    id: int
    code: str
    name: str
    published: bool
    serves: set[str] = set()


def may_see(actor: Actor, noun: str, entity: Named) -> bool:
    """`visible` of one entity."""
    if actor.campaigns is None or ENTITIES[noun].links is None:
        return True
    mine = entity.serves & set(actor.campaigns)
    return bool(mine) or (not entity.serves and noun != "campaign")


def may_change(actor: Actor, noun: str, entity: Named) -> bool:
    """`changeable` of one entity."""
    if actor.campaigns is None:
        return True
    if ENTITIES[noun].links is None or not entity.serves <= set(actor.campaigns):
        return False
    return bool(entity.serves) or not entity.published


async def named_entities(
    tx: AsyncConnection, team_id: int, words: Mapping[str, Iterable[str]]
) -> dict[str, list[Named]]:  # fmt: skip
    """The team's entities, by kind, whose code, id or name (as typed) is one of the words for that kind: one statement
    for all of them."""
    values: dict[str, Any] = {"team": team_id}
    for noun, of_noun in words.items():
        texts = [word.strip() for word in of_noun]
        numbers = [int(text) for text in texts if text.isdecimal() and text.isascii() and len(text) < 19]
        values |= {f"codes_{noun}": [text.lower() for text in texts], f"names_{noun}": texts}
        values[f"numbers_{noun}"] = numbers
    rows = await _rows(tx, tuple(words), values)
    entities: dict[str, dict[int, Named]] = {noun: {} for noun in words}
    for noun, number, code, name, published, campaign in rows:
        if campaign is None:
            entities[noun][number] = Named(id=number, code=code, name=name, published=bool(published), serves=set())
    for noun, number, _, _, _, campaign in rows:
        if campaign is not None:
            entities[noun][number].serves.add(campaign)
    return {noun: list(by_id.values()) for noun, by_id in entities.items()}


async def _rows(tx: AsyncConnection, nouns: tuple[str, ...], values: Mapping[str, Any]) -> Sequence[Any]:
    """Rows of the statement; on PostgreSQL of one that is compiled once, which takes longer than running it."""
    if tx.dialect.name == "postgresql":
        return await fetch(tx, _naming_compiled(nouns), values)
    return (await tx.execute(_naming(nouns, arrays=False), values)).all()


@cache
def _naming_compiled(nouns: tuple[str, ...]) -> Compiled:
    return Compiled(_naming(nouns, arrays=True), asyncpg.dialect())  # type: ignore[no-untyped-call]


@cache
def _naming(nouns: tuple[str, ...], *, arrays: bool) -> Any:
    """Entities of these kinds by code, by name and by id, and after them the campaigns that they serve. With `arrays`
    the words of a kind are one value each, so that the statement is the same however many they are: PostgreSQL keeps
    its plan."""
    named = {noun: _named(noun, arrays=arrays).cte(f"named_{noun}") for noun in nouns}
    rows = [
        select(
            _word(noun).label("noun"),
            named_rows.c.id,
            named_rows.c.code,
            named_rows.c.name,
            named_rows.c.published,
            _NO_TEXT.label("campaign"),
        )
        for noun, named_rows in named.items()
    ]
    rows += [
        _serving(noun, named_rows, links)
        for noun, named_rows in named.items()
        if (links := ENTITIES[noun].links) is not None
    ]
    return union_all(*rows)


def _serving(noun: str, named_rows: CTE, links: Callable[[Condition, Ids | None], Links]) -> Select[Any]:
    """The campaigns that named entities serve."""
    key = named_rows.c[ENTITIES[noun].key]
    link = union_all(*links(t.campaigns.c.team_id == bindparam("team"), select(key))).subquery()
    query = select(_word(noun), named_rows.c.id, _NO_TEXT, _NO_TEXT, false(), link.c.campaign)
    return query.join_from(link, named_rows, key == link.c.id)


_NO_TEXT = cast(null(), Text)


def _word(noun: str) -> Any:
    return literal_column(f"'{noun}'", Text)


def _named(noun: str, *, arrays: bool) -> Any:
    """Three searches of an index, not one of a whole table."""
    c = ENTITIES[noun].table.c
    published: Any = false()
    if noun in _ON_SITE:
        site = t.sites.alias()
        published = select(site.c.id).where(site.c.id == _ON_SITE[noun], site.c.status == "published").exists()
    entities = select(c.id, c.code, c.name, published.label("published")).where(c.team_id == bindparam("team"))
    by = ((c.code, f"codes_{noun}"), (c.name, f"names_{noun}"), (c.id, f"numbers_{noun}"))
    return union_all(*(entities.where(_among(column, values, arrays=arrays)) for column, values in by))


def _among(column: Any, values: str, *, arrays: bool) -> Condition:
    """The column is one of the values of that parameter."""
    among: Condition = (
        column == any_(bindparam(values, type_=ARRAY(column.type))) if arrays
        else column.in_(bindparam(values, expanding=True))
    )  # fmt: skip
    return among
