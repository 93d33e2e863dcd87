"""Liveness, readiness, Prometheus."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
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
        registry = CollectorRegistry()
        registry.register(_Facts(runtime))
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


class _Facts(Collector):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Any:
        for name, value in msgspec.to_builtins(_clicks(self._runtime)).items():
            if isinstance(value, int | float):
                yield GaugeMetricFamily(f"casinoflux_{name}", name.replace("_", " "), value=float(value))
