"""Liveness, readiness, Prometheus."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import func, select, text

from hub.runtime.runtime import Runtime
from storage.db import tasks
from storage.db.unavailable import plain_words
from storage.tables import faults

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ANSWERS_WITHIN = 2.0  # seconds the database has, so that who asks for readiness is answered before it gives up
#: Metrics of the click path that say how things are now.
GAUGES = {
    "spooled": "clicks that wait in the spool",
    "unsaved": "clicks that wait in memory only",
    "postbacks_spooled": "postbacks that wait in their spool",
    "database_down": "1 while clicks cannot be written to the database",
    "plans_age_seconds": "time since the configuration was read",
    "campaigns": "campaigns in memory",
}
#: Those that count since the start of the process; their names end with `_total`.
COUNTERS = {
    "click_failures": "clicks that failed by an error of the hub and were redirected all the same",
    "writer_commits": "commits of the click writer",
    "writer_clicks": "clicks committed",
    "writer_outgoing": "outgoing clicks committed",
    "writer_spooled": "clicks that went to the spool",
    "writer_drained": "clicks that came back from the spool",
    "writer_lost": "clicks that were redirected and could not be kept anywhere",
    "writer_failed": "clicks that could not be stored",
}


def health_routes(runtime: Runtime) -> list[HTTPRouteHandler]:
    """`/healthz`, `/readyz`, `/metrics`."""

    @get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[bytes]:
        """200 while requests can be served: the database is read, clicks go into it and not to the spool.

        `failing` names the background tasks that fail; one that no request waits for degrades the hub, no more.
        """
        failing = tasks.monitor.failing()
        facts = {"database": await _database(runtime), "failing": failing, **_clicks(runtime)}
        if runtime.snapshot is not None:
            facts["plans_of"] = runtime.snapshot.described.taken_at.isoformat()
        if runtime.reports is not None:
            facts["report_database"] = runtime.reports.fault or "ok"
        ready = (
            facts["database"] == "ok"
            and not (facts.get("spooled") or facts.get("database_down") or facts.get("postbacks_spooled"))
            and tasks.monitor.serving()
        )
        body = msgspec.json.encode({"status": "ok" if ready and not failing else "degraded", **facts})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    @get("/metrics", include_in_schema=False)
    async def metrics() -> Response[bytes]:
        from prometheus_client import CONTENT_TYPE_LATEST
        from prometheus_client import generate_latest as generate

        registry = _measured(runtime, await _faults(runtime))
        # Litestar says the charset itself.
        return Response(generate(registry), media_type=CONTENT_TYPE_LATEST.partition("; charset")[0])

    return [healthz, readyz, metrics]


def _measured(runtime: Runtime, faults_by_kind: Mapping[str, int]) -> "CollectorRegistry":
    """All metrics as they are now. Each answer has a registry of its own, whose age says nothing."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    health = _clicks(runtime)
    for name, meaning in GAUGES.items():
        if (value := health.get(name.removesuffix("_seconds"))) is not None:
            Gauge(f"casinoflux_{name}", meaning, registry=registry).set(value)
    for name, meaning in COUNTERS.items():
        Counter(f"casinoflux_{name}", meaning, registry=registry).inc(health.get(name, 0))
    down = Gauge("casinoflux_task_failing", "1 while a background task fails", ["task"], registry=registry)
    for task in tasks.monitor.failing():
        down.labels(task).set(1)
    counted = Gauge("casinoflux_faults", "requests with a fault, by its kind", ["kind"], registry=registry)
    for kind, n in faults_by_kind.items():
        counted.labels(kind).set(n)
    failures = Counter("casinoflux_task_failures", "failures of background tasks", ["task"], registry=registry)
    for task, n in tasks.monitor.failures().items():
        failures.labels(task).inc(n)
    runs = Counter("casinoflux_job_runs", "runs of jobs that ended well", ["job"], registry=registry)
    for job, n in runtime.state.get("job_runs", {}).items():
        runs.labels(job).inc(n)
    if lag := runtime.state.get("loop_lag"):
        registry.register(lag)
    return registry


async def _database(runtime: Runtime) -> str:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN), runtime.database.read() as tx:
            await tx.execute(text("SELECT n FROM changes"))
    except TimeoutError:
        return f"does not answer within {ANSWERS_WITHIN:g} s: a lock is held from outside, or it is overloaded"
    except Exception as error:
        return plain_words(error) or f"cannot be read ({type(error).__name__})"
    return "ok"


async def _faults(runtime: Runtime) -> dict[str, int]:
    """Unknown codes, cut queries, unreplaced macros so far; nothing while the database is unavailable."""
    query = select(faults.c.kind, func.sum(faults.c.n)).group_by(faults.c.kind)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN), runtime.database.read() as tx:
            return {kind: int(n) for kind, n in await tx.execute(query)}
    except Exception:
        return {}


def _clicks(runtime: Runtime) -> dict[str, Any]:
    clicks, postbacks = runtime.state.get("clicks"), runtime.state.get("postbacks")
    health = dict(clicks.health()) if clicks else {}
    return health | ({"postbacks_spooled": postbacks.spooled} if postbacks else {})
