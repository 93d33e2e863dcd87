"""Several processes on one PostgreSQL: each presumes whom it does not remember to be new, and is told where not."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from storage.clicks import rollup_check
from storage.clicks.batch_statements import POSTGRES_BATCH
from storage.clicks.visitors import MOST_REMEMBERED, SharedVisitors
from storage.db import config_version
from storage.db.batch_connection import PostgresBatchConnection
from storage.tables import campaigns, cap_counts, offers, visitors
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment
from tests.waiting import eventually

START = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
KNOWN_AGENT = "192.0.2.250"  # the address of a click after which the browser has its key


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements of batches, in order: `batch`, or `ask` for one that asks who was seen."""
    texts: list[str] = []
    alone = PostgresBatchConnection.alone

    async def noted(connection: PostgresBatchConnection, text: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        texts.append("batch" if text == POSTGRES_BATCH else "ask")
        return await alone(connection, text, *values)

    monkeypatch.setattr(PostgresBatchConnection, "alone", noted)
    return texts


def memory(d: ClickDeployment) -> SharedVisitors:
    found = d.clicks.writer._visitors
    assert isinstance(found, SharedVisitors)
    return found


def have_ask(d: ClickDeployment) -> None:
    """Have its presumptions been wrong of late."""
    for _ in range(20):
        memory(d).presumption(wrong=True)


def at(d: ClickDeployment, hours: float) -> None:
    moment = START + timedelta(hours=hours)
    d.clicks.state.seconds = moment.timestamp
    d.clicks.writer._clock = d.runtime.clock = lambda: moment


async def one_campaign(d: ClickDeployment, *others: ClickDeployment, **more: Any) -> None:
    """A campaign of eight offers, whose visitors go on to the offer they saw; every process knows our browser."""
    for n in range(8):
        await d.offer(f"o{n}")
    await d.campaign("one", {f"o{n}": 1 for n in range(8)}, **more)
    for other in others:
        await other.clicks.refresh()
    for each in (d, *others):
        await each.get("/c/one", ip=KNOWN_AGENT)


async def uniques(d: ClickDeployment) -> int:
    assert await rollup_check.check(d.database) == []
    return sum(click.unique_click for click in await d.stored())


async def by_sub(d: ClickDeployment) -> dict[str, int]:
    """How many clicks with each sub5 are unique."""
    counts: Counter[str] = Counter()
    for click in await d.stored():
        if click.sub5:
            counts[click.sub5] += click.unique_click
    return dict(counts)


async def test_new_and_remembered_visitors_cost_one_statement_and_those_of_another_process_two_once(
    postgres_url: str, stored: list[str]
) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await one_campaign(d, other)
        stored.clear()
        hosts = {n: (await d.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 4)}
        assert hosts == {n: (await d.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 4)}
        assert stored == ["batch"] * 6
        stored.clear()
        assert hosts == {n: (await other.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 4)}
        assert stored == ["batch"] * 6
        assert hosts == {n: (await other.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(1, 4)}
        assert stored == ["batch"] * 9
        assert await uniques(d) == 4


async def test_a_crowd_that_comes_to_both_processes_at_once_is_unique_once_each_and_stays_with_its_offers(
    postgres_url: str,
) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await one_campaign(d, other)
        ips = [f"10.0.{n // 100}.{n % 100 + 1}" for n in range(300)]
        await asyncio.gather(*(each.get("/c/one", ip=ip) for ip in ips for each in (d, other)))
        hosts = [(await asyncio.gather(*(each.get("/c/one", ip=ip) for ip in ips))) for each in (d, other)]
        assert [answer.host for answer in hosts[0]] == [answer.host for answer in hosts[1]]
        assert await uniques(d) == 301


async def test_who_is_mistaken_too_often_asks_until_presuming_would_have_been_right(
    postgres_url: str, stored: list[str]
) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await one_campaign(d, other)
        for n in range(20):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        stored.clear()
        for n in range(20):
            await other.get("/c/one", ip=f"192.0.2.{n}")
        assert stored[:4] == ["batch"] * 4
        assert stored[-20:] == ["ask", "batch"] * 10
        stored.clear()
        for n in range(20, 40):
            await other.get("/c/one", ip=f"192.0.2.{n}")
        assert stored[:2] == ["ask", "batch"]
        assert stored[-10:] == ["batch"] * 10
        assert await uniques(d) == 41


async def test_a_restarted_process_knows_again_whom_it_does_not_remember(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await one_campaign(d)
        hosts = {n: (await d.get("/c/one", ip=f"192.0.2.{n}")).host for n in range(30)}
    async with click_deployment(postgres_url, create="") as d:
        again = await asyncio.gather(*(d.get("/c/one", ip=f"192.0.2.{n}") for n in range(30)))
        assert [answer.host for answer in again] == list(hosts.values())
        assert await uniques(d) == 31


@pytest.mark.parametrize("asking", [False, True])
@pytest.mark.parametrize("path", ["/c/one?sub5=x", "/c/one?sub5=x&cost=0.2"])
async def test_a_visitor_whom_another_process_keeps_meanwhile_is_unique_there_only(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, *, asking: bool, path: str
) -> None:
    alone = PostgresBatchConnection.alone
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        await one_campaign(d, other)
        if asking:
            have_ask(d)

        async def while_the_other(
            connection: PostgresBatchConnection, text: str, *values: Any
        ) -> Sequence[tuple[Any, ...]]:
            if text != POSTGRES_BATCH or connection is not d.clicks.writer._connection:
                return await alone(connection, text, *values)
            monkeypatch.setattr(PostgresBatchConnection, "alone", alone)
            await other.get("/c/one", ip="192.0.2.2")
            return await alone(connection, text, *values)

        monkeypatch.setattr(PostgresBatchConnection, "alone", while_the_other)
        await d.get(path, ip="192.0.2.2")
        by_subs = {(click.sub5, click.unique_click) for click in (await d.stored())[2:]}
        assert by_subs == {(None, 1), ("x", 0)}
        assert await uniques(d) == 2


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_visitor_is_new_after_24_hours_and_not_before(postgres_url: str, *, restarted: bool) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        at(d, 0)
        at(other, 0)
        await one_campaign(d, other)
        answers = []
        for hours in (0, 23.9, 24.1, 48.0):
            for each in (d, other):
                at(each, hours)
                if restarted:
                    each.clicks.writer.forget_visitors()
            answers += [await each.get(f"/c/one?sub5={hours}", ip="192.0.2.1") for each in (d, other)]
        assert await by_sub(d) == {"0": 1, "23.9": 0, "24.1": 1, "48.0": 0}
        hosts = [answer.host for answer in answers]
        assert hosts[:4] == [hosts[0]] * 4
        assert hosts[4:] == [hosts[4]] * 4


async def test_a_visitor_of_yesterday_is_known_to_another_process_by_yesterdays_key(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        answers = []
        for each, hours in ((d, 0), (other, 20)):  # past midnight
            at(each, hours)
            await each.clicks._turn_keys()
        await one_campaign(d, other)
        for each, word in ((d, "yesterday"), (other, "today"), (other, "today")):
            answers.append(await each.get(f"/c/one?sub5={word}", ip="192.0.2.1"))
        assert await by_sub(d) == {"yesterday": 1, "today": 0}
        assert len({answer.host for answer in answers}) == 1


async def test_no_place_under_a_cap_goes_to_a_visitor_who_was_presumed_to_be_new(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d, click_deployment(postgres_url, create="") as other:
        first = await d.offer("first")
        full = await d.offer("full", status="paused", cap=1, cap_event="click", cap_period="day", alternative_id=first)
        await d.campaign("one", {"full": 1, "first": 0})
        assert (await d.get("/c/one", ip="192.0.2.1")).host == "first.example.test"
        async with d.database.begin() as tx:
            await tx.execute(update(offers).values(status="active"))
            await config_version.bump(tx)
        for each in (d, other):
            await each.clicks.refresh()
        answers = await asyncio.gather(*(other.get("/c/one", ip=f"192.0.2.{n}") for n in (1, 2)))
        assert [answer.host for answer in answers] == ["first.example.test", "full.example.test"]
        assert [(row.offer_id, row.n) for row in await d.rows(cap_counts)] == [(full, 1)]


async def test_visitors_are_forgotten_where_campaigns_come_to_know_them_otherwise_or_the_database_was_away(
    postgres_url: str,
) -> None:
    async with click_deployment(postgres_url) as d:
        await one_campaign(d)
        first = (await d.get("/c/one", ip="192.0.2.1")).host

        async def moved_to(offer: str) -> None:
            async with d.database.begin() as tx:
                await tx.execute(update(visitors).values(offer_id=d.made[offer]))

        async def period(minutes: int | None) -> None:
            async with d.database.begin() as tx:
                await tx.execute(update(campaigns).values(unique_period=minutes))
                await config_version.bump(tx)
            await d.clicks.refresh()

        offer, another = _others(first)
        await moved_to(offer)
        assert (await d.get("/c/one", ip="192.0.2.1")).host == first  # it is remembered
        await period(60)
        await period(None)
        assert (await d.get("/c/one", ip="192.0.2.1")).host == f"{offer}.example.test"
        await moved_to(another)
        d.clicks.writer._mark_down(OSError())
        await eventually(lambda: not d.clicks.writer.down, "the database to be back")
        assert (await d.get("/c/one", ip="192.0.2.1")).host == f"{another}.example.test"


def _others(host: str) -> list[str]:
    return [f"o{n}" for n in range(8) if host != f"o{n}.example.test"][:2]


async def test_a_batch_that_fails_is_not_believed(postgres_url: str) -> None:
    async with click_deployment(postgres_url) as d:
        await one_campaign(d)
        async with d.database.begin() as tx:
            await tx.exec_driver_sql("ALTER TABLE visitors ADD CONSTRAINT none CHECK (false) NOT VALID")
        await d.get("/c/one", ip="192.0.2.1")  # to the spool: it cannot be stored
        assert d.clicks.writer.spooled == 1
        async with d.database.begin() as tx:
            await tx.exec_driver_sql("ALTER TABLE visitors DROP CONSTRAINT none")
            key = (await tx.execute(select(visitors.c.id))).scalars().all()
        entries, unknown = memory(d).recall([(number, 0) for number in key], 0)
        assert (len(entries), unknown) == (1, [])
        assert len(memory(d)._young) == 1


def test_no_more_are_remembered_than_is_said_and_the_latest_of_them() -> None:
    shared, most = SharedVisitors(), MOST_REMEMBERED
    for n in range(0, 3 * most, 1000):
        shared.learn([(k, k + 1, 7) for k in range(n + 1, n + 1001)])
    keys = [(k, 0) for k in range(1, 3 * most + 1)]
    entries, unknown = shared.recall(keys, 0)
    assert len(entries) <= most
    assert set(range(3 * most - most // 2 + 1, 3 * most + 1)) <= entries.keys()
    assert unknown[0] == 1
    assert shared.recall([(5, 3 * most)], 0)[0] == {5: 3 * most + 1 << 32 | 7}
    assert shared.recall([(3 * most, 9)], 3 * most + 2) == ({}, [3 * most, 9])
