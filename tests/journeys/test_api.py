"""The HTTP API: every command, tokens and roles, errors that name the field, OpenAPI that says so."""

import csv
import io
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import httpx2
import msgspec
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from bot.commands.clicks import StoredClick
from tests.journeys.deployment import Deployment
from tests.journeys.steps import click
from tests.waiting import wait_for


def test_the_api_is_what_the_contract_says(hub: Deployment) -> None:
    assert hub.http.get("/api/v1/offer/list").status_code == 401
    wrong = hub.http.get("/api/v1/offer/list", headers={"authorization": "Bearer cf_nonsense"})
    assert wrong.status_code == 401
    assert wrong.headers["content-type"].startswith("application/problem+json")
    assert hub.get("offer/list") == {"items": [], "next": None}
    assert hub.post("offer/list", limit=5) == {"items": [], "next": None}

    viewer = hub.post("token/create", name="viewer", role="viewer")["token"]
    headers = {"authorization": f"Bearer {viewer}"}
    forbidden = hub.http.post("/api/v1/campaign/create", json={"name": "x"}, headers=headers)
    assert (forbidden.status_code, forbidden.json()["title"]) == (403, "Forbidden")
    assert hub.http.get("/api/v1/campaign/list", headers=headers).status_code == 200
    hub.post("confirm", code=hub.post("token/revoke", token="viewer")["confirm"])
    assert hub.http.get("/api/v1/campaign/list", headers=headers).status_code == 401


WRONG: list[tuple[str, dict[str, object], int, str]] = [
    ("campaign/create", {}, 400, "name"), ("campaign/create", {"name": "x", "ofers": []}, 400, "ofers"),
    ("campaign/create", {"name": "x", "offers": ["nope"]}, 400, "offers"),
    ("offer/show", {"offer": "nope"}, 404, "offer"),
    ("postback/sent", {"limit": -1}, 400, "limit"), ("audit", {"limit": 501}, 400, "limit"),
    ("report/merged", {"from": "2026-10-02", "to": "2026-10-01"}, 400, "to"),
    ("token/create", {"name": "x", "role": "king"}, 400, "role"), ("offer/list", {"limit": 0}, 400, "limit"),
]  # fmt: skip


def test_errors_are_problems_that_name_the_field(hub: Deployment) -> None:
    for path, arguments, status, field in WRONG:
        answer = hub.try_post(path, **arguments)
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (status, field), path
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert problem["title"]
        assert problem["detail"]


def test_a_large_body_is_read_by_parts_and_a_role_is_judged_before_it(hub: Deployment) -> None:
    """A hundred thousand rules would hold the event loop for a third of a second."""
    rows = [{"campaign": f"c{n}", "day": "2026-11-01", "amount": "1", "currency": "EUR"} for n in range(2_000)]
    refused = hub.try_post("spend/import", rows=rows)
    assert refused.status_code == 400
    assert "c0" in refused.json()["detail"]
    hub.post("campaign/create", name="large")
    rules = [{"if": {"country": ["DE"]}, "offers": ["x"]}] * 100_000
    tall = hub.try_post("campaign/edit", campaign="large", rules=rules)
    assert (tall.status_code, tall.json()["field"]) == (400, "rules")
    assert "entries and more, at most 200" in tall.json()["detail"]  # its beginning is enough to refuse it
    headers = {"authorization": f"Bearer {hub.token}"}
    for body in (b'{"rules": [' + b" " * 70_000, b"[" + b" " * 70_000 + b"]", b'{"rules": ' + b"[" * 70_000,
                 b'{"rules": [{"a": tru}]' + b" " * 70_000 + b"}"):  # fmt: skip
        broken = hub.http.post("/api/v1/campaign/edit", content=body, headers=headers)
        assert (broken.status_code, broken.json()["field"]) == (400, "body")
    viewer = hub.post("token/create", name="looks", role="viewer")["token"]
    forbidden = hub.http.post(
        "/api/v1/campaign/edit", content=b"{nope" * 20_000, headers={"authorization": f"Bearer {viewer}"}
    )
    assert forbidden.status_code == 403


