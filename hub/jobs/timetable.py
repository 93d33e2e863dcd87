"""What the hub looks at, and how often."""

from hub.jobs import alerts, costs, digests, domains, offer_links, outbound, rates, retention, sync
from hub.jobs.scheduler import Job
from hub.postbacks import handler
from hub.runtime.runtime import Runtime
from storage.reports import settle


async def settle_touched(runtime: Runtime) -> None:
    """Merge the days that moved, team by team."""
    deployment = runtime.deployment
    await settle.settle_all(
        runtime.database, deployment.zone, runtime.clock(), currency=deployment.currency,
        apart=runtime.ports.merge_apart,
    )  # fmt: skip


async def deliver(runtime: Runtime) -> None:
    """Messages from the outbox to their rooms."""
    chats = runtime.state.get("chats")
    if chats is not None:
        await chats.deliver()


TIMETABLE = (
    Job("settle", 1, settle_touched),
    Job("sync", 1, sync.tick),
    Job("outbound", 1, outbound.tick),
    Job("costs", 300, costs.tick),
    Job("deliver", 1, deliver),
    Job("digests", 2, digests.tick),
    Job("retry", 5, handler.retry_waiting),
    Job("alerts", 60, alerts.tick),
    Job("notices", 5, alerts.notice),
    Job("offer links", 300, offer_links.tick),
    Job("domains", 5, domains.tick),
    Job("upkeep", 3600, retention.tick),
    Job("rates", 60, rates.tick),
)
