"""A team moves in on a served hub: by the API and the shell, from each tracker's API and from files, to equal figures;
then its old links, click ids and postback addresses go on."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.trackers import recordings
from tests.connectors.web import Answering, serving
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.waiting import wait_for

MOVED = "go.example.test"
DATES = {"from": "2026-10-01", "to": "2026-10-19", "cutover": "2026-10-20", "click_days": 0}
#: A tracker: its recording, its first deposits' status, an old link, an old postback with its click id.
TRACKERS: dict[str, tuple[Any, str, str, str]] = {
    "keitaro": (recordings.keitaro, "sale", "/Xy7Zk2?zone=z7&clickid=ph1",
                "/a1b2/postback?subid=2ABcd9KeitaroClick&status=sale&payout=80&tid=t1"),
    "binom": (recordings.binom, "ftd", "/click?key=bk1&zone=z7&e=ph1",
              "/click?cnv_id=binomclick1&cnv_status=ftd&payout=80&txid=t1"),
    "voluum": (recordings.voluum, "customConversions2", "/5f0c1d2e-0000-4000-8000-000000000004?zone=z7&clickid=ph1",
               "/postback?cid=wVoluumClick1&et=customConversions2&payout=80&txid=t1"),
    "redtrack": (recordings.redtrack, "type2", "/5f0c1d2e3a4b5c6d7e8f9a0b?sub1=z7&ref_id=ph1",
                 "/postback?clickid=rtclick1&type=type2&sum=80&txid=t1"),
}  # fmt: skip
HISTORY = """Дата;Кампания;Оффер;Страна;Клики;Конверсии;FTD;Доход;Расход;Валюта
01.10.2026;Push DE;Lucky Star DE;Германия;2 038;9;9;720,00;101,90;EUR
13.10.2026;Push DE;Lucky Star DE;Австрия;100;1;1;80,50;5,00;XTS
Итого;;;;2 138;10;10;800,50;106,90;
"""


@contextmanager
def tracker(answering: Answering) -> Iterator[str]:
    """The address of a tracker that answers in a thread of its own."""
    ready, loop, url = threading.Event(), asyncio.new_event_loop(), list[str]()
    ended = asyncio.Event()

    async def serve() -> None:
        async with serving(answering) as web:
            url.append(web.url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


def in_state(hub: Deployment, number: int, state: str) -> dict[str, Any]:
    def shown() -> Any:
        found = hub.get("import/show", **{"import": number})
        assert found["state"] != "failed", found["error"]
        return found if found["state"] == state else None

    return dict(wait_for(shown, f"import {number} to be {state}", told=hub.log))


def carried_out(hub: Deployment, number: int, status: str) -> dict[str, Any]:
    """The import after its status was mapped; run from the shell."""
    hub.post("import/map", **{"import": number, "statuses": [f"{status}=first_deposit"]})
    hub.run("import", "run", str(number))
    return in_state(hub, number, "done")


def rows_of(hub: Deployment) -> dict[tuple[str, ...], tuple[Any, ...]]:
    report = hub.post("history", range="2026-10-01..2026-10-31", by=["day", "campaign", "offer", "country"])
    return {
        tuple(row["group"].values()): (row["clicks"], row["first_deposits"], row["revenue"]) for row in report["rows"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("system", TRACKERS)
def test_a_tracker_moves_in_and_its_links_and_click_ids_go_on(deploy_sqlite: Deploy, system: str) -> None:
    recording, status, link, postback = TRACKERS[system]
    hub = deploy_sqlite()
    hub.start()
    with tracker(recording()) as url:
        login = {"access_id": "a1"} if system == "voluum" else {}
        asked = hub.post(f"import/{system}", url=url, key=recordings.KEY, **login, **DATES)
        plan = in_state(hub, asked["id"], "ready")["plan"]
        assert plan["statuses"][status] >= 1
        carried_out(hub, asked["id"], status)
    days = rows_of(hub)
    first = ("2026-10-01", "push-de", "lucky-star-de", "DE")
    assert days[first][0] == plan["history"]["clicks"] - sum(row[0] for key, row in days.items() if key != first)
    assert days[first][2] == 720_000_000
    hub.post("import/cutover", campaign="push-de", day="2026-10-01")
    assert first not in rows_of(hub)
    assert hub.post("domain/add", name=MOVED)["status"] == "added"
    reloaded = wait_for(lambda: landed(hub, link), "the old link", told=hub.log)
    assert reloaded.startswith(("https://lucky.example.test/", "https://wild.example.test/"))
    answer = hub.http.get(postback, headers={"host": MOVED})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "accepted"), answer.text
    story = hub.get("conversion/list")["items"][0]
    assert (story["event"], story["campaign"], story["offer"]) == ("first_deposit", "push-de", "lucky-star-de")


def landed(hub: Deployment, link: str) -> str:
    """Where an old link on the moved domain leads; empty until the hub knows it."""
    headers = {"host": MOVED, "user-agent": f"{BROWSER}1", "x-forwarded-for": "198.51.100.7"}
    answer = hub.http.get(link, headers=headers)
    hub.http.cookies.clear()
    return answer.headers.get("location", "") if answer.status_code == 302 else ""


@pytest.mark.slow
def test_a_spreadsheet_and_statsdrones_table_move_in_by_upload_and_shell(deploy_sqlite: Deploy, tmp_path: Path) -> None:
    hub = deploy_sqlite()
    hub.start()
    file = base64.b64encode(HISTORY.encode("utf-16")).decode()
    asked = hub.post("import/csv", file=file, cutover="2026-10-20")
    assert asked["plan"]["statuses"] == {"FTD": 10}
    assert asked["plan"]["history"]["unrated"] == ["XTS"]
    done = carried_out(hub, asked["id"], "FTD")
    assert done["result"]["days"] == 2
    assert rows_of(hub) == {
        ("2026-10-01", "push-de", "lucky-star-de", "DE"): (2038, 9, 720_000_000),
        ("2026-10-13", "push-de", "lucky-star-de", "AT"): (100, 1, None),
    }
    hub.post("campaign/edit", campaign="push-de", name="Push Germany")
    again = hub.post("import/csv", file=file, cutover="2026-10-20")
    assert again["plan"]["make"]["campaign"] == 0
    assert again["plan"]["kept"] == ["campaign Push Germany was changed here (name): it stays so"]
    table = tmp_path / "bulk.csv"
    table.write_text("Glück Partners;anna;s3cret;push;EUR\nWild;bob;hunter2\n", encoding="cp1252")
    shown = hub.shell("run", "import", "statsdrone", f"file={table}", "encoding=windows-1252")
    assert "2" in shown.stdout, shown.stderr
    assert "s3cret" not in shown.stdout + hub.log()
    number = hub.get("import/list")["items"][0]["id"]
    hub.run("import", "run", str(number))
    in_state(hub, number, "done")
    assert {"Glück Partners", "Wild"} <= {account["name"] for account in hub.get("account/list")["items"]}
