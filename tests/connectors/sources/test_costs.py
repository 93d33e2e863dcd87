"""Cost reports of traffic sources, over real HTTP from constructed answers (costs/README.md)."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from connectors.http import Http
from connectors.sources.costs import COST_APIS, CostQuery, CostReport
from storage.ledger.errors import ConnectorError, Refused
from tests.connectors.web import Request, Web, answer, serving

RECORDINGS = Path(__file__).parent / "costs"
QUERY = CostQuery(first=date(2026, 9, 30), last=date(2026, 10, 1), zone=ZoneInfo("Europe/Berlin"))
SETTINGS = {
    "cost_token": "fake-cost-token", "cost_refresh_token": "fake-refresh", "client_id": "id", "client_secret": "fake-s",
    "account_id": "123-456-7890", "login_account_id": "999-888-7777", "ad_account_id": "act_77", "advertiser_id": "70",
}  # fmt: skip
EXPECTED = {
    "meta": [("2026-10-01", "120211", "DE | spring-fb | broad", 53_400_000, "EUR"),
             ("2026-09-30", "120212", "Retargeting", 990_000, "EUR")],
    "tiktok": [("2026-10-01", "1790", "Spring DE", 41_200_000, "USD"),
               ("2026-09-30", "1791", "Spring AT", 7_000_000, "USD")],
    "google": [("2026-10-01", "123", "Brand", 53_400_001, "EUR"), ("2026-09-30", "124", "Generic", 0, "EUR")],
    "propellerads": [("2026-09-30", "88", "", 3_000_000, "USD"), ("2026-10-01", "77", "", 4_110_000, "USD")],
    "adsterra": [("2026-09-30", "77", "", 1_250_000, "USD"), ("2026-10-01", "77", "", 2_500_000, "USD")],
    "exoclick": [("2026-09-30", "855", "A", 14_430_000, "USD"), ("2026-10-01", "855", "A", 1, "USD"),
                 ("2026-10-01", "856", "B", 1_000_000, "USD")],
}  # fmt: skip
ZONES = {"google": "Europe/Berlin", "propellerads": "Europe/Berlin", "adsterra": "UTC", "exoclick": "America/New_York"}


def recorded(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(RECORDINGS.glob(f"{name}.*.json"))]


async def fetched(
    name: str, answers: list[bytes], seen: Callable[[Web], None] = lambda _: None, *, lacks: str = ""
) -> CostReport:  # fmt: skip
    """What a source's reading comes to where it is given these answers, one after the other."""
    remaining = list(answers)

    def answering(_request: Request) -> bytes:
        body = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return body if body.startswith(b"HTTP/") else answer(body)

    async with serving(answering) as web, Http(allow_private=True, first_wait=0.001) as http:
        here = {"cost_url": web.url, "cost_token_url": f"{web.url}/token"}
        report = await COST_APIS[name].fetch(http, SETTINGS | here | {lacks: ""}, QUERY)
        seen(web)
        return report


@pytest.mark.parametrize("name", sorted(COST_APIS))
async def test_every_report_is_read_whole(name: str) -> None:
    answers = recorded(name)
    requests: list[Request] = []
    report = await fetched(name, answers, lambda web: requests.extend(web.asked))
    assert [(str(r.day), r.campaign, r.name, r.amount, r.currency) for r in report.rows] == EXPECTED[name]
    assert report.zone == ZONES.get(name, "")
    assert len(requests) == len(answers)


