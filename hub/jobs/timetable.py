"""The hub's jobs and how often each runs."""

import asyncio
from datetime import timedelta

from hub.jobs import (
    alerts,
    automations,
    costs,
    digests,
    distribution,
    domains,
    imports,
    offer_links,
    outbound,
    rates,
    sync,
    variant_distribution,
)
from hub.jobs.scheduler import Job
from hub.postbacks import handler
from hub.runtime.runtime import Runtime
from storage.catalogue.distribution import forget as forget_steps
from storage.clicks import budgets, partitions, retention
from storage.db import touch_marks, transfer
from storage.postbacks.requests import forget_long_bodies
from storage.reports import cohort_sums, settle, usual_pages
from storage.reports.usual_pages import PagesDue
from storage.revenue import players


async def settle_touched(runtime: Runtime) -> None:
    """Merge the days that moved, team by team; once none move any more, make pages of them."""
    database, deployment, ports = runtime.database, runtime.deployment, runtime.ports
    due: PagesDue = runtime.state.setdefault("pages", None) or PagesDue(runtime.clock())
    runtime.state["pages"] = due
    if await settle.settle_all(database, deployment.zone, in_helper=ports.merge_in_helper):
        due.note_merge(runtime.clock())
    if due.at(now := runtime.clock()) and not await usual_pages.make_missing(
        database, deployment.zone, now, currency=deployment.currency, in_helper=ports.pages_in_helper
    ):
        due.note_none_missing()


async def touch_after_killed(runtime: Runtime) -> None:
    """Mark days that a hub on another machine may have owed a mark: one that was killed does so only when it starts.

    On SQLite there is no other hub.
    """
    if not runtime.database.sqlite:
        yesterday = runtime.clock().date() - timedelta(days=1)
        async with runtime.database.begin() as tx:
            await touch_marks.touch_latest(tx, since=yesterday)


async def sum_cohorts(runtime: Runtime) -> None:
    """Sum up the weeks of registration that moved."""
    await cohort_sums.rebuild(runtime.database)


async def deliver(runtime: Runtime) -> None:
    """Messages from the outbox to their rooms."""
    chats = runtime.state.get("chats")
    if chats is not None:
        await chats.deliver()


async def maintain_storage(runtime: Runtime) -> None:
    """Have the next days' partitions ready; learn when clicks usually come; forget visitors after a day, the long
    bodies of postbacks after a month, raw clicks and views after the retention, what a killed transfer left at once.
    """
    now = runtime.clock()
    if path := runtime.database.file.path:
        await asyncio.to_thread(transfer.clear_left_over, path)
    async with runtime.database.begin() as tx:
        await partitions.ensure(tx, now)
        await forget_steps(tx, now)
    await retention.forget_visitors(runtime.database, now)
    await budgets.learn_all_hours(runtime.database, runtime.deployment.zone, now)
    await forget_long_bodies(runtime.database, now)
    if runtime.settings.retention_days:
        await retention.drop(runtime.database, now, days=runtime.settings.retention_days)
        await players.drop_ids(runtime.database, now, days=runtime.settings.retention_days)
        await retention.drop_views(runtime.database, now, days=runtime.settings.retention_days)


TIMETABLE = (
    Job("settle", 1, settle_touched),
    Job("marks", 600, touch_after_killed),
    Job("sync", 1, sync.tick),
    Job("cohorts", 5, sum_cohorts),
    Job("outbound", 1, outbound.tick),
    Job("costs", 300, costs.tick),
    Job("imports", 1, imports.tick),
    Job("deliver", 1, deliver),
    Job("digests", 2, digests.tick),
    Job("retry", 5, handler.retry_waiting),
    Job("alerts", 60, alerts.tick),
    Job("notices", 5, alerts.notice),
    Job("distribution", 300, distribution.tick),
    Job("variants", 300, variant_distribution.tick),
    Job("automations", 60, automations.tick),
    Job("budgets", 0.5, automations.watch_budgets),
    Job("offer links", 300, offer_links.tick),
    Job("domains", 5, domains.tick),
    Job("upkeep", 3600, maintain_storage),
    Job("rates", 60, rates.tick),
)
