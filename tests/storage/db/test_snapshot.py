"""The local copy of the plans: read like the database, replaced whole, and of one database only."""

import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from connectors.registry import platform_words
from hub.runtime import offline_start
from storage.catalogue import images, site_snapshot
from storage.catalogue.images import Image
from storage.clicks import plans, worker_numbers
from storage.clicks.queries import ensure_codec
from storage.db.snapshot import find, take
from storage.ledger.errors import CasinoFluxError
from storage.postbacks.postback_accounts import load
from tests.bot.asking import asking

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _described(loaded: object) -> str:
    """All that it holds, but for where it lies in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(loaded))


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_plans_sites_and_accounts_are_those_of_the_database(opened: Callable[[], Any], tmp_path: Path) -> None:
    async with asking(opened) as say:
        await say.account("main")
        await say("offer add casino=Lucky account=main url=https://lucky.example.test/?s={click_id} cap=5")
        await say("site create Best market=DE theme=offer-wall offers=lucky")
        await say("source add Push")
        await say("campaign create One offers=lucky source=push")
        await say("placement block z-1 source=push sub=sub1")
        async with say.database.begin() as tx:
            number = (await ensure_codec(tx)).fingerprint
            await images.store(tx, say.team_id, Image(hash="0" * 32, content=b"webp", width=1, height=1), now=NOW)
        assert await take(say.database, tmp_path, number, now=NOW)
        kept = find(tmp_path, say.database.url)
        assert kept is not None
        assert [path.name for path in tmp_path.iterdir()] == [f"{number}.plans"]
        assert stat.S_IMODE((tmp_path / f"{number}.plans").stat().st_mode) == 0o600
        seen = []
        for source in (say.database, kept):
            async with source.read() as tx:
                loaded = await plans.load(tx, "https://track.example.test")
                sites = await site_snapshot.load(tx)
                accounts = await load(tx, platform_words)
                picture = await images.content(tx, "0" * 32)
            seen.append((_described(loaded), sites, _described(accounts.by_key), picture))
        assert seen[0] == seen[1]
        assert "lucky" in seen[1][0]

        other = say.database.url.replace(str(say.database.engine.url.database), "another")
        assert find(tmp_path, other) is None, "a snapshot is of one database"
        (tmp_path / f"{number}.plans").write_bytes(b"cut")
        assert find(tmp_path, say.database.url) is None
        await kept.close()


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_another_database_that_answers_is_left_alone(opened: Callable[[], Any], tmp_path: Path) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            number = (await ensure_codec(tx)).fingerprint
        await take(database, tmp_path, number, now=NOW)
        kept = find(tmp_path, database.url)
        assert kept is not None
        await offline_start._check_same(database.url, kept)
        async with database.begin() as tx:
            await tx.execute(text("UPDATE facts SET value = repeat('ab', 32) WHERE name = 'click_id_key'"))
        with pytest.raises(CasinoFluxError, match="another one than this hub served"):
            await offline_start._check_same(database.url, kept)
        await kept.close()


def test_a_number_for_click_ids_is_taken_again_once_its_process_has_ended(tmp_path: Path) -> None:
    first = worker_numbers.hold(tmp_path, "db", 7)
    second = worker_numbers.hold(tmp_path, "db", 8)
    with pytest.raises(CasinoFluxError, match="as many processes as ran before"):
        worker_numbers.reuse(tmp_path, "db")
    first.release()
    again = worker_numbers.reuse(tmp_path, "db")
    assert again.number == 7
    again.release()
    third = worker_numbers.hold(tmp_path, "db", 9)  # a start with the database forgets 7
    second.release()
    assert worker_numbers.reuse(tmp_path, "db").number == 8
    assert third.number == 9
