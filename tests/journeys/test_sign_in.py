"""Signing in to the cockpit: by a one-time link, by a token; sessions that end, and requests of other pages."""

import re
import time
from pathlib import Path

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


def browser(hub: Deployment, address: str = "203.0.113.1") -> httpx.Client:
    return httpx.Client(
        base_url=hub.url, headers={"x-forwarded-for": address, "user-agent": "Mozilla/5.0 Firefox/140.0"}
    )


def csrf_of(page: str) -> str:
    result = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert result is not None
    return result[1]


PREVIEWS = (
    "TelegramBot (like TwitterBot)", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "WhatsApp/2.23.20.0",
    "Slackbot 1.0 (+https://api.slack.com/robots)", "facebookexternalhit/1.1", "SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Mattermost-Bot/1.1",
)  # fmt: skip


@pytest.mark.parametrize("agent", [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36",
    "python-httpx/0.28.1", "curl/8.5.0", "",
])  # fmt: skip
def test_a_link_signs_in_whatever_program_a_person_uses(hub: Deployment, agent: str) -> None:
    with browser(hub) as person:
        entered = person.get(hub.run("cockpit")["url"].removeprefix(hub.url), headers={"user-agent": agent})
        assert (entered.status_code, "set-cookie" in entered.headers) == (303, True)


def test_a_link_signs_in_once_and_a_preview_of_it_does_not_use_it_up(hub: Deployment) -> None:
    link = hub.run("cockpit")["url"].removeprefix(hub.url)
    with browser(hub) as person, browser(hub) as other:
        for agent in PREVIEWS:
            preview = other.get(link, headers={"user-agent": agent})
            assert (preview.status_code, "set-cookie" in preview.headers) == (200, False), agent
        assert "set-cookie" not in other.head(link).headers
        entered = person.get(link)
        assert (entered.status_code, entered.headers["location"]) == (303, "/cockpit")
        assert {"httponly", "samesite=lax", "path=/"} <= set(entered.headers["set-cookie"].lower().split("; "))
        assert person.get("/cockpit").status_code == 200
        assert other.get(link).status_code == other.get("/cockpit").status_code == 401
    actions = [(item["command"], item["actor"]) for item in hub.run("audit", "limit=5")["items"]]
    assert ("sign-in", "shell") in actions
    assert ("sign-in by link", "unknown") in actions


@pytest.mark.parametrize("header", [
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"referer": "https://evil.example/"},
])  # fmt: skip
def test_a_link_that_another_sites_page_opens_asks_first(hub: Deployment, header: dict[str, str]) -> None:
    link = hub.run("cockpit")["url"].removeprefix(hub.url)
    with browser(hub) as person:
        question = person.get(link, headers=header)
        assert (question.status_code, "set-cookie" in question.headers) == (200, False)
        assert "Sign in as shell" in question.text
        assert f'action="{link}"' in question.text
        foreign = header if "sec-fetch-site" in header else {"origin": "https://evil.example"}
        assert person.post(link, headers=foreign).status_code == 403
        assert person.post(link, headers={"sec-fetch-site": "same-origin", "origin": "null"}).status_code == 303
        assert person.get("/cockpit").status_code == 200
        assert person.get(link, headers=header).status_code == 401


def test_a_new_sign_in_ends_the_session_that_the_browser_had(hub: Deployment) -> None:
    with browser(hub) as person:
        person.post("/cockpit/sign-in", data={"token": hub.token})
        earlier = next(iter(person.cookies.values()))
        person.get(hub.run("cockpit")["url"].removeprefix(hub.url))
        assert next(iter(person.cookies.values())) != earlier
        assert person.get("/cockpit").status_code == 200
        assert hub.http.get("/cockpit", headers={"cookie": f"cf_session={earlier}"}).status_code == 401


def test_a_session_is_listed_and_ended_by_an_owner(hub: Deployment) -> None:
    with browser(hub) as person:
        person.get(hub.run("cockpit")["url"].removeprefix(hub.url))
        sessions = [
            item for item in hub.get("token/list")["items"] if item["kind"] == "session" and not item["revoked_at"]
        ]
        assert person.get("/cockpit").status_code == 200
        for session in sessions:
            hub.post("token/revoke", token=session["code"])
        assert person.get("/cockpit").status_code == 401


def test_a_session_ends_with_the_token_it_was_opened_with(hub: Deployment) -> None:
    token = hub.post("token/create", name="guest", role="viewer", expires="90d")
    assert token["expires_at"]
    with browser(hub) as person:
        assert person.post("/cockpit/sign-in", data={"token": token["token"]}).status_code == 303
        assert "token:guest" in person.get("/cockpit").text
        secret = next(iter(person.cookies.values()))
        bearer = hub.http.get("/api/v1/offer/list", headers={"authorization": f"Bearer {secret}"})
        assert bearer.status_code == 401  # a session's cookie is no API token
        hub.post("confirm", code=hub.post("token/revoke", token="guest")["confirm"])
        assert person.get("/cockpit").status_code == 401


def test_a_post_without_the_sessions_proof_is_refused(hub: Deployment) -> None:
    with browser(hub) as person:
        person.get(hub.run("cockpit")["url"].removeprefix(hub.url))
        csrf = csrf_of(person.get("/cockpit").text)
        assert person.post("/cockpit/sign-out", data={}).status_code == 403
        assert person.post("/cockpit/sign-out", data={"csrf": "0" * 64}).status_code == 403
        foreign = {"origin": "https://evil.example"}
        assert person.post("/cockpit/sign-out", data={"csrf": csrf}, headers=foreign).status_code == 403
        assert person.post("/cockpit/sign-in", data={"token": "x"}, headers=foreign).status_code == 403
        secret = next(iter(person.cookies.values()))
        assert person.post("/cockpit/sign-out", data={"csrf": csrf}).status_code == 303
        stolen = hub.http.get("/cockpit", headers={"cookie": f"cf_session={secret}"})
        assert stolen.status_code == 401  # it ended on the server as well


