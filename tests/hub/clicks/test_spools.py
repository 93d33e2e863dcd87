"""What waits in spools: torn records, and outgoing clicks whose own click waits in another process's spool."""

from pathlib import Path

from storage.clicks import rollup_check
from storage.clicks.spool import Spool, SpooledClick
from storage.clicks.write_jobs import Agent, Click
from storage.tables import clicks, outgoing
from tests.hub.clicks.click_deployment import click_deployment
from tests.hub.clicks.test_faults import break_database, mend_database, until_drained


async def test_an_outgoing_click_waits_for_its_click_in_another_process_s_spool(database_url: str) -> None:
    async with click_deployment(database_url) as first:
        await first.offer("a")
        site = await first.site("reviews", "a")
        await first.campaign("one", {}, site_id=site)
        async with click_deployment(database_url, create="") as second:
            break_database(first)
            word = (await first.get("/c/one", ip="192.0.2.1")).query["click"]
            gone = await second.get(f"/go/reviews/a?click={word}", ip="192.0.2.1")
            assert gone.query["c"] == word
            assert await second.count(outgoing) == 0
            mend_database(first)
            await until_drained(first)
            await until_drained(second)
            assert await second.count(outgoing) == 1
            assert [click.offer_id > 0 for click in await second.stored()] == [True]
            assert await second.count(clicks) == 1
            await second.clicks.stop()
        await first.clicks.stop()
        assert await rollup_check.check(first.database) == []


def test_a_torn_record_at_the_end_of_a_spool_is_passed_over(tmp_path: Path) -> None:
    def record(n: int) -> SpooledClick:
        click = Click(n, 1, 1, 0, 0, 1, Agent("ua"), subs=("a",) + ("",) * 9, visitor=bytearray(b"12345678"))
        return SpooledClick(click)

    spool = Spool(tmp_path, "one")
    spool.open()
    spool.append([record(1), record(2)])
    spool.append([record(3)])
    with (tmp_path / "one.spool").open("r+b") as file:
        file.seek(spool._end - 3)
        file.write(b"\xff\xff")
    read = spool.read()
    assert [one.click.id for one in read if isinstance(one, SpooledClick)] == [1, 2]
    spool.append([record(4)])
    assert [one.click.id for one in spool.read() if isinstance(one, SpooledClick)] == [1, 2, 4]
    spool.clear()
    assert spool.read() == []
    spool.close()
    assert not list(tmp_path.iterdir())
