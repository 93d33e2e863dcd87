"""Conversions taken back: what made them is read otherwise today, since the account's mapping has changed."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import SUBS, Event, Status
from storage.ledger.postbacks.conversion_facts import Derived, Request
from storage.postbacks.conversion_rows import Change, end
from storage.postbacks.conversions import ConversionProcessor, receive
from storage.postbacks.matching import as_request, neighbours
from storage.postbacks.requests import Entry, as_stored
from storage.tables import postbacks

MARK = "withdrawn"


async def withdraw(tx: AsyncConnection, rows: Sequence[Row[Any]], processor: ConversionProcessor) -> None:
    """Take requests out of what they made: what stays of their conversions is derived again from the others.

    A conversion that nothing is left of stays as a row, reversed and marked `withdrawn`, its history with it; the
    traffic source is notified of the reversal as of any other.
    """
    others = await _tied(tx, rows, processor)
    numbers = [row.id for row in rows]
    await tx.execute(update(postbacks).where(postbacks.c.id.in_(numbers)).values(joined=False, conversion_id=None))
    await receive(tx, [as_stored(row, processor.book.by_id[row.account_id]) for row in others], processor)
    conversion_ids = {row.conversion_id for row in rows}
    remaining = select(postbacks.c.conversion_id).where(
        postbacks.c.conversion_id.in_(conversion_ids), postbacks.c.joined
    )
    for number in sorted(conversion_ids - set((await tx.execute(remaining)).scalars())):
        row = await end(tx, number, MARK, book=processor.book, now=processor.now)
        if processor.forward is not None and row.status != Status.REVERSED:
            await processor.forward(tx, [_ended(row, processor)], True)


async def _tied(tx: AsyncConnection, rows: Sequence[Row[Any]], processor: ConversionProcessor) -> Sequence[Row[Any]]:
    """The other stored requests that were looked at together with these."""
    requests_of: dict[int, list[Request]] = {}
    for row in rows:
        entry = Entry(
            postback_request=as_stored(row, processor.book.by_id[row.account_id]), click_id=row.click_id, number=row.id
        )
        requests_of.setdefault(row.account_id, []).append(as_request(entry))
    known_requests = await neighbours(
        tx, requests_of, {account: processor.book.by_id[account].account_rules for account in requests_of}
    )
    numbers = [request.id for requests in known_requests.values() for request in requests]
    return (await tx.execute(select(postbacks).where(postbacks.c.id.in_(numbers)).order_by(postbacks.c.id))).all()


def _ended(row: Row[Any], processor: ConversionProcessor) -> Change:
    derived = Derived(
        event=Event(row.event), status=Status.REVERSED, is_ftd=row.is_ftd, amount=row.amount, currency=row.currency,
        occurred_at=row.occurred_at, txn_id=row.txn_id, click_id=row.click_id, player_id=row.player_id,
        received_at=processor.now, marks=(MARK,), requests=(),
    )  # fmt: skip
    values = dict(row._mapping) | msgspec.structs.asdict(derived) | {"subs": tuple(row._mapping[sub] for sub in SUBS)}
    return Change(account=processor.book.by_id[row.account_id], derived=derived, id=row.id, before=row, row=values)