def test_an_expired_token_and_a_wrong_expiry_are_refused(hub: Deployment) -> None:
    for expires in ("0d", "yesterday", "2020-01-01", "99999d", "9999-12-31"):
        answer = hub.http.post(
            "/api/v1/token/create",
            json={"name": "wrong", "expires": expires},
            headers={"authorization": f"Bearer {hub.token}"},
        )
        assert (answer.status_code, answer.json()["field"]) == (400, "expires"), expires


def test_every_answer_has_the_headers_of_its_kind(hub: Deployment) -> None:
    for path in ("/", "/cockpit", "/api/v1/offer/list", "/nowhere", "/schema/openapi.json", "/healthz"):
        headers = hub.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "unsafe-inline" not in headers["content-security-policy"], path
        assert headers["referrer-policy"] == "no-referrer", path
    for path in ("/c/nowhere", "/go/a/b", "/postback/nowhere", "/s/nowhere"):
        assert hub.http.get(path).headers["x-content-type-options"] == "nosniff", path
    front = hub.http.get("/")
    assert (front.status_code, front.headers["location"]) == (302, "/cockpit")


def test_too_many_sign_ins_of_one_address_are_told_when_to_come_back(hub: Deployment) -> None:
    with browser(hub, "198.51.100.9") as guesser, browser(hub, "198.51.100.10") as other:
        answers = [guesser.post("/cockpit/sign-in", data={"token": f"guess {n}"}) for n in range(30)]
        assert {answer.status_code for answer in answers} == {401}
        while answers[-1].status_code == 401:  # a slow machine's first guesses are long ago by then
            answers.append(guesser.post("/cockpit/sign-in", data={"token": f"guess {len(answers)}"}))
        assert answers[-1].status_code == 429
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert guesser.get("/api/v1/offer/list").status_code == 429
        assert guesser.get("/c/nowhere").status_code == guesser.get("/postback/nowhere").status_code == 404
        assert other.post("/cockpit/sign-in", data={"token": "guess"}).status_code == 401
        token = {"authorization": f"Bearer {hub.token}"}
        assert guesser.get("/api/v1/offer/list", headers=token).status_code == 200


def test_guessed_tokens_fill_neither_the_audit_nor_the_folder(deploy_sqlite: Deploy, tmp_path: Path) -> None:
    hub = deploy_sqlite(LIMIT_SIGN_IN="0", LIMIT_ADDRESS="0")
    hub.start()
    hub.http.post("/cockpit/sign-in", data={"token": "first"})
    began = time.monotonic()
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    with browser(hub, "198.51.100.11") as guesser:
        for n in range(400):
            assert guesser.post("/cockpit/sign-in", data={"token": f"guess {n} " + "x" * 3000}).status_code == 401
            assert guesser.get("/api/v1/offer/list", headers={"authorization": f"Bearer cf_{n}"}).status_code == 401
    actions = [item["command"] for item in hub.get("audit", limit=500)["items"]]
    minutes = 2 + (time.monotonic() - began) // 60
    assert 1 <= sum(command.startswith("sign-in") for command in actions) <= 60 * minutes  # 60 a minute
    grown = sum(path.stat().st_size - before.get(path, 0) for path in tmp_path.rglob("*") if path.is_file())
    assert grown < 1_000_000, "800 guesses, 1.2 MB of them"


def test_several_are_changed_at_once_with_what_is_lost(hub: Deployment) -> None:
    hub.post("account/add", platform="postback_only", name="bulk one")
    hub.post("account/add", platform="postback_only", name="bulk two")
    with browser(hub) as person:
        person.get(hub.run("cockpit")["url"].removeprefix(hub.url))
        form = {"csrf": csrf_of(person.get("/cockpit").text), "do": "account pause", "chosen": ["bulk-one", "bulk-two"]}
        request = person.post("/cockpit/bulk/account", data=form)
        assert request.status_code == 200
        for name in ("bulk one", "bulk two"):
            assert f"No figures of {name} are fetched until it is resumed" in request.text
        assert person.post("/cockpit/bulk/account", data=form | {"sure": "yes"}).status_code == 303
    paused = {item["code"]: item["status"] for item in hub.get("account/list")["items"]}
    assert {paused["bulk-one"], paused["bulk-two"]} == {"paused"}


def test_over_https_the_cookie_is_of_this_host_alone_and_browsers_are_told_to_stay(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite(PUBLIC_URL="https://track.example.test", LIMIT_BEACON="5")
    hub.start()
    entered = hub.http.post("/cockpit/sign-in", data={"token": hub.token})
    cookie = entered.headers["set-cookie"]
    assert (entered.status_code, cookie.startswith("__Host-cf_session=")) == (303, True)
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    assert "domain=" not in cookie.lower()
    for path in ("/cockpit", "/api/v1/offer/list", "/c/nowhere", "/postback/nowhere", "/healthz"):
        assert hub.http.get(path).headers["strict-transport-security"] == "max-age=31536000", path

    hub.post("site/create", name="land", market="DE")
    site = hub.get("site/show", site="land")["preview_url"].partition("example.test")[2].partition("?")[0]
    answers = [hub.http.post(f"{site}/b", content=b"null") for _ in range(7)]
    assert [answer.status_code for answer in answers[:5]] == [400] * 5
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