def test_what_is_no_json_or_no_route_is_said(hub: Deployment) -> None:
    headers = {"authorization": f"Bearer {hub.token}"}
    broken = hub.http.post("/api/v1/campaign/create", content=b"{nope", headers=headers)
    assert (broken.status_code, broken.json()["field"]) == (400, "body")
    assert hub.http.post("/api/v1/campaign/create", content=b"[1]", headers=headers).json()["field"] == "body"
    nowhere = hub.http.get("/api/v1/nowhere")
    assert nowhere.status_code == 404
    assert nowhere.headers["content-type"].startswith("application/problem+json")
    assert "did you mean" in hub.http.get("/api/v1/campain/list", headers=headers).json()["detail"]
    writes = hub.http.get("/api/v1/campaign/create", headers=headers)
    assert (writes.status_code, "POST" in writes.headers["allow"]) == (405, True)
    deep = hub.http.post("/api/v1/campaign/create", content=b"[" * 100_000, headers=headers)
    assert (deep.status_code, deep.json()["field"]) == (400, "body")
    far = hub.http.get("/api/v1/campaign/list", params={"after": "9" * 30}, headers=headers)
    assert (far.status_code, far.json()["field"]) == (400, "after")
    early = hub.http.get("/api/v1/forecast", params={"from": "0001-01-01"}, headers=headers)
    assert (early.status_code, early.json()["field"]) == (400, "from")


def test_alerts_and_digests_need_no_room(hub: Deployment) -> None:
    alert = hub.post("alert/add", rule="ftd < 50% of 7d avg")
    assert (alert["channel"], alert["would_have_fired"]) == ("terminal", 0)
    assert hub.post("digest/subscribe", at="09:00")["channel"] == "terminal"


