"""The event loop's lag is a histogram, and what holds the loop is named in the log."""

import asyncio
import signal
import subprocess
import sys
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


_IDLE = """
import asyncio
import uvloop
from hub.runtime.loop_lag import LoopLag

async def idle():
    lag = LoopLag()
    await lag.start()
    print("idle", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, input)
    await asyncio.sleep(0.3)
    await lag.stop()

uvloop.run(idle())
"""


def test_a_process_that_is_stopped_for_a_while_blames_no_callback() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"idle\n"
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    child.send_signal(signal.SIGCONT)
    output, _ = child.communicate(b"\n", timeout=300)
    assert output == b""
    assert child.returncode == 0
