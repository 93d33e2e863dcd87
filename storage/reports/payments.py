"""Owed and paid: commission by account and month under the deal's carryover rule, against payments recorded."""

from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.json_column import change_keys
from storage.ledger.revenue.owed import Earned, Rule, Statement, statements
from storage.tables import accounts, casinos, offers, payments, revenue, settled_days


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's deal says of negative balances; the threshold is in micro-units."""

    rule: Rule = "account"
    threshold: int = 0


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """An account's months in one currency. `outstanding` is what was payable less what was paid: below zero when the
    platform has paid too much. `settled_to` is the last settled day."""

    account: str
    currency: str
    terms: Terms
    months: list[Statement]
    payable: int
    paid: int
    outstanding: int
    carried: int
    settled_to: date | None


async def pay(
    tx: AsyncConnection, *, team_id: int, account_id: int, day: date, amount: int, currency: str, now: datetime
) -> int:
    """Record a payment (a negative one takes a wrong one back); returns its id."""
    row = insert(payments).values(
        team_id=team_id, account_id=account_id, day=day, amount=amount, currency=currency, recorded_at=now
    )
    return int((await tx.execute(row.returning(payments.c.id))).scalar_one())


async def set_terms(tx: AsyncConnection, account: Row[Any], terms: Terms) -> None:
    after = {"carryover": msgspec.structs.asdict(terms)}
    await change_keys(tx, accounts.c.options, account.id, before={}, after=after)


def terms_of(account: Row[Any]) -> Terms:
    return msgspec.convert(account.options.get("carryover", {}), Terms)


async def owed(tx: AsyncConnection, account: Row[Any]) -> list[Owed]:
    """The account's months, a statement for each of its currencies."""
    terms = terms_of(account)
    earned = await _earned(tx, account.id, by_player=terms.rule == "player")
    paid = await _paid(tx, account.id)
    s = settled_days.c
    settled = (await tx.execute(select(func.max(s.day)).where(s.account_id == account.id))).scalar_one_or_none()
    amounts_owed = []
    for currency in sorted(earned.keys() | paid.keys()):
        months = statements(
            earned.get(currency, ()), paid.get(currency, {}), rule=terms.rule, threshold=terms.threshold
        )
        payable, received = sum(month.payable for month in months), sum(month.paid for month in months)
        amounts_owed.append(Owed(
            account=account.code, currency=currency, terms=terms, months=months, payable=payable, paid=received,
            outstanding=payable - received, carried=months[-1].carried_out, settled_to=settled,
        ))  # fmt: skip
    return amounts_owed


async def _earned(tx: AsyncConnection, account_id: int, *, by_player: bool) -> dict[str, list[Earned]]:
    """Commission by currency; a day belongs to the month of the platform's own label."""
    r = revenue.c
    cpa, revshare, other = (
        func.coalesce(r[name], 0) for name in ("commission_cpa", "commission_revshare", "commission_other")
    )
    keys = [r.day, r.currency, r.tag_key, func.lower(r.tag_name).label("name_key")]
    keys += [r.part, r.sub] if by_player else []
    query = select(*keys, func.sum(cpa + revshare + other).label("commission"))
    brands = await _brands(tx, account_id)
    statements: dict[str, list[Earned]] = {}
    for row in await tx.execute(query.where(r.account_id == account_id).group_by(*keys)):
        brand = brands.get(row.tag_key) or brands.get(row.name_key) or brands.get("") or row.tag_key
        player = row.part or row.sub if by_player else ""
        earned = Earned(month=f"{row.day:%Y-%m}", commission=int(row.commission), brand=brand, player=player)
        statements.setdefault(row.currency, []).append(earned)
    return statements


async def _brands(tx: AsyncConnection, account_id: int) -> dict[str, str]:
    """Casino by tag; the empty tag is the offer that takes the rest."""
    o = offers.c
    query = (
        select(o.tag_key, casinos.c.code).join(casinos, casinos.c.id == o.casino_id).where(o.account_id == account_id)
    )
    return {row.tag_key or "": row.code for row in await tx.execute(query)}


async def _paid(tx: AsyncConnection, account_id: int) -> dict[str, dict[str, int]]:
    p = payments.c
    amounts: dict[str, dict[str, int]] = {}
    for row in await tx.execute(select(p.day, p.currency, p.amount).where(p.account_id == account_id)):
        months = amounts.setdefault(row.currency, {})
        months[f"{row.day:%Y-%m}"] = months.get(f"{row.day:%Y-%m}", 0) + row.amount
    return amounts


def listed(team_id: int, account_id: int | None) -> Select[Any]:
    """Payments with their account's code, to be paged by id."""
    p = payments.c
    query = select(p.id, p.day, p.amount, p.currency, accounts.c.code.label("account"))
    query = query.join(accounts, accounts.c.id == p.account_id).where(p.team_id == team_id)
    return query if account_id is None else query.where(p.account_id == account_id)
