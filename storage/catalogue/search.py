"""Search over a team's entities: by name, code, address, note, tag and group, the best matches first."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Table, Text, and_, case, cast, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.groups import ARCHIVED, SORTED
from storage.ledger.facts import Event
from storage.tables import accounts, campaigns, casinos, conversions, domains, groups, offers, sources

MOST = 20
MAX_WORDS = 8
EXACT, BEGINS, WORD, HOLDS, SORTING, OTHER = range(6)
"""Ranks, the best first: the whole name or code, its beginning, the beginning of a word of it, a part of it, a tag or
group, anything else."""

#: Columns with addresses, by kind.
_ADDRESSES: dict[str, tuple[ColumnElement[Any], ...]] = {
    "campaign": (campaigns.c.fallback_url,), "offer": (offers.c.url, offers.c.tag), "casino": (casinos.c.terms_url,),
    "account": (accounts.c.base_url, accounts.c.platform), "domain": (domains.c.provider,),
    "source": (sources.c.preset, cast(sources.c.postbacks, Text)), "site": (),
}  # fmt: skip
_OTHERS: dict[str, Table] = {"group": groups}


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that holds all the words: how well (a rank, the lowest is best), and by which field."""

    kind: str
    code: str
    name: str
    rank: int
    by: str = "name"
    text: str = ""
    status: str = ""


class Field(msgspec.Struct, frozen=True):
    """What a word may be found in; its text is folded."""

    name: str
    text: str
    shown: str


def rank_of(
    name: str, code: str, words: Sequence[str], others: Iterable[Field] = ()
) -> tuple[int, Field | None] | None:
    """How well an entity matches folded words, and by which other field where its name alone does not; None: not."""
    title, whole = name.casefold(), " ".join(words)
    if whole in (title, code.casefold()):
        return EXACT, None
    if all(word in title or word in code.casefold() for word in words):
        if title.startswith(whole) or code.startswith(whole):
            return BEGINS, None
        starts = title.replace("-", " ").split()
        return (WORD if all(any(s.startswith(word) for s in starts) for word in words) else HOLDS), None
    fields = list(others)
    if not all(word in title or word in code or any(word in field.text for field in fields) for word in words):
        return None
    by = next(field for field in fields if any(word in field.text for word in words))
    return (SORTING if by.name in {"tag", "group"} else OTHER), by


async def search(
    tx: AsyncConnection, team_id: int, words: Sequence[str], visible: Mapping[str, ColumnElement[bool]]
) -> list[Match]:
    """What of the kinds in `visible` holds all the words, of what meets the kind's condition: the best of each kind."""
    g = groups.c
    names = {row.code: row.name for row in await tx.execute(select(g.code, g.name).where(g.team_id == team_id))}
    matches: list[Match] = []
    for kind, shown in visible.items():
        table = SORTED.get(kind, _OTHERS.get(kind))
        if table is not None:
            here = table.c.team_id == team_id, shown
            ids = await _likeliest(tx, kind, table, words, names, here)
            rows = await tx.execute(_details(kind, table).where(table.c.id.in_(ids))) if ids else ()
            matches += [match for row in rows if (match := _match(kind, row, words, names)) is not None]
    return best(matches)


def best(matches: Iterable[Match]) -> list[Match]:
    """The best matches of all kinds; what is archived stands behind what is not."""
    ranked = sorted(matches, key=lambda m: (m.rank, m.status == ARCHIVED, len(m.name), m.name.casefold()))
    return ranked[:MOST]


async def _likeliest(
    tx: AsyncConnection, kind: str, table: Table, words: Sequence[str], names: Mapping[str, str], here: Sequence[Any]
) -> list[int]:
    """Ids of a kind's best matches. `lower` of SQLite knows ASCII only: with other letters every row is looked at."""
    c = table.c
    sorting = [c.tags, c.note] if kind in SORTED else []
    texts = [func.coalesce(cast(column, Text), "") for column in (*sorting, *_ADDRESSES.get(kind, ()))]
    text: Any = literal("")
    for each in texts:
        text = text.concat("\n").concat(each)
    group: Any = c.group_code if kind in SORTED else cast(None, Text)
    query = select(c.id, c.name, c.code, group.label("group_code"), text.label("text")).where(*here)
    if all(word.isascii() for word in words):
        query = _in_sql(query, c, text, group, words, names)
    ranked = []
    for row in (await tx.execute(query)).all():
        other = f"{names.get(row.group_code or '', '')}\n{row.text}".casefold()
        whole = f"{row.name}\n{row.code}".casefold() + other
        if not all(word in whole for word in words):
            continue
        if rank := rank_of(row.name, row.code, words, [Field("", other, "")]):
            ranked.append((rank[0], len(row.name), row.id))
    return [row_id for _, _, row_id in heapq.nsmallest(MOST, ranked)]


