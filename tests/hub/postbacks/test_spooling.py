"""Postbacks that come while the database is unavailable are kept on disk, and placed once each when it is back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text, update

from hub.postbacks.handler import Postbacks
from hub.runtime.runtime import Runtime
from storage.db import engine
from storage.db.deferred_transaction import DeferredTransaction
from storage.db.engine import T
from storage.db.unavailable import DatabaseUnavailable
from storage.tables import accounts, conversions, postbacks
from tests.hub.postbacks.test_postbacks import served, until_placed
from tests.storage.scene import Scene
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL spools lie below the working folder."""
    monkeypatch.chdir(tmp_path)


class Away:
    """A switch that takes the database away from the postback recorder: before its commits, or after them."""

    def __init__(self, part: Postbacks, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before = self.after = False
        for name in ("run", "run_deferred"):
            monkeypatch.setattr(part, name, self._with_fault(getattr(part, name)))

    def _with_fault(self, run: Callable[..., Any]) -> Callable[..., Any]:
        async def with_fault(*arguments: Any) -> Any:
            if self.before:
                raise DatabaseUnavailable("the database is unavailable")
            result = await run(*arguments)
            if self.after:
                self.after = False
                raise TimeoutError  # the commit's answer is lost
            return result

        return with_fault


async def counted(runtime: Runtime) -> tuple[int, int]:
    """Requests and conversions stored."""
    async with runtime.database.read() as tx:
        return (
            (await tx.execute(select(func.count()).select_from(postbacks))).scalar_one(),
            (await tx.execute(select(func.count()).select_from(conversions))).scalar_one(),
        )


async def deposits(
    client: httpx.AsyncClient, scene: Scene, runtime: Runtime, count: int, *, first: int = 1
) -> list[httpx.Response]:
    async with runtime.database.begin() as tx:
        words = [await scene.click(tx, n) for n in range(first, first + count)]
    sent = (client.get(f"/postback/key-1?click_id={word}&event=dep&amount=10") for word in words)
    return list(await asyncio.gather(*sent))


async def test_all_are_answered_and_placed_once_the_database_is_back(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(opened) as (client, scene, runtime):
        away = Away(runtime.state["postbacks"], monkeypatch)
        async with runtime.database.begin() as tx:
            click = await scene.click(tx, 999)
        away.before = True
        answers = await deposits(client, scene, runtime, 300)
        assert {(a.status_code, a.json()["outcome"]) for a in answers} == {(200, "accepted")}
        refused = [
            await client.get(f"/postback/key-1?click_id={click}&event=dep&amount=x"),
            await client.post(f"/postback/key-1?click_id={click}", content=b"x" * 1_000_001),
        ]
        assert [a.status_code for a in refused] == [200, 413]
        assert (runtime.state["postbacks"].spooled, await counted(runtime)) == (302, (0, 0))
        away.before = False
        new = await client.get(f"/postback/key-1?click_id={click}&event=reg")
        assert new.json()["outcome"] == "accepted"
        await until_placed(runtime)
        assert (await counted(runtime))[0] == 303
        async with runtime.database.read() as tx:
            sums = select(func.count(), func.sum(conversions.c.amount)).where(conversions.c.event == "deposit")
            assert tuple((await tx.execute(sums)).one()) == (301, 3_000_000_000)


async def test_a_commit_whose_answer_was_lost_is_not_repeated(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(opened) as (client, scene, runtime):
        away = Away(runtime.state["postbacks"], monkeypatch)
        away.after = True
        assert [a.status_code for a in await deposits(client, scene, runtime, 5)] == [200] * 5
        await until_placed(runtime)
        assert await counted(runtime) == (5, 5)


async def test_what_a_process_that_died_left_is_placed_by_the_next(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(opened) as (client, scene, runtime):
        part = runtime.state["postbacks"]
        away = Away(part, monkeypatch)
        away.before = True
        await deposits(client, scene, runtime, 250)
        await part.stop()  # what waits stays on disk
        assert await counted(runtime) == (0, 0)
        successor = runtime.state["postbacks"] = Postbacks(runtime)
        await successor.start()
        try:
            async with asyncio.timeout(180):
                while (await counted(runtime))[0] < 250:
                    await asyncio.sleep(0.02)
            await until_placed(runtime)
            assert await counted(runtime) == (250, 250)
        finally:
            await successor.stop()
        await part.start()  # the scene stops it


async def test_without_room_for_the_spool_the_platform_is_asked_to_send_again(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(opened) as (client, scene, runtime):
        part = runtime.state["postbacks"]
        away = Away(part, monkeypatch)
        away.before = True

        def no_room(_records: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(part._spooling._own, "append", no_room)
        answers = await deposits(client, scene, runtime, 3)
        assert {a.status_code for a in answers} == {503}
        away.before = False
        assert [a.status_code for a in await deposits(client, scene, runtime, 3, first=10)] == [200] * 3


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_stored_ones_are_answered_while_the_next_wait_for_a_lock(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(opened) as (client, scene, runtime):
        part: Postbacks = runtime.state["postbacks"]
        run, taken, free = part.run_deferred, asyncio.Event(), asyncio.Event()

        async def hold_accounts() -> None:
            async with runtime.database.begin() as tx:
                await tx.execute(update(accounts).values(name=accounts.c.name))
                taken.set()
                await free.wait()

        async with asyncio.TaskGroup() as group:

            async def then_locked(work: Callable[[DeferredTransaction], Awaitable[T]]) -> T:
                result = await run(work)
                if not taken.is_set() and len(part._waiting) > 50:
                    group.create_task(hold_accounts())
                    await taken.wait()
                return result

            monkeypatch.setattr(part, "run_deferred", then_locked)
            sent = group.create_task(deposits(client, scene, runtime, 150))
            await taken.wait()
            stored = (await counted(runtime))[0]
            while part.counts.get("accepted", 0) < stored:
                await asyncio.sleep(0.01)
            assert (await counted(runtime), sent.done()) == ((stored, stored), False)
            free.set()
        assert {(a.status_code, a.json()["outcome"]) for a in sent.result()} == {(200, "accepted")}
        assert await counted(runtime) == (150, 150)


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("to_lock", [0, 100])
async def test_a_platform_does_not_wait_for_the_end_of_a_lock_from_outside(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, to_lock: int
) -> None:
    async with served(opened) as (client, scene, runtime):
        runtime.state["postbacks"]._batches_to_lock = to_lock
        other = engine.Database(runtime.database.url)
        try:
            async with other.begin() as tx:
                await tx.execute(text("LOCK TABLE conversions IN ACCESS EXCLUSIVE MODE"))
                with monkeypatch.context() as soon:
                    soon.setattr(engine, "READY_WITHIN", 0.1)
                    async with asyncio.timeout(PATIENCE):
                        answers = await deposits(client, scene, runtime, 5)
            assert [answer.json()["outcome"] for answer in answers] == ["accepted"] * 5
        finally:
            await other.close()
        await until_placed(runtime)
        assert await counted(runtime) == (5, 5)
