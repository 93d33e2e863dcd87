"""A served deployment in chat: people join on Slack and Telegram, set up, and get their digest once each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin
from tests.standins.telegram import TOKEN
from tests.waiting import wait_for

SHOWN = {"response", "chat.postMessage", "chat.postEphemeral"}


def shown(slack: httpx.Client) -> list[dict[str, Any]]:
    return [item["body"] for item in slack.get("/_control/calls").json() if item["method"] in SHOWN]


def posted(telegram: httpx.Client, chat: int) -> list[dict[str, Any]]:
    result = telegram.get("/_control/chat", params={"chat": chat}).json()
    return [item for item in result if item["from"]["is_bot"]]


def flux(slack: httpx.Client, text: str) -> dict[str, Any]:
    """A slash command; what was shown for it."""
    before = len(shown(slack))
    assert slack.post("/_control/command", json={"text": text}).json()["status"] == 200
    return dict(wait_for(lambda: shown(slack)[before:], f"an answer to {text}")[-1])


def tell(telegram: httpx.Client, text: str, chat: int = 42) -> str:
    """A line on Telegram; what was posted for it."""
    before = len(posted(telegram, chat))
    assert telegram.post("/_control/say", json={"text": text, "chat": chat}).json()["status"] == 200
    return str(wait_for(lambda: posted(telegram, chat)[before:], f"an answer to {text}")[-1]["text"])


def with_chats(deploy: Deploy, slack: httpx.Client, telegram: httpx.Client) -> Deployment:
    addresses = [str(item.base_url).rstrip("/") for item in (slack, telegram)]
    hub = deploy(
        SLACK_BOT_TOKEN="xoxb-stand-in", SLACK_SIGNING_SECRET="stand-in-signing-secret",
        SLACK_API_URL=f"{addresses[0]}/api/", TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_WEBHOOK_SECRET="hook",
        TELEGRAM_API_URL=f"{addresses[1]}/bot", TELEGRAM_FILE_URL=f"{addresses[1]}/file/bot",
    )  # fmt: skip
    slack.post("/_control/setup", json={"hub": hub.url})
    hub.start()
    return hub


def job_runs(hub: Deployment, job: str) -> float:
    """How often a job has run since the start of the hub."""
    name = f'casinoflux_job_runs_total{{job="{job}"}}'
    lines = hub.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def digests(bodies: list[str], name: str) -> int:
    return sum(name in text for text in bodies)


@pytest.mark.slow_on_postgresql
@pytest.mark.slow
def test_both_chats_join_work_and_get_their_digest_exactly_once(deploy: Deploy) -> None:
    with standin("slack") as slack, standin("telegram") as telegram:
        hub = with_chats(deploy, slack, telegram)
        invited = hub.run("member", "invite", "role=owner")
        assert invited["link"] == f"https://t.me/casinoflux_standin_bot?start={invited['code']}"
        assert "Welcome" in tell(telegram, f"/start {invited['code']}")
        assert "Welcome" in flux(slack, f"join {hub.run('member', 'invite', 'role=buyer')['code']}")["text"]

        flux(slack, "source add name=PushNet")
        assert "pushnet" in tell(telegram, "/source list")
        past = (datetime.now(UTC) - timedelta(minutes=2)).strftime("%H:%M")
        assert "digest" in flux(slack, f"digest subscribe at={past}")["text"].lower()
        assert "digest" in tell(telegram, f"/digest subscribe at={past}").lower()

        before = len(shown(slack)), len(posted(telegram, 42))
        hub.a_day_later()
        wait_for(lambda: len(shown(slack)) > before[0], "the digest on Slack", told=hub.log)
        wait_for(lambda: len(posted(telegram, 42)) > before[1], "the digest on Telegram", told=hub.log)
        assert hub.stop() == 0
        hub.start()
        wait_for(lambda: job_runs(hub, "digests"), "a look for digests that are due", told=hub.log)
        delivered = job_runs(hub, "deliver")
        wait_for(lambda: job_runs(hub, "deliver") > delivered + 1, "what it queued to be sent", told=hub.log)
        assert len(shown(slack)) == before[0] + 1
        texts = [item.get("text", "") for item in posted(telegram, 42)[before[1] :] if "text" in item]
        assert len(texts) == 1
        assert TOKEN not in hub.log()


@pytest.mark.slow_on_postgresql
@pytest.mark.slow
def test_two_chats_of_one_team_see_each_others_work(deploy_sqlite: Deploy) -> None:
    with standin("slack") as slack, standin("telegram") as telegram:
        hub = with_chats(deploy_sqlite, slack, telegram)
        flux(slack, f"join {hub.run('member', 'invite', 'role=owner')['code']}")
        tell(telegram, f"/start {hub.run('member', 'invite', 'role=viewer')['code']}")
        flux(slack, "source add name=PushNet")
        assert "needs the role" in tell(telegram, "/source add name=Other")
        tried = [line for line in hub.get("audit")["items"] if line["command"] == "source add"]
        assert [(line["actor"], "refused" in line["arguments"]) for line in tried] == [
            ("anna-2", True),
            ("anna", False),
        ]
