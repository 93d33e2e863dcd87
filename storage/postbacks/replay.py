"""Looking again at requests stored earlier: after a mapping change, when a click has appeared, on demand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.postbacks.conversions import ConversionProcessor, lock_accounts, receive
from storage.postbacks.requests import PostbackRequest, RequestFilter, again, is_forgotten, stored, waiting_for_clicks
from storage.postbacks.withdrawals import withdraw
from storage.tables import accounts, clicks, postbacks

_CHUNK = 500


async def replay(
    tx: AsyncConnection,
    team_id: int,
    request_filter: RequestFilter,
    processor: ConversionProcessor,
    *,
    most: int = 10_000,
) -> Mapping[str, int]:
    """Read stored requests again by today's mapping; outcome -> how many ended in it. Nothing is counted twice."""
    await _take_lock(tx, team_id, request_filter)
    outcomes: Counter[str] = Counter()
    after = 0
    while most > 0:
        rows = await stored(tx, team_id, request_filter, limit=min(_CHUNK, most), after=after)
        if not rows:
            break
        after, most = rows[-1].id, most - len(rows)
        arrivals = [arrival for arrival in (_reread(row, processor) for row in rows) if arrival is not None]
        await _withdraw_unmatched(tx, rows, arrivals, processor)
        outcomes.update(done.outcome.value for done in await receive(tx, arrivals, processor))
        outcomes["unchanged"] += len(rows) - len(arrivals)
    return {outcome: n for outcome, n in outcomes.items() if n}


async def _take_lock(tx: AsyncConnection, team_id: int, request_filter: RequestFilter) -> None:
    query = select(accounts.c.id).where(accounts.c.team_id == team_id)
    if request_filter.account_id is not None:
        query = query.where(accounts.c.id == request_filter.account_id)
    await lock_accounts(tx, (await tx.execute(query)).scalars().all())


def _reread(row: Row[Any], processor: ConversionProcessor) -> PostbackRequest | None:
    """A stored request to be placed again; None if that would say nothing new.

    One that made a conversion but cannot be read so any more, or is of another click, is without that conversion.
    """
    account = processor.book.by_id.get(row.account_id)
    if account is None or row.reason == "body over 1,000,000 bytes" or is_forgotten(row):
        return None
    arrival = again(row, account)
    if row.conversion_id is None:
        return arrival
    if not row.joined:
        return None
    if arrival.signal.outcome is not None or arrival.signal.click != row.click:
        arrival.conversion_id = None
        return arrival
    same = (
        arrival.signal.event,
        arrival.signal.txn_id,
        arrival.signal.player_id,
        arrival.signal.status,
        arrival.signal.amount,
    )
    was = (row.event, row.txn_id, row.player_id, row.status, row.amount)
    return None if same == was else arrival


async def _withdraw_unmatched(
    tx: AsyncConnection, rows: Sequence[Row[Any]], arrivals: list[PostbackRequest], processor: ConversionProcessor
) -> None:
    """Of those read otherwise, what they made; but what a person put right stands, and so do they."""
    by_id = {row.id: row for row in rows}
    unmatched = [
        by_id[arrival.id]
        for arrival in arrivals
        if arrival.id and by_id[arrival.id].conversion_id and not arrival.conversion_id
    ]
    if not unmatched:
        return
    conversion_ids = {row.conversion_id for row in unmatched}
    corrected = set(
        (await tx.execute(select(postbacks.c.corrects).where(postbacks.c.corrects.in_(conversion_ids)))).scalars()
    )
    corrected_ids = {row.id for row in unmatched if row.conversion_id in corrected}
    arrivals[:] = [arrival for arrival in arrivals if arrival.id not in corrected_ids]
    await withdraw(tx, [row for row in unmatched if row.id not in corrected_ids], processor)


async def retry_waiting(
    tx: AsyncConnection, processor: ConversionProcessor, *, since: datetime, limit: int = 500
) -> int:
    """Place requests whose click has been stored since they came (it may have lain in the spool); how many."""
    accounts_of = {row.account_id for row in await waiting_for_clicks(tx, since, limit=5_000)}
    if not accounts_of:
        return 0
    await lock_accounts(tx, accounts_of)  # another job or hub may be placing the same: then they wait no longer
    rows = [row for row in await waiting_for_clicks(tx, since, limit=5_000) if row.account_id in accounts_of]
    existing = await _existing(tx, [row.click_id for row in rows])
    arrivals = [again(row, processor.book.by_id[row.account_id]) for row in rows if row.click_id in existing][:limit]
    await receive(tx, arrivals, processor)
    return len(arrivals)


async def any_to_retry(tx: AsyncConnection, since: datetime) -> bool:
    """Whether a waiting request's click is there now; a look that locks nothing."""
    rows = await waiting_for_clicks(tx, since, limit=5_000)
    return bool(await _existing(tx, [row.click_id for row in rows]))


async def _existing(tx: AsyncConnection, ids: Sequence[int]) -> set[int]:
    existing: set[int] = set()
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        existing |= set((await tx.execute(select(clicks.c.id).where(clicks.c.id.in_(chunk)))).scalars())
    return existing