def test_openapi_describes_every_command_and_its_required_fields(hub: Deployment) -> None:
    described = hub.http.get("/schema/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    offer = described["paths"]["/api/v1/offer/add"]["post"]
    reference = offer["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(described["components"]["schemas"][reference]["required"]) == {"casino", "account", "url"}
    assert "get" in described["paths"]["/api/v1/report/merged"]
    assert {item["name"] for item in described["paths"]["/api/v1/report/merged"]["get"]["parameters"]} >= {
        "from",
        "to",
        "by",
    }


def test_health_and_metrics(hub: Deployment) -> None:
    assert hub.http.get("/healthz").status_code == 200
    assert hub.http.get("/readyz").json()["database"] == "ok"
    assert hub.http.head("/healthz").status_code == hub.http.head("/readyz").status_code == 200
    assert "casinoflux_spooled 0.0" in hub.http.get("/metrics").text
    assert hub.http.get("/c/nowhere").status_code == 404
    wait_for(lambda: 'casinoflux_faults{kind="unknown_code"} 1.0' in hub.http.get("/metrics").text, "the count")
    documented = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^# TYPE (casinoflux_\w+)", hub.http.get("/metrics").text, re.MULTILINE))
    assert shown == set(re.findall(r"^\| `(casinoflux_\w+)` ", documented, re.MULTILINE))
    assert set(hub.http.get("/readyz").json()) <= set(re.findall(r"`(\w+)`", documented)) | {
        re.sub(r"^casinoflux_|_total$", "", name) for name in shown
    }


@pytest.mark.parametrize("file", ["prometheus/casinoflux.rules.yml", "grafana/casinoflux.json"])
def test_rules_and_dashboard_name_only_metrics_that_there_are(hub: Deployment, file: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "deploy" / file).read_text(encoding="utf-8")
    shown = set(re.findall(r"^# TYPE (casinoflux_\w+)", hub.http.get("/metrics").text, re.MULTILINE))
    used = {name.removesuffix("_bucket") for name in re.findall(r"casinoflux_\w+", text)}
    assert len(used) >= 8
    assert used <= shown
    content = msgspec.yaml.decode(text)  # JSON is YAML, too
    if "groups" in content:
        rules = [rule for group in content["groups"] for rule in group["rules"]]
        assert all({"alert", "expr", "annotations"} <= rule.keys() for rule in rules)
    else:
        assert all(target["expr"] for panel in content["panels"] for target in panel["targets"])


def test_the_cockpit_never_answers_on_a_strange_host(hub: Deployment) -> None:
    with httpx.Client(base_url=hub.url, headers={"host": "strange.example.com"}, timeout=60) as client:
        for path in ("/", "/api/v1/offer/list", "/readyz", "/schema/openapi.json"):
            assert client.get(path).status_code == 404
    assert hub.http.get("/tls/ask", params={"domain": "strange.example.com"}).status_code == 404


def test_the_cockpit_shows_a_token_holder_the_numbers(hub: Deployment) -> None:
    assert hub.http.get("/cockpit").status_code == 401
    refused = hub.http.post("/cockpit/sign-in", data={"token": "wrong"})
    assert (refused.status_code, "not known" in refused.text) == (401, True)
    hub.post("campaign/create", name="<b>Bold</b> & Sons")
    signed = hub.http.post("/cockpit/sign-in", data={"token": hub.token})
    assert (signed.status_code, signed.headers["location"]) == (303, "/cockpit")
    assert "httponly" in signed.headers["set-cookie"].lower()
    page = hub.http.get("/cockpit")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    listed = hub.http.get("/cockpit/campaign").text
    assert "b-bold-b-sons" in listed
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; Sons" in hub.http.get("/cockpit/campaign/b-bold-b-sons").text
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert csrf is not None
    pause = {"campaign": "b-bold-b-sons"}
    assert hub.http.post("/cockpit/do/campaign/pause", data=pause).status_code == 403
    done = hub.http.post("/cockpit/do/campaign/pause", data=pause | {"csrf": csrf[1]})
    assert (done.status_code, done.headers["location"]) == (303, "/cockpit/campaign/b-bold-b-sons")
    assert hub.get("campaign/show", campaign="b-bold-b-sons")["status"] == "paused"
    assert "data-chart" not in page.text
    hub.post("spend/add", campaign="b-bold-b-sons", day="yesterday", amount="12.50", currency="EUR")
    assert "data-chart" in hub.http.get("/cockpit").text, "spend alone is drawn"
    answer = hub.http.post("/cockpit/say", data={"say": "campaign resume b-bold-b-sons", "csrf": csrf[1]})
    assert "&lt;b&gt;Bold&lt;/b&gt;" in answer.text
    assert hub.get("campaign/show", campaign="b-bold-b-sons")["status"] == "active"


def test_a_report_comes_as_csv_over_http_and_from_the_shell(hub: Deployment) -> None:
    headers = {"authorization": f"Bearer {hub.token}", "accept": "text/csv"}
    request = {"from": "2026-10-01", "to": "2026-10-02", "by": "day,campaign"}
    answer = hub.http.get("/api/v1/report/merged", params=request, headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.startswith("day,campaign,clicks,unique_clicks,")
    by_name = hub.http.get(
        "/api/v1/report/merged", params=request | {"format": "csv"}, headers=headers | {"accept": "*/*"}
    )
    assert by_name.text == answer.text
    plain = hub.http.get("/api/v1/report/merged", params=request, headers=headers | {"accept": "*/*"})
    assert plain.json()["names"] == {}
    shell = hub.shell("run", "report", "merged", "2026-10-01", "2026-10-02", "by", "day,campaign", "--csv")
    assert (shell.returncode, shell.stdout, shell.stderr) == (0, answer.text, "")
    refused = hub.http.get("/api/v1/report/merged", params=request | {"to": "2036-10-02"}, headers=headers)
    assert (refused.status_code, refused.json()["field"]) == (400, "from")


def test_the_click_log_comes_as_csv_over_http_and_from_the_shell_page_by_page(hub: Deployment) -> None:
    hub.post("account/add", platform="postback_only", name="csv", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Csv", account="csv", url="https://csv.example.test/?s={click_id}", tag="csv")
    link = hub.post("campaign/create", name="Csv Log", offers=["csv-csv"], binding=False)["url"]
    for n in range(3):
        click(hub, link, n, sub1=f"zone-{n}", sub10="=1+1")
    asked = {"campaign": "csv-log", "limit": "2"}
    bearer = {"authorization": f"Bearer {hub.token}"}
    answer = hub.http.get("/api/v1/click/log", params=asked, headers=bearer | {"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["sub1"], row["sub10"], row["reason"]) for row in rows] == [
        ("zone-2", "'=1+1", "chosen"), ("zone-1", "'=1+1", "chosen"),
    ]  # fmt: skip
    stored = {field.name for field in msgspec.structs.fields(StoredClick)} - {"conversions", "outgoing"}
    assert set(rows[0]) == stored
    for more in ({"format": "csv"}, {"csv": "true"}):
        assert hub.http.get("/api/v1/click/log", params=asked | more, headers=bearer).text == answer.text
    following = {"after": answer.headers["casinoflux-next"], "format": "csv"}
    last = hub.http.get("/api/v1/click/log", params=asked | following, headers=bearer)
    assert [row["sub1"] for row in csv.DictReader(io.StringIO(last.text))] == ["zone-0"]
    assert "casinoflux-next" not in last.headers
    shell = hub.shell("run", "click", "log", "campaign=csv-log", "limit=2", "--csv")
    assert (shell.returncode, shell.stdout, shell.stderr) == (0, answer.text, "")
    nothing = hub.shell("run", "click", "log", "campaign=csv-log", "country=FI", "--csv")
    assert (nothing.returncode, nothing.stdout) == (0, answer.text.splitlines()[0] + "\n")
    refused = hub.http.get("/api/v1/click/log", params=asked | {"format": "xls"}, headers=bearer)
    assert (refused.status_code, refused.json()["field"]) == (400, "format")


@asynccontextmanager
async def over_http(hub: Deployment, token: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{hub.url}/mcp", http_client=http)) as client,
    ):
        yield client


async def test_an_agent_lists_asks_and_changes_over_http(hub: Deployment) -> None:
    assert hub.http.post("/mcp", json={}).status_code == 401
    headers = {"authorization": f"Bearer {hub.token}", "origin": "https://evil.example.test"}
    assert hub.http.post("/mcp", json={}, headers=headers).status_code == 403
    viewer = hub.post("token/create", name="reading-agent", role="viewer")["token"]
    async with over_http(hub, hub.token) as client:
        tools = await client.list_tools()
        assert len(tools.tools) > 150
        assert len(tools.model_dump_json(by_alias=True, exclude_none=True)) <= 40_000
        question = await client.call_tool("campaign_create", {"name": "By an agent"})
        done = await client.call_tool("confirm", {"code": question.structured_content["confirm"]})
        assert "By an agent" in said(done)
        assert "Clicks" in said(await client.call_tool("stats", {"range": "7d", "by": "campaign"}))
    assert [row["name"] for row in hub.get("campaign/list", find="agent")["items"]] == ["By an agent"]
    async with over_http(hub, viewer) as client:
        assert "campaign_create" not in {tool.name for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("campaign_create", {"name": "Not this one"})
        assert refused.is_error
        assert "needs the role buyer" in said(refused)


async def test_an_agent_is_answered_over_standard_input_and_output(hub: Deployment) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "hub", "mcp", "--role", "viewer"], env=hub.environment, cwd=hub.folder
    )
    async with Client(stdio_client(server)) as client:
        assert "By an agent" in said(await client.call_tool("campaign_list", {}))
        assert (await client.call_tool("campaign_create", {"name": "x"})).is_error


def said(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))
