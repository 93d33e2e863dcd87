"""Distribution on a real hub: traffic moves to the offer that pays late though the other converts early."""

import csv
import io
from collections import Counter
from html import unescape
from itertools import pairwise
from math import exp, sqrt
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER, click, figures, today
from tests.journeys.test_chats import job_runs
from tests.waiting import wait_for

LATE_DAYS = 6  # from an FTD of the late offer to its commission


@pytest.mark.slow
def test_traffic_moves_to_the_offer_that_pays_late(deploy_sqlite: Deploy, affilka: httpx.Client) -> None:
    hub = deploy_sqlite()
    hub.start()
    link, postback = distributing_campaign(hub, affilka)
    made: dict[str, dict[str, int]] = {}  # FTDs by day and offer
    first: dict[str, float] = {}
    for visit in range(6):
        day = today(hub)
        made[day] = visitors(hub, link, postback, start=visit * 100)
        pays(affilka, made)
        hub.a_day_later(3)
        hub.sync("affilka-main")
        first = first or shares(hub)
    assert first["lucky-star-late"] <= 50.01  # it converts less, and has paid nothing yet
    hub.a_day_later(0)  # the job runs when the hub starts
    moved = wait_for(lambda: now if (now := shares(hub))["lucky-star-late"] > 70 else None, "traffic to move",
                     told=hub.log)  # fmt: skip
    assert sum(moved.values()) == pytest.approx(100)
    shown = hub.get("campaign/distribution", campaign="spring-push")
    early, late = shown["offers"]
    assert late["earnings"] > early["earnings"]
    assert late["arrived"] < early["arrived"]
    assert sum(of["early"] for of in made.values()) > sum(of["late"] for of in made.values())
    said = hub.shell("run", "campaign", "distribution", "spring-push").stdout
    assert "Lucky Star late" in said
    assert "Earns most" in said
    after = [host(click(hub, link, n)) for n in range(700, 760)]
    assert after.count("late.example.test") > 30


def distributing_campaign(hub: Deployment, platform: httpx.Client, **more: str) -> tuple[str, str]:
    """Two offers of one account; the tracking link and the postback address."""
    hub.post("account/add", platform="affilka", name="affilka-main", base_url=str(platform.base_url),
             token="demo-statistic-token", timezone="UTC", currency="EUR")  # fmt: skip
    for tag in ("early", "late"):
        hub.post("offer/add", casino="Lucky Star", account="affilka-main", tag=tag,
                 url=f"https://{tag}.example.test/?sub={{click_id}}")  # fmt: skip
    terms = {"distribute": "auto", "holdout": "0%", "most_change": "100%", **more}
    made = hub.post("campaign/create", name="Spring Push", offers=["lucky-star-early", "lucky-star-late"],
                    binding=False, **terms)  # fmt: skip
    return made["url"], hub.post("postback/url", account="affilka-main")["url"].partition("?")[0]


def visitors(hub: Deployment, link: str, postback: str, *, start: int) -> dict[str, int]:
    """A hundred clicks: a quarter of the early offer's and a seventh of the late one's deposit; FTDs by offer."""
    clicks: dict[str, list[str]] = {"early": [], "late": []}
    for n in range(start, start + 100):
        url = click(hub, link, n)
        clicks[host(url).partition(".")[0]].append(parse_qs(urlsplit(url).query)["sub"][0])
    ftds = {"early": clicks["early"][::4], "late": clicks["late"][::7]}
    for click_id in ftds["early"] + ftds["late"]:
        query = {"click_id": click_id, "event": "ftd", "txn_id": f"t{click_id}", "amount": "50", "currency": "EUR"}
        assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"
    return {tag: len(of) for tag, of in ftds.items()}


def pays(platform: httpx.Client, made: dict[str, dict[str, int]]) -> None:
    """What the platform says: 40 for each early FTD at once, 160 for each late one some days later."""
    days = list(made)
    for place, day in enumerate(days):
        late = 160 if (len(days) - place) * 3 > LATE_DAYS else 0
        for tag, payout in (("early", 40), ("late", late)):
            ftds = made[day][tag]
            paid = f"{ftds * payout}.00"
            platform.post("/_control/figures", json=figures(
                day, tag, first_deposits_count=ftds, fixed_per_player=paid, partner_income=paid
            )).raise_for_status()  # fmt: skip


def shares(hub: Deployment) -> dict[str, float]:
    return dict(hub.get("campaign/show", campaign="spring-push")["shares"])


def host(url: str) -> Any:
    return urlsplit(url).hostname


