"""Work that takes long, and ranges without end: answered, or refused at the field, while clicks come in."""

import os
import signal
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment


@pytest.fixture
def hub(deploy_sqlite: Deploy) -> Deployment:
    hub = deploy_sqlite()
    hub.start()
    return hub


def helpers(hub: Deployment) -> list[int]:
    """Process ids of the hub's helper processes."""
    assert hub.process is not None
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "status").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"PPid:\t{hub.process.pid}\n" in status and b"helper_process" in command:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_fine_report_over_all_time_is_refused_and_over_three_years_comes_from_the_helper(hub: Deployment) -> None:
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    campaign = hub.run("campaign", "create", "name=spring", "offers=lucky", "direct=true")
    viewer = hub.run("token", "create", "name=reader", "role=viewer")["token"]
    link = hub.url + httpx.URL(campaign["url"]).path
    asking = httpx.Client(base_url=hub.url, headers={"authorization": f"Bearer {viewer}"}, timeout=40)

    def report(**query: str) -> httpx.Response:
        return asking.get("/api/v1/report/merged", params=query)

    for n in range(5):
        assert httpx.get(f"{link}?sub1=s{n % 2}").status_code == 302
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
    assert httpx.get(link).status_code == 302


@pytest.mark.slow
def test_an_upload_of_30_000_rows_is_read_by_the_helper_while_clicks_come_in(hub: Deployment) -> None:
    hub.run("account", "add", "platform=csv_upload", "name=own", "currency=EUR")
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    link = hub.url + httpx.URL(hub.run("campaign", "create", "name=spring", "offers=lucky", "direct=true")["url"]).path
    lines = [f"2026-10-{1 + n % 30:02},tag{n // 30},EUR,{n}.50" for n in range(30_000)]
    table = "\n".join(["day,tag,currency,commission", *lines])
    body = {"account": "own", "file": b64encode(table.encode()).decode()}
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(
            httpx.post, f"{hub.url}/api/v1/sync/upload", json=body, timeout=60,
            headers={"authorization": f"Bearer {hub.token}"},
        )  # fmt: skip
        answers = [httpx.get(link).status_code]
        while not upload.done():
            answers.append(httpx.get(link).status_code)
    assert set(answers) == {302}
    assert upload.result().status_code in {200, 201}, upload.result().text
    assert upload.result().json()["rows"] == 30_000
    assert helpers(hub)
    held = [line for line in hub.log().splitlines() if "the event loop is held" in line]
    assert not [line for line in held if "connectors." in line or "storage.ledger.revenue" in line]


@pytest.mark.slow
def test_costs_of_10_000_lines_are_imported_all_or_none_while_clicks_come_in(hub: Deployment) -> None:
    hub.run("account", "add", "platform=postback_only", "name=acme")
    hub.run("offer", "add", "casino=Lucky", "account=acme", "url=https://casino.example.test/?s={click_id}")
    link = hub.url + httpx.URL(hub.run("campaign", "create", "name=spring", "offers=lucky", "direct=true")["url"]).path
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
        answers = [httpx.get(link).status_code]
        while not imported.done():
            answers.append(httpx.get(link).status_code)
    assert set(answers) == {302}
    days = len({line.split(",")[1] for line in lines})
    told = imported.result().json()
    assert (told["rows"], told["changed"]) == (10_000, days)
    assert sent(*lines).json()["changed"] == 0
    assert not [line for line in hub.log().splitlines() if "the event loop is held" in line and "spend" in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("report/merged", {"from": "2026-01-01", "to": "2026-01-02", "as_of": "9999-12-31"}, "as_of"),
        ("report/merged", {"from": "2026-01-01", "to": "2026-01-02", "as_of": "0001-01-01T00:00"}, "as_of"),
        ("report/merged", {"from": "9999-12-30", "to": "9999-12-31"}, "from"),
        ("report/merged", {"from": "0001-01-01", "to": "2026-01-02", "clock": "visit"}, "from"),
        ("revenue/restated", {"since": "0001-01-01"}, "since"),
        ("revenue/vanished", {"since": "9999-12-31"}, "since"),
        ("rate/list", {"to": "0001-01-01"}, "to"),
        ("stats", {"range": "0001-01-01..9999-12-31"}, "range"),
    ],
)
def test_a_day_at_the_end_of_time_is_refused_at_its_field(
    hub: Deployment, path: str, query: dict[str, str], field: str
) -> None:
    answer = httpx.get(
        f"{hub.url}/api/v1/{path}", params=query, headers={"authorization": f"Bearer {hub.token}"}, timeout=40
    )
    assert (answer.status_code, answer.json()["field"]) == (400, field), answer.text
