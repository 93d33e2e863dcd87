"""Stories of players, told in any order and in batches of any size, end in the same rows — on both databases."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.engine import Database
from storage.tables import conversion_states, conversions, postbacks
from tests.storage.scene import NOON, Scene, build

EVENTS = ["reg", "ftd", "dep", "dep", "qualified", "chargeback"]


def story(chance: random.Random) -> list[str]:
    """Requests about two clicks; `CLICK0`, `TXN` and `PLAYER` are filled in for each telling."""
    messages = []
    for n in range(chance.randint(2, 12)):
        event, click = chance.choice(EVENTS), chance.randint(0, 1)
        parts = [
            f"click_id=CLICK{click}",
            f"event={event}",
            f"occurred_at=2026-10-01T12:{chance.randint(0, 5)}{n % 10}:{n:02}Z",
        ]
        if event in {"dep", "chargeback"} or chance.random() < 0.6:
            parts.append(f"txn_id=TXN{click}{chance.randint(1, 3)}")
            parts.append(f"status={chance.choice(['pending', 'approved', 'approved', 'rejected'])}")
        if chance.random() < 0.7:
            parts.append(f"amount={chance.choice([10, 20, 30])}")
        if chance.random() < 0.3:
            parts.append(f"player_id=PLAYER{click}")
        messages.append("&".join(parts))
    messages += chance.choices(messages, k=chance.randint(0, 3))
    messages += [item.replace(f"click_id=CLICK{c}&", "") for c in (0, 1) for item in messages if f"PLAYER{c}" in item][
        :2
    ]
    return messages


async def tell(tx: AsyncConnection, scene: Scene, answer: list[str], number: int, chance: random.Random) -> Any:
    clicks = [await scene.click(tx, number * 2 + n) for n in (0, 1)]
    names = {f"CLICK{n}": click for n, click in enumerate(clicks)} | {"TXN": f"t{number}-", "PLAYER": f"p{number}-"}
    queries = []
    for query in answer:
        for word, value in names.items():
            query = query.replace(word, value)
        queries.append(query)
    while queries:
        size = chance.randint(1, 5)
        await scene.post(tx, *queries[:size], now=NOON)
        queries = queries[size:]
    ids = [scene.codec.decode(click) for click in clicks]
    return await rows(tx, ids)


async def rows(tx: AsyncConnection, ids: list[int | None]) -> list[tuple[Any, ...]]:
    """What reports can see. A row whose player turned out to be another's stays as reversed: that is left out."""
    result = await tx.execute(select(conversions).where(conversions.c.click_id.in_(ids)))
    return sorted(
        (
            (ids.index(r.click_id), r.event, r.status, r.is_ftd, r.amount, r.occurred_at, r.day)
            for r in result
            if "merged" not in r.marks
        ),
        key=lambda row: tuple(map(str, row)),
    )


@pytest.mark.slow_on_postgresql
async def test_any_order_and_any_batches_end_in_the_same_rows(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        for seed in range(25):
            chance = random.Random(seed)
            scene.words = {"has_ftd_event": seed % 3 != 0}
            answer = story(chance)
            first = await tell(tx, scene, answer, seed * 3, chance)
            for again in (1, 2):
                chance.shuffle(answer)
                assert await tell(tx, scene, answer, seed * 3 + again, chance) == first, f"seed {seed}"
        await check_history(tx)


@pytest.mark.slow_on_postgresql
async def test_a_direct_transaction_ends_in_the_same_rows_as_an_ordinary_one(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            scene = await build(tx)
        for seed in range(6):
            answer = story(random.Random(seed))
            scene.words = {"has_ftd_event": seed % 3 != 0}
            async with database.read() as tx:
                scene.book = await scene.directory(tx)

            async def work(tx: AsyncConnection, answer: list[str] = answer, number: int = seed * 2) -> Any:
                return await tell(tx, scene, answer, number, random.Random(number))

            fast = await database.run(work)
            async with database.begin() as tx:
                assert await work(tx, answer, seed * 2 + 1) == fast, f"seed {seed}"
        async with database.read() as tx:
            await check_history(tx)


@pytest.mark.slow_on_postgresql
async def test_on_both_databases_each_request_has_the_same_outcome(
    opened: Callable[[], Any], sqlite_template: Path, tmp_path: Path
) -> None:
    """PostgreSQL looks up and stores a batch in few statements, SQLite step by step."""

    async def outcomes(database: Database) -> list[tuple[Any, ...]]:
        async with database.begin() as tx:
            scene = await build(tx)
            for seed in range(100, 140):
                scene.words = {"has_ftd_event": seed % 3 != 0}
                await tell(tx, scene, story(random.Random(seed)), seed, random.Random(seed))
            c = postbacks.c
            rows = await tx.execute(select(c.outcome, c.reason, c.joined, c.conversion_id).order_by(c.id))
            conversion_ids: dict[int | None, int] = {None: 0}
            return [(*row[:3], conversion_ids.setdefault(row[3], len(conversion_ids))) for row in rows]

    path = shutil.copy(sqlite_template, tmp_path / "reference.db")
    reference = Database(f"sqlite+aiosqlite:///{path}")
    try:
        async with opened() as database:
            assert await outcomes(database) == await outcomes(reference)
    finally:
        await reference.close()


async def check_history(tx: AsyncConnection) -> None:
    """The last state kept of each conversion is what it is now, and every request of one names it."""
    last: dict[int, Any] = {}
    for state in await tx.execute(select(conversion_states).order_by(conversion_states.c.id)):
        last[state.conversion_id] = state
    for row in await tx.execute(select(conversions)):
        state = last[row.id]
        assert (state.status, state.is_ftd, state.amount, state.day) == (row.status, row.is_ftd, row.amount, row.day)
    outcomes = {"accepted", "duplicate", "updated"}
    for stored in await tx.execute(select(postbacks).where(postbacks.c.outcome.in_(outcomes))):
        assert stored.conversion_id is not None or stored.joined or "another click" in (stored.reason or ""), stored
