"""Liveness, readiness, Prometheus."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import text

from hub.runtime import Runtime


def health_routes(runtime: Runtime) -> list[HTTPRouteHandler]:
    """`/healthz`, `/readyz`, `/metrics`."""

    @get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[bytes]:
        """200 while the database can be read and clicks go straight into it, not to the spool."""
        facts = {"database": await _database(runtime), **_clicks(runtime)}
        ready = facts["database"] == "ok" and not facts.get("spooled")
        body = msgspec.json.encode({"status": "ok" if ready else "degraded", **facts})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    @get("/metrics", include_in_schema=False)
    async def metrics() -> Response[bytes]:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

        registry = CollectorRegistry()
        for name, value in _clicks(runtime).items():
            if isinstance(value, int | float):
                Gauge(f"casinoflux_{name}", name.replace("_", " "), registry=registry).set(value)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [healthz, readyz, metrics]


async def _database(runtime: Runtime) -> str:
    try:
        async with runtime.database.read() as tx:
            await tx.execute(text("SELECT n FROM changes"))
    except Exception as error:
        return f"cannot be read ({type(error).__name__})"
    return "ok"


def _clicks(runtime: Runtime) -> dict[str, Any]:
    clicks = runtime.state.get("clicks")
    return dict(clicks.health()) if clicks else {}
