"""A served hub tells an address of the team's own of everything that happens: signed, again after a fault, in a log."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import DAY, Deployment
from tests.journeys.steps import click, convert, figures, today, tracked_campaign
from tests.waiting import wait_for

#: What a day at the platform looks like.
USUAL: dict[str, Any] = {
    "visits_count": 40, "registrations_count": 10, "first_deposits_count": 4, "deposits_sum": "400.00", "ngr": "125.00",
    "partner_income": "90.00",
}  # fmt: skip
TYPES = {
    "conversion.registration", "conversion.first_deposit", "conversion.deposit", "conversion.qualified",
    "conversion.reversal", "alert.firing", "alert.over", "alert.event", "digest", "sync.done", "sync.failed",
    "sync.held", "report.held", "test",
}  # fmt: skip


@dataclass
class Call:
    """What came, when by the receiver's clock, and whether it was taken."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    is_taken: bool


@dataclass
class Receiver:
    """A receiver of the team's own. `broken`: how its next calls fail, by path: a status, or `hang`; `days`: so far is
    its clock shifted."""

    url: str = ""
    broken: dict[str, list[int | str]] = field(default_factory=dict)
    days: int = 0
    calls: list[Call] = field(default_factory=list)

    def taken(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path and call.is_taken]

    def types(self, path: str) -> set[str]:
        return {json.loads(call.body)["type"] for call in self.taken(path)}


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver, ended = Receiver(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            faults = receiver.broken.get(self.path)
            fault = faults.pop(0) if faults else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls.append(Call(self.path, headers, body, time.time() + receiver.days * DAY, fault is None))
            if fault == "hang":
                ended.wait(30)
                return
            self.send_response(204 if fault is None else int(fault))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield receiver
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


def verify(call: Call, secret: str) -> dict[str, Any]:
    """As the specification of Standard Webhooks (1.0.0) has a receiver do it; the payload."""
    at = int(call.headers["webhook-timestamp"])
    assert abs(call.at - at) < 300
    signed = b".".join([call.headers["webhook-id"].encode(), str(at).encode(), call.body])
    expected = hmac.new(base64.b64decode(secret.split("_", 1)[1]), signed, hashlib.sha256).digest()
    signatures = [word.split(",", 1) for word in call.headers["webhook-signature"].split(" ")]
    assert any(
        version == "v1" and hmac.compare_digest(base64.b64decode(value), expected) for version, value in signatures
    )
    payload: dict[str, Any] = json.loads(call.body)
    assert payload.keys() == {"type", "timestamp", "data"}
    return payload


def add_webhook(hub: Deployment, receiver: Receiver, path: str, **more: Any) -> str:
    """The secret of a webhook that receives everything, or what `more` says."""
    return str(hub.post("webhook/add", url=receiver.url + path, name=path.strip("/"), **more)["secret"])


def platform_says(affilka: httpx.Client, days: list[str], times: int = 1) -> None:
    for day in days:
        grown: dict[str, Any] = {
            name: value * times if isinstance(value, int) else f"{float(value) * times:.2f}"
            for name, value in USUAL.items()
        }
        affilka.post("/_control/figures", json=figures(day, **grown)).raise_for_status()


def log(hub: Deployment, webhook: str) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = hub.get("webhook/log", webhook=webhook)["items"]
    return calls


def failed_call(hub: Deployment, webhook: str) -> bool:
    return any(call["error"] for call in log(hub, webhook))


def was_sent(hub: Deployment, webhook: str) -> bool:
    return any(call["state"] == "sent" for call in log(hub, webhook))


def conversions(hub: Deployment, link: str, postback: str) -> None:
    """A player who registers, deposits twice and qualifies, and whose second deposit is taken back."""
    player = parse_qs(urlsplit(click(hub, link, 1)).query)["sub"][0]
    events = ("registration", "ftd", "deposit", "qualified", "reversal")
    second = {"deposit": "t2", "reversal": "t2"}
    outcomes = {
        event: convert(hub, postback, player, event, amount="50", currency="EUR", txn_id=second.get(event, event))
        for event in events
    }
    assert outcomes == dict.fromkeys(events, "accepted") | {"reversal": "updated"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_event_reaches_a_receiver_signed_and_what_fails_is_told_again(
    deploy: Deploy, affilka: httpx.Client, traffic_source: httpx.Client
) -> None:
    hub = deploy()
    hub.start()
    link, postback = tracked_campaign(hub, affilka, traffic_source)
    with receiving() as receiver:
        secrets = {"/everything": add_webhook(hub, receiver, "/everything")}
        for path, fault in (("/flaky", 500), ("/slow", "hang")):
            receiver.broken[path] = [fault]
            secrets[path] = add_webhook(hub, receiver, path, events=["first_deposit"])
        hub.post("alert/add", rule="ftd", channel="terminal")
        hub.post("alert/add", kind="suspect", channel="terminal")
        hub.post("digest/subscribe", at="00:00", channel="terminal")
        hub.post("webhook/test", webhook="everything")
        conversions(hub, link, postback)
        first = date.fromisoformat(today(hub))
        days = [(first - timedelta(days=n)).isoformat() for n in (3, 2, 1, 0)]
        platform_says(affilka, days)
        hub.sync("affilka-main")
        for path in ("flaky", "slow"):
            wait_for(partial(failed_call, hub, path), f"a failed try of {path}", told=hub.log)
        assert "500" in log(hub, "flaky")[0]["error"]

        receiver.days = 1
        hub.a_day_later()
        platform_says(affilka, days, times=2)
        platform_says(affilka, [today(hub)])
        hub.sync("affilka-main")
        expect(hub, receiver, "sync.held", "report.held", "alert.firing")
        platform_says(affilka, days)
        hub.sync("affilka-main")
        affilka.post("/_control/fail", json={"mode": 401}).raise_for_status()
        hub.sync("affilka-main")
        expect(hub, receiver, *TYPES)
        wait_for(lambda: receiver.taken("/flaky") and receiver.taken("/slow"), "the second tries", told=hub.log)
        assert receiver.types("/everything") == TYPES
        for path in ("/flaky", "/slow"):
            failed, taken = (call for call in receiver.calls if call.path == path)
            assert failed.headers["webhook-id"] == taken.headers["webhook-id"]
            assert failed.body == taken.body
        for call in receiver.calls:
            verify(call, secrets[call.path])
        ids = [call.headers["webhook-id"] for call in receiver.taken("/everything")]
        assert len(ids) == len(set(ids))
        the_log_is_shown(hub)


def expect(hub: Deployment, receiver: Receiver, *types: str) -> None:
    def lacking() -> str:
        return f"lacking: {set(types) - receiver.types('/everything')}\n{hub.log()}"

    wait_for(lambda: set(types) <= receiver.types("/everything"), "what webhooks are told", told=lacking)


def the_log_is_shown(hub: Deployment) -> None:
    """By the command, in the shell and on the cockpit's page: each call with its tries."""
    for name in ("flaky", "slow"):
        wait_for(partial(was_sent, hub, name), f"the log of {name}")
        (call,) = log(hub, name)
        assert (call["attempts"], call["status"]) == (2, 204)
    events = {call["event"] for call in log(hub, "everything")}
    assert {"registration", "alert", "digest", "sync", "held_report", "test"} <= events
    shown = hub.shell("run", "webhook log slow").stdout
    assert "first deposit" in shown
    with httpx.Client(base_url=hub.url, follow_redirects=True) as person:
        person.post("/cockpit/sign-in", data={"token": hub.token})
        page = person.get("/cockpit/webhooks").text
    assert "Latest calls" in page
    for word in ("flaky", "slow", "everything", "held report", "first deposit"):
        assert word in page, word
