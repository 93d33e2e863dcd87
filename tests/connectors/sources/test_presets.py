"""Every preset and JSON API makes exactly the request that is recorded beside this file.

A new preset: run `python -m tests.connectors.sources.test_presets`, read what it wrote, commit it.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.forms.source_forms import check_url
from connectors.sources import APIS, build, presets, read_token, token_request
from connectors.sources.__main__ import document
from storage.catalogue.sources import enabled, missing
from storage.ledger.errors import Refused
from storage.ledger.outbound.answers import taken
from storage.ledger.outbound.templates import Outgoing, Sending, placeholders, reveal, unknown_macros
from storage.outbound.queue import outbound_request

RECORDINGS = Path(__file__).parent / "recordings"
NOW = datetime(2026, 10, 1, 12, 30, tzinfo=UTC)
SETTINGS = {
    "aid": "A-11", "tid": "T-22", "goal": "G-33", "ad_id": "AD-44", "member_id": "M-55", "login": "demo-login",
    "account_uuid": "00000000-0000-4000-8000-000000000000", "client_id": "C-66", "api_key": "fake-api-key",
    "advertiser": "ADV-77", "id": "ID-88", "hash": "fakehash", "uid": "U-99", "key": "fake-key", "pixel_id": "1000001",
    "access_token": "fake-access-token", "pixel_code": "FAKEPIXEL", "account_id": "1234567890",
    "client_secret": "fake-client-secret", "refresh_token": "fake-refresh-token", "conversion_action": "7712337565",
    "pixel_token": "fake-pixel-token", "event_first_deposit": "tw-fake-0001", "tag_id": "97000000",
    "token": "fake-token", "advertiser_id": "ADV-88", "event_registration": "ev-1", "page_url": "https://site.example.test/",
}  # fmt: skip


def sending(event: str, name: str, **more: Any) -> Sending:
    fields: dict[str, Any] = {
        "key": "cf-00112233445566778899aabb", "event": event, "name": name, "click_id": "Click/Id+1",
        "our_click_id": "0123456789abc", "clicked_at": NOW - timedelta(hours=2, microseconds=-250_000),
        "occurred_at": NOW - timedelta(minutes=30), "amount": 40_500_000, "currency": "EUR", "status": "approved",
        "txn_id": "TX 1", "player_id": "P-1", "campaign": "spring", "offer": "lucky-de", "country": "DE",
        "user_agent": "Mozilla/5.0 (demo)", "subs": ("zone-1", None), "extra": {"fbp": "fb.1.1558571054389.1098115397"},
    }  # fmt: skip
    return Sending(**fields | more)


def made(template: Mapping[str, Any], event: str) -> Outgoing:
    answer = outbound_request(template, sending(event, str(template.get("name") or event)))
    if answer.request is None:
        assert answer.api is not None
        assert answer.sending is not None
        return build(answer.api, answer.sending, SETTINGS, NOW)
    url = reveal(answer.request.url, SETTINGS, encode=True)
    return Outgoing(method=answer.request.method, url=url, body=answer.request.body, success=answer.request.success)


def written(request: Outgoing) -> str:
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    return f"{request.method} {request.url}\n{headers}\n{request.body}\n"


def every() -> Iterator[tuple[str, str]]:
    for name, preset in presets().items():
        for event in preset["postbacks"]:
            yield name, event


@pytest.mark.parametrize(("name", "event"), list(every()))
def test_the_request_is_the_recorded_one_byte_for_byte(name: str, event: str) -> None:
    request = made(presets()[name]["postbacks"][event], event)
    assert written(request).encode() == (RECORDINGS / f"{name}.{event}.http").read_bytes()


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_is_whole(name: str) -> None:
    preset = presets()[name]
    assert set(preset) <= {"title", "parameters", "postbacks", "settings", "options", "verified", "note"}
    for template in preset["postbacks"].values():
        if "api" in template:
            assert template["api"] in APIS
            continue
        check_url(template["url"], "url")
        assert unknown_macros(template["url"]) == []
        assert {placeholder.lower() for placeholder in placeholders(template["url"])} <= set(preset["settings"])


#: What `verified` may say, the best first.
VERIFIED = (
    "vendor's documentation", "the official package", "seen in working clients", "a third party's documentation",
    "inferred",
)  # fmt: skip


def test_thirty_sources_have_their_macros_and_a_postback() -> None:
    ready = [p for p in presets().values() if p["postbacks"] and (p["options"]["macros"] or p["parameters"])]
    assert len(ready) >= 30
    for preset in presets().values():
        assert preset["verified"].startswith(VERIFIED)
        by_cabinet = "cabinet" in preset.get("note", "") or "cannot be sent" in preset.get("note", "")
        assert preset["postbacks"] or by_cabinet, preset["title"]
        named = {**preset["parameters"], **preset["options"]["macros"]}
        unknown = any(words in preset.get("note", "") for words in ("campaign form", "no click id", "from the cabinet"))
        assert "click_id" in named or unknown, preset["title"]


def test_a_preset_stays_off_until_the_accounts_values_are_given() -> None:
    preset = presets()["propellerads"]
    lacking = missing(preset["postbacks"], preset["settings"], {"aid": "1"})
    assert lacking == ["tid"]
    assert enabled(preset["postbacks"], lacking)["first_deposit"]["enabled"] is False
    lacking = missing(preset["postbacks"], preset["settings"], {"aid": "1", "tid": "2"})
    assert enabled(preset["postbacks"], lacking)["first_deposit"]["enabled"] is True


@pytest.mark.parametrize(
    ("name", "answer", "good"),
    [
        ("exoclick", b"OK", True),
        ("exoclick", b"ERROR: Tag is invalid", False),
        ("richads", b"", True),
        ("richads", b"Required url parameters are not present", False),
        ("ppcmate", b"Required url parameters are not present", False),
        ("evadav", b'{"status":"ok"}', True),
        ("evadav", b'{"status":"error","message":"Incorrect click_id value"}', False),
        ("bigo", b'{"code":1,"msg":"invalid bbg"}', False),
        ("propellerads", b"1:0", True),
        ("mgid", b"<!doctype html><HTML><body>Welcome", False),
        ("meta", b'{"events_received":1,"messages":[],"fbtrace_id":"x"}', True),
        ("meta", b'{"events_received":0}', False),
        ("tiktok", b'{"code":0,"message":"OK"}', True),
        ("tiktok", b'{"code":40002,"message":"bad token"}', False),
        ("google", b'{"requestId":"r-1","fieldWarnings":[]}', True),
        ("microsoft", b'{"eventsReceived":1}', True),
        ("kwai", b'{"result":1}', True),
        ("kwai", b"not json", False),
    ],
)
def test_an_answer_counts_by_what_its_body_says(name: str, answer: bytes, good: bool) -> None:
    request = made(presets()[name]["postbacks"]["first_deposit"], "first_deposit")
    assert (taken(200, answer, request.success) is None) is good
    assert taken(500, answer, request.success) == "answered 500"


@pytest.mark.parametrize("api", APIS)
def test_an_api_names_the_setting_it_lacks(api: str) -> None:
    with pytest.raises(Refused, match="needs"):
        build(api, sending("first_deposit", "x"), {}, NOW)


@pytest.mark.parametrize(("api", "days"), [("meta", 7), ("snap", 7), ("microsoft", 7), ("tiktok", 28), ("google", 90)])
def test_conversions_older_than_an_api_takes_are_not_sent(api: str, days: int) -> None:
    late = sending("first_deposit", "x", occurred_at=NOW - timedelta(days=days, seconds=1))
    with pytest.raises(Refused, match=f"older than {days} days"):
        build(api, late, SETTINGS, NOW)


def test_google_takes_no_reversal_and_gets_its_token_first() -> None:
    with pytest.raises(Refused, match="reversal"):
        build("google", sending("reversal", "x"), SETTINGS, NOW)
    request = token_request("google", SETTINGS)
    assert request.body == (
        "grant_type=refresh_token&client_id=C-66&client_secret=fake-client-secret&refresh_token=fake-refresh-token"
    )
    assert read_token("google", b'{"access_token":"t","expires_in":60}') == ("t", 60.0)
    with pytest.raises(Refused, match="authorise"):
        read_token("google", b'{"error":"invalid_grant"}')


def test_the_documentation_lists_every_preset_as_it_is() -> None:
    written_down = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    assert written_down == document(), "run: python -m connectors.sources > docs/sources.md"


if __name__ == "__main__":
    for item, happened in every():
        content = written(made(presets()[item]["postbacks"][happened], happened))
        (RECORDINGS / f"{item}.{happened}.http").write_bytes(content.encode())
