"""Two teams on one deployment: made in the shell, nothing of one is shown to, matched with or served for the other."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.waiting import wait_for

RED, BLUE = "red.example.test", "blue.example.test"
STRANGER = "stranger.example.test"


class TeamSession:
    """One team over HTTP, by a token of its own."""

    def __init__(self, hub: Deployment, code: str) -> None:
        self.hub, self.code = hub, code
        self.token = hub.run("--team", code, "token", "create", "name=robot", "role=owner")["token"]

    def post(self, path: str, **arguments: Any) -> Any:
        answer = self.try_post(path, **arguments)
        assert answer.status_code == 200, f"{path} {arguments}: {answer.status_code} {answer.text}"
        return answer.json()

    def try_post(self, path: str, **arguments: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return self.hub.http.post(f"/api/v1/{path}", json=arguments, headers=headers)


@pytest.mark.slow
def test_nothing_crosses_from_team_to_team(deploy: Deploy) -> None:
    hub = deploy()
    hub.start()
    assert "has the code red" in hub.shell("team", "create", "Red").stdout
    assert hub.shell("team", "create", "Blue").returncode == 0
    red, blue = TeamSession(hub, "red"), TeamSession(hub, "blue")
    of_red, of_blue = set_up(red, RED), set_up(blue, BLUE)
    assert of_red["campaign"] != of_blue["campaign"], "links hold no team's name, so that their codes differ"

    links_answer_on_own_domains_alone(hub, of_red, own=RED, other=BLUE)
    links_answer_on_own_domains_alone(hub, of_blue, own=BLUE, other=RED)
    sites_answer_on_own_domains_alone(hub, of_red, own=RED, other=BLUE)
    clicks_are_of_their_team(hub, red, of_red, blue, of_blue)
    people_and_rooms_are_of_their_team(hub, red, blue)


def set_up(team: TeamSession, host: str) -> dict[str, Any]:
    """The same names in both teams."""
    team.post("account/add", platform="postback_only", name="Main", timezone="UTC", currency="EUR")
    team.post("offer/add", casino="Lucky Star", account="main", url="https://lucky.example.test/?s={click_id}")
    team.post("casino/review", casino="lucky-star", bonus="100 %", licence="MGA",
              terms_url="https://lucky.example.test/terms")  # fmt: skip
    site = team.post("site/create", name="Guide", market="DE", offers=["lucky-star"])
    team.post("site/publish", site="guide")
    draft = team.post("site/create", name=f"Draft {team.code}", market="DE", offers=["lucky-star"])
    campaign = team.post("campaign/create", name="Spring", offers=["lucky-star"])
    team.post("domain/add", name=host, site="guide")
    postback = team.post("postback/url", account="main")["url"].partition("?")[0]
    return {
        "campaign": campaign["code"], "id": str(campaign["id"]), "link": campaign["url"], "site": site["code"],
        "postback": postback,
        "draft": urlsplit(draft["preview_url"]).path,
    }  # fmt: skip


def at(hub: Deployment, host: str, path: str) -> httpx.Response:
    """What a browser gets that was told this address for a name."""
    answer = hub.http.get(path, headers={"host": host, "user-agent": f"{BROWSER}1"})
    hub.http.cookies.clear()
    return answer


def links_answer_on_own_domains_alone(hub: Deployment, made: dict[str, Any], *, own: str, other: str) -> None:
    for path in (f"/c/{made['campaign']}", f"/C//{made['campaign']}", f"/go/{made['site']}/lucky-star"):
        for host in (f"127.0.0.1:{hub.port}", "localhost", own, own.upper(), f"{own}:443"):
            assert at(hub, host, path).status_code == 302, (host, path)
        for host in (other, STRANGER, f"www.{own}"):
            answer = at(hub, host, path)
            assert (answer.status_code, "location" in answer.headers) == (404, False), (host, path)
            assert "casinoflux" not in answer.text.lower()
            assert answer.text == at(hub, host, "/c/no-such-link").text


def sites_answer_on_own_domains_alone(hub: Deployment, made: dict[str, Any], *, own: str, other: str) -> None:
    for host in (f"127.0.0.1:{hub.port}", own):
        assert "Lucky Star" in at(hub, host, f"/s/{made['site']}").text
        assert "Lucky Star" in at(hub, host, made["draft"]).text
        assert at(hub, host, made["draft"].partition("~")[0]).status_code == 404
    for host in (other, STRANGER):
        nothing = at(hub, host, "/s/no-such-site").text
        for path in (f"/s/{made['site']}", made["draft"], f"/s/{made['site']}/privacy"):
            assert (at(hub, host, path).status_code, at(hub, host, path).text) == (404, nothing)


def clicks_are_of_their_team(
    hub: Deployment, red: TeamSession, of_red: dict[str, Any], blue: TeamSession, of_blue: dict[str, Any]
) -> None:
    location = at(hub, RED, urlsplit(of_red["link"]).path).headers["location"]
    click = parse_qs(urlsplit(location).query)["s"][0]
    answer = hub.http.get(of_blue["postback"], params={"click_id": click, "event": "ftd", "amount": "50"})
    assert answer.json()["outcome"] == "unmatched"
    answer = hub.http.get(of_red["postback"], params={"click_id": click, "event": "ftd", "amount": "50"})
    assert answer.json()["outcome"] == "accepted"

    wait_for(lambda: ftds(red) == 1, "the FTD in the report of its team", told=hub.log)
    assert not ftds(blue)
    assert red.post("click/show", click_id=click)["campaign"] == of_red["campaign"]
    assert blue.try_post("click/show", click_id=click).status_code == 404
    assert blue.post("campaign/show", campaign="spring")["code"] == of_blue["campaign"], "a name is one's own"
    for path in ("campaign/show", "campaign/pause"):
        assert blue.try_post(path, campaign=of_red["id"]).status_code == 404
    assert [item["code"] for item in blue.post("campaign/list")["items"]] == [of_blue["campaign"]]


def ftds(team: TeamSession) -> Any:
    return team.post("stats", range="today", by="campaign")["totals"]["first_deposits"]["postback"]


def people_and_rooms_are_of_their_team(hub: Deployment, red: TeamSession, blue: TeamSession) -> None:
    invited = hub.run("--team", "red", "member", "invite", "role=buyer")
    assert invited
    digest = red.post("digest/subscribe", channel="terminal")
    assert blue.post("digest/list")["items"] == []
    assert blue.try_post("digest/unsubscribe", digest=str(digest["id"])).status_code == 404
    assert [item["name"] for item in blue.post("token/list")["items"]] == ["robot"]
    assert RED not in str(blue.post("audit")["items"])
    assert hub.get("campaign/list")["items"] == []


WRONG = (
    (("team", "create", " "), "name needs between 1 and 200 characters"),
    (("team", "create", "x" * 201), "name needs between 1 and 200 characters"),
    (("team", "create", "team"), "name 'team' is taken by another team"),
    (("team", "rename", "unknown", "New"), "no team 'unknown': there is team, red"),
    (("team", "rename", "red", "Team"), "name 'Team' is taken by another team"),
    (("run", "--team", "unknown", "help"), "no team 'unknown': there is team, red"),
    (("chat", "--team", "unknown"), "no team 'unknown': there is team, red"),
)


@pytest.mark.slow
def test_a_wrong_team_is_said(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    assert hub.shell("team", "create", "Red").returncode == 0
    for words, says in WRONG:
        done = hub.shell(*words)
        assert done.returncode != 0, words
        assert says in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_teams_are_made_listed_and_renamed_in_the_shell(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    made = hub.shell("team", "create", "Zwölf Freunde")
    assert "run --team zwolf-freunde member invite role=owner" in made.stdout
    assert (
        hub.shell("team", "rename", "zwolf-freunde", "Dreizehn").stdout == "team zwolf-freunde is called Dreizehn now\n"
    )
    listed = [line.split("\t")[:2] for line in hub.shell("team", "list").stdout.splitlines()]
    assert listed == [["team", "Team"], ["zwolf-freunde", "Dreizehn"]]
    assert "role" in hub.run("--team", "Dreizehn", "member", "invite", "role=owner")
