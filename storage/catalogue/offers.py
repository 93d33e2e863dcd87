"""Offers: one commercial deal each at one platform account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, cast, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.entities import codes
from storage.catalogue.groups import Sorted, sorting_of, status_of
from storage.ledger.errors import Refused
from storage.tables import (
    accounts,
    campaign_offers,
    campaigns,
    casinos,
    offers,
    revenue,
    site_offers,
    sites,
    touched,
)


class Offer(Sorted, frozen=True, kw_only=True):
    """An offer as every face shows it; what it refers to stands as codes."""

    id: int
    name: str
    code: str
    casino: str
    account: str
    url: str
    tag: str | None
    markets: list[str]
    deal: str | None
    cap: int | None
    cap_event: str | None
    cap_period: str | None
    alternative: str | None
    status: str
    warnings: list[str] = []


async def add(tx: AsyncConnection, *, team_id: int, now: datetime, values: dict[str, Any]) -> int:
    """Store an offer; days whose revenue its tag claims are settled again. Raises Refused for a tag already claimed."""
    await check_tag(tx, account_id=values["account_id"], tag=values.get("tag"))
    row = {**values, "tag_key": tag_key(values.get("tag"))}
    made = await tx.execute(insert(offers).values(team_id=team_id, created_at=now, **row).returning(offers.c.id))
    await touch_revenue(tx, values["account_id"])
    return int(made.scalar_one())


async def change(tx: AsyncConnection, offer: Row[Any], values: dict[str, Any]) -> None:
    """Change an offer; a new tag or account moves its revenue at once."""
    if "tag" in values or "account_id" in values:
        account_id = values.get("account_id", offer.account_id)
        tag = values.get("tag", offer.tag)
        await check_tag(tx, account_id=account_id, tag=tag, but=offer.id)
        values = {**values, "tag_key": tag_key(tag)}
        for changed_account in {offer.account_id, account_id}:
            await touch_revenue(tx, changed_account)
    await tx.execute(update(offers).where(offers.c.id == offer.id).values(**values))


def tag_key(tag: str | None) -> str | None:
    """Tags match exactly but for case."""
    return tag.strip().lower() if tag and tag.strip() else None


async def check_tag(tx: AsyncConnection, *, account_id: int, tag: str | None, but: int = 0) -> None:
    """One deal, one tag: a second claim on it is refused at `tag`."""
    key = tag_key(tag)
    query = select(offers.c.code).where(offers.c.account_id == account_id, offers.c.id != but)
    matches = offers.c.tag_key == key if key else offers.c.tag_key.is_(None)
    taken = (await tx.execute(query.where(matches))).scalars().first()
    if taken and key:
        raise Refused(f"tag {tag!r} is claimed by offer {taken}: one segment is one deal", field="tag")
    if taken:
        raise Refused(f"offer {taken} has no tag on this account either: give one of them a tag", field="tag")


async def touch_revenue(tx: AsyncConnection, account_id: int) -> None:
    """Mark every day the account has revenue on."""
    days = select(revenue.c.team_id, revenue.c.day).where(revenue.c.account_id == account_id).distinct()
    await tx.execute(insert(touched).from_select(["team_id", "day"], days))


async def segments(tx: AsyncConnection, account_id: int) -> list[str]:
    """Tags the account's revenue has shown so far, as the platform writes them."""
    query = select(func.min(revenue.c.tag)).where(revenue.c.account_id == account_id).group_by(revenue.c.tag_key)
    return sorted((await tx.execute(query)).scalars())


async def siblings(tx: AsyncConnection, account_id: int, but: int = 0) -> list[Row[Any]]:
    """Other offers on the same account."""
    query = select(offers).where(offers.c.account_id == account_id, offers.c.id != but).order_by(offers.c.id)
    return list(await tx.execute(query))