DESKTOP = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 n/"
)
DEPOSITS = {("mobile", "early"): 3, ("mobile", "late"): 15, ("desktop", "early"): 15, ("desktop", "late"): 3}
"""One FTD in so many clicks."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_devices_have_shares_of_their_own_and_what_was_won_is_what_one_counts(
    deploy_sqlite: Deploy, affilka: httpx.Client
) -> None:
    hub = deploy_sqlite()
    hub.start()
    link, postback = distributing_campaign(
        hub, affilka, distribute_by="device", holdout="20%", most_change="20%", floor="5%"
    )
    deposited: list[str] = []
    for visit in range(4):
        day = today(hub)
        made = visitors_by_device(hub, link, postback, start=visit * 400)
        deposited += [click_id for of in made.values() for click_id in of]
        for tag in ("early", "late"):
            paid = f"{len(made[tag]) * 50}.00"
            affilka.post("/_control/figures", json=figures(
                day, tag, first_deposits_count=len(made[tag]), fixed_per_player=paid, partner_income=paid
            )).raise_for_status()  # fmt: skip
        a_day_later(hub, "distribution")
        hub.sync("affilka-main")
    a_day_later(hub, "distribution", days=0)
    by_device = {name: wait_for(lambda name=name: decided(hub, name), "shares of devices", seconds=60, told=hub.log)  # type: ignore[misc]
                 for name in ("mobile", "desktop")}  # fmt: skip
    assert by_device["mobile"]["lucky-star-early"] > 50 > by_device["desktop"]["lucky-star-early"]
    for shares_ in by_device.values():
        assert sum(shares_.values()) == pytest.approx(100)
        assert min(shares_.values()) >= 5
    for name in by_device:
        assert name in hub.shell("run", "campaign", "distribution", "spring-push").stdout
        steps = hub.get("campaign/distribution", campaign="spring-push", segment=name)["steps"]
        moved = [abs(one["shares"][code] - other["shares"][code])
                 for one, other in pairwise(steps) for code in one["shares"]]  # fmt: skip
        assert moved
        assert max(moved) <= 20.01
    won = hub.get("campaign/distribution", campaign="spring-push")["won"]
    assert hub.get("campaign/distribution", campaign="spring-push", segment="mobile")["won"] == won  # of all visitors
    reasons = {of["click_id"]: of["reason"] for of in all_clicks(hub)}
    sides = Counter(reasons[click_id] for click_id in deposited)
    assert (won["first_deposits"], won["held_out_first_deposits"]) == (sides["chosen"], sides["holdout"])
    # Every FTD brings 50: what one side has more per visitor is its FTDs, Poisson, by the visitors it had.
    ratio = sides["chosen"] / (4 * sides["holdout"])
    width = exp(1.96 * sqrt(1 / sides["chosen"] + 1 / sides["holdout"]))
    assert won["ratio"] == pytest.approx(ratio - 1, abs=0.02)
    assert won["ratio_low"] == pytest.approx(ratio / width - 1, abs=0.02)
    assert won["ratio_high"] == pytest.approx(ratio * width - 1, abs=0.03)


def a_day_later(hub: Deployment, job: str, *, days: int = 1) -> None:
    """And the shares have been decided on, which a stop would cut short."""
    hub.a_day_later(days)
    wait_for(lambda: job_runs(hub, job), f"the job {job}", seconds=60, told=hub.log)


def visitors_by_device(hub: Deployment, link: str, postback: str, *, start: int) -> dict[str, list[str]]:
    """Four hundred clicks, half of them of each device; the click ids of FTDs by offer."""
    deposited: dict[str, list[str]] = {"early": [], "late": []}
    seen: Counter[tuple[str, str]] = Counter()
    for n in range(start, start + 400):
        device, agent = ("mobile", BROWSER) if n % 2 else ("desktop", DESKTOP)
        headers = {"user-agent": f"{agent}{n}", "x-forwarded-for": f"198.{18 + n // 250}.100.{n % 250}"}
        url = hub.http.get(link, headers=headers).headers["location"]
        hub.http.cookies.clear()
        tag = host(url).partition(".")[0]
        seen[device, tag] += 1
        if seen[device, tag] % DEPOSITS[device, tag] == 0:
            click_id = parse_qs(urlsplit(url).query)["sub"][0]
            query = {"click_id": click_id, "event": "ftd", "txn_id": f"t{n}", "amount": "50", "currency": "EUR"}
            assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"
            deposited[tag].append(click_id)
    return deposited


def decided(hub: Deployment, segment: str) -> dict[str, float] | None:
    """The shares of a device, once they are its own and made from what was earned."""
    shown = hub.try_post("campaign/distribution", campaign="spring-push", segment=segment)
    offers = shown.json()["offers"] if shown.status_code == 200 else []
    return {of["offer"]: of["share"] for of in offers} if offers and offers[0]["earnings"] else None


def all_clicks(hub: Deployment) -> list[dict[str, str]]:
    """The click log, page by page, as CSV."""
    rows: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while True:
        answer = hub.http.get("/api/v1/click/log", params={"format": "csv", **after},
                              headers={"authorization": f"Bearer {hub.token}"})  # fmt: skip
        rows += csv.DictReader(io.StringIO(answer.text))
        if (following := answer.headers.get("casinoflux-next")) is None:
            return rows
        after = {"after": following}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_visitors_of_a_site_move_to_the_variant_that_earns_most(deploy_sqlite: Deploy, affilka: httpx.Client) -> None:
    hub = deploy_sqlite()
    hub.start()
    _, postback = distributing_campaign(hub, affilka)
    hub.post("casino/review", casino="lucky-star")
    hub.post("site/create", name="Wall", market="DE", offers=["lucky-star-early", "lucky-star-late"])
    hub.post("variant/add", site="wall", offers=["lucky-star-late"], headline="Late first")
    hub.post("site/publish", site="wall")
    hub.post("variant/distribute", site="wall", mode="auto", holdout="20%")
    link = hub.post("campaign/create", name="Walled", site="wall")["url"]
    for visit in range(3):
        day = today(hub)
        made = visitors_of_a_site(hub, link, postback, start=visit * 100)
        for tag, payout in (("early", 40), ("late", 160)):
            paid = f"{made[tag] * payout}.00"
            affilka.post("/_control/figures", json=figures(
                day, tag, first_deposits_count=made[tag], fixed_per_player=paid, partner_income=paid
            )).raise_for_status()  # fmt: skip
        a_day_later(hub, "variants")
        hub.sync("affilka-main")
    for _ in range(3):  # a step moves a fifth at most, and those before were made of what little was settled
        a_day_later(hub, "variants")
    wait_for(lambda: hub.get("variant/list", site="wall")["distribution"]["shares"][0]["earnings"],
             "shares that earnings made", seconds=60, told=hub.log)  # fmt: skip
    shown = hub.get("variant/list", site="wall")
    early, late = shown["distribution"]["shares"]
    assert sum(of["visitors"] for of in shown["variants"]) > 250
    assert late["share"] > 60 > 40 > early["share"] >= shown["distribution"]["floor"]
    assert late["earnings"] > early["earnings"] > 0
    assert shown["distribution"]["won"]["held_out_first_deposits"] > 0
    said = hub.shell("run", "variant", "list", "wall").stdout
    assert "A visitor earns" in said
    assert "holdout of 20 %" in said
    with httpx.Client(base_url=hub.url, timeout=30) as person:
        person.post("/cockpit/sign-in", data={"token": hub.token})
        page = person.get("/cockpit/site/wall/edit")
    assert page.status_code == 200
    assert "Shares follow what visitors earn" in page.text
    assert "holdout of 20 %" in page.text


def visitors_of_a_site(hub: Deployment, link: str, postback: str, *, start: int) -> Counter[str]:
    """A hundred people who look at the page and go on to its first offer; every fourth deposits. FTDs by offer."""
    made: Counter[str] = Counter()
    for n in range(start, start + 100):
        headers = {"user-agent": f"{BROWSER}{n}", "x-forwarded-for": f"198.51.{n // 250}.{n % 250}"}
        landing = hub.http.get(link, headers=headers).headers["location"]
        page = hub.http.get(landing, headers=headers)
        look = page.headers["set-cookie"].partition("=")[2].partition(";")[0]
        seen = {"i": f"view{n}", "v": look, "c": parse_qs(urlsplit(landing).query)["click"][0], "m": 900, "s": 50}
        assert hub.http.post("/s/wall/b", json=seen, headers=headers).status_code == 204
        way = unescape(page.text.split('href="/go/', 1)[1].split('"', 1)[0])
        url = hub.http.get(f"/go/{way}", headers=headers).headers["location"]
        hub.http.cookies.clear()
        if n % 4 == 0:
            tag = host(url).partition(".")[0]
            query = {"click_id": parse_qs(urlsplit(url).query)["sub"][0], "event": "ftd", "txn_id": f"t{n}",
                     "amount": "50", "currency": "EUR"}  # fmt: skip
            assert hub.http.get(postback, params=query).json()["outcome"] == "accepted"
            made[tag] += 1
    return made
