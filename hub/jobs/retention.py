"""The upkeep of what came: coming days' partitions, raw days and long bodies that have outlived the retention."""

from hub.runtime.runtime import Runtime
from storage.clicks import partitions, retention
from storage.postbacks.requests import forget_long_bodies


async def tick(runtime: Runtime) -> None:
    """Have the next days' partitions ready; forget visitors after a day, the long bodies of postbacks after a month,
    raw clicks and views after the retention.
    """
    now = runtime.clock()
    async with runtime.database.begin() as tx:
        await partitions.ensure(tx, now)
    await retention.forget_visitors(runtime.database, now)
    await forget_long_bodies(runtime.database, now)
    if runtime.settings.retention_days:
        await retention.drop(runtime.database, now, days=runtime.settings.retention_days)
        await retention.drop_views(runtime.database, now, days=runtime.settings.retention_days)
