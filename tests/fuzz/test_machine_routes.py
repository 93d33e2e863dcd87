"""The routes that machines and strangers reach, with anything in them: no answer is a 5xx."""

import os
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.fuzz.filled import DEEP, HOSTILE, UNLIMITED, filled_hub, postgres_of
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))
_BODIES = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b"\x00",
    DEEP.encode(),
    b'{"a":' * 10_000,
    b"a=1&a=2",
    b"%00=%00",
    b'{"i":"x","z":' + b"[" * 4000,
    b'{"i":5}',
    b'{"i":"x","m":1e400}',
    b'{"i":"\\u0000","r":"http://[","c":"\\ud83d"}',
    b'{"update_id":1e400}',
    b'{"update_id":99999999999999999999,"message":[]}',
    b'{"event":5}',
    b'{"type":"event_callback"}',
    b'{"click_id":{"a":[]},"amount":"1e999"}',
    b"click_id=\x00&amount=" + b"9" * 400,
    b"payload=null",
    b"payload=%5B%5D",
]
_TYPES = ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "", "\xff"]
_NOWHERE = "http://127.0.0.1:9/"
CHATS = {
    "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s", "SLACK_API_URL": _NOWHERE, "TELEGRAM_API_URL": _NOWHERE,
}  # fmt: skip
_TIMESTAMPS = ["abc", "nan", "1e400", "-1", "", "9" * 400, "1_0", "+5"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("machines")
    with postgres_of(request) as url, filled_hub(folder, url=url, **CHATS, **UNLIMITED) as deployment:
        yield deployment


@pytest.mark.parametrize("timestamp", _TIMESTAMPS)
def test_an_unsigned_request_of_slacks_is_refused_before_it_is_read(hub: Deployment, timestamp: str) -> None:
    for body in (b"null", b"[]", b"5", DEEP.encode(), b"\xff\xfe", b""):
        headers = [
            (b"content-type", b"application/json"),
            (b"x-slack-request-timestamp", timestamp.encode()),
            (b"x-slack-signature", b"v0=\xe9"),
        ]
        answer = hub.http.post("/slack/events", content=body, headers=headers)
        assert answer.status_code == 401, body


def test_a_beacon_of_deep_json_is_a_bad_request(hub: Deployment) -> None:
    for body in (b'{"i":"x","z":' + b"[" * 4000, b"[" * 4000, b"null"):
        assert hub.http.post("/s/land/b", content=body).status_code == 400


@pytest.mark.timeout(SECONDS + 600)
def test_no_machine_route_fails_whatever_it_is_sent(hub: Deployment) -> None:
    choice, failures = random.Random(int(os.environ.get("FUZZ_SEED", "1"))), dict[str, str]()
    key = hub.post("postback/url", account="acme")["url"].partition("?")[0].rpartition("/")[2]
    paths = [
        f"/postback/{key}",
        "/postback/{}",
        "/c/promo",
        "/c/{}",
        "/go/land/brand-spring",
        "/go/{}/{}",
        "/s/land/b",
        "/s/{}",
        "/s/land",
        "/slack/events",
        "/slack/install",
        "/slack/oauth_redirect",
        "/telegram/webhook",
        "/tls/ask",
        "/i/{}",
        "/cockpit",
        "/cockpit/enter/{}",
        "/cockpit/sign-in",
        "/cockpit/sign-out",
        "/api/v1/{}",
        "/{}",
        "/readyz",
    ]
    values = [str(value).encode("utf-8", "replace").decode()[:1500] for value in HOSTILE]
    names = [
        "click_id",
        "sub1",
        "cost",
        "currency",
        "event",
        "amount",
        "domain",
        "v",
        "click",
        "look",
        "code",
        "status",
        "a\x00",
    ]
    ends = time.monotonic() + SECONDS
    with httpx.Client(base_url=hub.url, timeout=60) as client:
        while time.monotonic() < ends:
            path = choice.choice(paths)
            while "{}" in path:
                path = path.replace("{}", quote(choice.choice(values), safe=""), 1)
            query = {choice.choice(names): choice.choice(values) for _ in range(choice.randrange(4))}
            method = choice.choice(["GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS"])
            headers: Any = {
                "content-type": choice.choice(_TYPES).encode("latin-1"),
                "user-agent": choice.choice(values)
                .encode("latin-1", "replace")
                .replace(b"\x00", b"")
                .replace(b"\n", b"")
                .strip(),
                "accept-language": choice.choice(["de", "x" * 8000, "\xff", "-"]).encode("latin-1"),
                "cookie": choice.choice(["cf1=a-b", "cf_session=\xff", "=;=", "x" * 4000]).encode("latin-1"),
                "x-forwarded-for": choice.choice(["1.2.3.4", "::1", "x", ",,", "9" * 500, "[::1]:5"]),
                "x-slack-request-timestamp": choice.choice(_TIMESTAMPS),
            }
            body = choice.choice(_BODIES) if method in {"POST", "PUT"} else None
            try:
                answer = client.request(method, path, params=query, headers=headers, content=body)
            except (httpx.InvalidURL, httpx.LocalProtocolError):
                continue
            except httpx.RemoteProtocolError:  # the server hung up on a body it did not read: on a new connection
                answer = httpx.request(method, hub.url + path, params=query, headers=headers, content=body, timeout=60)
            if answer.status_code >= 500 and answer.status_code not in {502, 503}:
                failures.setdefault(path, f"{method} {path[:200]} {query}: {answer.status_code}"[:900])
    assert not failures, "\n".join(failures.values()) + hub.log()
