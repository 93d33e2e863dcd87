"""Many clicks on PostgreSQL take turns in halves: those that are stored are answered while the next are stored,
whatever becomes of these."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from storage.clicks import rollup_check
from storage.clicks.write_batch import Batch
from storage.clicks.writer import ENOUGH_FOR_TWO
from storage.tables import clicks
from tests.hub.clicks.click_deployment import Answer, ClickDeployment, click_deployment
from tests.hub.clicks.test_unwritable_database import locked, recovered, silent_network

Half = list[asyncio.Task[Answer]]
Then = Callable[[Awaitable[None]], Awaitable[None]]


@asynccontextmanager
async def deployed(url: str) -> AsyncIterator[ClickDeployment]:
    async with click_deployment(url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        yield d


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> Callable[[ClickDeployment, Then], tuple[Half, Half]]:
    """Have clicks come at once, and as many others while these are stored, whose batch goes by `then`, once."""
    store = Batch.store

    def begun(d: ClickDeployment, then: Then) -> tuple[Half, Half]:
        first: Half = []
        second: Half = []

        def arriving(network: int) -> Half:
            addresses = (f"192.0.{network}.{n}" for n in range(ENOUGH_FOR_TWO))
            return [asyncio.create_task(d.get("/c/one", ip=address)) for address in addresses]

        async def stored(batch: Batch, now: Any, decided: Callable[[], None]) -> None:
            storing = store(batch, now, decided)
            if len(batch.clicks) < ENOUGH_FOR_TWO:
                await storing
            elif not second:
                second.extend(arriving(3))
                await storing
            else:
                monkeypatch.setattr(Batch, "store", store)
                await then(storing)

        monkeypatch.setattr(Batch, "store", stored)
        first.extend(arriving(2))
        return first, second

    return begun


Halves = Callable[[ClickDeployment, Then], tuple[Half, Half]]


async def test_one_half_is_answered_while_the_other_waits_for_its_commit(postgres_url: str, halves: Halves) -> None:
    async with deployed(postgres_url) as d:
        seen: list[tuple[int, bool]] = []

        async def behind_a_lock(storing: Awaitable[None]) -> None:
            async with locked(postgres_url, "click_rollup"):
                work = asyncio.ensure_future(storing)
                await asyncio.gather(*first)
                seen.append((await d.count(clicks), any(click.done() for click in second)))
            await work

        first, second = halves(d, behind_a_lock)
        await asyncio.gather(*first)
        await asyncio.gather(*second)
        assert seen == [(1 + ENOUGH_FOR_TWO, False)]
        assert not d.clicks.writer.spooled
        assert await d.count(clicks) == 1 + 2 * ENOUGH_FOR_TWO


@pytest.mark.parametrize("fault", [OSError("no answer"), ValueError("of its own contents")])
async def test_a_half_that_fails_keeps_no_answer_of_the_one_before(
    postgres_url: str, halves: Halves, fault: Exception
) -> None:
    async with deployed(postgres_url) as d:

        async def failing(storing: Awaitable[None]) -> None:
            await storing
            raise fault

        first, second = halves(d, failing)
        answers = await asyncio.gather(*first)
        answers += await asyncio.gather(*second)
        assert {answer.host for answer in answers} == {"a.example.test"}
        await recovered(d)
        words = {d.clicks.state.codec.encode(click.id) for click in await d.stored()}
        assert len(words) == 1 + 2 * ENOUGH_FOR_TWO
        assert words > {answer.query["c"] for answer in answers}
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


async def test_a_server_that_falls_silent_keeps_no_answer_of_what_it_has_stored(
    postgres_url: str, halves: Halves
) -> None:
    async with silent_network(postgres_url) as (url, network), deployed(url) as d:

        async def silent(storing: Awaitable[None]) -> None:
            network.lose("out", "back")
            await storing

        first, second = halves(d, silent)
        await asyncio.gather(*first)
        assert not d.clicks.health()["database_down"], "they do not wait for the end of patience"
        await asyncio.gather(*second)
        assert d.clicks.health()["database_down"]
        network.lose()
        await recovered(d)
        assert len(await d.stored()) == 1 + 2 * ENOUGH_FOR_TWO


async def test_a_writer_that_is_cancelled_keeps_no_answer_of_what_is_stored(postgres_url: str, halves: Halves) -> None:
    async with deployed(postgres_url) as d:

        async def cancelled(storing: Awaitable[None]) -> None:
            d.clicks.writer._tasks[0].cancel()
            await storing

        first, second = halves(d, cancelled)
        assert {answer.host for answer in await asyncio.gather(*first)} == {"a.example.test"}
        assert not any(click.done() for click in second), "it is not known whether they are stored"
        for click in second:
            click.cancel()


async def test_a_visitor_who_has_gone_keeps_no_answer_of_the_others(
    postgres_url: str, halves: Halves, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with deployed(postgres_url) as d:
        enqueue = d.clicks.writer.enqueue
        gone: list[str] = []
        jobs: list[Any] = []

        def to_one_who_has_gone() -> None:
            gone.append("one")
            raise ConnectionError("gone")

        def enqueued(job: Any, answer: Callable[[], None]) -> None:
            enqueue(job, answer if jobs else to_one_who_has_gone)
            jobs.append(job)

        async def as_ever(storing: Awaitable[None]) -> None:
            await storing

        first, second = halves(d, as_ever)
        monkeypatch.setattr(d.clicks.writer, "enqueue", enqueued)
        await asyncio.gather(*first[1:])
        await asyncio.gather(*second)
        assert gone == ["one"]
        first[0].cancel()
