"""Sites: landing pages of a market and a locale, with their offers in order and every version ever published."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.groups import Sorted, sorting_of, status_of
from storage.catalogue.markets import market
from storage.db.cooperative import cooperative
from storage.tables import casinos, domains, offers, site_offers, site_versions, sites

DRAFT, PUBLISHED, PAUSED = "draft", "published", "paused"
THEMES = ("offer-wall", "single-offer", "comparison", "review")


class Site(Sorted, frozen=True, kw_only=True):
    """A site as every face shows it. `missing` is what publishing would refuse for, `version` the last published."""

    id: int
    name: str
    code: str
    market: str
    locale: str
    theme: str
    page: str | None
    offers: list[str]
    status: str
    texts: dict[str, Any]
    version: int | None
    domains: list[str]
    preview_url: str
    url: str
    snippet: str | None
    missing: list[str]
    warnings: list[str]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One published state of a site."""

    version: int
    at: datetime
    actor: str
    content: dict[str, Any]


async def add(
    tx: AsyncConnection, *, team_id: int, now: datetime, values: dict[str, Any], offer_ids: Sequence[int]
) -> int:
    """Store a draft with its offers in order; returns its id."""
    row = {"team_id": team_id, "created_at": now, "status": DRAFT, **values}
    made = await tx.execute(insert(sites).values(**row).returning(sites.c.id))
    site_id = int(made.scalar_one())
    await set_offers(tx, site_id, offer_ids)
    return site_id


async def change(tx: AsyncConnection, site_id: int, values: dict[str, Any]) -> None:
    if values:
        await tx.execute(update(sites).where(sites.c.id == site_id).values(**values))


async def set_offers(tx: AsyncConnection, site_id: int, offer_ids: Sequence[int]) -> None:
    """Replace the site's offers by these, in this order."""
    await tx.execute(delete(site_offers).where(site_offers.c.site_id == site_id))
    rows = [{"site_id": site_id, "offer_id": offer_id, "position": place} for place, offer_id in enumerate(offer_ids)]
    if rows:
        await tx.execute(insert(site_offers), rows)


async def content(tx: AsyncConnection, site: Row[Any]) -> dict[str, Any]:
    """What a version remembers of a site: all that makes its page, but the casinos' own facts."""
    chosen = await offer_ids(tx, [site.id])
    values = {name: site._mapping[name] for name in ("market", "locale", "theme", "texts")}
    return {**values, "offers": chosen[site.id]}


async def store_version(tx: AsyncConnection, site: Row[Any], *, now: datetime, actor: str) -> int:
    """Remember the site as it is published now; returns the version's number."""
    mine = site_versions.c.site_id == site.id
    last = (await tx.execute(select(func.max(site_versions.c.version)).where(mine))).scalar_one_or_none()
    version = int(last or 0) + 1
    await tx.execute(
        insert(site_versions).values(
            team_id=site.team_id, site_id=site.id, version=version, at=now, actor=actor, content=await content(tx, site)
        )
    )
    return version


async def versions(tx: AsyncConnection, site_id: int) -> list[Version]:
    """Latest first."""
    query = select(site_versions).where(site_versions.c.site_id == site_id).order_by(site_versions.c.version.desc())
    return [
        Version(version=row.version, at=row.at, actor=row.actor, content=row.content) for row in await tx.execute(query)
    ]


async def offer_ids(tx: AsyncConnection, site_ids: Sequence[int]) -> dict[int, list[int]]:
    """Offers of each site, in order."""
    query = select(site_offers).where(site_offers.c.site_id.in_(site_ids))
    offers_of: dict[int, list[int]] = {site_id: [] for site_id in site_ids}
    for row in await tx.execute(query.order_by(site_offers.c.site_id, site_offers.c.position)):
        offers_of[row.site_id].append(row.offer_id)
    return offers_of


