"""The files of the cases through every door that takes a file (HTTP, shell, cockpit, Slack, Telegram): one outcome."""

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin
from tests.journeys.test_chats import posted, shown, tell, with_chats
from tests.journeys.test_sign_in import csrf_of
from tests.storage.ledger.written import CASES
from tests.waiting import wait_for

Rows = list[tuple[str, str, int]]
#: Sends a file with a command; the answer as text.
Send = Callable[[str, str], str]

MILLION = 1_000_000
#: Day, tag and commission in micro-units of EUR that stand after an upload; a dollar is half a euro.
STANDS: dict[str, Rows] = {
    "campaign_named_date.csv": [
        ("2026-10-01", "Alpha", 40 * MILLION), ("2026-10-01", "Date", 80 * MILLION),
    ],
    "day_first.csv": [("2026-02-03", "alpha", 40 * MILLION), ("2026-02-26", "alpha", 80_500_000)],
    "other_currency_sign.csv": [
        ("2026-10-01", "alpha", 20 * MILLION), ("2026-10-02", "alpha", 40_250_000),
    ],
    "cp1251.csv": [
        ("2026-10-01", "Промо Осень", 40 * MILLION), ("2026-10-02", "Промо Осень", 80_500_000),
    ],
}  # fmt: skip
OPTIONS = {"cp1251.csv": {"encoding": "windows-1251"}}
#: Settled days that `day_first_sorted.csv`, read month first, would withdraw.
SETTLED = "day,tag,commission\n2026-01-10,alpha,5\n2026-02-05,alpha,5\n2026-03-10,alpha,5\n"


@contextmanager
def doors(hub: Deployment, slack: httpx.Client, telegram: httpx.Client) -> Iterator[dict[str, Send]]:
    """The five ways a file comes in."""

    def over_http(command: str, name: str) -> str:
        noun, verb, *account = command.split()
        arguments = {"account": account[0]} if account else {}
        sent = base64.b64encode((CASES / name).read_bytes()).decode()
        return hub.try_post(f"{noun}/{verb}", file=sent, **arguments).text

    def in_the_shell(command: str, name: str) -> str:
        done = hub.shell("run", *command.split(), f"file={CASES / name}")
        return done.stdout + done.stderr

    def in_the_cockpit(command: str, name: str) -> str:
        noun, verb, *account = command.split()
        fields = {"csrf": csrf_of(browser.get("/cockpit").text)} | ({"account": account[0]} if account else {})
        files = {"file": (name, (CASES / name).read_bytes())}
        return browser.post(f"/cockpit/do/{noun}/{verb}", data=fields, files=files, follow_redirects=True).text

    def on_slack(command: str, name: str) -> str:
        slack.post(
            "/_control/file", json={"name": name, "base64": base64.b64encode((CASES / name).read_bytes()).decode()}
        )
        file = {"name": name, "url_private_download": f"{slack.base_url}/files/{name}"}
        before = len(shown(slack))
        message = {"text": command, "files": [file], "subtype": "file_share"}
        assert slack.post("/_control/mention", json=message).json()["status"] == 200
        return str(wait_for(lambda: shown(slack)[before:], f"an answer to {command}", told=hub.log)[-1])

    def on_telegram(command: str, name: str) -> str:
        telegram.post(
            "/_control/file", json={"name": name, "base64": base64.b64encode((CASES / name).read_bytes()).decode()}
        )
        media = {"document": {"file_id": name, "file_unique_id": name, "file_name": name}}
        before = len(posted(telegram, 42))
        telegram.post("/_control/say", json={"text": f"/{command}", "chat": 42, "media": media})
        return str(wait_for(lambda: posted(telegram, 42)[before:], f"an answer to {command}", told=hub.log)[-1])

    with httpx.Client(base_url=hub.url, timeout=60) as browser:
        assert browser.post("/cockpit/sign-in", data={"token": hub.token}).status_code == 303
        chats = {"slack": on_slack, "telegram": on_telegram}
        yield {"http": over_http, "shell": in_the_shell, "cockpit": in_the_cockpit, **chats}


def stands(hub: Deployment, account: str) -> Rows:
    """What stands of an account, none of whose tags an offer claims."""
    report = hub.get("report/merged", by="day", account=account, **{"from": "2026-01-01", "to": "2026-11-20"})
    return sorted((row["group"]["day"], row["group"]["tag"], row["commission"]) for row in report["unassigned"])


@pytest.mark.slow
def test_the_files_of_the_cases_are_read_alike_at_every_door(deploy_sqlite: Deploy) -> None:
    with ExitStack() as stack:
        slack, telegram = stack.enter_context(standin("slack")), stack.enter_context(standin("telegram"))
        hub = with_chats(deploy_sqlite, slack, telegram)
        tell(telegram, f"/start {hub.post('member/invite', role='owner')['code']}")
        slack.post("/_control/command", json={"text": f"join {hub.post('member/invite', role='owner')['code']}"})
        wait_for(lambda: shown(slack), "the welcome on Slack", told=hub.log)
        hub.post("campaign/create", name="field", cost_model="daily")
        hub.post("rate/set", currency="USD", rate="0.5", to="2026-10-02", **{"from": "2026-10-01"})
        for door, send in stack.enter_context(doors(hub, slack, telegram)).items():
            revenue_files(hub, door, send)
            spend_files(hub, door, send)


def revenue_files(hub: Deployment, door: str, send: Send) -> None:
    for name, rows in STANDS.items():
        account = hub.post("account/add", platform="csv_upload", name=f"{door} {name}")["code"]
        if name in OPTIONS:
            refused = send(f"sync upload {account}", name)
            assert ("line 2" in refused, "UTF-8" in refused, stands(hub, account)) == (True, True, []), (door, refused)
            hub.post("account/edit", account=account, options=OPTIONS[name])
        answer = send(f"sync upload {account}", name)
        assert stands(hub, account) == rows, (door, name, answer)
    undecided = hub.post("account/add", platform="csv_upload", name=f"{door} undecided")["code"]
    hub.post("sync/upload", account=undecided, csv=SETTLED)
    before = stands(hub, undecided)
    answer = send(f"sync upload {undecided}", "day_first_sorted.csv")
    assert ("day_order" in answer, stands(hub, undecided)) == (True, before), (door, answer)


def spend_files(hub: Deployment, door: str, send: Send) -> None:
    for name in ("spend_excel_unicode.txt", "spend_blank_lines.csv"):
        hub.post("spend/import", csv="campaign,day,amount\nfield,2026-10-01,1\n")
        answer = send("spend import", name)
        report = hub.get("report/merged", by="campaign", **{"from": "2026-10-01", "to": "2026-10-01"})
        assert report["totals"]["spend"] == 12_500_000, (door, name, answer)
