"""A hub with one of everything, and values that fields have stumbled over."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_postgres
from tests.journeys.deployment import Deployment, started_sqlite

#: Codes of what `fill` makes.
CODES = ("acme", "brand-spring", "brand", "land", "push", "promo", "main")
DEEP = "[" * 10_000

#: Values whose kind stopped a hub before: ends of the calendar, NUL, numbers past 64 bit, no IDN, headers, deep JSON.
HOSTILE: tuple[Any, ...] = (
    "", " ", "-", "none", "null", "0", "-1", "9" * 30, "1e400", "nan", "-inf", "١٢", "²", "①", "alert-²",
    "0001-01-01", "9999-12-31",
    "0001-01-01..9999-12-31", "9999-12-31T23:59:59+14:00", "0001-01-01T00:00:00-14:00", "2026-02-30", "99:99", "24:00",
    "a\x00b", "\ud83d", "\u202ex", "ß" * 300, "x" * 2900, "https://evil.com\x0b/x.png",
    "https://evil.com;sandbox/x.png",
    "https://[::1", "https://xn--a.com/", "http://a:99999/", "javascript:alert(1)", "https://ex ample.com/", "//x",
    "https://" + "a" * 300 + ".com", "xn--a.com", "a..b", ".", "é" * 64 + ".com", "%00", "%", "%%s", "{click_id",
    "{}{0}",
    "{click_id.__class__}", DEEP, '{"a":' * 2000, "[[]]", "a,b,c", "a:1,a:1", "a:999999999999999999999", "UTC",
    "../../etc/passwd",
    "EUR", "ftd < 50% of 7d avg", "clicks > 1e999", "7d", "-7d", "99999d", "day,day", "day,campaign,site,offer",
    "<script>",
    "'; drop table clicks",
    0, -1, 2**31, 2**63, 2**64, 10**30, 1e308, True, None, [], {}, [[]], [None], {"a": {"b": [1]}},
    [2**70],
    ["a" * 5000], ["\x00"], {"\x00": "\x00"}, {"a": "\x00"}, [{"offer": "brand-spring", "weight": 2**70}],
)  # fmt: skip


#: Settings of a hub that limits no requests.
UNLIMITED = dict.fromkeys(("LIMIT_TOKEN", "LIMIT_ADDRESS", "LIMIT_SIGN_IN", "LIMIT_BEACON"), "0")


@contextmanager
def filled_hub(folder: Path, *, url: str = "", **settings: str) -> Iterator[Deployment]:
    """A served deployment with one of everything, on a SQLite file in the folder unless a URL is given."""
    deployment = Deployment(url or started_sqlite(folder), folder, **settings)
    deployment.start()
    try:
        fill(deployment)
        yield deployment
    finally:
        deployment.stop()


@contextmanager
def postgres_of(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new database where a fixture's parameter says postgresql, else an empty text."""
    if request.param == "postgresql":
        with new_postgres(request.getfixturevalue("postgres")) as url:
            yield url
    else:
        yield ""


def fill(hub: Deployment) -> None:
    """One of everything, by commands."""
    hub.post("account/add", platform="postback_only", name="acme", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Brand", account="acme", tag="spring", url="https://brand.example/?s={click_id}")
    hub.post("casino/review", casino="brand", bonus="100 %", terms_url="https://brand.example/terms", licence="MGA",
             payment_methods="visa")  # fmt: skip
    hub.post("source/add", name="push")
    hub.post("site/create", name="land", market="DE", offers=["brand-spring"])
    hub.post("site/publish", site="land")
    hub.post("campaign/create", name="promo", offers=["brand-spring"], source="push", site="land")
    hub.http.get("/c/promo", params={"sub1": "a"})
