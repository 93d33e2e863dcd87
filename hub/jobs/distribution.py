"""Traffic distribution: every some minutes, campaigns that have handed over their weights get new ones."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

import structlog
from sqlalchemy import Row, select

from hub.runtime.runtime import Runtime
from storage.catalogue import distribution
from storage.catalogue.distribution import Evidence, Step
from storage.ledger.distribution.decision import Decision, Request, Weights, decide
from storage.reports.distribution import Earnings, earnings_of
from storage.tables import campaigns

log = structlog.get_logger()

NOTABLE = 50  # a change of a weight that is worth a step, in hundredths of a per cent
_STALE = timedelta(hours=6)  # after which a step is stored although nothing changed

WAITING = "no day of any offer is settled yet"
NOTHING_OPEN = "no offer is open: each is paused or of weight 0"


async def tick(runtime: Runtime) -> int:
    """Decide on every campaign that distributes by itself; returns how many weights changed."""
    async with runtime.database.read() as tx:
        rows = await distribution.running(tx)
    changed = 0
    for _, of_team in groupby(rows, lambda row: row.team_id):
        try:
            changed += await _team(runtime, list(of_team))
        except Exception as error:  # one team's figures do not keep the others from theirs
            log.error("distribution failed", error=type(error).__name__, exc_info=error)
    if changed:
        await runtime.ports.changed()
    return changed


async def _team(runtime: Runtime, rows: list[Row[Any]]) -> int:
    now, deployment = runtime.clock(), runtime.deployment
    async with runtime.database.read() as tx:
        members = await distribution.members(tx, [row.id for row in rows])
        past = {row.id: await _past(tx, row) for row in rows}
        earnings = await earnings_of(
            tx, rows, {campaign_id: list(offers) for campaign_id, offers in members.items()},
            timezone=deployment.timezone, currency=deployment.currency,
            today=now.astimezone(deployment.zone).date(), now=now,
            in_helper=runtime.ports.report_in_helper,
        )  # fmt: skip
    changed = 0
    for row in rows:
        changed += await _campaign(runtime, row, members[row.id], past[row.id], earnings[row.id])
    return changed


async def _past(tx: Any, row: Row[Any]) -> dict[str, list[Step]]:
    segments = {"", *distribution.current(row.distributed)}
    return {segment: await distribution.steps(tx, row.id, segment=segment, newest=20) for segment in segments}


async def _campaign(
    runtime: Runtime, row: Row[Any], members: Weights, past: dict[str, list[Step]], earnings: Earnings
) -> bool:
    now = runtime.clock()
    if not members and past[""]:
        return await _kept(runtime, row, past[""][-1], NOTHING_OPEN)
    if not past[""] or set(past[""][-1].weights) != set(members):
        clicks = {offer: history.clicks for offer, history in earnings.histories.get("", {}).items()}
        return await _begin(runtime, row, clicks)
    if past[""][-1].at > now:  # the clock was set back
        return False
    if len(members) < 2 or earnings.faults or not earnings.settled:
        note = "; ".join(earnings.faults) or ("only one offer is open" if len(members) < 2 else WAITING)
        return await _kept(runtime, row, past[""][-1], note)
    recent = {
        segment: [step.weights for step in distribution.of_last_hour(steps, now)]
        for segment, steps in past.items()
        if steps
    }
    request = Request(
        offers=tuple(members), histories=earnings.histories, recent=recent, limits=distribution.limits_of(row)
    )
    decisions = await runtime.ports.run_background(decide, request)
    steps = [
        step
        for segment, decision in decisions.items()
        if (step := _step(decision, segment, past.get(segment, []), now)) is not None
    ]
    return await _store(runtime, row, steps)


async def _kept(runtime: Runtime, row: Row[Any], last: Step, note: str) -> bool:
    """The weights stay; why is said once."""
    now = runtime.clock()
    if last.note == note or last.at > now:
        return False
    return await _store(runtime, row, [Step(
        at=now, segment="", begins=False, weights=last.weights, evidence=last.evidence, note=note
    )])  # fmt: skip


async def _begin(runtime: Runtime, row: Row[Any], clicks: dict[int, int]) -> bool:
    """Offers were added, removed, paused or resumed: begin with the weights that are left."""
    async with runtime.database.begin() as tx:
        fresh = await _still(tx, row)
        if fresh is not None:
            await distribution.begin(tx, fresh, runtime.clock(), clicks=clicks)
    return fresh is not None


async def _store(runtime: Runtime, row: Row[Any], steps: Sequence[Step]) -> bool:
    if not steps:
        return False
    async with runtime.database.begin() as tx:
        fresh = await _still(tx, row)
        if fresh is None or fresh.distributed != row.distributed:  # a person, or another process, was faster
            return False
        await distribution.record(tx, fresh, steps)
    return True


async def _still(tx: Any, row: Row[Any]) -> Row[Any] | None:
    query = select(campaigns).where(campaigns.c.id == row.id, campaigns.c.distribute == distribution.AUTO)
    fresh: Row[Any] | None = (await tx.execute(query)).one_or_none()
    return fresh


def _step(decision: Decision, segment: str, past: Sequence[Step], now: Any) -> Step | None:
    """The step to store; None where nothing notable changed since the last one."""
    last = past[-1] if past else None
    moved = last is None or any(
        abs(weight - last.weights.get(offer, 0)) >= NOTABLE for offer, weight in decision.weights.items()
    )
    if last is not None and not moved and last.note is None and now - last.at < _STALE:
        return None
    evidence = evidence_of(decision)
    return Step(at=now, segment=segment, begins=False, weights=decision.weights, evidence=evidence, note=None)


def evidence_of(decision: Decision) -> dict[int, Evidence]:
    """What a decision was made from."""
    return {
        offer: Evidence(
            clicks=decision.clicks[offer], earnings=value.mean, spread=value.spread, first_deposit=value.first_deposit,
            arrived=value.arrived, best=decision.best[offer],
        )
        for offer, value in decision.values.items()
    }  # fmt: skip
