"""The clicks table's upkeep: coming days' partitions, and raw days that have outlived the retention."""

from hub.runtime import Runtime
from storage import partitions, retention


async def tick(runtime: Runtime) -> None:
    """Have the next days' partitions ready; drop raw clicks that are older than the team wants them kept."""
    now = runtime.clock()
    async with runtime.database.begin() as tx:
        await partitions.ensure(tx, now)
    if runtime.settings.retention_days:
        await retention.drop(runtime.database, now, days=runtime.settings.retention_days)
