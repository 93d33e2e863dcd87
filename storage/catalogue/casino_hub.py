"""The casino hub: what one team has reviewed of a brand, offered to the others as a first draft of their own entry.

Never whose facts they are, nor offers, figures or the words of a bonus. An address is offered without its query, which
may hold a team's tag, and not at all where its host is a team's domain.
"""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from sqlalchemy import ColumnElement, Row, and_, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import casinos, images, names
from storage.catalogue.casinos import REVIEWED
from storage.ledger.errors import Missing
from storage.tables import casinos as table
from storage.tables import domains
from storage.tables import images as images_table

FACTS = ("payment_methods", "licence", "terms_url", "logo")


class BrandFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a brand that other teams have reviewed; `own` is the code of the asking team's entry, if any."""

    code: str
    name: str
    payment_methods: tuple[str, ...] = ()
    licence: str | None = None
    terms_url: str | None = None
    logo: str | None = None
    own: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Columns of a casino entry: those that are known."""
        return {name: value for name in FACTS if (value := getattr(self, name))}


async def page(
    tx: AsyncConnection, team_id: int, *, limit: int, after: str | None
) -> tuple[list[BrandFacts], str | None]:
    """Brands in the order of their codes, and the cursor of the next page."""
    of_others = select(table.c.code).where(_of_others(team_id)).distinct().order_by(table.c.code).limit(limit + 1)
    codes = list((await tx.execute(of_others.where(table.c.code > (after or "")))).scalars())
    brands = await _brands(tx, team_id, table.c.code.in_(codes[:limit]))
    return brands, codes[limit - 1] if len(codes) > limit else None


async def find(tx: AsyncConnection, team_id: int, word: str) -> BrandFacts:
    """The brand of that name, or of that entry of one's own. Raises Missing at `casino`."""
    brand = await _find(tx, team_id, word)
    if brand is None:
        raise Missing(f"no team has reviewed a casino {word.strip()[:80]!r} yet: casino hub lists them", field="casino")
    return brand


async def ensure(tx: AsyncConnection, team_id: int, name: str, now: datetime) -> tuple[Row[Any], list[str]]:
    """As `casinos.ensure`; a new draft holds what other teams have reviewed of the brand: the columns filled so."""
    try:
        return await casinos.find(tx, team_id, name), []
    except Missing:
        row = await casinos.ensure(tx, team_id, name, now)
    brand = await _find(tx, team_id, name)
    return row, [] if brand is None else list(await fill(tx, row, brand, now))


async def fill(tx: AsyncConnection, row: Row[Any], brand: BrandFacts, now: datetime) -> dict[str, Any]:
    """Fill what an entry leaves empty; returns the columns that were filled."""
    filled = {name: value for name, value in brand.facts.items() if not row._mapping[name]}
    if filled:
        await casinos.change(tx, row.id, filled)
    if logo := images.ADDRESS.fullmatch(filled.get("logo", "")):
        await _copy_image(tx, row.team_id, logo[1], now)
    return filled


def _of_others(team_id: int) -> ColumnElement[bool]:
    return and_(table.c.team_id != team_id, table.c.status == REVIEWED)


async def _find(tx: AsyncConnection, team_id: int, word: str) -> BrandFacts | None:
    code = names.slug(word)
    spelled = [table.c.name == word.strip(), *([table.c.code == code] if code else ())]
    brands = await _brands(tx, team_id, or_(*spelled))
    return brands[0] if brands else None


async def _brands(tx: AsyncConnection, team_id: int, condition: ColumnElement[bool]) -> list[BrandFacts]:
    """One brand per code; of several teams' entries each fact is the one of the entry made last that has it."""
    query = select(table).where(_of_others(team_id), condition).order_by(table.c.code, table.c.id.desc())
    entries: dict[str, list[Row[Any]]] = {}
    for row in await tx.execute(query):
        entries.setdefault(row.code, []).append(row)
    own = select(table.c.code).where(table.c.team_id == team_id, table.c.code.in_(entries))
    ours = set((await tx.execute(own)).scalars()) if entries else set()
    hosts = set((await tx.execute(select(domains.c.name))).scalars()) if entries else set()
    return [_brand(code, rows, hosts, code if code in ours else None) for code, rows in entries.items()]


def _brand(code: str, rows: list[Row[Any]], team_hosts: set[str], own: str | None) -> BrandFacts:
    return BrandFacts(
        code=code, name=rows[0].name, own=own,
        payment_methods=next((tuple(row.payment_methods) for row in rows if row.payment_methods), ()),
        licence=next((row.licence for row in rows if row.licence), None),
        terms_url=next((url for row in rows if (url := _bare(row.terms_url, team_hosts))), None),
        logo=next((url for row in rows if (url := _bare(row.logo, team_hosts))), None),
    )  # fmt: skip


def _bare(url: str | None, team_hosts: set[str]) -> str | None:
    """An address without what may be a team's own: a query, a fragment; None on a team's domain."""
    if not url or images.ADDRESS.fullmatch(url):
        return url
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().removesuffix(".")
    if any(host == name or host.endswith(f".{name}") for name in team_hosts):
        return None
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


async def _copy_image(tx: AsyncConnection, team_id: int, digest: str, now: datetime) -> None:
    i = images_table.c
    copied = select(literal(team_id), i.hash, i.content, i.width, i.height, literal(now, i.created_at.type)).where(
        i.hash == digest
    )
    columns = ["team_id", "hash", "content", "width", "height", "created_at"]
    insertion = upsert(images_table).from_select(columns, copied.limit(1))
    await tx.execute(insertion.on_conflict_do_nothing(index_elements=["team_id", "hash"]))
