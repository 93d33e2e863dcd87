"""The cockpit without a browser: what pages hold, their headers, their forms, on a team with 30 days of history."""

import json
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from hub.runtime.settings import Settings
from hub.web import server
from tests.hub.cockpit.screen import AGENT
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow

ACCOUNTS = ("north-play", "baltic-partners", "casa-verde")


@pytest.fixture
def person(hub: Deployment) -> Iterator[httpx.Client]:
    """An owner's browser, signed in."""
    with httpx.Client(base_url=hub.url, timeout=30, headers={"accept-language": "en-GB"}) as client:
        assert client.post("/cockpit/sign-in", data={"token": hub.token}).status_code == 303
        yield client


def text_of(answer: httpx.Response) -> str:
    """What a page says, without its markup."""
    assert answer.status_code == 200, answer.text[:2000]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def csrf_of(client: httpx.Client) -> str:
    result = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/cockpit").text)
    assert result is not None
    return result[1]


def days_ago(days: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def test_the_demos_history_has_what_a_team_meets_in_a_month(hub: Deployment) -> None:
    accounts = {account["code"]: account for account in hub.get("account/list")["items"]}
    assert set(accounts) == set(ACCOUNTS)
    assert {source["code"] for source in hub.get("source/list")["items"]} == {"nativedesk", "searchhub"}
    by_day = hub.get("report/merged", **{"from": days_ago(30), "to": days_ago(1), "by": "day"})
    assert len(by_day["rows"]) == 30
    assert all(row["clicks"] > 50 for row in by_day["rows"])
    assert {row["settlement"] for row in by_day["rows"]} >= {"settled"}
    assert by_day["totals"]["commission"] > by_day["totals"]["spend"] > 0
    assert len(hub.get("revenue/restated", since=days_ago(30))["items"]) >= 3
    vanished = hub.get("revenue/vanished", since=days_ago(30))["items"]
    assert ("north-play", "first_deposits") in {(row["account"], row["measure"]) for row in vanished}
    assert hub.get("sync/status", account="casa-verde")["items"][0]["state"] == "suspect"
    variants = hub.get("variant/list", site="spin-compass")["variants"]
    assert [variant["code"] for variant in variants] == ["a", "b"]
    assert all(variant["visitors"] > 300 for variant in variants)


def test_today_says_what_the_reports_say(hub: Deployment, person: httpx.Client) -> None:
    page = text_of(person.get("/cockpit"))
    report = hub.get("stats", range="30d", by="day")
    yesterday = next(row for row in report["rows"] if row["group"]["day"] == days_ago(1))
    today = hub.get("stats", range="today", by="day")["totals"]
    assert f"Clicks {today['clicks'] or 0:,} " in page  # no one has clicked yet just after midnight
    assert f"FTDs {today['first_deposits']['merged'] or 0:,} " in page
    assert f"€{report['totals']['profit'] / 1e6:,.2f}" in page
    assert f"€{(yesterday['spend'] or 0) / 1e6:,.2f} yesterday" in page
    assert "casa-verde" in page or "Casa Verde" in page  # the held report is to look at
    assert "vanished" in page


def test_a_click_log_is_filtered_paged_and_leads_to_the_clicks_story(hub: Deployment, person: httpx.Client) -> None:
    page = person.get("/cockpit/logs/clicks")
    assert "Clicks" in text_of(page)
    logged = hub.get("click/log", limit=50)
    shown = re.findall(r'href="/cockpit/story/([^"]+)"', page.text)
    assert shown == [click["click_id"] for click in logged["items"]]
    following = re.search(r'href="([^"]+after=[^"]+)"', page.text)
    assert following is not None
    older = re.findall(r'href="/cockpit/story/([^"]+)"', person.get(unescape(following[1])).text)
    assert len(older) == 50
    assert not set(older) & set(shown)

    filtered = person.get("/cockpit/logs/clicks", params={"campaign": "baltic-search", "country": "FI"}).text
    rows = re.findall(r"<tr><td>.*?</tr>", filtered, re.DOTALL)
    assert len(rows) == 50
    assert all("baltic-search" in row or "Baltic Search" in row for row in rows)
    file = person.get("/cockpit/logs/clicks.csv", params={"campaign": "baltic-search", "country": "FI"})
    lines = file.text.splitlines()
    assert file.headers["content-type"].startswith("text/csv")
    assert {"click_id", "user_agent", "sub10", "reason"} <= set(lines[0].split(","))
    assert len(lines) > 51
    assert all(",baltic-search," in line and ",FI," in line for line in lines[1:])
    link = hub.post("campaign/link", campaign="baltic-search")["url"]  # the page begins with the team's latest clicks
    assert person.get(link, headers={"user-agent": f"{AGENT} log"}).status_code == 302
    with person.stream("GET", "/cockpit/events", params={"campaign": "baltic-search"}) as live:
        events = [line for _, line in zip(range(8), live.iter_lines(), strict=False) if line.startswith("data: {")]
    assert events
    assert all('"campaign":"baltic-search"' in event for event in events)
    nothing = person.get("/cockpit/logs/clicks", params={"country": "BR"})
    assert "Nothing matches these filters" in text_of(nothing)
    wrong = person.get("/cockpit/logs/clicks", params={"outcome": "teleported"})
    assert (wrong.status_code, "outcome" in wrong.text) == (400, True)

    story = text_of(person.get(f"/cockpit/story/{shown[0]}"))
    assert "What happened" in story
    assert shown[0] in story
    assert person.get("/cockpit/story/0000000000000").status_code == 404


def test_a_campaign_is_copied_by_its_form(hub: Deployment, person: httpx.Client) -> None:
    form = {"csrf": csrf_of(person), "campaign": "alpine-native", "name": "Alpine by HTTP"}
    done = person.post("/cockpit/do/campaign/copy", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/cockpit/campaign/alpine-by-http")
    original = hub.get("campaign/show", campaign="alpine-native")
    copied = hub.get("campaign/show", campaign="alpine-by-http")
    for name in ("offers", "source", "cost_model", "currency", "rules"):
        assert copied[name] == original[name], name
    assert "Alpine by HTTP" in text_of(person.get("/cockpit/campaign/alpine-by-http"))
    again = person.post("/cockpit/do/campaign/copy", data=form | {"campaign": "no-such"})
    assert (again.status_code, "no-such" in again.text) == (400, True)


def test_pages_stand_in_no_frame_and_previews_of_sites_in_the_cockpits_alone(
    hub: Deployment, person: httpx.Client
) -> None:
    for path in ("/cockpit", "/cockpit/reports", "/cockpit/site/spin-compass/edit", "/cockpit/do/campaign/create"):
        headers = person.get(path).headers
        assert headers["x-frame-options"] == "DENY", path
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "script-src 'self';" in policy, path
        assert "unsafe" not in policy, path
    preview = hub.http.get(hub.get("site/show", site="spin-compass")["preview_url"])
    assert preview.status_code == 200
    assert "x-frame-options" not in preview.headers
    assert "frame-ancestors 'self'" in preview.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("query", "every", "campaigns"),
    [
        ("range=yesterday&by=campaign", "day", ""),
        ("range=7d&by=campaign", "week", ""),
        ("range=last+week&by=offer", "week", ""),
        ("range=30d&by=day", "month", ""),
        ("range=mtd&by=day", "month", ""),
        ("range=7d&by=day&campaign=alpine-native,baltic-search", "week", "alpine-native,baltic-search"),
        ("range=7d&by=day&source=nativedesk", "week", "alpine-native,verde-native"),
        ("range=30d&by=offer&account=baltic-partners", "month", "baltic-search"),
    ],
)
def test_a_report_is_sent_as_a_digest_of_its_range_and_campaigns(
    person: httpx.Client, query: str, every: str, campaigns: str
) -> None:
    page = person.get(f"/cockpit/reports?{query}").text
    address = re.search(r'href="(/cockpit/reports/digest\?[^"]+)"', page)
    assert address is not None
    led = person.get(unescape(address[1]))
    values = {name: values[0] for name, values in parse_qs(urlsplit(led.headers["location"]).query).items()}
    assert (led.status_code, values["every"], values.get("campaigns", "")) == (303, every, campaigns)
    form = person.get(led.headers["location"]).text
    assert f'<option value="{every}" selected>' in form
    assert ",".join(re.findall(r'name="campaigns" value="([^"]+)" checked', form)) == campaigns


def test_a_day_with_nothing_says_so(person: httpx.Client) -> None:
    report = text_of(person.get("/cockpit/reports?range=2021-03-04&by=campaign"))
    assert "Nothing happened in this range" in report
    story = text_of(person.get("/cockpit/reports?range=2021-03-04&by=day&vs=previous"))
    assert "Nothing happened in this range" in story
    assert person.get("/cockpit/reports.csv?range=2021-03-04&by=campaign").status_code == 200


def test_a_form_sent_twice_is_done_once(hub: Deployment, person: httpx.Client) -> None:
    def amounts() -> list[int]:
        return sorted(item["amount"] // 1_000_000 for item in hub.get("payment/list", account="north-play")["items"])

    def form() -> dict[str, str]:
        once = re.search(r'name="form.once" value="([^"]+)"', person.get("/cockpit/do/payment/add").text)
        assert once is not None
        return {"csrf": csrf_of(person), "form.once": once[1], "account": "north-play", "amount": "771"}

    sent, before = form(), amounts()
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: person.post("/cockpit/do/payment/add", data=sent), range(3)))
    assert [answer.status_code for answer in answers] == [303] * 3
    assert amounts() == sorted([*before, 771])
    wrong = [person.post("/cockpit/do/payment/add", data=sent | {"amount": "many"}) for _ in range(2)]
    assert [answer.status_code for answer in wrong] == [400, 400], "what was not done may be sent again"
    assert person.post("/cockpit/do/payment/add", data=sent | {"amount": "772"}).status_code == 303  # the same, changed
    assert person.post("/cockpit/do/payment/add", data=form()).status_code == 303  # a new one, as it was
    assert amounts() == sorted([*before, 771, 771, 772])


