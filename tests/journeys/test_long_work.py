"""Work that takes long, and ranges without end: answered, or refused at the field, while clicks come in."""

import asyncio
import os
import re
import signal
from base64 import b64encode
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from storage.db.engine import Database
from storage.ledger.facts import Figures, Report, RevenueRow
from storage.revenue.comparison import packed
from storage.revenue.raw_reports import store
from storage.revenue.row_diff import Origin
from storage.tables import accounts, revenue
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(deploy_sqlite: Deploy) -> Deployment:
    hub = deploy_sqlite(LIMIT_SECONDS="120")  # the machine may be busy; the limit itself is tested below
    hub.start()
    return hub


def held_by(log: str, *modules: str) -> list[str]:
    """Lines that say the event loop was held by one of these for a second: a tenth a loaded machine may take."""
    lines = [line for line in log.splitlines() if "the event loop is held" in line]
    assert all(re.search(r"milliseconds\W+\d", line) for line in lines)
    return [
        line for line in lines if re.search(r"milliseconds\W+\d{4}", line) and any(name in line for name in modules)
    ]


def helpers(hub: Deployment) -> list[int]:
    """Process ids of the hub's helper processes."""
    assert hub.process is not None
    results = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "status").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"PPid:\t{hub.process.pid}\n" in status and b"helper_process" in command:
            results.append(int(folder.name))
    return results


def test_a_fine_report_over_all_time_is_refused_and_over_three_years_comes_from_the_helper(hub: Deployment) -> None:
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    campaign = hub.post("campaign/create", name="spring", offers=["lucky"], direct=True)
    viewer = hub.run("token", "create", "name=reader", "role=viewer")["token"]
    link = hub.url + httpx.URL(campaign["url"]).path
    client = httpx.Client(base_url=hub.url, headers={"authorization": f"Bearer {viewer}"}, timeout=40)

    def report(**query: str) -> httpx.Response:
        return client.get("/api/v1/report/merged", params=query)

    for n in range(5):
        assert httpx.get(f"{link}?sub1=s{n % 2}", timeout=60).status_code == 302
    refused = report(**{"from": "0001-01-01", "to": "9999-12-31", "by": "sub1"})
    assert refused.status_code == 400
    assert refused.json()["field"] == "from"
    assert helpers(hub) == []  # nothing was begun for it
    today = report(**{"from": "2026-01-01", "to": "2028-12-31", "by": "sub1"})
    assert today.status_code == 200
    assert {row["group"]["sub1"]: row["clicks"] for row in today.json()["rows"]}.keys() >= {"s0", "s1"}
    (pid,) = helpers(hub)
    os.kill(pid, signal.SIGKILL)
    again = report(**{"from": "2026-01-01", "to": "2028-12-31", "by": "sub1"})
    assert again.json() == today.json()
    assert httpx.get(link, timeout=60).status_code == 302


