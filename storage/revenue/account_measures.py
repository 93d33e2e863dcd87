"""Which measures each account's platform reports: those its connector declares, and those its rows had so far."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.facts import Report
from storage.ledger.revenue.packed_rows import measures_of
from storage.tables import MEASURES, account_measures


def of_report(report: Report) -> frozenset[str]:
    """The measures that a report declares, or states in some row."""
    declared = set(report.measures) & set(MEASURES)
    return frozenset(declared | measures_of(report.rows))


async def note(
    tx: AsyncConnection, account_id: int, measures: AbstractSet[str], *, team_id: int, now: datetime
) -> None:
    """Remember what a recorded report was found to have."""
    a = account_measures.c
    existing = set((await tx.execute(select(a.measure).where(a.account_id == account_id))).scalars())
    rows = [
        {"account_id": account_id, "measure": name, "team_id": team_id, "since": now}
        for name in sorted(measures - existing)
    ]
    if rows:
        await tx.execute(upsert(account_measures).values(rows).on_conflict_do_nothing())


async def of_team(tx: AsyncConnection, team_id: int, *, as_of: datetime | None = None) -> Mapping[int, frozenset[str]]:
    """The measures by account, as known at an instant (None: now)."""
    a = account_measures.c
    query = select(a.account_id, a.measure).where(a.team_id == team_id)
    if as_of is not None:
        query = query.where(a.since <= as_of)
    measures_of: dict[int, set[str]] = {}
    for row in await tx.execute(query):
        measures_of.setdefault(row.account_id, set()).add(row.measure)
    return {account_id: frozenset(names) for account_id, names in measures_of.items()}
