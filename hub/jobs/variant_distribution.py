"""Sites whose variants' shares follow what their visitors earn: every some minutes they get new ones."""

from typing import Any

import msgspec
import structlog
from sqlalchemy import Row, select

from hub.jobs.distribution import NOTABLE, WAITING, evidence_of
from hub.runtime.runtime import Runtime
from storage.catalogue import variant_distribution as distribution
from storage.catalogue import variants
from storage.catalogue.variant_distribution import VariantDistribution
from storage.ledger.distribution.decision import Request, decide
from storage.reports.variant_earnings import variant_earnings
from storage.tables import sites

log = structlog.get_logger()


async def tick(runtime: Runtime) -> int:
    """Decide on every site that distributes; returns how many shares changed."""
    async with runtime.database.read() as tx:
        rows = await distribution.running(tx)
    changed = 0
    for row in rows:
        try:
            changed += await _site(runtime, row)
        except Exception as error:  # one site's figures do not keep the others from theirs
            log.error("distribution over variants failed", site=row.id, error=type(error).__name__, exc_info=error)
    if changed:
        await runtime.ports.changed()
    return changed


async def _site(runtime: Runtime, row: Row[Any]) -> bool:
    now, deployment = runtime.clock(), runtime.deployment
    before = distribution.of_site(row)
    assert before is not None  # noqa: S101
    async with runtime.database.read() as tx:
        by_hand = [(variant.code, variant.weight) for variant in await variants.running(tx, row.id)]
        codes = [code for code, _ in by_hand]
        earned = await variant_earnings(
            tx, row, codes, timezone=deployment.timezone, currency=deployment.currency,
            today=now.astimezone(deployment.zone).date(), now=now, in_helper=runtime.ports.report_in_helper,
        )  # fmt: skip
    if before.recent and before.recent[-1][0] > now:  # the clock was set back
        return False
    if set(before.shares) != set(codes):
        return await _store(runtime, row, distribution.begin(before, by_hand, now))
    if len(codes) < 2 or earned.faults or not earned.settled:
        note = "; ".join(earned.faults) or ("there is only one variant" if len(codes) < 2 else WAITING)
        return before.note != note and await _store(runtime, row, msgspec.structs.replace(before, note=note))
    places, recent = tuple(range(len(codes))), distribution.of_last_hour(before, now)
    request = Request(
        offers=places, histories={"": {place: earned.histories[code] for place, code in enumerate(codes)}},
        recent={"": [{place: shares.get(code, 0) for place, code in enumerate(codes)} for _, shares in recent]},
        limits=before.limits,
    )  # fmt: skip
    decision = (await runtime.ports.run_background(decide, request))[""]
    shares = {code: decision.weights[place] for place, code in enumerate(codes)}
    evidence = {codes[place]: evidence_ for place, evidence_ in evidence_of(decision).items()}
    if (
        before.note is None
        and before.evidence
        and all(abs(share - before.shares[code]) < NOTABLE for code, share in shares.items())
    ):
        return False
    return await _store(runtime, row, msgspec.structs.replace(
        before, shares=shares, recent=[*recent, (now, shares)], evidence=evidence, note=None,
        values={str(offer): value for offer, value in earned.values.items()},
    ))  # fmt: skip


async def _store(runtime: Runtime, row: Row[Any], made: VariantDistribution) -> bool:
    """Unless a person, or another process, was faster."""
    async with runtime.database.begin() as tx:
        fresh = (await tx.execute(select(sites.c.distribution).where(sites.c.id == row.id))).scalar_one_or_none()
        if fresh != row.distribution:
            return False
        await distribution.store(tx, row.id, made)
    return True
