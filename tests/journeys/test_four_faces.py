"""The same work said in Slack, in Telegram, in the shell and done in the cockpit leaves the same database."""

import json
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.hub.cockpit.screen import Screen, chromium
from tests.journeys.deployment import Deployment, standin, started_sqlite
from tests.journeys.test_chats import flux, tell, with_chats
from tests.standins.browser import CHROMIUM, MISSING

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]

#: The work: a command, and its fields.
WORK: tuple[tuple[str, dict[str, str]], ...] = (
    ("account add", {"platform": "postback_only", "name": "North Play", "currency": "EUR"}),
    ("offer add", {"casino": "Alpine Spins", "account": "north-play", "tag": "spring", "markets": "DE,AT",
                   "url": "https://alpine.example.test/?s={click_id}", "cap": "50"}),
    ("source add", {"name": "PushNet", "first_deposit": "https://push.example.test/cv?id={source_click_id}"}),
    ("site create", {"name": "Spin Guide", "market": "DE", "theme": "comparison", "offers": "alpine-spins-spring"}),
    ("campaign create", {"name": "Spring Push", "offers": "alpine-spins-spring:3", "source": "pushnet",
                         "site": "spin-guide", "cost_model": "fixed", "cost": "0.05"}),
    ("offer edit", {"offer": "alpine-spins-spring", "cap": "75"}),
    ("campaign pause", {"campaign": "spring-push"}),
    ("view save", {"name": "Weekly", "query": "stats last week by campaign"}),
)  # fmt: skip
TABLES = ("accounts", "casinos", "offers", "sources", "sites", "site_offers", "campaigns", "campaign_offers", "views")
#: Moments, and what is made at random.
NOT_COMPARED = {"created_at", "updated_at", "reviewed_at", "paused_at", "postback_key", "next_sync_at",
                "last_attempt_at", "last_success_at"}  # fmt: skip


def line(command: str, fields: dict[str, str]) -> str:
    """The command as people write it in a chat."""
    return " ".join([command, *(f'{name}="{text}"' for name, text in fields.items())])


def stored(hub: Deployment) -> dict[str, Any]:
    """What the work left in the catalogue, and which commands the audit has."""
    with sqlite3.connect(hub.folder / "casinoflux.db") as database:
        database.row_factory = sqlite3.Row
        results: dict[str, Any] = {}
        for table in TABLES:
            rows = [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid")]
            results[table] = [{name: row[name] for name in row if name not in NOT_COMPARED} for row in rows]
        work = {command for command, _ in WORK}
        query = "SELECT command, entity, entity_id, after FROM audits WHERE command NOT LIKE 'member%' ORDER BY id"
        results["audits"] = [_audited(row) for row in database.execute(query) if row["command"] in work]
    return results


def _audited(row: sqlite3.Row) -> dict[str, Any]:
    after = json.loads(row["after"]) if row["after"] else None
    if isinstance(after, dict):
        after = {name: value for name, value in after.items() if "url" not in name and not name.endswith("_at")}
    return {"command": row["command"], "entity": row["entity"], "entity_id": row["entity_id"], "after": after}


def new(folder: Path, name: str, **settings: str) -> Deployment:
    place = folder / name
    place.mkdir()
    return Deployment(started_sqlite(place), place, **settings)


def by_form(screen: Screen, command: str, fields: dict[str, str]) -> None:
    """Fill in the command's form as a person does, and send it."""
    page = screen.page
    subject = next(iter(fields)) if command.endswith((" edit", " pause")) else ""
    if command.endswith(" pause"):
        screen.open(f"/cockpit/{subject}/{fields[subject]}")
        page.get_by_role("button", name="Pause").click()
    else:
        # Boxes to tick have no weights: an address that names some has the form show a line to write in.
        begun = {name: text for name, text in fields.items() if name == subject or (name == "offers" and ":" in text)}
        start = f"?{urlencode(begun)}" if begun else ""
        screen.open(f"/cockpit/do/{command.replace(' ', '/')}{start}")
        if (more := page.locator("details > summary", has_text="More")).count():
            more.click()
        for name, text in fields.items():
            field = page.locator(f"main [name={name}]:visible").first
            if name == subject:
                continue
            if field.get_attribute("type") == "checkbox":
                for value in text.split(","):
                    page.locator(f'main [name={name}][value="{value}"]').check()
            elif field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(text)
                page.wait_for_load_state()
            else:
                field.fill(text)
        page.locator("form.stack button.primary").click()
    page.locator(".toast span").wait_for()


def in_the_shell(hub: Deployment) -> Callable[[str, dict[str, str]], None]:
    def say(command: str, fields: dict[str, str]) -> None:
        done = hub.shell("run", *shlex.split(line(command, fields)))
        assert done.returncode == 0, done.stderr

    return say


def test_the_same_work_on_four_faces_leaves_equal_databases(tmp_path: Path) -> None:
    remaining: dict[str, dict[str, Any]] = {}

    def finish(face: str, hub: Deployment, say: Callable[[str, dict[str, str]], object]) -> None:
        try:
            for command, fields in WORK:
                say(command, fields)
            remaining[face] = stored(hub)
        finally:
            hub.stop()
            hub.http.close()

    with standin("slack") as slack, standin("telegram") as telegram:
        hub = with_chats(lambda **settings: new(tmp_path, "slack", **settings), slack, telegram)
        flux(slack, f"join {hub.run('member', 'invite', 'role=owner')['code']}")
        finish("slack", hub, lambda command, fields: flux(slack, line(command, fields)))
    with standin("slack") as slack, standin("telegram") as telegram:
        hub = with_chats(lambda **settings: new(tmp_path, "telegram", **settings), slack, telegram)
        tell(telegram, f"/start {hub.run('member', 'invite', 'role=owner')['code']}")
        finish("telegram", hub, lambda command, fields: tell(telegram, f"/{line(command, fields)}"))
    hub = new(tmp_path, "shell")
    hub.start()
    finish("shell", hub, in_the_shell(hub))
    hub = new(tmp_path, "cockpit")
    hub.start()
    with chromium() as browser:
        screen = Screen(browser, hub).sign_in()
        finish("cockpit", hub, lambda command, fields: by_form(screen, command, fields))
        assert screen.complaints == []

    assert [audit["command"] for audit in remaining["shell"]["audits"]] == [command for command, _ in WORK]
    assert all(remaining["shell"][table] for table in TABLES)
    for face in ("slack", "telegram", "cockpit"):
        for table, rows in remaining["shell"].items():
            assert remaining[face][table] == rows, f"{face}: {table}"
