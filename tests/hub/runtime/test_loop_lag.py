"""The event loop's lag is a histogram, and what holds the loop is named in the log."""

import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from hub.runtime.loop_lag import EVERY, LoopLag


def hold_the_loop(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def exposed(lag: LoopLag) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(lag)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


async def test_the_lag_is_counted_and_what_holds_the_loop_is_named() -> None:
    lag = LoopLag()
    await lag.start()
    try:
        await asyncio.sleep(EVERY * 3)
        with capture_logs() as logs:
            hold_the_loop(0.6)
            await asyncio.sleep(EVERY * 3)
    finally:
        await lag.stop()
    held = [entry for entry in logs if entry["event"] == "the event loop is held"]
    [ours] = [entry for entry in held if entry["callback"].endswith("hold_the_loop")]  # a loaded machine holds it too
    assert ours["milliseconds"] >= 100
    counts = exposed(lag)
    name = "casinoflux_event_loop_lag_seconds"
    assert counts[f"{name}_count"] >= 3
    assert counts[f"{name}_sum"] >= 0.4
    assert counts[f'{name}_bucket{{le="0.25"}}'] < counts[f'{name}_bucket{{le="+Inf"}}'] == counts[f"{name}_count"]
