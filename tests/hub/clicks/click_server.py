"""A process with nothing but the hot path, for tests that kill it: `python -m tests.hub.clicks.click_server URL PORT`.

Prints `ready` when it listens; drains on SIGTERM. Settings come from the environment.
"""

import asyncio
import signal
import sys

from hub.clicks.handler import Clicks
from hub.web.listener import Listener
from storage.catalogue import teams
from storage.db.engine import Database
from tests.hub.clicks.click_deployment import runtime_of


async def main(url: str, port: int) -> None:
    database = Database(url)
    runtime = runtime_of(url, database)
    async with database.begin() as tx:
        runtime.team_id = await teams.first(tx, runtime.clock())
    clicks = Clicks(runtime)
    await clicks.start()

    listener = Listener(clicks, host="127.0.0.1", port=port)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await listener.start()
    print("ready", flush=True)
    await stopping.wait()
    await listener.stop()
    await clicks.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