async def sending(tx: AsyncConnection, offer: Row[Any]) -> list[str]:
    """Names of the active campaigns and published sites whose visitors may be sent to an offer.

    By weight, by a rule, through a site, or as the alternative of an offer at its cap.
    """
    reached = select(offers.c.id).where(or_(offers.c.id == offer.id, offers.c.alternative_id == offer.id))
    codes_ = (await tx.execute(select(offers.c.code).where(offers.c.id.in_(reached)))).scalars()
    shows = select(site_offers.c.site_id).where(site_offers.c.offer_id.in_(reached))
    weighted = select(campaign_offers.c.campaign_id).where(campaign_offers.c.offer_id.in_(reached))
    rules = cast(campaigns.c.rules, Text)
    sends = or_(
        campaigns.c.id.in_(weighted), campaigns.c.site_id.in_(shows),
        *(rules.contains(f'"offer":"{code}"', autoescape=True) for code in codes_),
    )  # fmt: skip
    active = campaigns.c.team_id == offer.team_id, campaigns.c.status == "active", sends
    named = list((await tx.execute(select(campaigns.c.name).where(*active).order_by(campaigns.c.id))).scalars())
    live = select(sites.c.name).where(sites.c.id.in_(shows), sites.c.status == "published").order_by(sites.c.id)
    return [*named, *(f"site {name}" for name in (await tx.execute(live)).scalars())]


async def shown(tx: AsyncConnection, team_id: int, rows: list[Any]) -> list[Offer]:
    """Offers as faces show them."""
    casino = await codes(tx, casinos, team_id, {row.casino_id for row in rows})
    account = await codes(tx, accounts, team_id, {row.account_id for row in rows})
    offer = await codes(tx, offers, team_id, {row.alternative_id for row in rows} - {None})
    risks = await warnings(tx, rows)
    return [
        Offer(
            id=row.id, name=row.name, code=row.code, casino=casino[row.casino_id], account=account[row.account_id],
            url=row.url, tag=row.tag, markets=row.markets, deal=row.deal, cap=row.cap, cap_event=row.cap_event,
            cap_period=row.cap_period, alternative=offer.get(row.alternative_id), status=status_of(row),
            warnings=risks[row.id], **sorting_of(row),
        )
        for row in rows
    ]  # fmt: skip


async def warnings(tx: AsyncConnection, rows: Sequence[Any]) -> dict[int, list[str]]:
    """By offer what is risky about it for as long as it lasts: an untagged one pulls in other deals' numbers."""
    untagged = await _on_accounts(tx, {row.account_id for row in rows}, offers.c.tag_key.is_(None))
    at_risk = {row.account_id for row in rows if not row.tag_key}
    on_account = await _on_accounts(tx, at_risk)
    segments_of = {account: await segments(tx, account) for account in at_risk}
    return {row.id: _warnings(row, on_account, untagged, segments_of) for row in rows}


async def _on_accounts(
    tx: AsyncConnection, account_ids: set[int], *conditions: ColumnElement[bool]
) -> dict[int, list[Any]]:  # fmt: skip
    """By account the ids and codes of its offers that meet the conditions."""
    by_account: dict[int, list[Any]] = {account: [] for account in account_ids}
    query = select(offers.c.id, offers.c.account_id, offers.c.code).where(offers.c.account_id.in_(account_ids))
    for offer in await tx.execute(query.where(*conditions).order_by(offers.c.id)) if account_ids else ():
        by_account[offer.account_id].append(offer)
    return by_account


def _warnings(
    row: Any, on_account: dict[int, list[Any]], untagged: dict[int, list[Any]], segments_of: dict[int, list[str]]
) -> list[str]:  # fmt: skip
    if row.tag_key:
        text = "on the same account has no tag: it takes every segment that no offer claims"
        return [f"offer {other.code} {text}" for other in untagged[row.account_id] if other.id != row.id]
    tags = segments_of[row.account_id]
    others = [other.code for other in on_account[row.account_id] if other.id != row.id]
    if others or len(tags) > 1:
        named = ", ".join(tags[:5]) or ", ".join(others[:5])
        return [f"no tag, but its account has several deals or segments ({named}): it pulls in their numbers"]
    return []
