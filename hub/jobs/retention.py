"""The clicks table's upkeep: coming days' partitions, and raw days that have outlived the retention."""

from hub.runtime.runtime import Runtime
from storage.clicks import partitions, retention


async def tick(runtime: Runtime) -> None:
    """Have the next days' partitions ready; forget visitors after a day, raw clicks and views after the retention."""
    now = runtime.clock()
    async with runtime.database.begin() as tx:
        await partitions.ensure(tx, now)
    await retention.forget_visitors(runtime.database, now)
    if runtime.settings.retention_days:
        await retention.drop(runtime.database, now, days=runtime.settings.retention_days)
        await retention.drop_views(runtime.database, now, days=runtime.settings.retention_days)
