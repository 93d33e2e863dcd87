"""`kill -9` in the middle of automations' acts: each is done once, kept once, audited once, told once."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin
from tests.journeys.steps import click
from tests.journeys.test_automations import on_telegram
from tests.journeys.test_chats import job_runs, posted, tell
from tests.standins.held import HeldServer, held_server
from tests.waiting import wait_for

CAMPAIGNS = [f"cut-{n}" for n in range(6)]
LATER = (0.6, 0.9, 1.2, 1.6)  # seconds after its start at which the hub is killed, each with a little chance


@pytest.fixture
def receiver() -> Iterator[HeldServer]:
    with held_server() as held:
        yield held


def webhooks(receiver: HeldServer) -> list[tuple[str, str]]:
    """Of each webhook its id, and the campaign that it is about."""
    return [(call.headers["webhook-id"], json.loads(call.body)["data"]["subject"]["code"]) for call in receiver.asked]


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_hub_killed_in_the_middle_of_its_acts_does_each_of_them_once(deploy: Deploy, receiver: HeldServer) -> None:
    with standin("telegram") as telegram:
        hub = on_telegram(deploy, telegram)
        campaigns_with_clicks(hub)
        for rule in (
            '"pause campaign when clicks > 1 over 30d"',
            '"tell campaign when unique_clicks > 1 over 30d"',
            f'"webhook campaign when clicks > 2 over 30d" url={receiver.url}/hook',
        ):
            tell(telegram, f"/automation add {rule} most=100")
        chance = Random(15)
        for seconds in LATER:
            start_and_kill(hub, lambda seconds=seconds: time.sleep(seconds + chance.random() / 4))  # type: ignore[misc]
        start_and_kill(hub, lambda: wait_for(lambda: acts(hub), "the first act", told=hub.log), ready=True)
        before = len(texts(telegram))
        start_and_kill(hub, lambda: wait_for(lambda: receiver.asked, "a webhook's call", told=hub.log), ready=True)
        start_and_kill(
            hub, lambda: wait_for(lambda: len(texts(telegram)) > before, "a message", told=hub.log), ready=True
        )
        receiver.go.set()
        hub.days += 1
        hub.start()
        wait_for(lambda: len(acts(hub)) == 3 * len(CAMPAIGNS), "all acts", seconds=90, told=hub.log)
        wait_for(
            lambda: {campaign for _, campaign in webhooks(receiver)} == set(CAMPAIGNS), "all webhooks", told=hub.log
        )
        cut_off = len(LATER) + 3  # as many messages as kills
        wait_for(lambda: len(texts(telegram)) >= 3 * len(CAMPAIGNS) - cut_off, "all messages", told=hub.log)
        hub.a_day_later()  # what is there does not happen once more
        wait_for(lambda: job_runs(hub, "automations"), "the next look", told=hub.log)
        assert Counter(acts(hub)) == {(name, outcome): 2 if outcome == "told" else 1
                                      for name in CAMPAIGNS for outcome in ("done", "told")}  # fmt: skip
        assert {hub.get("campaign/show", campaign=name)["status"] for name in CAMPAIGNS} == {"paused"}
        audited = [item for item in hub.get("audit", limit=500)["items"] if item["command"] == "campaign pause"]
        assert sorted(item["actor"].partition(" ")[0] for item in audited) == ["automation-1"] * len(CAMPAIGNS)
        # A receiver may hear of an act again, by the same id; a room never does, and lacks what a kill cut off at most.
        assert len(set(webhooks(receiver))) == len({key for key, _ in webhooks(receiver)}) == len(CAMPAIGNS)
        told = Counter(texts(telegram))
        assert max(told.values()) == 1, told


def campaigns_with_clicks(hub: Deployment) -> None:
    hub.post("account/add", platform="postback_only", name="main", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="main", url="https://lucky.example.test/?s={click_id}")
    for name in CAMPAIGNS:
        link = hub.post("campaign/create", name=name, offers=["lucky"])["url"]
        for n in range(3):
            click(hub, link, n)


def start_and_kill(hub: Deployment, until: Callable[[], object], *, ready: bool = False) -> None:
    """A day later, when claims of the dead process have lapsed, the hub is started, and killed when it is time."""
    if hub.process is not None and hub.process.poll() is None:
        hub.kill()
    hub.days += 1
    if ready:
        hub.start()
    else:
        with (hub.folder / "serve.log").open("ab") as log:
            hub.process = hub._begin("serve", "--port", str(hub.port), out=log, err=log)
    until()
    hub.kill()


def acts(hub: Deployment) -> list[tuple[str, str]]:
    """Campaign and outcome of each act that is kept."""
    items = hub.get("automation/log", limit=500)["items"]
    return [(item["label"].removeprefix("campaign "), item["outcome"]) for item in items]


def texts(telegram: httpx.Client) -> list[str]:
    """What automations said in the room."""
    return [item["text"].splitlines()[0] for item in posted(telegram, 42) if "🤖" in item.get("text", "")]
