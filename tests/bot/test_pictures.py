"""Logos sent in both chats, with the real SDKs."""

import base64
import io
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import insert, select

from storage.ledger.facts import Role
from storage.tables import casinos
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat

GROUP = -1001
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def png() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (80, 40), (200, 40, 90)).save(out, "PNG")
    return out.getvalue()


async def ready(one: Chatting, raw: bytes) -> None:
    """A casino, and a file at both platforms."""
    async with one.database.begin() as tx:
        await tx.execute(insert(casinos).values(
            team_id=one.runtime.team_id, name="Lucky Star", code="lucky-star", status="draft", payment_methods=[],
            markets=[], created_at=one.runtime.clock(),
        ))  # fmt: skip
    for standin in (one.slack, one.telegram):
        await one.on(standin, "file", name="F1", base64=base64.b64encode(raw).decode())


async def logo(one: Chatting) -> str | None:
    async with one.database.read() as tx:
        found: str | None = (await tx.execute(select(casinos.c.logo))).scalar_one()
    return found


def on_telegram(kind: str, size: int = 100) -> dict[str, Any]:
    file = {"file_id": "F1", "file_unique_id": "F1", "file_size": size}
    small = {"file_id": "small", "file_unique_id": "s", "width": 9, "height": 9, "file_size": 9}
    return {"photo": [small, file | {"width": 80, "height": 40}]} if kind == "photo" else {"document": file}


@pytest.mark.parametrize("kind", ["photo", "document"])
async def test_a_photo_or_file_with_the_command_as_its_caption_is_the_logo(chat: Chat, kind: str) -> None:
    async with chat() as one:
        await ready(one, png())
        await one.tell(f"/start {await one.invite()}")
        told = await one.tell("/casino logo lucky-star", media=on_telegram(kind))
        assert "Casino Lucky Star" in told["text"]
        assert str(await logo(one)).startswith("/i/")


async def test_telegram_is_told_what_is_wrong_with_a_picture(chat: Chat) -> None:
    async with chat() as one:
        await ready(one, SVG)
        await one.tell(f"/start {await one.invite()}")
        assert "SVG can hold scripts" in (await one.tell("/casino logo lucky-star", media=on_telegram("file")))["text"]
        large = await one.tell("/casino logo lucky-star", media=on_telegram("file", 50_000_000))
        assert "50.0 MB, the most is 5 MB" in large["text"]
        assert "none came along" in (await one.tell("/casino logo lucky-star"))["text"]
        gone = {"document": {"file_id": "gone", "file_unique_id": "gone", "file_size": 9}}
        assert "did not hand the file over" in (await one.tell("/casino logo lucky-star", media=gone))["text"]
        assert await logo(one) is None


async def test_whoever_may_not_change_casinos_has_no_file_fetched(chat: Chat) -> None:
    async with chat() as one:
        await ready(one, png())
        await one.tell(f"/start {await one.invite(Role.VIEWER)}")
        assert "needs the role" in (await one.tell("/casino logo lucky-star", media=on_telegram("photo")))["text"]
        assert await one.calls(one.telegram, "getFile") == []


def on_slack(one: Chatting, **more: Any) -> list[dict[str, Any]]:
    address = f"{str(one.slack.base_url).rstrip('/')}/files/F1"
    return [{"id": "F1", "name": "logo.png", "size": 100, "url_private_download": address} | more]


async def said(one: Chatting, what: str, files: list[dict[str, Any]], **more: Any) -> str:
    before = len(await one.calls(one.slack, "chat.postMessage", "chat.postEphemeral"))
    await one.on(one.slack, what, **({"text": "casino logo lucky-star"} | more), files=files)

    async def answered() -> list[Any]:
        return (await one.calls(one.slack, "chat.postMessage", "chat.postEphemeral"))[before:]

    return str((await eventually(answered, "an answer"))[-1])


@pytest.mark.parametrize("what", ["mention", "direct"])
async def test_a_file_shared_with_a_mention_or_in_private_is_the_logo(chat: Chat, what: str) -> None:
    async with chat() as one:
        await ready(one, png())
        await one.flux(f"join {await one.invite()}")
        more = {"subtype": "file_share"} if what == "direct" else {}
        assert "Casino Lucky Star" in await said(one, what, on_slack(one), **more)
        assert str(await logo(one)).startswith("/i/")


async def test_slack_is_told_what_is_wrong_with_a_picture(chat: Chat) -> None:
    async with chat() as one:
        await ready(one, SVG)
        await one.flux(f"join {await one.invite()}")
        assert "SVG can hold scripts" in await said(one, "mention", on_slack(one))
        assert "50.0 MB" in await said(one, "mention", on_slack(one, size=50_000_000))
        assert "one at a time" in await said(one, "mention", on_slack(one) * 2)
        assert "no address" in await said(
            one, "mention", on_slack(one, url_private_download="https://evil.example.test/")
        )
        assert await logo(one) is None


async def test_without_its_scope_slack_answers_with_a_login_page_which_is_understood(chat: Chat) -> None:
    async with chat(SLACK_BOT_TOKEN="xoxp-wrong") as one:
        await ready(one, png())
        await one.flux(f"join {await one.invite()}")
        assert "files:read" in await said(one, "mention", on_slack(one))