def test_a_form_sent_after_the_session_has_ended_changes_nothing(hub: Deployment, person: httpx.Client) -> None:
    csrf = csrf_of(person)
    person.post("/cockpit/sign-out", data={"csrf": csrf})
    refused = person.post("/cockpit/do/campaign/pause", data={"csrf": csrf, "campaign": "alpine-native"})
    assert refused.status_code == 401
    assert "API token" in refused.text  # the sign-in
    assert hub.get("campaign/show", campaign="alpine-native")["status"] == "active"


def test_serve_says_where_it_listens_where_its_data_lies_and_what_to_do_next(empty_hub: Deployment) -> None:
    said = (empty_hub.folder / "serve.log").read_text(encoding="utf-8")
    assert f"CasinoFlux listens on {empty_hub.url}\n" in said
    assert f"Database: sqlite+aiosqlite:///{empty_hub.folder / 'casinoflux.db'}\n" in said
    commands = re.findall(r"'casinoflux (run [^']+)'", said)
    assert [command.split()[1] for command in commands] == ["cockpit", "member"]
    answers = [empty_hub.shell(*command.split()) for command in commands]
    assert [answer.returncode for answer in answers] == [0, 0], answers
    assert f"{empty_hub.url}/cockpit/enter/" in answers[0].stdout
    assert "join" in answers[1].stdout
    front = empty_hub.http.get("/")
    assert (front.status_code, front.headers["location"]) == (302, "/cockpit")


