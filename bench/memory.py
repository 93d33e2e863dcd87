"""Memory of `casinoflux serve` at rest with both bots: resident megabytes, the helper process not running."""

import asyncio
import time
from pathlib import Path

from bench.chat_platform import Platform
from bench.chats import Served
from bench.stage import Line, folder, set_up, table

WANTED = 150


def lines(*, seconds: float = 20.0) -> list[Line]:
    with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'bench.db'}"
        asyncio.run(set_up(url))
        served = Served(url, Platform(), place)
        try:
            time.sleep(seconds)  # every job of the timetable but the rarest has run
            status = Path(f"/proc/{served.process.pid}/status").read_text()
        finally:
            served.stop()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return [Line("serve at rest with both bots, MB", kilobytes / 1024, WANTED, at_most=True)]


if __name__ == "__main__":
    print(table(lines()))
