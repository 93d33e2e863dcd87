"""What waits in spools: drained piece by piece beside new clicks, once each, also after a kill in the middle."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, insert, select

from storage.clicks import rollup_check, writer
from storage.clicks.spool import Record, Spool, SpooledClick, SpooledOutgoing
from storage.clicks.write_jobs import Agent, Cap, Click
from storage.db.spool_file import PIECE, orphans, spool_folder
from storage.ledger.clicks.visitor import visitor_id
from storage.ledger.facts import Reason
from storage.tables import cap_counts, clicks, outgoing
from storage.tables import visitors as visitor_rows
from tests.bot.commands.test_clicks import say
from tests.conftest import new_postgres
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment
from tests.hub.clicks.test_faults import (
    break_database,
    check_kept,
    count_of,
    repair_database,
    serving,
    until_drained,
    visitors,
)
from tests.waiting import free_port

MEGABYTE = 1 << 20
MANY = 100_000


def spooled_clicks(d: ClickDeployment, count: int, **more: Any) -> list[SpooledClick]:
    """Clicks of as many visitors on campaign `one`, sent to offer `a`."""
    state = d.clicks.state
    hour = state.hour(state.seconds())
    return [
        SpooledClick(
            Click(
                state.click_ids.make(), d.runtime.team_id, d.made["campaign one"], 0, 0, hour, Agent("a browser"),
                offer_id=d.made["a"], unique=1, country="DE", visitor=bytearray(n.to_bytes(8, "big")),
                subs=(f"sub {n}", *[""] * 9), **more,
            )
        )
        for n in range(count)
    ]  # fmt: skip


async def leave_spool(url: str, count: int) -> list[str]:
    """A deployment with a campaign, and the spool of a process that died; the ids in it, as links have them."""
    async with click_deployment(url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        spool = Spool(spool_folder(d.database.url), f"{d.clicks.state.codec.fingerprint}-1-1")
        spool.open()
        words: list[str] = []
        for _ in range(0, count, 1000):
            records = spooled_clicks(d, 1000)
            spool.append(records)
            words += [d.clicks.state.codec.encode(record.click.id) for record in records]
        await d.clicks.stop()  # first: it would drain what the dead one left
        spool.close()
    return words


async def check_drained_once_under_load(url: str, count: int) -> None:
    """Kill a process while it drains, then let the next one end it; both take clicks meanwhile."""
    kept = await leave_spool(url, count)
    answered: list[str] = []
    assert await count_of(url, clicks) == 0, "nothing of the spool is stored yet"

    async def wait_for(stored: int, clicked: int) -> None:
        while await count_of(url, clicks) < stored or len(answered) < clicked:
            await asyncio.sleep(0.02)

    for stored, last in ((count // 5, False), (count + 1, True)):
        port = free_port()
        async with serving(url, port) as server:
            memory = psutil.Process(server.pid).memory_info().rss
            clicked = len(answered) + 10
            load = [asyncio.create_task(visitors(port, answered, n + 10 * last)) for n in range(2)]
            await wait_for(stored, clicked)
            assert psutil.Process(server.pid).memory_info().rss < memory + 60 * MEGABYTE
            server.kill()
            await asyncio.gather(*load)
            if count == MANY and not last:
                assert await count_of(url, clicks) < count, "new clicks do not wait for those of the spool"
    await check_kept(url, kept + answered)


@pytest.mark.slow
async def test_a_spool_is_drained_beside_new_clicks_and_once_although_killed(upgraded_url: str) -> None:
    await check_drained_once_under_load(upgraded_url, 10_000)


@pytest.mark.slow
async def test_a_hundred_thousand_clicks_are_drained_in_pieces(sqlite_url: str) -> None:
    await check_drained_once_under_load(sqlite_url, MANY)


def test_a_spool_is_drained_into_its_own_database_only(postgres: str, postgres_url: str) -> None:
    async def check(other_url: str) -> None:
        kept = await leave_spool(postgres_url, 1000)
        async with click_deployment(other_url) as other:
            await other.clicks.writer._adopt_orphans()
            assert other.clicks.writer.spooled == 0
        await check_kept(postgres_url, kept)

    with new_postgres(postgres) as other_url:
        asyncio.run(check(other_url))


def number(n: int) -> SpooledClick:
    click = Click(n, 1, 1, 0, 0, 1, Agent("ua"), subs=("a",) + ("",) * 9, visitor=bytearray(b"12345678"))
    return SpooledClick(click)


def numbers(records: Sequence[Record]) -> list[int]:
    return [item.click.id for item in records if isinstance(item, SpooledClick)]


def before_lock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have another process `act` once, when a spool is opened and not locked yet."""
    lock, acts = fcntl.flock, [act]

    def flock(file: int, flags: int) -> None:
        if acts:
            acts.pop()()
        lock(file, flags)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_new_spool_that_another_process_removes_as_an_empty_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_over() -> None:
        [adopted] = orphans(Spool, [tmp_path], "db", set())
        adopted.close()

    before_lock(monkeypatch, take_over)
    spool = Spool(tmp_path, "db-1-1")
    spool.open()
    spool.append([number(1)])
    assert orphans(Spool, [tmp_path], "db", set()) == [], "its process lives"
    os.close(spool._file)
    [adopted] = orphans(Spool, [tmp_path], "db", set())
    assert numbers(adopted.read()) == [1]


