"""Hubs that place postbacks of one account on PostgreSQL: what a batch has read is checked when it is stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.postbacks.handler import LOCKS_AFTER_CONFLICT, Postbacks
from hub.runtime.runtime import Runtime
from storage.clicks import caps
from storage.db import config_version
from storage.db.deferred_transaction import DeferredTransaction
from storage.postbacks import batch_lookup
from storage.postbacks import conversions as placing
from storage.tables import conversion_states, conversions, offers, outbound, postbacks, sources, webhooks
from tests.hub.postbacks.test_postbacks import served
from tests.storage.scene import NOON, Scene

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

Meanwhile = Callable[[], Awaitable[object]]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements with which transactions began; new requests that are one statement have none."""
    statements: list[str] = []
    begin = DeferredTransaction.begin

    async def noted(transaction: DeferredTransaction, statement: str) -> None:
        statements.append(statement)
        await begin(transaction, statement)

    monkeypatch.setattr(DeferredTransaction, "begin", noted)
    return statements


@pytest.fixture
def after_lookup(monkeypatch: pytest.MonkeyPatch) -> Callable[[Meanwhile], None]:
    """Have something happen once, after the next batch has looked up what is stored."""
    look_up = batch_lookup.look_up

    def arrange(meanwhile: Meanwhile) -> None:
        async def then(*arguments: Any, **options: Any) -> batch_lookup.BatchLookup:
            monkeypatch.setattr(placing, "look_up", look_up)
            found = await look_up(*arguments, **options)
            await meanwhile()
            return found

        monkeypatch.setattr(placing, "look_up", then)

    return arrange


@asynccontextmanager
async def another_hub(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    part = Postbacks(runtime)
    await part.start()
    transport = httpx.ASGITransport(app=part)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://other.example.test", timeout=60) as client:
        yield client
    await part.stop()


async def outcome(client: httpx.AsyncClient, query: str) -> str:
    answer = await client.get(f"/postback/key-1?{query}")
    assert answer.status_code == 200
    return str(answer.json()["outcome"])


async def count(runtime: Runtime, table: Any) -> int:
    async with runtime.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_new_conversion_takes_no_transaction_and_one_that_changes_stored_ones_does(
    opened: Callable[[], Any], begun: list[str]
) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        assert await outcome(client, f"click_id={click}&event=reg") == "accepted"
        assert await outcome(client, f"click_id={click}&event=dep&amount=5&txn_id=1&status=pending") == "accepted"
        assert await outcome(client, "click_id=unknown&event=reg") == "unmatched"
        assert begun == []
        assert await outcome(client, f"click_id={click}&event=dep&amount=6&txn_id=1") == "updated"
        assert await outcome(client, f"click_id={click}&event=dep&amount=6&txn_id=1") == "duplicate"
        assert len(begun) == 1
        assert [await count(runtime, table) for table in (postbacks, conversions, conversion_states)] == [5, 2, 3]


async def test_whom_a_request_waited_for_is_found_with_it(opened: Callable[[], Any], begun: list[str]) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        assert await outcome(client, "player_id=p1&event=dep&amount=5&txn_id=1") == "unmatched"
        assert begun == []
        assert await outcome(client, f"click_id={click}&player_id=p1&event=reg") == "accepted"
        assert len(begun) == 1
        async with runtime.database.read() as tx:
            found = (await tx.execute(select(postbacks.c.outcome, postbacks.c.click_id))).all()
        assert {row.outcome for row in found} == {"accepted"}
        assert len({row.click_id for row in found}) == 1


async def _a_cap(tx: AsyncConnection, _scene: Scene) -> None:
    await tx.execute(update(offers).values(cap=5, cap_event="registration", cap_period="day"))


async def _a_webhook(tx: AsyncConnection, scene: Scene) -> None:
    await tx.execute(insert(webhooks).values(
        team_id=scene.team_id, name="w", created_at=NOON, url="https://w.example.test", status="active",
        events=["registration"], secret="", role="owner", made_by="owner",
    ))  # fmt: skip


async def _a_notified_source(tx: AsyncConnection, _scene: Scene) -> None:
    template = {"url": "https://s.example.test/?c={source_click_id}", "method": "GET"}
    await tx.execute(update(sources).values(postbacks={"registration": template}))


@pytest.mark.parametrize(("arrange", "table"), [(_a_cap, None), (_a_webhook, outbound), (_a_notified_source, outbound)])
async def test_what_follows_from_a_conversion_is_in_its_transaction(
    opened: Callable[[], Any],
    begun: list[str],
    arrange: Callable[[AsyncConnection, Scene], Awaitable[None]],
    table: Any,
) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await arrange(tx, scene)
            await config_version.bump(tx)
        await runtime.state["postbacks"].refresh()
        assert await outcome(client, f"click_id={click}&event=reg") == "accepted"
        assert len(begun) == 1
        if table is None:
            async with runtime.database.read() as tx:
                assert await caps.used(tx, scene.offer_id, NOON) == (1, 5)
        else:
            assert await count(runtime, table) == 1


@pytest.mark.parametrize("first", ["", "&status=pending"], ids=["one-statement", "changes-a-conversion-too"])
async def test_what_another_hub_placed_after_the_lookup_counts_once(
    opened: Callable[[], Any], after_lookup: Callable[[Meanwhile], None], begun: list[str], first: str
) -> None:
    async with served(opened) as (client, scene, runtime), another_hub(runtime) as other:
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        deposit = f"click_id={click}&event=dep&amount=5&txn_id=1"
        if first:
            assert await outcome(client, deposit + first) == "accepted"
        outcomes: list[str] = []

        async def meanwhile() -> None:
            outcomes.append(await outcome(other, deposit))

        after_lookup(meanwhile)
        outcomes.append(await outcome(client, deposit))
        assert outcomes == (["updated", "duplicate"] if first else ["accepted", "duplicate"])
        assert await count(runtime, conversions) == 1
        assert runtime.state["postbacks"]._batches_to_lock == LOCKS_AFTER_CONFLICT - 1
        begun.clear()
        assert await outcome(client, f"click_id={click}&event=reg") == "accepted"
        assert len(begun) == 1  # with the account locked


async def test_two_hubs_that_get_the_same_at_once_count_it_once(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, scene, runtime), another_hub(runtime) as other:
        async with runtime.database.begin() as tx:
            words = [await scene.click(tx, n) for n in range(60)]
        queries = [f"click_id={word}&event=dep&amount=5&txn_id={n}" for n, word in enumerate(words)]
        sent = [outcome(each, query) for query in queries for each in (client, other)]
        assert Counter(await asyncio.gather(*sent)) == {"accepted": 60, "duplicate": 60}
        assert [await count(runtime, table) for table in (postbacks, conversions)] == [120, 60]
        async with runtime.database.read() as tx:
            assert (await tx.execute(select(func.sum(conversions.c.amount)))).scalar_one() == 300_000_000


async def test_a_replay_after_the_lookup_is_seen(
    opened: Callable[[], Any], after_lookup: Callable[[Meanwhile], None]
) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)

        async def record_by_hand() -> None:
            async with runtime.database.begin() as tx:
                await scene.post(tx, f"click_id={click}&event=reg", now=NOON - timedelta(minutes=1))

        after_lookup(record_by_hand)
        assert await outcome(client, f"click_id={click}&event=reg") == "duplicate"
        assert await count(runtime, conversions) == 1