async def cards(tx: AsyncConnection, site_ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    """Each site's offers in order, each with its casino's facts (columns `offer_…` and those of the casino)."""
    query = (
        select(
            site_offers.c.site_id,
            site_offers.c.position,
            offers.c.id.label("offer_id"),
            offers.c.code.label("offer_code"),
            offers.c.status.label("offer_status"),
            offers.c.markets.label("offer_markets"),
            casinos,
        )
        .join(offers, offers.c.id == site_offers.c.offer_id)
        .join(casinos, casinos.c.id == offers.c.casino_id)
        .where(site_offers.c.site_id.in_(site_ids))
        .order_by(site_offers.c.site_id, site_offers.c.position)
    )
    cards_of: dict[int, list[Row[Any]]] = {site_id: [] for site_id in site_ids}
    async for row in cooperative(await tx.execute(query)):
        cards_of[row.site_id].append(row)
    return cards_of


def missing(site: Row[Any], shown: Sequence[Row[Any]]) -> list[str]:
    """What keeps the site from being published, each with what to do."""
    faults = [] if shown or site.page else [f"it has no offers: site edit {site.code} offers=…"]
    for card in shown:
        if card.status != "reviewed":
            faults.append(f"casino {card.name} is not reviewed: casino review {card.code}")
        if card.offer_markets and site.market not in card.offer_markets:
            faults.append(f"offer {card.offer_code} is not for {site.market} (only {', '.join(card.offer_markets)})")
        if card.markets and site.market not in card.markets:
            faults.append(f"casino {card.name} may not be shown in {site.market} (only {', '.join(card.markets)})")
    return list(dict.fromkeys(faults))


def warnings(site: Row[Any], shown: Sequence[Row[Any]]) -> list[str]:
    """What a visitor, or a regulator, would miss on the page."""
    required = {"bonus": "bonus", "terms_url": "terms link", "licence": "licence"}
    warnings = [f"no operator is named as responsible for the page: site edit {site.code} operator=…"]
    warnings = [] if site.texts.get("operator") or site.page else warnings
    if note := market(site.market).note:
        warnings.append(f"in {site.market}: {note}")
    for card in shown:
        lacking = [word for column, word in required.items() if not card._mapping[column]]
        if lacking:
            warnings.append(f"casino {card.name} has no {' and no '.join(lacking)}: casino edit {card.code} …")
        if card.offer_status == "paused":
            warnings.append(f"offer {card.offer_code} is paused and left out of the page")
    return list(dict.fromkeys(warnings))


def preview_signature(key: bytes, code: str) -> str:
    """What makes the address of a site's preview unguessable."""
    return hmac.new(key, code.encode(), hashlib.sha256).hexdigest()[:24]


async def shown(tx: AsyncConnection, rows: Sequence[Row[Any]], *, public_url: str, preview_key: bytes) -> list[Site]:
    """Sites as faces show them."""
    ids = [row.id for row in rows]
    of_site, hosts, last = await cards(tx, ids), await _hosts(tx, ids), await _last_versions(tx, ids)
    previews = {row.id: f"{public_url}/s/{row.code}~{preview_signature(preview_key, row.code)}" for row in rows}
    return [_site(row, of_site[row.id], hosts.get(row.id, []), last.get(row.id), previews[row.id]) for row in rows]


def _site(row: Row[Any], of_site: list[Row[Any]], hosts: list[Row[Any]], version: int | None, preview: str) -> Site:
    address = preview if row.status == DRAFT else preview.partition("~")[0]
    live = [host.name for host in hosts if host.status == "live"]
    snippet = f'<script async src="{preview.partition("~")[0]}/page.js"></script>' if row.page else None
    return Site(
        page=row.page, snippet=snippet,
        id=row.id, name=row.name, code=row.code, market=row.market, locale=row.locale, theme=row.theme,
        offers=[card.offer_code for card in of_site], status=status_of(row), texts=row.texts, version=version,
        domains=[host.name for host in hosts], preview_url=preview,
        url=row.page or (f"https://{live[0]}/" if live else address),
        missing=missing(row, of_site), warnings=warnings(row, of_site), **sorting_of(row),
    )  # fmt: skip


async def _hosts(tx: AsyncConnection, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    query = select(domains.c.site_id, domains.c.name, domains.c.status).where(domains.c.site_id.in_(ids))
    rows_of: dict[int, list[Any]] = {}
    for row in await tx.execute(query.order_by(domains.c.id)):
        rows_of.setdefault(row.site_id, []).append(row)
    return rows_of


async def _last_versions(tx: AsyncConnection, ids: Sequence[int]) -> dict[int, int]:
    query = select(site_versions.c.site_id, func.max(site_versions.c.version).label("last"))
    rows = await tx.execute(query.where(site_versions.c.site_id.in_(ids)).group_by(site_versions.c.site_id))
    return {row.site_id: row.last for row in rows}
