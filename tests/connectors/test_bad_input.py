"""Every connector against what platforms get wrong: no case gives a figure that was not said."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from connectors import http as http_module
from connectors.base import Platform
from connectors.http import Http
from connectors.registry import PLATFORMS, platform
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report
from tests.connectors.recordings import answers, connection, window
from tests.connectors.web import Request, answer, serving

FETCHED = [name for name in PLATFORMS if name not in {"csv_upload", "postback_only"}]
Change = Callable[[bytes], bytes]


def whole(content: bytes) -> tuple[bytes, bytes]:
    """Head and body of a recorded answer."""
    head, _, body = content.partition(b"\r\n\r\n")
    return head, body


def again(content: bytes, body: bytes) -> bytes:
    """The recorded answer with another body."""
    head, _ = whole(content)
    kind = next(line for line in head.decode().split("\r\n") if line.startswith("Content-Type")).partition(": ")[2]
    return answer(body, kind=kind)


async def fetched(name: str, change: Change, *, seconds: float = 5.0) -> Report:
    """The report of the `normal` recording, every answer changed on its way."""
    remaining = iter(answers(name, "normal"))
    last = answers(name, "normal")[-1]
    http = Http(allow_private=True, first_wait=0.01, seconds=seconds)
    async with serving(lambda _request: change(next(remaining, last))) as web, http:
        account = connection(name, "normal", web.url)
        return await platform(name).fetch(http, account, window(name, "normal"))


async def right(name: str) -> Report:
    return await fetched(name, lambda content: content)


@pytest.mark.parametrize("name", FETCHED)
async def test_a_byte_order_mark_changes_nothing(name: str) -> None:
    marked = await fetched(name, lambda content: again(content, b"\xef\xbb\xbf" + whole(content)[1]))
    assert marked.rows == (await right(name)).rows


@pytest.mark.parametrize("name", FETCHED)
async def test_utf_16_is_read_like_utf_8(name: str) -> None:
    wide = await fetched(name, lambda content: again(content, whole(content)[1].decode().encode("utf-16")))
    assert wide.rows == (await right(name)).rows


@pytest.mark.parametrize("name", FETCHED)
@pytest.mark.parametrize(
    "body",
    [b"<html><body>Please log in: password</body></html>", b"\x00\xff\x00", b"{}", b"[1, 2]", b'"ok"', b"null",
     b'{"error": "expired token"}', b"<xml/>", b"Internal error, call us",
     (b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "9"><!ENTITY b "&a;&a;&a;">]><r><row><Day>2026-10-01</Day>'
     b"<FTD>&b;</FTD><Registrations>&b;</Registrations><Commission>&b;</Commission></row></r>")],
)  # fmt: skip
async def test_what_is_no_report_is_an_error_or_holds_no_figure(name: str, body: bytes) -> None:
    try:
        report = await fetched(name, lambda content: again(content, body))
    except ConnectorError:
        return
    assert report.rows == (), "nothing was said, so there is nothing to read"


@pytest.mark.parametrize("name", FETCHED)
async def test_a_body_cut_off_anywhere_gives_no_wrong_figure(name: str) -> None:
    existing = set((await right(name)).rows)
    for part in (0.35, 0.6, 0.85):
        cut = lambda content, part=part: again(content, whole(content)[1][: int(len(whole(content)[1]) * part)])  # noqa: E731
        try:
            report = await fetched(name, cut)
        except ConnectorError:
            continue
        assert set(report.rows) <= existing


@pytest.mark.parametrize("name", FETCHED)
async def test_an_answer_over_the_limit_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http.send, "__kwdefaults__", dict(Http.send.__kwdefaults__ or {}) | {"max_bytes": 100_000})
    with pytest.raises(ConnectorError, match=r"more than 100,000 bytes"):
        await fetched(name, lambda content: again(content, b" " * 200_000 + whole(content)[1]))
    assert http_module.MAX_BYTES == 200_000_000


@pytest.mark.parametrize("name", FETCHED)
async def test_credentials_do_not_follow_to_another_host(name: str) -> None:
    async with serving(lambda _: answers(name, "normal")[-1]) as other:
        target = other.url.replace("127.0.0.1", "localhost") + "/elsewhere?page=1"
        moved = answer(b"", status=302, headers={"Location": target})
        async with serving(lambda _: moved) as web, Http(allow_private=True, first_wait=0.01) as http:
            account = connection(name, "normal", web.url)
            with pytest.raises(ConnectorError, match=r"credentials are not sent") as caught:
                await platform(name).fetch(http, account, window(name, "normal"))
    assert caught.value.permanent
    sent = " ".join(f"{r.target} {r.headers} {r.body!r}" for r in other.asked)
    assert not any(secret in sent for secret in account.secrets)


@pytest.mark.parametrize("name", FETCHED)
async def test_a_platform_that_hangs_is_an_error_that_passes(name: str) -> None:
    over = asyncio.Event()

    async def hangs(_request: Request) -> bytes:
        await over.wait()
        return b""

    async with serving(hangs) as web, Http(allow_private=True, first_wait=0.01, seconds=0.05) as http:
        with pytest.raises(ConnectorError) as caught:
            await platform(name).fetch(http, connection(name, "normal", web.url), window(name, "normal"))
        over.set()
    assert not caught.value.permanent


@pytest.mark.parametrize("name", FETCHED)
async def test_a_short_retry_after_is_waited_for(name: str) -> None:
    wait = answer(b"", status=429, headers={"Retry-After": "0"})
    remaining: list[Any] = [wait, *answers(name, "normal")]
    last = remaining[-1]
    http = Http(allow_private=True, first_wait=0.01)
    async with serving(lambda _: remaining.pop(0) if remaining else last) as web, http:
        account = connection(name, "normal", web.url)
        report = await platform(name).fetch(http, account, window(name, "normal"))
    assert report.rows == (await right(name)).rows


@pytest.mark.parametrize("name", FETCHED)
async def test_no_secret_is_in_any_error(name: str) -> None:
    def echo(request: Request) -> bytes:
        return answer(f'{{"error": "denied to {request.target} {request.headers} {request.body!r}"}}', status=401)

    async with serving(echo) as web, Http(allow_private=True, first_wait=0.01) as http:
        account = connection(name, "normal", web.url)
        with pytest.raises(ConnectorError) as caught:
            await platform(name).fetch(http, account, window(name, "normal"))
    assert caught.value.permanent
    secrets = [
        value for key, value in account.credentials.items() if key not in {"client_id", "affiliate_id", "network_id"}
    ]
    assert not any(secret in str(caught.value) for secret in secrets)


def test_every_platform_says_where_tags_and_click_ids_come_from() -> None:
    usual = {"affilka": "campaign", "referon": "media item", "myaffiliates": "Campaign", "income_access": "siteid",
             "smartico": "link_id", "cellxpert": "Tracking_Code", "alanbase": "offer", "everflow": "offer",
             "affise": "offer", "tune": "offer_id"}  # fmt: skip
    clicks = {"smartico": "afp", "cellxpert": "afp1", "everflow": "sub1", "affise": "sub1", "alanbase": "sub1",
              "tune": "affiliate_info1"}  # fmt: skip
    connector: dict[str, Platform] = {name: platform(name) for name in PLATFORMS}
    assert {name: connector[name].tag_from[0] for name in usual} == usual
    assert {name: connector[name].click_id_from[0] for name in clicks} == clicks
