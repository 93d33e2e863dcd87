"""Sites whose variants' shares are set by what their visitors earn: settings, current shares, and what they follow."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.distribution import HOLDOUT, Evidence
from storage.db import config_version
from storage.ledger.distribution.weights import Limits, start
from storage.tables import sites

Shares = dict[str, int]
"""By variant, in hundredths of a per cent: together storage.ledger.distribution.weights.WHOLE."""

_HOUR = timedelta(hours=1)


class VariantDistribution(msgspec.Struct, frozen=True, kw_only=True):
    """How a site shares its visitors out over its variants. `recent` are the shares that were in force at some moment
    of the last hour, `since` when the comparison with the holdout began; `floor` and `holdout` in hundredths of a per
    cent; `note` says why the shares stay."""

    floor: int | None = None
    holdout: int = HOLDOUT
    shares: Shares = {}
    recent: list[tuple[datetime, Shares]] = []
    since: datetime | None = None
    evidence: dict[str, Evidence] = {}
    values: dict[str, float] = {}  # what an FTD brings in all, by offer id
    note: str | None = None

    @property
    def limits(self) -> Limits:
        return Limits(floor=self.floor)


def of_site(row: Row[Any]) -> VariantDistribution | None:
    """A site's own; None where its variants' shares are set by hand."""
    return None if row.distribution is None else msgspec.convert(row.distribution, VariantDistribution, strict=False)


def begin(
    before: VariantDistribution, by_hand: Sequence[tuple[str, int]], now: datetime, *, compare_again: bool = False
) -> VariantDistribution:
    """Shares to begin with, by the weights set by hand or those that were, within the floor."""
    shares_before = {code: before.shares.get(code, 0) for code, _ in by_hand}
    weights = [shares_before[code] if any(shares_before.values()) else weight for code, weight in by_hand]
    seen = [
        before.limits.warm_up if before.shares.get(code) or not any(shares_before.values()) else 0
        for code, _ in by_hand
    ]
    shares = dict(zip([code for code, _ in by_hand], start(weights, before.limits, clicks=seen), strict=True))
    since = now if compare_again or before.since is None or shares.keys() != before.shares.keys() else before.since
    return msgspec.structs.replace(before, shares=shares, recent=[(now, shares)], since=since, evidence={}, note=None)


def of_last_hour(made: VariantDistribution, now: datetime) -> list[tuple[datetime, Shares]]:
    """The shares that were in force at some moment of the last hour, and since when."""
    recent: list[tuple[datetime, Shares]] = []
    for at, shares in reversed(made.recent):
        recent.insert(0, (at, shares))
        if at <= now - _HOUR:
            break
    return recent


async def store(tx: AsyncConnection, site_id: int, made: VariantDistribution | None) -> None:
    """Keep it; visitors are sent by it within a second."""
    plain = None if made is None else msgspec.to_builtins(made)
    await tx.execute(update(sites).where(sites.c.id == site_id).values(distribution=plain))
    await config_version.bump(tx)


async def running(tx: AsyncConnection) -> list[Row[Any]]:
    """Published sites of all teams that distribute."""
    s = sites.c
    query = select(sites).where(s.distribution.is_not(None), s.status == "published").order_by(s.team_id, s.id)
    return list(await tx.execute(query))
