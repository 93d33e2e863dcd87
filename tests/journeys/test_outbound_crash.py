"""`kill -9` between accepting a conversion and telling the source, and between telling and noting it."""

from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.journeys.deployment import Deployment
from tests.journeys.steps import click
from tests.standins.held import HeldServer, held_server
from tests.waiting import wait_for


@pytest.fixture
def source() -> Iterator[HeldServer]:
    with held_server() as held:
        yield held


def told(source: HeldServer) -> list[dict[str, str]]:
    return [dict(parse_qsl(urlsplit(call.path).query)) for call in source.asked]


@pytest.mark.slow
def test_a_conversion_is_told_at_least_once_with_one_key_whenever_the_hub_is_killed(
    deploy: Callable[..., Deployment], source: HeldServer
) -> None:
    hub = deploy()
    hub.start()
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    hub.post("source/add", name="Slow", registration=source.url + "/c?cid={click_id}&key={key}&e={event}",
             first_deposit=source.url + "/c?cid={click_id}&key={key}&e={event}")  # fmt: skip
    link = hub.post("campaign/create", name="Crash", offers=["lucky"], source="slow")["url"]
    click_id = httpx.URL(click(hub, link, 1)).params["s"]
    postback = hub.post("postback/url", account="acme")["url"]

    answer = hub.http.get(postback, params={"click_id": click_id, "event": "reg"})
    hub.kill()  # accepted, and most likely not sent yet
    assert answer.json()["outcome"] == "accepted"
    hub.days += 1  # claims of the dead process have lapsed
    hub.start()
    wait_for(lambda: source.asked, "the first call", told=hub.log)
    hub.kill()  # the source has it, the hub never heard
    hub.days += 1
    source.go.set()
    hub.start()
    wait_for(lambda: hub.get("postback/sent", state="sent")["items"], "the note that it was sent", told=hub.log)
    assert {item["cid"] for item in told(source)} == {"source-1"}
    assert len({item["key"] for item in told(source)}) == 1
    assert len(source.asked) >= 2
    assert hub.http.get(postback, params={"click_id": click_id, "event": "reg"}).json()["outcome"] == "duplicate"
