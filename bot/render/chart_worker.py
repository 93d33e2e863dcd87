"""Charts drawn beside the hub: in a process of low priority, since drawing one here would hold up every click.

The process takes a chart as JSON and gives its PNG, each after its length in four bytes. It starts with the first
chart and ends by itself after a minute without one, or with the hub.
"""

import asyncio
import logging
import os
import select
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import msgspec

from bot.core.message import Chart
from bot.render.chart_png import draw

log = logging.getLogger(__name__)

KEPT = 32  # pictures; most digests of one moment hold the same
IDLE_SECONDS = 60.0
NICE = 19


class Painter:
    """One process' drawing process; may be asked from any event loop."""

    def __init__(self) -> None:
        # A thread of its own: those of the loop are few, and commits wait for them.
        self._thread = ThreadPoolExecutor(1, "painter")
        self._child: subprocess.Popen[bytes] | None = None
        self._drawn: OrderedDict[Chart, bytes] = OrderedDict()

    async def draw(self, chart: Chart) -> bytes:
        """The chart as a PNG, as bot.render.chart_png draws it."""
        if (known := self._drawn.get(chart)) is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._painted, chart)

    def _painted(self, chart: Chart) -> bytes:
        if chart not in self._drawn:
            self._drawn[chart] = self._asked(msgspec.json.encode(chart)) or draw(chart)
            while len(self._drawn) > KEPT:
                self._drawn.popitem(last=False)
        return self._drawn[chart]

    def _asked(self, chart: bytes) -> bytes | None:
        """What the process gives; a new one is tried where the last has ended. None where there can be none."""
        for _ in range(2):
            try:
                if self._child is None:
                    self._child = _started()
                return _exchange(self._child, chart)
            except OSError as fault:
                self._hang_up()
                log.debug("the drawing process is gone: %s", type(fault).__name__)
        log.warning("charts are drawn here: no drawing process can be started")
        return None

    def _hang_up(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _started() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bot.render.chart_worker"]
    return subprocess.Popen(  # noqa: S603 - our own words; a session of its own, so that Ctrl-C is for the hub alone
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
    )


def _exchange(child: "subprocess.Popen[bytes]", chart: bytes) -> bytes:
    """Raises OSError if the process has ended."""
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    _write(child.stdin.fileno(), len(chart).to_bytes(4) + chart)
    size = int.from_bytes(_exactly(child.stdout.fileno(), 4))
    return _exactly(child.stdout.fileno(), size)


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


def _exactly(number: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(number, size - len(data))
        if not more:
            raise BrokenPipeError("the other side has ended")
        data += more
    return data


PAINTER = Painter()


def main() -> None:
    """The drawing process."""
    os.nice(NICE)
    while select.select([0], [], [], IDLE_SECONDS)[0]:
        try:
            chart = msgspec.json.decode(_exactly(0, int.from_bytes(_exactly(0, 4))), type=Chart)
        except OSError:
            return
        picture = draw(chart)
        _write(1, len(picture).to_bytes(4) + picture)


if __name__ == "__main__":
    main()
