"""Nothing in a request breaks a click, or sends a visitor to a host that is not configured."""

import asyncio
import tracemalloc
from decimal import Decimal
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.clicks.handler import is_click_path
from hub.clicks.query import read_cost, read_currency, read_query
from hub.requests import user_agents
from hub.requests.client import Clients
from hub.requests.country import Countries
from hub.requests.proxies import Proxies
from hub.requests.user_agents import UserAgents
from hub.runtime.settings import read_settings
from storage.clicks.plans import NO_SOURCE
from storage.tables import faults
from tests.generated import examples
from tests.hub.clicks.click_deployment import click_deployment
from tests.storage.ledger.written import REFUSED, RIGHT, written_amounts

AWKWARD = [
    "sub1=%ZZ%", "sub1=%00%00", "sub1=%ED%A0%80", "sub1=a%0d%0aLocation:%20https://evil.example.test/", "&&&==&=x",
    "sub1=" + "é" * 50, "click_id=" + "x" * 6000, "sub1=1&sub1=2&zone=1&zone=2", "cost=NaN&sub10=z", "%00=%00",
    "cost=" + "9" * 400, "cost=1e999999999", "currency=%F0%9F%92%B0", "sub1=https://evil.example.test/?a=b&c=d",
    "&".join(f"p{n}={n}" for n in range(10_000)),
]  # fmt: skip