def test_the_first_words_keep_the_databases_password() -> None:
    settings = Settings(database_url="postgresql+asyncpg://flux:sesame@db.example.test/flux", secret_key="k" * 40)
    words = server._welcome(settings, "0.0.0.0", 8000)
    assert "http://0.0.0.0:8000" in words
    assert "postgresql+asyncpg://flux:***@db.example.test/flux" in words
    assert "sesame" not in words


def test_today_names_alerts_that_fire_and_links_that_lead_nowhere(hub: Deployment, person: httpx.Client) -> None:
    alert = hub.post("alert/add", rule="ftd < 50% of 7d avg", channel="terminal")["code"]
    number = int(alert.removeprefix("alert-"))
    offer = hub.get("offer/list")["items"][0]
    with sqlite3.connect(hub.folder / "casinoflux.db") as database:
        alarms = {"alarms": {"": {"state": "firing"}}}
        database.execute("UPDATE alerts SET state = 'firing' WHERE id = ?", (number,))
        stored = json.loads(database.execute("SELECT history FROM alerts WHERE id = ?", (number,)).fetchone()[0])
        database.execute("UPDATE alerts SET history = ? WHERE id = ?", (json.dumps(stored | alarms), number))
        database.execute(
            "INSERT OR REPLACE INTO offer_checks (offer_id, checked_at, fault) VALUES (?, 0, 'it answers 404')",
            (offer["id"],),
        )
    page = text_of(person.get("/cockpit"))
    assert "alert: ftd < 50% of 7d avg" in page
    assert f"the link of offer {offer['name']} leads nowhere: it answers 404" in page
    hub.post("alert/remove", alert=alert)


