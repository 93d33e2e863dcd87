"""Postbacks accepted per second, durable, against clicks of the same server in the same rounds.

`python -m bench.postbacks` measures; `python -m bench.postbacks load PORT SECONDS CONNECTIONS SEED FILE` is its load.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from sqlalchemy import select

from bench.load import hammer
from bench.scale import postgresql
from bench.stage import (
    CONNECTIONS,
    Figures,
    Line,
    against_clicks,
    folder,
    load,
    run_process,
    set_up,
    table,
    warm_server,
)
from storage.clicks.queries import codec
from storage.db.engine import Database
from storage.tables import clicks

WANTED = 0.5  # of durable clicks
_REQUESTS = 60_000


def requests(ids: list[str], seed: int) -> list[bytes]:
    """Registrations, first deposits, then deposits, each with a transaction of its own; one in ten is sent twice."""
    chance = random.Random(seed)
    made: list[bytes] = []
    for n in range(_REQUESTS):
        event = ("registration", "first_deposit", "deposit")[min(n // len(ids), 2)]
        query = f"click_id={ids[n % len(ids)]}&event={event}&txn_id=T{seed}-{n}&amount={chance.randint(10, 200)}.50"
        one = f"GET /postback/benchkey?{query}&currency=EUR HTTP/1.1\r\nHost: track.localhost\r\n\r\n".encode()
        made += [one, one] if n % 10 == 0 else [one]
    return made


async def click_ids(url: str) -> list[str]:
    """Ids of the latest clicks, as links carry them."""
    database = Database(url)
    async with database.read() as tx:
        encode = (await codec(tx)).encode
        result = [
            encode(scalar)
            for scalar in (await tx.execute(select(clicks.c.id).order_by(clicks.c.id.desc()).limit(8_000))).scalars()
        ]
    await database.close()
    return result


def postback_load(port: int, *, seconds: float, seed: int, ids: Path) -> dict[str, float]:
    """Load from a process on the last core."""
    return run_process("bench.postbacks", "load", str(port), str(seconds), str(CONNECTIONS), str(seed), str(ids))


def lines(*, n: int = 3, seconds: float = 4.0) -> list[Line]:
    """Interleaved rounds of clicks and postbacks on one server, on SQLite and on PostgreSQL, whose processes run where
    the scheduler puts them."""
    with folder() as place:
        sqlite = measured(f"sqlite+aiosqlite:///{place / 'bench.db'}", place / "ids.json", n, seconds)
        with postgresql() as url:
            postgres = measured(url, place / "ids.json", n, seconds)
    return [
        against_clicks("postbacks, durable ÷ clicks, durable", *sqlite, wanted=WANTED),
        against_clicks("the same on PostgreSQL", *postgres, wanted=WANTED),
    ]


def measured(url: str, names: Path, n: int, seconds: float) -> tuple[list[Figures], list[Figures]]:
    """Rounds of postbacks and of clicks on a server of an empty database."""
    asyncio.run(set_up(url))
    clicked, posted = [], []
    with warm_server(url) as server:
        for number in range(n):
            clicked.append(load(server.port, seconds=seconds, seed=number))
            names.write_text(json.dumps(asyncio.run(click_ids(url))))
            posted.append(postback_load(server.port, seconds=seconds, seed=number, ids=names))
    return posted, clicked


def main(port: str, seconds: str, connections: str, seed: str, ids: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    made = requests(json.loads(Path(ids).read_text()), int(seed))
    print(json.dumps(hammer(int(port), float(seconds), int(connections), made, status=b"200")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        main(*sys.argv[2:])
    else:
        print(table(lines()))
