"""Logos sent in both chats, with the real SDKs."""

import base64
import io
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import insert, select

from storage.ledger.facts import Role
from storage.tables import casinos
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

GROUP = -1001
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def png() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (80, 40), (200, 40, 90)).save(out, "PNG")
    return out.getvalue()


async def ready(chats: Chatting, raw: bytes) -> None:
    """A casino, and a file at both platforms."""
    async with chats.database.begin() as tx:
        await tx.execute(insert(casinos).values(
            team_id=chats.runtime.team_id, name="Lucky Star", code="lucky-star", status="draft", payment_methods=[],
            markets=[], created_at=chats.runtime.clock(),
        ))  # fmt: skip
    for standin in (chats.slack, chats.telegram):
        await chats.on(standin, "file", name="F1", base64=base64.b64encode(raw).decode())


async def logo(chats: Chatting) -> str | None:
    async with chats.database.read() as tx:
        address: str | None = (await tx.execute(select(casinos.c.logo))).scalar_one()
    return address


def on_telegram(kind: str, size: int = 100) -> dict[str, Any]:
    file = {"file_id": "F1", "file_unique_id": "F1", "file_size": size}
    small = {"file_id": "small", "file_unique_id": "s", "width": 9, "height": 9, "file_size": 9}
    return {"photo": [small, file | {"width": 80, "height": 40}]} if kind == "photo" else {"document": file}


@pytest.mark.parametrize("kind", ["photo", "document"])
async def test_a_photo_or_file_with_the_command_as_its_caption_is_the_logo(chat: Chat, kind: str) -> None:
    async with chat() as chats:
        await ready(chats, png())
        await chats.tell(f"/start {await chats.invite()}")
        answer = await chats.tell("/casino logo lucky-star", media=on_telegram(kind))
        assert "Casino Lucky Star" in answer["text"]
        assert str(await logo(chats)).startswith("/i/")


async def test_telegram_is_told_what_is_wrong_with_a_picture(chat: Chat) -> None:
    async with chat() as chats:
        await ready(chats, SVG)
        await chats.tell(f"/start {await chats.invite()}")
        assert (
            "SVG can hold scripts" in (await chats.tell("/casino logo lucky-star", media=on_telegram("file")))["text"]
        )
        large = await chats.tell("/casino logo lucky-star", media=on_telegram("file", 50_000_000))
        assert "50.0 MB, the most is 5 MB" in large["text"]
        assert "attach the picture to the message" in (await chats.tell("/casino logo lucky-star"))["text"]
        missing = {"document": {"file_id": "gone", "file_unique_id": "gone", "file_size": 9}}
        assert "did not provide the file" in (await chats.tell("/casino logo lucky-star", media=missing))["text"]
        assert await logo(chats) is None


async def test_whoever_may_not_change_casinos_has_no_file_fetched(chat: Chat) -> None:
    async with chat() as chats:
        await ready(chats, png())
        await chats.tell(f"/start {await chats.invite(Role.VIEWER)}")
        assert "needs the role" in (await chats.tell("/casino logo lucky-star", media=on_telegram("photo")))["text"]
        assert await chats.calls(chats.telegram, "getFile") == []


def on_slack(chats: Chatting, **more: Any) -> list[dict[str, Any]]:
    address = f"{str(chats.slack.base_url).rstrip('/')}/files/F1"
    return [{"id": "F1", "name": "logo.png", "size": 100, "url_private_download": address} | more]


async def answer_to(chats: Chatting, what: str, files: list[dict[str, Any]], **more: Any) -> str:
    before = len(await chats.calls(chats.slack, "chat.postMessage", "chat.postEphemeral"))
    await chats.on(chats.slack, what, **({"text": "casino logo lucky-star"} | more), files=files)

    async def answered() -> list[Any]:
        return (await chats.calls(chats.slack, "chat.postMessage", "chat.postEphemeral"))[before:]

    return str((await eventually(answered, "an answer"))[-1])


@pytest.mark.parametrize("what", ["mention", "direct"])
async def test_a_file_shared_with_a_mention_or_in_private_is_the_logo(chat: Chat, what: str) -> None:
    async with chat() as chats:
        await ready(chats, png())
        await chats.flux(f"join {await chats.invite()}")
        more = {"subtype": "file_share"} if what == "direct" else {}
        assert "Casino Lucky Star" in await answer_to(chats, what, on_slack(chats), **more)
        assert str(await logo(chats)).startswith("/i/")


async def test_slack_is_told_what_is_wrong_with_a_picture(chat: Chat) -> None:
    async with chat() as chats:
        await ready(chats, SVG)
        await chats.flux(f"join {await chats.invite()}")
        assert "SVG can hold scripts" in await answer_to(chats, "mention", on_slack(chats))
        assert "50.0 MB" in await answer_to(chats, "mention", on_slack(chats, size=50_000_000))
        assert "one at a time" in await answer_to(chats, "mention", on_slack(chats) * 2)
        assert "no address" in await answer_to(
            chats, "mention", on_slack(chats, url_private_download="https://evil.example.test/")
        )
        assert await logo(chats) is None


async def test_without_its_scope_slack_answers_with_a_login_page_which_is_understood(chat: Chat) -> None:
    async with chat(SLACK_BOT_TOKEN="xoxp-wrong") as chats:
        await ready(chats, png())
        await chats.flux(f"join {await chats.invite()}")
        assert "files:read" in await answer_to(chats, "mention", on_slack(chats))
