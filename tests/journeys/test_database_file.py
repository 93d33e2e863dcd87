"""The database file of a running hub is overwritten by another; an old one is met by two processes at once."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Table

from storage.clicks import partitions
from storage.db.engine import Database
from storage.tables import metadata
from tests.journeys.conftest import Deploy
from tests.journeys.steps import BROWSER
from tests.journeys.test_serve import campaign
from tests.storage.db.test_migrations import WHEN, row_of, stored_tables, to_revision
from tests.waiting import wait_for


@pytest.mark.slow
def test_a_database_overwritten_in_place_is_said_and_the_next_start_is_on_the_other(
    deploy_sqlite: Deploy, tmp_path: Path
) -> None:
    other_hub, hub = deploy_sqlite(), deploy_sqlite()
    live = Path(hub.settings["DATABASE_URL"].partition("///")[2])
    other_hub.settings["DATABASE_URL"] = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    assert other_hub.shell("team", "rename", "team", "Another").returncode == 0, "the other database"
    hub.start()
    link = campaign(hub)
    shutil.copyfile(tmp_path / "other.db", live)
    answer = wait_for(lambda: message if (message := hub.http.get("/readyz")).status_code == 503 else None, "it")
    assert "was overwritten" in answer.json()["database"]
    assert httpx.get(link, headers={"user-agent": BROWSER}, timeout=60).status_code == 302
    assert hub.http.get("/readyz").json()["spooled"] == 1
    assert hub.stop() == 0, hub.log()
    shutil.copyfile(tmp_path / "other.db", live)
    assert "Another" in hub.shell("team", "list").stdout
    hub.token = ""
    hub.start()
    assert hub.stop() == 0, hub.log()


#: What today's code expects in columns of this name.
READABLE = {
    "timezone": "UTC", "currency": "EUR", "platform": "postback_only", "status": "paused", "event": "deposit",
    "url": "https://a.example",
}  # fmt: skip


def readable(table: Table) -> dict[str, Any]:
    row = {
        name: READABLE.get(name, value) if isinstance(value, str) else value for name, value in row_of(table).items()
    }
    key = metadata.tables[table.name].autoincrement_column
    if key is not None and key.autoincrement is True:
        row.pop(key.name, None)  # counted by the database
    return row


async def make_old(url: str) -> None:
    """A database of the first release with a row in every table."""
    database = Database(url)
    async with database.begin() as tx:
        await tx.run_sync(to_revision, "0001")
        await partitions.ensure(tx, WHEN)
        for table in await tx.run_sync(stored_tables):
            if table.name != "changes":
                await tx.execute(table.insert().values(readable(table)))
    await database.close()


@pytest.mark.slow
def test_two_processes_meet_an_old_database_at_once(deploy_empty: Deploy) -> None:
    hub = deploy_empty()
    asyncio.run(make_old(hub.settings["DATABASE_URL"]))
    done: list[tuple[int, str]] = []

    def beside() -> None:
        run = hub.shell("run", "help")
        done.append((run.returncode, run.stderr))

    commands = [threading.Thread(target=beside) for _ in range(2)]
    for command in commands:
        command.start()
    hub.start()
    for command in commands:
        command.join(60)
    assert [code for code, _ in done] == [0, 0], done
    assert hub.stop() == 0, hub.log()
    assert hub.shell("db", "upgrade", "--check").returncode == 0