def test_http_and_the_shell_give_up_a_request_over_the_limit(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite(LIMIT_SECONDS="0.05")  # shorter than the helper process needs to start
    hub.start()
    answer = httpx.get(
        f"{hub.url}/api/v1/report/merged", params={"from": "2026-10-01", "to": "2026-10-31", "by": "sub1"},
        headers={"authorization": f"Bearer {hub.token}"}, timeout=40,
    )  # fmt: skip
    assert answer.status_code == 422
    assert "takes longer than 0.05 seconds: ask for fewer days" in answer.json()["detail"]
    shell = hub.shell("run", "report", "merged", "from=2026-10-01", "to=2026-10-31", "by=sub1")
    assert (shell.returncode, shell.stdout) == (1, "")
    assert shell.stderr.startswith("casinoflux: this takes longer than 0.05 seconds: ask for fewer days")


def test_an_upload_of_30_000_rows_is_read_by_the_helper_while_clicks_come_in(hub: Deployment) -> None:
    hub.run("account", "add", "platform=csv_upload", "name=own", "currency=EUR")
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    link = hub.url + httpx.URL(hub.post("campaign/create", name="spring", offers=["lucky"], direct=True)["url"]).path
    lines = [f"2026-10-{1 + n % 30:02},tag{n // 30},EUR,{n}.50" for n in range(30_000)]
    table = "\n".join(["day,tag,currency,commission", *lines])
    body = {"account": "own", "file": b64encode(table.encode()).decode()}
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(
            httpx.post, f"{hub.url}/api/v1/sync/upload", json=body, timeout=60,
            headers={"authorization": f"Bearer {hub.token}"},
        )  # fmt: skip
        answers = [httpx.get(link, timeout=60).status_code]
        while not upload.done():
            answers.append(httpx.get(link, timeout=60).status_code)
    assert set(answers) == {302}
    assert upload.result().status_code in {200, 201}, upload.result().text
    assert upload.result().json()["rows"] == 30_000
    assert helpers(hub)
    assert not held_by(hub.log(), "connectors.", "storage.ledger.revenue")


def test_costs_of_10_000_lines_are_imported_all_or_none_while_clicks_come_in(hub: Deployment) -> None:
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    link = hub.url + httpx.URL(hub.post("campaign/create", name="spring", offers=["lucky"], direct=True)["url"]).path
    lines = [f"spring,2026-{1 + n % 9:02}-{1 + n % 28:02},1.25,EUR" for n in range(10_000)]
    header = "campaign,day,amount,currency"

    def sent(*table: str) -> httpx.Response:
        file = b64encode("\n".join((header, *table)).encode()).decode()
        return hub.try_post("spend/import", file=file)

    refused = sent(*lines, "spring,2026-09-01,much,EUR")
    assert refused.status_code == 400
    assert "line 10002" in refused.json()["detail"]
    with ThreadPoolExecutor(1) as pool:
        imported = pool.submit(sent, *lines)
        answers = [httpx.get(link, timeout=60).status_code]
        while not imported.done():
            answers.append(httpx.get(link, timeout=60).status_code)
    assert set(answers) == {302}
    days = len({line.split(",")[1] for line in lines})
    answer = imported.result().json()
    assert (answer["rows"], answer["changed"]) == (10_000, days)
    assert sent(*lines).json()["changed"] == 0
    assert not held_by(hub.log(), "spend")


ENDS_OF_TIME = (
    ("report/merged", {"from": "2026-01-01", "to": "2026-01-02", "as_of": "9999-12-31"}, "as_of"),
    ("report/merged", {"from": "2026-01-01", "to": "2026-01-02", "as_of": "0001-01-01T00:00"}, "as_of"),
    ("report/merged", {"from": "9999-12-30", "to": "9999-12-31"}, "from"),
    ("report/merged", {"from": "0001-01-01", "to": "2026-01-02", "clock": "visit"}, "from"),
    ("revenue/restated", {"since": "0001-01-01"}, "since"),
    ("revenue/vanished", {"since": "9999-12-31"}, "since"),
    ("rate/list", {"to": "0001-01-01"}, "to"),
    ("stats", {"range": "0001-01-01..9999-12-31"}, "range"),
)


def test_a_day_at_the_end_of_time_is_refused_at_its_field(hub: Deployment) -> None:
    headers = {"authorization": f"Bearer {hub.token}"}
    for path, query, field in ENDS_OF_TIME:
        answer = httpx.get(f"{hub.url}/api/v1/{path}", params=query, headers=headers, timeout=40)
        assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text


def clicks_until(done: Future[httpx.Response], link: str) -> int:
    """Click until a request is answered; how many clicks were redirected before."""
    answers = [httpx.get(link, timeout=60).status_code]
    while not done.done():
        answers.append(httpx.get(link, timeout=60).status_code)
    assert set(answers) == {302}
    assert done.result().status_code == 200, done.result().text
    return len(answers) - 1


async def hold_a_report(url: str, account: str, *, rows: int, changed: int) -> None:
    """As many rows as stand, and a held report of the same days in which some are doubled."""
    day, now = date(2026, 10, 1), datetime(2026, 11, 1, tzinfo=UTC)
    places = [(day + timedelta(days=n % 30), f"s{n // 30}") for n in range(rows)]
    report = Report(first=day, last=day + timedelta(days=29), raw=b"", rows=tuple(
        RevenueRow(day=day, tag="main", sub=sub, currency="EUR", figures=Figures(ngr=2 if n < changed else 1))
        for n, (day, sub) in enumerate(places)
    ))  # fmt: skip
    database = Database(url)
    async with database.begin() as tx:
        held_by = (await tx.execute(select(accounts).where(accounts.c.code == account))).one()
        constant = {"team_id": held_by.team_id, "account_id": held_by.id, "tag": "main", "tag_key": "main", "ngr": 1,
                    "currency": "EUR", "recorded_at": now, "report_id": 0}  # fmt: skip
        await tx.execute(insert(revenue), [constant | {"day": day, "sub": sub} for day, sub in places])
        of = Origin(team_id=held_by.team_id, account_id=held_by.id, run_id=None, now=now)
        await store(tx, of, report, b"", state="suspect", at=now, reason="figures doubled", packed=packed(report))
    await database.close()


def test_a_held_report_of_250_000_rows_is_shown_and_confirmed_while_clicks_come_in(hub: Deployment) -> None:
    hub.run("account", "add", "platform=csv_upload", "name=own", "currency=EUR")
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    link = hub.url + httpx.URL(hub.post("campaign/create", name="spring", offers=["lucky"], direct=True)["url"]).path
    asyncio.run(hold_a_report(hub.settings["DATABASE_URL"], "own", rows=250_000, changed=3_000))
    headers = {"authorization": f"Bearer {hub.token}"}

    def ask(path: str, **arguments: Any) -> httpx.Response:
        return httpx.post(f"{hub.url}/api/v1/{path}", json=arguments, headers=headers, timeout=120)

    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(ask, "sync/show", account="own", limit=5)
        assert clicks_until(shown, link) > 10
        assert len(shown.result().json()["items"]) == 5
        question = pool.submit(ask, "sync/confirm", account="own")
        assert clicks_until(question, link) > 10
        assert "3,000 rows would change" in question.result().json()["consequence"].replace("3000", "3,000")
        confirmed = pool.submit(ask, "confirm", code=question.result().json()["confirm"])
        assert clicks_until(confirmed, link) > 10
    assert (confirmed.result().json()["rows"], confirmed.result().json()["restated"]) == (250_000, 3_000)
    assert not held_by((hub.folder / "serve.log").read_text(), "storage.revenue", "storage.ledger.revenue")
