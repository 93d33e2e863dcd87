"""Automations on a real hub, told on Telegram: an offer that stops converting, a bad placement, a day's budget."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment, standin
from tests.journeys.steps import BROWSER, click
from tests.journeys.test_chats import posted, tell
from tests.standins.telegram import TOKEN
from tests.waiting import wait_for

FALLBACK = "https://back.example.test/"
WITHIN = 300  # seconds from a cause to its act


@pytest.mark.slow
def test_what_a_buyer_would_do_at_night_is_done_told_and_undone(deploy_sqlite: Deploy) -> None:
    with standin("telegram") as telegram:
        hub = on_telegram(deploy_sqlite, telegram)
        link, postback = campaign(hub)
        visitors(hub, link, postback, range(120))
        hub.a_day_later()
        for rule in (
            "pause offer when expected_registrations > 5 and registrations = 0 over 6h",
            "block placement when registrations = 0 today with clicks > 20",
        ):
            tell(telegram, f'/automation add "{rule}" campaign=spring-push')
        assert len(hub.get("automation/list")["items"]) == 2
        visitors(hub, link, postback, range(200, 320), converting={"good"})
        cause = monotonic()
        wait_for(lambda: hub.get("offer/show", offer="lucky-star-dying")["status"] == "paused",
                 "the offer to be paused", seconds=WITHIN, told=hub.log)  # fmt: skip
        wait_for(lambda: host(click(hub, link, 300, sub1="zone-bad")) == host(FALLBACK),
                 "the placement to be blocked", seconds=WITHIN - (monotonic() - cause), told=hub.log)  # fmt: skip
        assert host(click(hub, link, 301, sub1="zone-good")) == "good.example.test"
        assert hub.get("offer/show", offer="lucky-star-good")["status"] == "active"
        message = wait_for(lambda: about(telegram, "paused offer Lucky Star dying"), "the message", told=hub.log)
        press(telegram, message, "Undo")
        wait_for(lambda: hub.get("offer/show", offer="lucky-star-dying")["status"] == "active", "the undo",
                 told=hub.log)  # fmt: skip
        message = wait_for(lambda: about(telegram, "zone-bad"), "the message", told=hub.log)
        press(telegram, message, "Undo")
        wait_for(lambda: host(click(hub, link, 302, sub1="zone-bad")) != host(FALLBACK), "the placement to be free",
                 told=hub.log)  # fmt: skip


@pytest.mark.slow
def test_a_days_budget_stops_a_campaign_under_full_load(deploy_sqlite: Deploy) -> None:
    with standin("telegram") as telegram:
        hub = on_telegram(deploy_sqlite, telegram)
        link, _ = campaign(hub, budget_day="5")
        with ThreadPoolExecutor(8) as threads:
            hosts = list(threads.map(lambda n: _visit(link, n), range(400)))
        sent = [place for place in hosts if place != host(FALLBACK)]
        assert len(sent) == 100  # at 0.05 each: not one over
        assert wait_for(lambda: about(telegram, "budget of campaign spring-push is used up"), "the message")
        budget = hub.get("campaign/budget", campaign="spring-push")["items"][0]
        assert (budget["pace"], budget["used_day"]) == ("used up", 5_000_000)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_automations_budget_is_over_by_the_clicks_of_a_second_at_most(deploy: Deploy) -> None:
    """A rule that looks twice a second, under a load that is measured: on each database."""
    with standin("telegram") as telegram:
        hub = on_telegram(deploy, telegram)
        link, _ = campaign(hub)
        tell(telegram, '/automation add "pause campaign when budget 5 a day is reached"')
        sent: list[tuple[float, Any]] = []

        def visit(n: int) -> None:
            place = _visit(link, n)
            sent.append((monotonic(), place))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(visit, range(1_500)))
        wait_for(lambda: hub.get("campaign/show", campaign="spring-push")["status"] == "paused", "the pause",
                 seconds=30, told=hub.log)  # fmt: skip
        to_offers = [at for at, place in sorted(sent) if place != host(FALLBACK)]
        reached = to_offers[100]  # 0.05 each: a hundred use the budget up
        assert len(to_offers) <= 101 + sum(reached < at <= reached + 1 for at, _ in sent), len(to_offers)
        assert len(to_offers) < len(sent)
        assert wait_for(lambda: about(telegram, "paused campaign Spring Push"), "the message")
        (act,) = hub.get("automation/log")["items"]
        assert (act["outcome"], act["label"]) == ("done", "campaign Spring Push")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_placement_that_brings_players_is_allowed_and_the_others_are_blocked(deploy_sqlite: Deploy) -> None:
    with standin("telegram") as telegram:
        hub = on_telegram(deploy_sqlite, telegram)
        link, postback = campaign(hub)
        for n in range(60):
            url = click(hub, link, n, sub1=f"zone-{n % 3}")
            if n % 3 == 0:
                query = {"click_id": parse_qs(urlsplit(url).query)["sub"][0], "event": "registration"}
                assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"
        said = tell(telegram, '/automation add "allow placement when registrations >= 10 over 7d"')
        assert "blocks all others" in said
        message = wait_for(lambda: about(telegram, "zone-0"), "the act", seconds=WITHIN, told=hub.log)
        assert host(click(hub, link, 100, sub1="zone-0")) != host(FALLBACK)
        wait_for(lambda: host(click(hub, link, 101, sub1="zone-1")) == host(FALLBACK), "the others to be blocked",
                 seconds=10, told=hub.log)  # fmt: skip
        blocked = hub.get("click/log", outcome="blocked")["items"]
        assert {(of["sub1"], of["offer"], of["reason"]) for of in blocked} == {("zone-1", None, "blocked")}
        hub.post(
            "placement/import", csv="placement,note\nzone-8,by hand\nzone-9,by hand\n", source="pushnet", list="allow"
        )
        out = hub.shell("run", "placement", "export", "source=pushnet", "list=allow").stdout
        assert {"zone-0", "zone-8", "zone-9"} <= set(out.split())
        press(telegram, message, "Undo")
        wait_for(lambda: host(click(hub, link, 102, sub1="zone-0")) == host(FALLBACK), "the undo", seconds=30,
                 told=hub.log)  # fmt: skip


def _visit(link: str, n: int) -> Any:
    answer = httpx.get(
        link, params={"cost": "0.05"}, timeout=30,
        headers={"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"198.51.{n % 50}.{n % 250}"},
    )  # fmt: skip
    return host(answer.headers["location"])


def on_telegram(deploy: Deploy, telegram: httpx.Client) -> Deployment:
    """A served hub whose owner has joined on Telegram."""
    address = str(telegram.base_url).rstrip("/")
    hub = deploy(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_WEBHOOK_SECRET="hook", TELEGRAM_API_URL=f"{address}/bot",
                 TELEGRAM_FILE_URL=f"{address}/file/bot")  # fmt: skip
    hub.start()
    assert "Welcome" in tell(telegram, f"/start {hub.run('member', 'invite', 'role=owner')['code']}")
    return hub


def campaign(hub: Deployment, **more: Any) -> tuple[str, str]:
    """Two offers without a reporting API, a source whose placements are sub1; tracking link and postback address."""
    hub.post("account/add", platform="postback_only", name="main", timezone="UTC", currency="EUR")
    for tag in ("good", "dying"):
        hub.post("offer/add", casino="Lucky Star", account="main", tag=tag,
                 url=f"https://{tag}.example.test/?sub={{click_id}}")  # fmt: skip
    hub.post("source/add", name="PushNet", placement="sub1")
    made = hub.post("campaign/create", name="Spring Push", offers=["lucky-star-good", "lucky-star-dying"],
                    source="pushnet", binding=False, fallback_url=FALLBACK, **more)  # fmt: skip
    return made["url"], hub.post("postback/url", account="main")["url"].partition("?")[0]


def visitors(hub: Deployment, link: str, postback: str, numbers: range, *, converting: set[str] | None = None) -> None:
    """Clicks, half of them of a placement that brings nothing; of the others each third registers, where the offer
    converts."""
    for n in numbers:
        url = click(hub, link, n, sub1="zone-good" if n % 2 else "zone-bad")
        offer = str(host(url)).partition(".")[0]
        if n % 2 and n % 3 == 0 and (converting is None or offer in converting):
            query = {"click_id": parse_qs(urlsplit(url).query)["sub"][0], "event": "registration"}
            assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"


def about(telegram: httpx.Client, words: str) -> dict[str, Any] | None:
    """The message that says so."""
    return next((item for item in posted(telegram, 42) if words in item.get("text", "")), None)


def press(telegram: httpx.Client, message: dict[str, Any], label: str) -> None:
    """Press one of a message's buttons."""
    keys = [key for row in message["reply_markup"]["inline_keyboard"] for key in row]
    data = next(key["callback_data"] for key in keys if label in key["text"])
    telegram.post("/_control/press", json={"data": data, "message_id": message["message_id"], "chat": 42})


def host(url: str) -> Any:
    return urlsplit(url).hostname
