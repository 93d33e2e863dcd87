"""Invoices in numbered order, and what of them is paid, open and overdue: payments settle the oldest first."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Missing
from storage.tables import accounts, billing, invoices, payments, teams


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What a team writes on its invoices; `days` is the time to pay, `prefix` stands before the number."""

    name: str = ""
    address: str = ""
    tax_id: str = ""
    bank: str = ""
    note: str = ""
    prefix: str = ""
    days: int = 30


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice; amounts are micro-units. `state`: open, paid, overdue or cancelled."""

    id: int
    code: str
    account: str
    month: str
    issued: date
    due: date
    amount: int
    paid: int
    open: int
    currency: str
    recipient: str
    state: str


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What is billed to an account for a month."""

    account_id: int
    month: str
    issued: date
    due: date
    amount: int
    currency: str
    recipient: str


async def details(tx: AsyncConnection, team_id: int) -> Details:
    """The team's details; empty where it has set none."""
    stored = (await tx.execute(select(billing.c.details).where(billing.c.team_id == team_id))).scalar_one_or_none()
    return msgspec.convert(stored or {}, Details)


async def set_details(tx: AsyncConnection, team_id: int, new: Details) -> None:
    values = {"details": msgspec.structs.asdict(new)}
    statement = upsert(billing).values(team_id=team_id, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["team_id"], set_=values))


async def add(tx: AsyncConnection, team_id: int, bill: Bill, *, sender: Details, now: datetime) -> int:
    """Store an invoice under the team's next number; returns its id. Two at once wait for each other."""
    await tx.execute(select(teams.c.id).where(teams.c.id == team_id).with_for_update())
    last = (await tx.execute(select(func.max(invoices.c.number)).where(invoices.c.team_id == team_id))).scalar_one()
    number = int(last or 0) + 1
    row = insert(invoices).values(
        team_id=team_id, number=number, code=f"{sender.prefix}{bill.issued.year}-{number:04}", created_at=now,
        sender=msgspec.structs.asdict(sender), **msgspec.structs.asdict(bill),
    )  # fmt: skip
    return int((await tx.execute(row.returning(invoices.c.id))).scalar_one())


async def cancel(tx: AsyncConnection, invoice_id: int) -> None:
    """Take an invoice back; its number is not given again."""
    await tx.execute(update(invoices).where(invoices.c.id == invoice_id).values(cancelled=True))


async def find(tx: AsyncConnection, team_id: int, word: str) -> Row[Any]:
    """The invoice of that number as it is written, or id. Raises Missing."""
    i = invoices.c
    for condition in (i.code == word.strip(), i.id == (int(word) if word.isdecimal() and len(word) < 19 else 0)):
        row: Row[Any] | None = (await tx.execute(listed(team_id, None).where(condition))).first()
        if row is not None:
            return row
    raise Missing(f"no invoice {word!r}: invoice list shows them", field="invoice")


def listed(team_id: int, account_id: int | None) -> Select[Any]:
    """Invoices with their account's code, to be paged by id."""
    i = invoices.c
    query = select(invoices, accounts.c.code.label("account")).join(accounts, accounts.c.id == i.account_id)
    query = query.where(i.team_id == team_id)
    return query if account_id is None else query.where(i.account_id == account_id)


async def shown(tx: AsyncConnection, rows: Sequence[Row[Any]], today: date) -> list[Invoice]:
    """Invoices with what of each is paid."""
    paid: dict[int, int] = {}
    for key in {(row.account_id, row.currency) for row in rows}:
        paid |= await _paid(tx, *key)
    return [_invoice(row, paid.get(row.id, 0), today) for row in rows]


def _invoice(row: Row[Any], paid: int, today: date) -> Invoice:
    remaining = 0 if row.cancelled else row.amount - paid
    late = remaining > 0 and row.due < today
    state = "cancelled" if row.cancelled else "paid" if remaining <= 0 else "overdue" if late else "open"
    return Invoice(
        id=row.id, code=row.code, account=row.account, month=row.month, issued=row.issued, due=row.due,
        amount=row.amount, paid=paid, open=max(remaining, 0), currency=row.currency, recipient=row.recipient,
        state=state,
    )  # fmt: skip


async def _paid(tx: AsyncConnection, account_id: int, currency: str) -> dict[int, int]:
    """What of each invoice of an account is paid: what was paid in all goes to the one due first."""
    i, p = invoices.c, payments.c
    total = select(func.coalesce(func.sum(p.amount), 0)).where(p.account_id == account_id, p.currency == currency)
    left = max(int((await tx.execute(total)).scalar_one()), 0)
    mine = i.account_id == account_id, i.currency == currency, i.cancelled.is_(False)
    paid = {}
    for row in await tx.execute(select(i.id, i.amount).where(*mine).order_by(i.due, i.id)):
        paid[row.id] = min(left, row.amount)
        left -= paid[row.id]
    return paid


def due_day(issued: date, days: int) -> date:
    return issued + timedelta(days=days)
