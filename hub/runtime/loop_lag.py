"""How late the event loop is, as a histogram; what holds it for long is named in the log.

A timer measures how late it is called. A thread looks at the timer's last call: when it is overdue, the thread notes
which function the event loop's thread is in. That costs some microseconds a second, unlike asyncio's debug mode.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from itertools import accumulate
from types import FrameType
from typing import Any

import structlog

log = structlog.get_logger()

EVERY = 0.05  # seconds between measurements
HELD = 0.1  # seconds after which the callback is named
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LOOP = ("asyncio.", "uvloop.", "selectors.", "hub.__main__.")
_OURS = ("bot.", "connectors.", "hub.", "storage.")


class LoopLag:
    """Measures the running event loop from `start` to `stop`."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._due = 0.0
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._stopped.clear()
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()
        self._schedule()
        threading.Thread(target=self._watch, name="loop lag", daemon=True).start()

    async def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def collect(self) -> Iterator[Any]:
        """For prometheus_client: the histogram since the start."""
        from prometheus_client.metrics_core import HistogramMetricFamily

        names = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        buckets = list(zip(names, map(float, accumulate(self._counts)), strict=True))
        text = "how late the event loop calls what is due"
        yield HistogramMetricFamily("casinoflux_event_loop_lag_seconds", text, buckets=buckets, sum_value=self._seconds)

    def _schedule(self) -> None:
        self._due = time.monotonic() + EVERY
        self._timer = self._loop.call_later(EVERY, self._measure)

    def _measure(self) -> None:
        late = max(time.monotonic() - self._due, 0.0)
        self._seconds += late
        self._counts[next((n for n, bound in enumerate(BOUNDS) if late <= bound), len(BOUNDS))] += 1
        self._schedule()

    def _watch(self) -> None:
        """In the thread: name what holds the loop, once for each time it is held.

        A thread that is late itself, while the process used no processor time, says that the process had none.
        """
        named = on_since = 0.0
        before, used_before = time.monotonic(), time.process_time()
        while not self._stopped.wait(EVERY):
            now, used = time.monotonic(), time.process_time()
            overslept = now - before - EVERY
            if overslept > HELD / 2 and used - used_before < overslept / 2:
                on_since = now
            before, used_before = now, used
            due = self._due
            late = now - max(due, on_since)
            if late >= HELD and due != named:
                named = due
                if where := _place(sys._current_frames().get(self._thread_id)):
                    log.warning("the event loop is held", milliseconds=round(late * 1000), callback=where)


def _place(frame: FrameType | None) -> str:
    """The innermost function of ours that runs, else the innermost of all; empty if the loop itself is at work: then
    the process has not had the processor, or was stopped."""
    names = []
    while frame is not None:
        names.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    if not names or names[0].startswith(_LOOP):
        return ""
    return next((name for name in names if name.startswith(_OURS) and not name.startswith(_LOOP)), names[0])
