"""The whole job in chat, over HTTP with the real SDKs: from an invitation to the digest in the room."""

import re
from collections.abc import Callable
from typing import Any

import httpx

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin, wait_for
from tests.journeys.steps import click, figures, today

STEPS = (
    'offer add casino="Lucky Star" account=affilka-main tag=spring url=https://lucky-star.example.test/land?sub={click_id}',
    'campaign create name="Spring Push" offers=lucky-star-spring cost=0.35',
    "digest subscribe at=00:01 timezone=UTC",
)
Say = Callable[[str], str]
FIRST_LINE = re.compile(r"\w{3} \d+ \w{3}: .*commission (pending|€120)")


def on_slack(hub: Deployment, slack: httpx.Client) -> Say:
    slack.post("/_control/setup", json={"hub": hub.url, "signing_secret": "stand-in-signing-secret"})

    def say(text: str) -> str:
        before = len(slack.get("/_control/calls").json())
        answer = slack.post("/_control/command", json={"text": text}).json()
        assert answer["status"] == 200, answer
        assert answer["seconds"] < 3
        return str(wait_for(lambda: told(before), f"an answer to {text}", told=hub.log))

    def told(before: int) -> str:
        calls = slack.get("/_control/calls").json()[before:]
        said = [one["body"] for one in calls if one["method"] in {"response", "chat.postMessage", "chat.postEphemeral"}]
        return str(said[-1]) if said else ""

    return say


def on_telegram(hub: Deployment, telegram: httpx.Client) -> Say:
    def say(text: str) -> str:
        standing = len(chat())
        telegram.post("/_control/say", json={"text": f"/{text}", "chat": 5, "user": 5, "kind": "private"})
        return str(wait_for(lambda: chat()[standing:], f"an answer to {text}", told=hub.log)[-1]["text"])

    def chat() -> list[Any]:
        standing = telegram.get("/_control/chat", params={"chat": "5"}).json()
        return [one for one in standing if one["from"]["is_bot"]]

    return say


def operate(hub: Deployment, say: Say, join: str, affilka: httpx.Client) -> str:
    """Set everything up in chat, let a day pass; the day."""
    code = hub.run("member", "invite", "role=owner")["code"]
    say(f"{join} {code}")
    say(f"account add platform=affilka name=affilka-main base_url={affilka.base_url} token=demo-token currency=EUR")
    for step in STEPS:
        say(step)
    link = hub.get("campaign/show", campaign="spring-push")["url"]
    for n in range(4):
        click(hub, link, n)
    assert "4" in say("stats today by campaign")
    day = today(hub)
    affilka.post("/_control/figures", json=figures(day, first_deposits_count=1, partner_income="120.00"))
    return day


def test_slack(deploy: Deploy, affilka: httpx.Client) -> None:
    with standin("slack") as slack:
        hub = deploy(SLACK_BOT_TOKEN="xoxb-stand-in", SLACK_SIGNING_SECRET="stand-in-signing-secret",
                     SLACK_API_URL=f"{str(slack.base_url).rstrip('/')}/api/")  # fmt: skip
        hub.start()
        operate(hub, on_slack(hub, slack), "join", affilka)
        hub.a_day_later()

        def digests() -> list[Any]:
            calls = slack.get("/_control/calls").json()
            return [one["body"] for one in calls if FIRST_LINE.match(str(one["body"].get("text", "")))]

        first = wait_for(digests, "the digest", told=hub.log)[0]
        assert first["channel"] == "C0GENERAL"


def test_telegram(deploy: Deploy, affilka: httpx.Client) -> None:
    with standin("telegram") as telegram:
        hub = deploy(TELEGRAM_BOT_TOKEN="123456:stand-in-token", TELEGRAM_WEBHOOK_SECRET="s3cret",
                     TELEGRAM_API_URL=f"{str(telegram.base_url).rstrip('/')}/bot")  # fmt: skip
        hub.start()
        wait_for(lambda: telegram.get("/_control/webhook").json().get("url"), "the webhook to be registered")
        operate(hub, on_telegram(hub, telegram), "start", affilka)
        hub.a_day_later()

        def digests() -> list[Any]:
            standing = telegram.get("/_control/chat", params={"chat": "5"}).json()
            return [one for one in standing if one["from"]["is_bot"] and FIRST_LINE.match(one.get("text", ""))]

        assert wait_for(digests, "the digest", told=hub.log)