@pytest.mark.parametrize("name", sorted(COST_APIS))
async def test_a_report_that_is_cut_off_anywhere_or_refused_is_an_error_that_holds_no_secret(name: str) -> None:
    answers = recorded(name)
    whole = answers[-1]
    for end in range(1, len(whole.rstrip()), max(1, len(whole) // 12)):
        with pytest.raises(ConnectorError):
            await fetched(name, [*answers[:-1], whole[:end]])
    for status, body in (
        (401, b"{}"),
        (403, b"{}"),
        (429, b"{}"),
        (500, b"<html>"),
        (200, b"<html>"),
        (200, b'{"x":1}'),
    ):
        with pytest.raises(ConnectorError) as error:
            await fetched(name, [*answers[:-1], answer(body, status=status)])
        assert not any(value in str(error.value) for key, value in SETTINGS.items() if "token" in key)
        assert error.value.permanent == (status in {401, 403}), (status, error.value)


@pytest.mark.parametrize("name", sorted(COST_APIS))
async def test_a_setting_that_lacks_is_named(name: str) -> None:
    for needed in (COST_APIS[name].token, *COST_APIS[name].needs):
        with pytest.raises(Refused, match=needed):
            await fetched(name, recorded(name), lacks=needed)


async def test_what_is_asked_is_what_the_reports_document() -> None:
    def meta(web: Web) -> None:
        first, second = (dict(request.query) for request in web.asked)
        assert web.asked[0].path == "/v25.0/act_77/insights"
        assert web.asked[0].headers["authorization"] == "Bearer fake-cost-token"
        assert (first["level"], first["time_increment"]) == ("campaign", "1")
        assert msgspec.json.decode(first["time_range"]) == {"since": "2026-09-30", "until": "2026-10-01"}
        assert second == first | {"after": "b"}

    def google(web: Web) -> None:
        token, search = web.asked
        assert b"refresh_token=fake-refresh" in token.body
        assert search.path == "/v26/customers/1234567890/googleAds:searchStream"
        assert search.headers["login-customer-id"] == "9998887777"
        assert search.headers["authorization"] == "Bearer constructed-token"
        assert "BETWEEN '2026-09-30' AND '2026-10-01'" in msgspec.json.decode(search.body)["query"]

    def propellerads(web: Web) -> None:
        assert dict(web.asked[0].query)["tz"] == "+0200"

    def exoclick(web: Web) -> None:
        assert msgspec.json.decode(web.asked[0].body) == {"api_token": "fake-cost-token"}
        assert [msgspec.json.decode(request.body)["filter"]["date_from"] for request in web.asked[1:]] == [
            "2026-09-30", "2026-10-01",
        ]  # fmt: skip

    for seen in (meta, google, propellerads, exoclick):
        await fetched(seen.__name__, recorded(seen.__name__), seen)


REFUSED = [
    ("meta", b'{"error":{"message":"Error validating access token","code":190}}', True, "cost_token"),
    ("meta", b'{"error":{"message":"User request limit reached","code":17}}', False, "too many requests"),
    ("tiktok", b'{"code":40105,"message":"Access token is incorrect","data":{}}', True, "cost_token"),
    ("tiktok", b'{"code":40100,"message":"Too many requests","data":{}}', False, "too many requests"),
    ("adsterra", b'{"items":[{"date":"2026-10-01","campaign":1,"spent":1}],"itemCount":3}', False, "1 of 3 rows"),
    ("adsterra", b'{"items":[{"date":"2026-10-02","campaign":1,"spent":1}]}', False, "asked for 2026-09-30"),
    ("propellerads", '{"items":[{"campaign_id":1,"spent":"€3"}]}'.encode(), False, "in EUR, not USD"),
    ("exoclick", b'{"token":"","type":"Bearer"}', True, "gave no token"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "permanent", "says"), REFUSED)
async def test_what_a_source_says_in_a_200_is_heard(name: str, body: bytes, permanent: bool, says: str) -> None:
    with pytest.raises(ConnectorError, match=says) as error:
        await fetched(name, [body])
    assert error.value.permanent is permanent


async def test_a_report_that_changes_between_its_pages_is_read_again() -> None:
    first, second = recorded("tiktok")
    grown = second.replace(b'"total_number": 2', b'"total_number": 3')
    report = await fetched("tiktok", [first, grown, first, second])
    assert len(report.rows) == 2
    with pytest.raises(ConnectorError, match="changed while it was read"):
        await fetched("tiktok", [first, grown] * 3)


async def test_a_sunset_version_names_its_setting() -> None:
    with pytest.raises(ConnectorError, match="cost_api_version"):
        await fetched("google", [recorded("google")[0], answer(b"{}", status=404)])
