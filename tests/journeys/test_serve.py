"""`casinoflux serve` as its owner meets it: killed, stopped, started wrong, watched."""

import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import pytest

from hub.web import sockets
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin
from tests.journeys.steps import BROWSER
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deployment, "forked", False)


def campaign(hub: Deployment) -> str:
    hub.post("account/add", platform="postback_only", name="main", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="main", tag="x", url="https://lucky.example.test/?s={click_id}")
    return str(hub.post("campaign/create", name="C", offers=["lucky-x"])["url"])


class Clicking(threading.Thread):
    """A player's browser that never stops; remembers every click it was answered."""

    def __init__(self, link: str, number: int) -> None:
        super().__init__(daemon=True)
        self.link, self.number, self.answered = link, number, list[str]()
        self.stopped = threading.Event()

    def run(self) -> None:
        headers = {"user-agent": f"{BROWSER}{self.number}", "x-forwarded-for": f"203.0.113.{self.number}"}
        with httpx.Client(headers=headers, timeout=60) as client:
            while not self.stopped.is_set():
                try:
                    answer = client.get(self.link)
                except httpx.HTTPError:
                    return
                self.answered.append(parse_qs(urlsplit(answer.headers["location"]).query)["s"][0])


def test_a_kill_under_load_loses_no_answered_click(deploy: Deploy) -> None:
    hub = deploy()
    hub.start()
    link = campaign(hub)
    threads = [Clicking(link, n) for n in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(len(thread.answered) for thread in threads) > 300, "clicks to come in")
    hub.kill()
    for thread in threads:
        thread.stopped.set()
        thread.join(120)
    answered = [click for thread in threads for click in thread.answered]
    hub.start()
    shown = [hub.try_post("click/show", click_id=item).status_code for item in answered[:: max(1, len(answered) // 60)]]
    assert set(shown) == {200}
    total = hub.get("stats", range="today", by="campaign")["totals"]
    stored = total["clicks"] + total["bot_clicks"]
    assert len(answered) <= stored <= len(answered) + len(threads)
    checked = hub.shell("db", "check")
    assert checked.returncode == 0, checked.stdout


def test_a_stop_drains_and_exits_with_0(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    hub.start()
    link = campaign(hub)
    threads = [Clicking(link, n) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(len(thread.answered) for thread in threads) > 100, "clicks to come in")
    assert hub.stop() == 0, hub.log()


def test_a_stop_while_the_database_is_locked_exits_with_0_and_keeps_every_click(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    hub.start()
    link = campaign(hub)
    with closing(sqlite3.connect(hub.settings["DATABASE_URL"].partition("///")[2], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        browser = {"user-agent": BROWSER, "x-forwarded-for": "203.0.113.5"}
        places = [httpx.get(link, headers=browser, timeout=10).headers["location"] for _ in range(5)]
        assert hub.stop() == 0, hub.log()
        other.execute("ROLLBACK")
    hub.start()
    clicks = [parse_qs(urlsplit(place).query)["s"][0] for place in places]
    wait_for(
        lambda: {hub.try_post("click/show", click_id=click).status_code for click in clicks} == {200},
        "the spool drained",
    )


def test_two_workers_share_the_port_and_one_that_dies_is_replaced(deploy_postgres: Deploy) -> None:
    hub = deploy_postgres()
    hub.start("--workers", "2")
    link = campaign(hub)
    assert hub.process is not None
    begun = psutil.Process(hub.process.pid)
    children = wait_for(lambda: of if len(of := begun.children()) == 4 else None, "its processes", told=hub.log)
    worker = next(item for item in children if "hub" in item.cmdline()[-6:] or "--only" in item.cmdline())
    worker.kill()
    wait_for(lambda: len(begun.children()) == 4 and worker not in begun.children(), "a replacement", told=hub.log)

    def redirected() -> bool:
        try:
            return httpx.get(link, headers={"user-agent": BROWSER}, timeout=60).status_code == 302
        except httpx.HTTPError:
            return False

    assert wait_for(redirected, "clicks to be redirected")
    assert hub.stop() == 0, hub.log()


def test_it_idles_under_150_megabytes_with_both_bots(deploy_sqlite: Deploy) -> None:
    with standin("slack") as slack, standin("telegram") as telegram:
        hub = deploy_sqlite(
            SLACK_BOT_TOKEN="xoxb-stand-in", SLACK_SIGNING_SECRET="stand-in-signing-secret",
            SLACK_API_URL=f"{slack.base_url}/api/".replace("//api", "/api"),
            TELEGRAM_BOT_TOKEN="123456:stand-in-token", TELEGRAM_WEBHOOK_SECRET="s3cret",
            TELEGRAM_API_URL=f"{str(telegram.base_url).rstrip('/')}/bot",
        )  # fmt: skip
        hub.start()
        wait_for(lambda: telegram.get("/_control/calls").json(), "Telegram to be asked")
        assert hub.process is not None
        serving = psutil.Process(hub.process.pid)

        def resident() -> int:
            return sum(process.memory_info().rss for process in [serving, *serving.children(recursive=True)])

        wait_for(lambda: resident() < 150_000_000, "the memory of the start to be given back")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("REPORT_TIMEZONE", "Mars/Olympus"), ("DATABASE_URL", "mysql://nowhere"), ("REPORT_CURRENCY", "GOLD")],
)
def test_a_wrong_setting_stops_the_start_in_one_line(deploy_sqlite: Deploy, setting: str, value: str) -> None:
    hub = deploy_sqlite(**{setting: value})
    done = hub.shell("serve", "--port", str(hub.port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"CASINOFLUX_{setting}" in done.stderr


def test_another_time_zone_on_a_filled_database_stops_the_start_in_one_line(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    assert hub.shell("run", "offer", "list").returncode == 0
    hub.settings["REPORT_TIMEZONE"] = "Europe/Malta"
    done = hub.shell("serve", "--port", str(hub.port))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "CASINOFLUX_REPORT_TIMEZONE" in done.stderr


def test_the_shell_says_what_it_did_not_understand(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    misspelt = hub.shell("run", "ofer", "list")
    assert (misspelt.returncode, "did you mean 'offer list'" in misspelt.stderr) == (2, True)
    unknown = hub.shell("run", "offer", "show", "nothing")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert hub.shell("run", "offer", "add").returncode == 2
    for words in (("serv",), ("db", "chek"), ("db", "transfer", "nonsense"), ("db", "port", "nonsense"), ()):
        done = hub.shell(*words)
        assert (done.returncode in {1, 2}, done.stderr.count("\n")) == (True, 1)
    assert hub.shell("run", "offer", "list").returncode == 0


def test_a_port_in_use_is_said(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    hub.start()
    second = hub.shell("serve", "--port", str(hub.port))
    assert second.returncode == 1
    assert "--port" in second.stderr


@pytest.mark.parametrize("option", [("--workers", "2"), ("--only", "jobs")])
def test_on_sqlite_serve_is_one_process(deploy_sqlite: Deploy, option: tuple[str, str]) -> None:
    refused = deploy_sqlite().shell("serve", *option)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"casinoflux: {' '.join(option)} needs PostgreSQL")
    assert refused.stderr.count("\n") == 1


def test_a_start_that_is_refused_leaves_nothing_behind(deploy_empty_sqlite: Deploy) -> None:
    hub = deploy_empty_sqlite()
    del hub.settings["SECRET_KEY"]
    with socket.create_server(("127.0.0.1", hub.port)):
        for words, fix in (
            (["serve", "--workers", "2"], "needs PostgreSQL"),
            (["serve", "--only", "bots"], "needs PostgreSQL"),
            (["serve", "--port", str(hub.port)], "--port"),
            (["serve", "--host", "203.0.113.9"], "--host"),
        ):
            assert fix in hub.shell(*words).stderr
    hub.shell("doctor")
    assert hub.shell("db", "upgrade", "--check").returncode == 1
    hub.settings["SLACK_BOT_TOKEN"] = "set alone"
    assert "CASINOFLUX_SLACK_BOT_TOKEN" in hub.shell("serve").stderr
    assert not list(hub.folder.iterdir())


def test_a_key_of_another_installation_stops_the_start_and_a_lost_one_is_replaced(deploy: Deploy) -> None:
    hub = deploy()
    hub.start()
    hub.post("account/add", platform="affilka", name="main", token="t", base_url="https://a.example.test", test=False)
    assert hub.stop() == 0
    kept, hub.settings["SECRET_KEY"] = hub.settings["SECRET_KEY"], "the key of another installation"
    for words in (["serve", "--port", str(hub.port)], ["run", "account", "list"]):
        done = hub.shell(*words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "CASINOFLUX_SECRET_KEY is not the key" in done.stderr
    lost = hub.shell("keys", "rotate")
    assert (lost.returncode, "accounts 1" in lost.stderr) == (1, True)
    hub.start()
    assert hub.post("account/edit", account="main", token="t", test=False)["status"] == "active"
    assert hub.stop() == 0
    hub.settings["SECRET_KEY"] = kept
    assert hub.shell("serve", "--port", str(hub.port)).returncode == 1


def test_a_second_hub_on_one_sqlite_file_is_refused(deploy_sqlite: Deploy) -> None:
    first, second = deploy_sqlite(), deploy_sqlite()
    first.start()
    refused = second.shell("serve", "--port", str(second.port))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "another casinoflux serve is at work on this database" in refused.stderr
    first.kill()
    second.token = first.token
    second.start()
    assert second.stop() == 0, second.log()


def test_a_command_beside_a_first_start_works(deploy_empty: Deploy) -> None:
    hub = deploy_empty()
    helped: list[int] = []
    beside = threading.Thread(target=lambda: helped.append(hub.shell("run", "help").returncode))
    beside.start()
    hub.start()
    beside.join(60)
    assert helped == [0]
    assert hub.stop() == 0, hub.log()


def test_what_cannot_be_listened_on_is_said_in_one_line(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    with socket.create_server(("127.0.0.1", hub.port)):
        for words, files, fix in (
            ([], 1024, "choose another --port"),
            (["--host", "203.0.113.9"], 1024, "choose another --host"),
            (["--host", "::1"], 128, "ulimit -n"),
        ):
            serve = [sys.executable, "-m", "hub", "serve", "--port", str(hub.port), *words]
            ended = subprocess.run(
                ["bash", "-c", f'ulimit -n {files}; exec "$@"', "few", *serve],
                cwd=hub.folder, env=hub.environment, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended
            assert fix in ended.stderr
    assert sockets.shown("::1", 8000) == "http://[::1]:8000"
