"""Clicks of a campaign that distributes and has 200 rules in words, against the same campaign without."""

import asyncio

from sqlalchemy import update

from bench.clicks import told
from bench.distribution import distribute
from bench.stage import Line, Server, folder, ratio, rounds, servers, set_up
from storage.db.engine import Database
from storage.ledger.clicks.rotation_rules import read_rules
from storage.tables import campaigns

#: Half ask for a sub id, a quarter join two conditions, a quarter have or, not, patterns and networks.
WORDS = (
    *(f"sub2=zone{1000 + n} -> o0" for n in range(100)),
    *(f"country=DE,AT and sub1=banner-x{n} and not device=tablet -> o1" for n in range(50)),
    *(f"(country=FI or country=SE) and not language=de and sub1=none-{n}* -> o2" for n in range(40)),
    *(f"ip=198.51.{n}.0/24 and referrer=*.example.com/{n}* -> o3" for n in range(10)),
)


async def _with_rules(url: str) -> None:
    await set_up(url)
    database = Database(url)
    async with database.begin() as tx:
        rules = read_rules("; ".join(WORDS), [f"o{n}" for n in range(4)])
        await tx.execute(update(campaigns).values(rules=rules))
    await database.close()
    await distribute(url)


def lines(*, n: int = 7, seconds: float = 3.0) -> list[Line]:
    """Two servers on one core, in turn."""
    with folder() as place:
        urls = {kind: f"sqlite+aiosqlite:///{place / kind}.db" for kind in ("rules", "plain")}
        asyncio.run(_with_rules(urls["rules"]))
        asyncio.run(set_up(urls["plain"]))
        with servers(**{kind: Server("clicks", url) for kind, url in urls.items()}) as started:
            result = rounds({name: server.port for name, server in started.items()}, n=n, seconds=seconds)
    measure = f"clicks with distribution and {len(WORDS)} rules in words ÷ without"
    return [Line(measure, ratio(result, "rules", "plain"), 0.9, detail=told(result, "rules", "plain"))]
