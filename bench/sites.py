"""Published pages per second, from memory, against durable clicks of the same server in the same rounds.

`python -m bench.sites` measures; `python -m bench.sites load PORT SECONDS CONNECTIONS` is its load.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from sqlalchemy import select, update

from bench.load import clicks, hammer
from bench.stage import CONNECTIONS, Line, against_clicks, folder, load, run_process, set_up, table, warm_server
from storage.catalogue import sites
from storage.db.engine import Database
from storage.tables import casinos, offers

WANTED = 0.5  # of durable clicks
PATH = "/s/bench"
CLICK = "?click=01hzx3mn8pqr7&click_id="


async def publish(url: str, team_id: int) -> None:
    """A published offer wall `bench` with all offers."""
    database = Database(url)
    async with database.begin() as tx:
        values = {"name": "Bench", "code": "bench", "market": "DE", "locale": "de", "theme": "offer-wall", "texts": {}}
        shown = list((await tx.execute(select(offers.c.id))).scalars())
        site_id = await sites.add(tx, team_id=team_id, now=datetime.now(UTC), values=values, offer_ids=shown)
        await sites.change(tx, site_id, {"status": sites.PUBLISHED})
        facts = {"status": "reviewed", "bonus": "100 % up to €200", "payment_methods": ["Visa", "Trustly", "Skrill"]}
        await tx.execute(update(casinos).values(**facts))
    await database.close()


def page_load(port: int, *, seconds: float) -> dict[str, float]:
    """Load from a process on the last core."""
    return run_process("bench.sites", "load", str(port), str(seconds), str(CONNECTIONS))


def lines(*, n: int = 3, seconds: float = 4.0) -> list[Line]:
    """Interleaved rounds of clicks and pages, each page with a visitor's own click id, on one SQLite server."""
    with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'bench.db'}"
        asyncio.run(publish(url, asyncio.run(set_up(url))))
        with warm_server(url) as server:
            clicked, shown = [], []
            for number in range(n):
                clicked.append(load(server.port, seconds=seconds, seed=number))
                shown.append(page_load(server.port, seconds=seconds))
    return [against_clicks("published pages ÷ clicks, durable", shown, clicked, wanted=WANTED)]


def main(port: str, seconds: str, connections: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    made = [request.replace(b"?click_id=", CLICK.encode()) for request in clicks(1, PATH)]
    print(json.dumps(hammer(int(port), float(seconds), int(connections), made, status=b"200")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        main(*sys.argv[2:])
    else:
        print(table(lines()))