async def test_awkward_queries_are_redirected_kept_and_go_nowhere_else(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a", url="https://a.example.test/{sub1}?c={click_id}&s={sub1}&t={source_click_id}")
        await d.campaign("one", {"a": 1})
        for query in AWKWARD:
            answer = await d.get(f"/c/one?{query}", ip="192.0.2.1")
            assert answer.status == 302
            assert answer.host == "a.example.test"
            assert "\n" not in answer.location
        stored = await d.stored()
        assert len(stored) == len(AWKWARD)
        assert stored[7].sub1 == "1"
        assert stored[7].extra == {"zone": ["1", "2"]}
        assert len(stored[-1].extra) < 1500
        await d.clicks.writer.stop()
        assert ("cut", "one") in {(row.kind, row.subject) for row in await d.rows(faults)}


async def test_what_user_agents_are_made_up_is_forgotten(upgraded_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What their reader made is still there only of those that it knows, 100 or fewer."""
    monkeypatch.setattr("hub.requests.user_agents._KEPT_BYTES", 50_000)
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        tracemalloc.start()
        try:
            for start in range(0, 1500, 100):
                agents = (f"{n}".ljust(512, "x") for n in range(start, start + 100))
                await asyncio.gather(*(d.get("/c/one", agent=agent) for agent in agents))
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        alive = snapshot.filter_traces([tracemalloc.Filter(True, user_agents.__file__)])
        assert sum(trace.size for trace in alive.traces) < 300_000
        assert len(await d.stored()) == 1500


async def test_awkward_headers_do_not_break_a_click(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        for headers in (
            {"cookie": "cf1=;;;=;cf1=zz-zz"}, {"cookie": f"cf{d.made['campaign one']}=0000000000000-1"},
            {"accept_language": ";;;q=1,\x80"}, {"referer": "x" * 5000}, {"x_forwarded_for": "unknown, ,::bad"},
        ):  # fmt: skip
            assert (await d.get("/c/one", **headers)).status == 302
        assert (await d.get("/c/one", agent="\x00\x01" + "ü" * 3000)).status == 302
        assert (await d.get("/c/one", method="POST")).status == 405
        assert len(await d.stored()) == 6


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_read(raw: bytes) -> None:
    for query in (raw, quote_from_bytes(raw).encode(), b"sub1=" + raw + b"&cost=" + raw):
        read = read_query(query, NO_SOURCE.places)
        texts = [read.click_id, read.cost, read.currency, *read.subs, *(read.extra or {})]
        assert all("\x00" not in text and text.encode() is not None for text in texts if text)
        cost, _ = read_cost(read.cost, "EUR")
        assert -1 <= cost < 2**62


@pytest.mark.parametrize("text", [*RIGHT, *REFUSED])
def test_a_cost_in_a_link_is_read_right_or_not_at_all(text: str) -> None:
    value, currency = RIGHT.get(text, ("-1", ""))
    micros = int(Decimal(value) * 1_000_000)
    assert read_cost(text, "EUR") == ((micros, currency) if micros >= 0 else (-1, ""))


@given(written_amounts(negative=False))
def test_a_cost_in_any_convention_is_read_back(written: tuple[str, Decimal, str]) -> None:
    text, value, currency = written
    assert read_cost(text, "EUR") == (int(value * 1_000_000), currency)


def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy() -> None:
    trusted = read_settings(
        {"CASINOFLUX_SECRET_KEY": "k", "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, 2001:db8::/32"}
    ).trusted_proxies
    proxies = Proxies(trusted)

    def address(peer: str, *forwarded: str) -> str:
        headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
        return proxies.address({"client": (peer, 1), "headers": headers}, dict(headers))

    assert address("127.0.0.1") == "127.0.0.1"
    assert address("203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert address("127.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert address("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.1.2.3") == "198.51.100.1"
    assert address("127.0.0.1", "198.51.100.1:4711") == "198.51.100.1"
    assert address("127.0.0.1", "[2001:470::7]:4711, 2001:db8::1") == "2001:470::7"
    assert address("127.0.0.1", "::ffff:198.51.100.1") == "198.51.100.1"
    assert address("127.0.0.1", "garbage") == "127.0.0.1"
    assert address("127.0.0.1", "10.0.0.1") == "10.0.0.1"
    assert address("127.0.0.1", "6.6.6.6, 198.51.100.1", "10.1.2.3") == "198.51.100.1"  # HAProxy behind another proxy
    assert address("127.0.0.1", "6.6.6.6", "198.51.100.1") == "198.51.100.1"
    assert address("127.0.0.1", "10.3.3.3", "10.1.2.3") == "10.3.3.3"


async def test_a_prefix_is_stored_only_if_asked_for(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url, store_ip_prefix="1") as d:
        await d.offer("a")
        await d.campaign("one", {"a": 1})
        await asyncio.gather(d.get("/c/one", ip="198.51.100.77"), d.get("/c/one", ip="2001:db8:1:2::3"))
        assert [click.ip_prefix for click in await d.stored()] == ["198.51.100.0/24", "2001:db8:1::/48"]


IN_APP = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
)
PEOPLE = [
    "Snapchat/12.88.0.42 (like Safari/8618.2.12.10.9, panda)", "Viber/22.6.0.5", "Instagram 334.0.0.31.114 (iPhone)",
    "[FBAN/FBIOS;FBAV/466.0.0.44.103]", "musical_ly_34.5.0 BytedanceWebview/d8a21c6", "Safari Line/14.8.0",
    "Telegram-iOS/10.14", "MicroMessenger/8.0.49(0x18003130) NetType/WIFI", "WhatsApp/2.24.10.79", "Slack/24.05",
]  # fmt: skip
FETCHERS = [
    "Snap URL Preview Service; bot; snapchat; https://developers.snap.com/robots", "WhatsApp/2.23.20.0 A",
    "Viber/20.9.0.8 CFNetwork/1410.0.3 Darwin/22.6.0", "TelegramBot (like TwitterBot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "facebookexternalhit/1.1;line-poker/1.0",
]  # fmt: skip


def test_in_app_browsers_are_people_and_preview_fetchers_are_machines() -> None:
    agents = UserAgents()
    assert [text for text in PEOPLE if agents.of((IN_APP + text).encode()).bot] == []
    assert [text for text in FETCHERS if not agents.of(text.encode()).bot] == []


def test_long_headers_are_cut_before_they_are_kept() -> None:
    agents = UserAgents()
    clients = Clients((), Countries(), agents)
    for n in range(50):
        agents.of(b"x" * 600 + b"%d" % n * 4000)
        assert clients.language({b"accept-language": b"de" + b"," * 60 + b"%d" % n * 2000}) == "de"
    assert len(agents._known) == len(clients._languages) == 1


def test_a_currency_in_a_link_has_three_to_five_letters() -> None:
    read = {"eur": "EUR", "usdt": "USDT", "DOGEC": "DOGEC", "eu": "GBP", "dollar": "GBP", "€€€": "GBP", "": "GBP"}
    assert {text: read_currency(text, "GBP") for text in read} == read


async def test_links_work_in_any_letter_case_and_with_doubled_slashes(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await d.offer("a")
        await d.site("wall", "a")
        await d.campaign("field", {"a": 1})
        for path in ("/c/field", "/C/FIELD", "//c/field", "/c//Field/", "/GO/Wall/A", "//go/wall//a"):
            assert is_click_path(path)
            assert (await d.get(path)).host == "a.example.test", path
        assert not is_click_path("/cockpit/c/field")
