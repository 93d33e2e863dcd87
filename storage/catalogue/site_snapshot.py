"""Sites as pages are made from: everything a page shows, loaded in one go whenever something configured changes."""

from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import site_files, sites, variant_distribution
from storage.db.cooperative import cooperative
from storage.tables import domains, site_variants
from storage.tables import sites as table


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """An offer on a page, with what players read of its casino."""

    offer_id: int
    offer_code: str
    casino: str
    reviewed: bool
    bonus: str | None
    free_spins: str | None
    wagering: str | None
    payment_methods: tuple[str, ...]
    licence: str | None
    terms_url: str | None
    logo: str | None


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """What may differ between the variants of a site; `a` is the site itself."""

    code: str
    weight: int
    theme: str
    texts: dict[str, Any]
    cards: tuple[Card, ...]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A site as it is served: variants to choose from, and the domains attached to it.

    It answers on a domain from the first request that arrives under its name, however far its set-up has come.
    """

    id: int
    team_id: int
    name: str
    code: str
    market: str
    locale: str
    status: str
    variants: tuple[Variant, ...]
    hosts: tuple[str, ...]
    shares: dict[str, int] = {}  # of the variants, where earnings set them
    page: str = ""  # address of the page, where it is hosted elsewhere
    files: bool = False  # its page is the team's own files
    holdout: int = 0  # visitors who go by the variants' own weights all the same, in hundredths of a per cent


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """All sites, and the team of every host name, live or not yet; `moved` names lead on to another one."""

    sites: tuple[Served, ...]
    hosts: dict[str, int]
    moved: dict[str, str]


async def load(tx: AsyncConnection) -> Serving:
    """Every site of every team. Clicks are answered meanwhile."""
    rows = [row async for row in cooperative(await tx.execute(select(table).order_by(table.c.id)))]
    ids = [row.id for row in rows]
    cards = await sites.cards(tx, ids)
    hosts: dict[int | None, list[str]] = {}
    team_by_host: dict[str, int] = {}
    moved: dict[str, str] = {}
    for host in await tx.execute(select(domains.c.team_id, domains.c.site_id, domains.c.name, domains.c.state)):
        team_by_host[host.name] = host.team_id
        hosts.setdefault(host.site_id, []).append(host.name)
        if host.site_id is None and "moved_to" in host.state:
            moved[host.name] = host.state["moved_to"]
    tried: dict[int, list[Row[Any]]] = {}
    running = select(site_variants).where(site_variants.c.ended_at.is_(None)).order_by(site_variants.c.id)
    for variant in await tx.execute(running):
        tried.setdefault(variant.site_id, []).append(variant)
    own = await site_files.counts(tx)
    served = [
        msgspec.structs.replace(
            _served(row, cards[row.id], tried.get(row.id, []), tuple(hosts.get(row.id, ()))), files=row.id in own
        )
        async for row in cooperative(rows)
    ]
    return Serving(sites=tuple(served), hosts=team_by_host, moved=moved)


def _served(row: Row[Any], of_site: list[Row[Any]], tried: list[Row[Any]], hosts: tuple[str, ...]) -> Served:
    cards = {card.offer_id: _card(card) for card in of_site if card.offer_status == "active"}
    distribution = variant_distribution.of_site(row)
    itself = Variant(code="a", weight=1, theme=row.theme, texts=row.texts, cards=tuple(cards.values()))
    return Served(
        id=row.id, team_id=row.team_id, name=row.name, code=row.code, market=row.market, locale=row.locale,
        status=row.status, hosts=hosts, page=row.page or "",
        variants=(itself, *(_variant(itself, row_, cards) for row_ in tried)),
        shares=distribution.shares if distribution else {}, holdout=distribution.holdout if distribution else 0,
    )  # fmt: skip


def _variant(itself: Variant, variant: Row[Any], cards: dict[int, Card]) -> Variant:
    first_cards = [cards[offer_id] for offer_id in variant.offers or () if offer_id in cards]
    rest = [card for card in itself.cards if card not in first_cards]
    return Variant(
        code=variant.code, weight=variant.weight, theme=variant.theme or itself.theme,
        texts={**itself.texts, **variant.texts}, cards=(*first_cards, *rest),
    )  # fmt: skip


def _card(row: Row[Any]) -> Card:
    return Card(
        offer_id=row.offer_id, offer_code=row.offer_code, casino=row.name, reviewed=row.status == "reviewed",
        bonus=row.bonus, free_spins=row.free_spins, wagering=row.wagering, licence=row.licence,
        payment_methods=tuple(row.payment_methods), terms_url=row.terms_url, logo=row.logo,
    )  # fmt: skip