def _in_sql(query: Any, c: Any, text: Any, group: Any, words: Sequence[str], names: Mapping[str, str]) -> Any:
    """The query with its conditions and the order of ranks in SQL, for words that `lower` of SQLite knows."""
    name, phrase = func.lower(c.name), " ".join(words)
    whole = func.lower(c.name.concat("\n").concat(c.code).concat(text))
    in_group = {word: [code for code, called in names.items() if word in called.casefold()] for word in words}
    holds = [or_(whole.contains(word, autoescape=True), group.in_(in_group[word])) for word in words]
    order = case(
        (or_(name == phrase, c.code == phrase), EXACT), (name.startswith(phrase, autoescape=True), BEGINS),
        (and_(*(name.contains(word, autoescape=True) for word in words)), HOLDS), else_=OTHER,
    )  # fmt: skip
    return query.where(*holds).order_by(order, func.length(c.name), c.id.desc()).limit(MOST)


def _details(kind: str, table: Table) -> Any:
    c = table.c
    addresses = [column.label(f"address{n}") for n, column in enumerate(_ADDRESSES.get(kind, ()))]
    sorting = [c.group_code, c.tags, c.note, c.archived_from] if kind in SORTED else []
    return select(c.id, c.code, c.name, *sorting, *addresses)


def _match(kind: str, row: Row[Any], words: Sequence[str], names: Mapping[str, str]) -> Match | None:
    columns_of_row = row._mapping
    fields: list[Field] = []
    if kind in SORTED:
        group = names.get(row.group_code or "", "")
        texts = [("tag", tag) for tag in row.tags] + [("group", group), ("note", row.note or "")]
        fields = [Field(name, text.casefold(), text) for name, text in texts if text]
    fields += [
        Field("address", columns_of_row[key].casefold(), columns_of_row[key])
        for key in columns_of_row
        if key.startswith("address") and columns_of_row[key]
    ]
    ranked = rank_of(row.name, row.code, words, fields)
    if ranked is None:
        return None
    rank, by = ranked
    status = ARCHIVED if columns_of_row.get("archived_from") is not None else ""
    by_field = {} if by is None else {"by": by.name, "text": excerpt(by.shown, words)}
    return Match(kind=kind, code=row.code, name=row.name, rank=rank, status=status, **by_field)


def excerpt(text: str, words: Sequence[str], most: int = 80) -> str:
    """A piece of a text around the first of the words."""
    flat = " ".join(text.split())
    at = min((place for word in words if (place := flat.casefold().find(word)) >= 0), default=0)
    start = max(0, min(at - 20, len(flat) - most))
    return ("…" if start else "") + flat[start : start + most] + ("…" if start + most < len(flat) else "")


async def of_transaction(tx: AsyncConnection, team_id: int, txn_id: str) -> list[Row[Any]]:
    """The team's conversions of a transaction id, as platforms write it."""
    c = conversions.c
    mine = select(accounts.c.id).where(accounts.c.team_id == team_id)
    query = select(c.id, c.event, c.day, c.click_id, c.campaign_id, c.txn_id, c.account_id).where(
        c.team_id == team_id, c.account_id.in_(mine), c.event.in_([event.value for event in Event]),
        c.txn_id == txn_id,
    )  # fmt: skip
    return list(await tx.execute(query.order_by(c.id.desc()).limit(MOST)))


Describe = Callable[[Any], tuple[str, str, str]]
"""Code, name and further text of a row."""


def among(kind: str, rows: Iterable[Any], words: Sequence[str], describe: Describe) -> list[Match]:
    """Those of some rows that hold all the words in their code, name or text."""
    matches = []
    for row in rows:
        code, name, text = describe(row)
        ranked = rank_of(name, code, words, [Field("rule", text.casefold(), text)])
        if ranked is not None:
            by = {} if ranked[1] is None else {"by": ranked[1].name, "text": excerpt(text, words)}
            matches.append(Match(kind=kind, code=code, name=name, rank=ranked[0], **by))
    return matches