def test_an_account_of_uploads_offers_an_upload_and_says_what_is_held(person: httpx.Client) -> None:
    answer = person.get("/cockpit/account/casa-verde")
    page = text_of(answer)
    assert "A report is held: " in page
    assert "settled figures are 2 times what they were" in page
    assert 'href="/cockpit/do/sync/upload?account=casa-verde"' in unescape(answer.text)
    assert "Test the login" not in page
    assert "Sync now" not in page
    assert "A report is held" not in text_of(person.get("/cockpit/account/north-play"))
    form = text_of(person.get("/cockpit/do/sync/upload?account=casa-verde"))
    assert "Upload a report" in form
    assert "Lines" not in form


def test_the_calendar_marks_the_days_of_a_held_report(person: httpx.Client) -> None:
    lines = person.get("/cockpit/revenue").text.split('href="/cockpit/account/')
    drawn = [line for line in lines[1:] if 'class="calendar" role="img"' in line]
    days = {line.split('"')[0]: re.findall(r'class="cell (\w+)" title', line) for line in drawn}
    assert days["casa-verde"].count("held") > 9  # the report is about its last days, those before stay settled
    assert "settled" in days["casa-verde"]
    assert "held" not in days["north-play"]
    assert days["north-play"].count("settled") > 20


def test_an_address_that_is_no_page_leads_on(person: httpx.Client) -> None:
    browser = {"accept": "text/html,*/*"}
    for typed, page in (("campaigns", "campaign"), ("logs", "logs/clicks"), ("Platform-Accounts/", "account")):
        answer = person.get(f"/cockpit/{typed}", headers=browser)
        assert (answer.status_code, answer.headers["location"]) == (302, f"/cockpit/{page}"), typed
    lost = person.get("/cockpit/<b>nowhere</b>", headers=browser)
    assert (lost.status_code, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "The cockpit has no page /cockpit/&lt;b&gt;nowhere&lt;/b&gt;." in lost.text
    assert 'href="/cockpit"' in lost.text
    assert "frame-ancestors 'none'" in lost.headers["content-security-policy"]
    assert person.get("/cockpit/nowhere").json()["status"] == 404


def test_a_type_names_its_character_set_once(person: httpx.Client) -> None:
    style = re.search(r'href="(/cockpit/static/[^"]+\.css)"', person.get("/cockpit").text)
    assert style
    for path, kind in (("/cockpit", "html"), ("/cockpit/reports.csv", "csv"), ("/cockpit/logs/clicks.csv", "csv"),
                       (style[1], "css")):  # fmt: skip
        assert person.get(path).headers["content-type"] == f"text/{kind}; charset=utf-8", path


def test_head_answers_what_get_does_without_a_body(hub: Deployment, person: httpx.Client) -> None:
    own = {"date", "x-request-id", "transfer-encoding"}

    def answered(method: str, path: str) -> tuple[int, dict[str, str]]:
        with person.stream(method, path, timeout=5) as answer:
            if method == "HEAD":
                assert answer.read() == b""
            return answer.status_code, {name: value for name, value in answer.headers.items() if name not in own}

    links = set(re.findall(r'href="(/cockpit[^"#]*)"', person.get("/cockpit").text))
    paths = ["/", "/cockpit/reports.csv", "/cockpit/events", "/cockpit/nothing", "/cockpit/do/offer/add",
             "/schema/openapi.json", "/metrics", "/api/v1/offer/add", *map(unescape, sorted(links))]  # fmt: skip
    answers = {path: (answered("GET", path), answered("HEAD", path)) for path in paths}
    assert {path: both for path, both in answers.items() if both[0][0] != both[1][0]} == {}
    assert all(set(got[1]) == set(asked[1]) for got, asked in answers.values())
    assert person.options("/cockpit").headers["allow"] == "GET, HEAD, OPTIONS"
    link = str(hub.run("cockpit")["url"])
    assert httpx.head(link).status_code == 200
    assert httpx.get(link).status_code == 303, "a HEAD has not used it up"