def test_a_spool_that_is_rewritten_while_another_process_opens_it_stays_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "db-1-1")
    spool.open()
    spool.append([number(1), number(2)])
    spool.read()
    before_lock(monkeypatch, lambda: spool.replace([number(2)]))
    assert orphans(Spool, [tmp_path], "db", set()) == []
    spool.append([number(3)])
    os.close(spool._file)
    [adopted] = orphans(Spool, [tmp_path], "db", set())
    assert numbers(adopted.read()) == [2, 3]


def test_a_spool_whose_rewriting_another_process_took_over_is_read_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "db-1-1")
    spool.open()
    spool.append([number(1), number(2)])
    spool.read()
    theirs = Spool(tmp_path, "db-1-1.rewritten")
    theirs.open()
    theirs.append([number(2)])
    spool.replace([number(2)])
    assert numbers(spool.read()) == [1, 2]
    theirs.rewind()
    assert numbers(theirs.read()) == [2]
    assert (tmp_path / "db-1-1.rewritten.spool").exists()


def test_a_record_of_another_version_is_set_aside_and_holds_up_no_other(tmp_path: Path) -> None:
    class Unknown(SpooledClick, frozen=True, array_like=True, tag="later"):
        pass

    spool = Spool(tmp_path, "db-1-1")
    spool.open()
    spool.append([number(1), Unknown(number(2).click), number(3)])
    assert numbers(spool.read()) == [1, 3]
    assert (spool.all_read, spool.depth) == (True, 2)
    assert '"id":2' in (tmp_path / "rejected.jsonl").read_text()


async def test_a_visitor_is_unique_once_although_the_database_was_away(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await say(d, "campaign create one offers=a cost_model=unique cost=0.2")
        await d.clicks.refresh()
        await d.get("/c/one", ip="192.0.2.1")
        break_database(d)
        for n in (1, 2, 2, 3):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        repair_database(d)
        await until_drained(d)
        for n in (2, 3, 4):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        stored = [(click.unique_click, click.cost) for click in await d.stored()]
        assert stored == [(n, n * 200_000) for n in (1, 0, 1, 0, 1, 0, 0, 1)]
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


async def test_offers_seen_while_the_database_was_away_are_not_shown_again_before_the_others(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        for code in ("a", "b", "c"):
            await d.offer(code)
        await say(d, "campaign create one offers=a:100,b:1,c:1 smart_rotation=yes")
        await d.clicks.refresh()
        hosts: dict[str, list[str]] = {"192.0.2.1": [], "192.0.2.2": [], "192.0.2.3": []}

        async def come(path: ClickDeployment, *last: int) -> None:
            for n in last:
                hosts[f"192.0.2.{n}"].append((await path.get("/c/one", ip=f"192.0.2.{n}")).host)

        await come(d, 1)
        break_database(d)
        await come(d, 1, 1, 2, 2, 3)
        repair_database(d)
        await until_drained(d)
        await come(d, 2)
        async with click_deployment(upgraded_url, create="") as other:  # knows of the spool only what was drained
            await come(other, 3, 3)
        # On PostgreSQL what was seen before the database went away is known by cookie only.
        first = len(set(hosts.pop("192.0.2.1")))
        assert first == 3 if d.database.sqlite else first >= 2
        assert [len(set(visited)) for visited in hosts.values()] == [3, 3]
        stored = await d.stored()
        assert sum(click.unique_click for click in stored) == 3
        assert [click.reason for click in stored].count(Reason.UNSEEN) == (6 if d.database.sqlite else 5)
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


async def test_a_visitor_who_came_again_before_an_older_spool_is_drained_is_unique_once(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)
        await d.get("/c/one", ip="192.0.2.1")
        copy = d.clicks.writer._spool._path().read_bytes()
        d.clicks.writer._spool.replace([])  # as if the process had died: the next one does not know the visitor
        await d.clicks.stop()
        repair_database(d)
        await d.clicks.start()
        await d.get("/c/one", ip="192.0.2.1")
        (d.clicks.writer._folders[0] / f"{d.clicks.state.codec.fingerprint}-1-1.spool").write_bytes(copy)
        await d.clicks.writer._adopt_orphans()
        await until_drained(d)
        assert [click.unique_click for click in await d.stored()] == [0, 1]
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


async def test_new_clicks_are_stored_between_two_pieces_of_the_spool(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)
        d.clicks.writer._spool.append(spooled_clicks(d, 20 * PIECE))
        await d.get("/c/one", ip="192.0.2.1")
        repair_database(d)
        while d.clicks.writer.down:
            await asyncio.sleep(0.01)
        assert (await d.get("/c/one", ip="192.0.2.2")).status == 302
        assert d.clicks.writer.tally["clicks"] == 1
        assert d.clicks.writer.spooled > 0
        await until_drained(d)
        assert await d.count(clicks) == 20 * PIECE + 2


async def test_while_clicks_come_a_spool_waits_after_each_piece(
    upgraded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_REST", 1e6)
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.get("/c/one", ip="192.0.2.1")
        d.clicks.writer._spool.append(spooled_clicks(d, 3 * PIECE))
        while not d.clicks.writer.tally["drained"]:
            await d.get("/c/one", ip="192.0.2.1")
        drained = d.clicks.writer.tally["drained"]
        assert drained <= PIECE
        for _ in range(5):
            assert (await d.get("/c/one", ip="192.0.2.1")).status == 302
        assert d.clicks.writer.tally["drained"] == drained
        await d.clicks.stop()
        assert d.clicks.writer.tally["drained"] == 3 * PIECE, "a stop does not wait"
        assert await rollup_check.check(d.database) == []


async def test_a_visitor_kept_by_another_process_while_a_piece_is_looked_up_is_not_unique(
    postgres_url: str,
) -> None:
    async with click_deployment(postgres_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await d.clicks.stop()
        records = spooled_clicks(d, 3)
        d.clicks.writer._spool.open()
        d.clicks.writer._spool.append(records)
        drain = d.clicks.writer._drains[0]
        assert await drain.step(busy=False, lost=False) == 0
        assert drain.begun
        seen = {"id": visitor_id(1, d.made["campaign one"]), "click_id": records[0].click.id - 1, "offer_id": 0}
        async with d.database.begin() as tx:
            await tx.execute(insert(visitor_rows).values(**seen))
        assert await drain.step(busy=False, lost=False) == 3
        assert [click.unique_click for click in await d.stored()] == [1, 0, 1]
        assert await rollup_check.check(d.database) == []
        await d.clicks.writer._connection.close()
        d.clicks.writer._spool.close()


async def test_an_outgoing_click_waits_for_its_click_in_another_process_s_spool(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as first:
        await first.offer("a")
        site = await first.site("reviews", "a")
        await first.campaign("one", {}, site_id=site)
        async with click_deployment(upgraded_url, create="") as second:
            break_database(first)
            word = (await first.get("/c/one", ip="192.0.2.1")).query["click"]
            removed = await second.get(f"/go/reviews/a?click={word}", ip="192.0.2.1")
            assert removed.query["c"] == word
            assert await second.count(outgoing) == 0
            repair_database(first)
            await until_drained(first)
            await until_drained(second)
            assert await second.count(outgoing) == 1
            assert [click.offer_id > 0 for click in await second.stored()] == [True]
            assert await second.count(clicks) == 1
            await second.clicks.stop()
        await first.clicks.stop()
        assert await rollup_check.check(first.database) == []


def test_a_torn_record_at_the_end_of_a_spool_is_passed_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "one")
    spool.open()
    spool.append([number(1), number(2)])
    spool.append([number(3)])
    with (tmp_path / "one.spool").open("r+b") as file:
        file.seek(spool._end - 3)
        file.write(b"\xff\xff")

    def read_again() -> list[int]:
        spool.rewind()
        return numbers(spool.read())

    assert read_again() == [1, 2]
    spool.append([number(4)])
    assert read_again() == [1, 2, 4]
    spool.replace([])
    assert read_again() == []
    spool.close()
    assert not list(tmp_path.iterdir())


async def test_what_is_read_again_after_a_crash_counts_once_caps_included(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.offer("b")
        site = await d.site("reviews", "a", "b")
        await d.campaign("one", {"a": 1}, site_id=site)
        cap = Cap(d.made["b"], "click", 20_000, 100)
        click = spooled_clicks(d, 1, cap=Cap(d.made["a"], "click", 20_000, 100))[0]
        hour = click.click.hour
        going = SpooledOutgoing(
            d.clicks.state.click_ids.make(), d.runtime.team_id, click.click.id, site, d.made["b"], hour, 0, cap
        )
        for _ in range(2):
            break_database(d)
            d.clicks.writer._spool.append([click, going])
            await d.get("/c/one", ip="192.0.2.1")
            repair_database(d)
            await until_drained(d)
        assert await d.count(outgoing) == 1
        async with d.database.read() as tx:
            used = await tx.execute(select(cap_counts.c.offer_id, func.sum(cap_counts.c.n)).group_by("offer_id"))
            counts = {offer: int(n) for offer, n in used}
        assert counts == {d.made["a"]: 1, d.made["b"]: 1}
        await d.clicks.stop()
        assert await rollup_check.check(d.database) == []


def no_room(_records: Sequence[Record]) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


async def test_clicks_in_memory_are_bounded_counted_and_saved_by_a_stop(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_UNSAVED", 5)
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)
        with monkeypatch.context() as full:
            full.setattr(d.clicks.writer._spool, "append", no_room)
            answers = [await d.get("/c/one", ip=f"192.0.2.{n}") for n in range(8)]
            assert [answer.status for answer in answers] == [302] * 8
            assert {"spooled": 5, "unsaved": 5, "writer_lost": 3}.items() <= d.clicks.health().items()
        await d.clicks.stop()
        assert d.clicks.writer.unsaved == 0
    await check_kept(sqlite_url, [answer.query["c"] for answer in answers[:5]])


async def test_clicks_in_memory_go_to_a_database_that_is_back_although_the_spool_is_not(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        break_database(d)
        d.clicks.writer._spool.append = no_room  # type: ignore[method-assign, assignment]
        for n in range(3):
            await d.get("/c/one", ip=f"192.0.2.{n}")
        repair_database(d)
        await until_drained(d)
        assert await d.count(clicks) == 3
