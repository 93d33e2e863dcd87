"""Long tables in both chats: pages on Telegram, the total kept on Slack, a picture and a file, never beyond a limit."""

import html
import re
from typing import Any

import pytest

from bot.render.text_columns import width
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.bot.many_campaigns import with_campaigns
from tests.standins.slack_limits import check_slack
from tests.waiting import eventually

pytestmark = pytest.mark.slow

SCREEN, COLUMNS = 34, 5


def fixed(message: Any) -> list[str]:
    """The lines of fixed width in a Telegram message."""
    return html.unescape("\n".join(re.findall(r"<pre>(.*?)</pre>", message["html"], re.DOTALL))).split("\n")


def labels(message: Any) -> list[str]:
    return [key["text"] for row in message["reply_markup"]["inline_keyboard"] for key in row]


async def page(chats: Chatting, number: str) -> Any:
    """The message that shows that page now."""
    return await eventually(lambda: _showing(chats, number), number)


async def _showing(chats: Chatting, number: str) -> Any:
    return next((message for message in await chats.standing() if number in message.get("text", "")), None)


async def test_a_report_is_turned_in_one_message_that_fits_a_phone(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await with_campaigns(chats, 40)
        before = len(await chats.standing())
        first = await chats.tell("/stats today")
        assert "Page 1 of 3" in first["text"]
        assert labels(first)[-1] == "Next ▶"
        for number, button in (("Page 2 of 3", "Next ▶"), ("Page 3 of 3", "Next ▶"), ("Page 2 of 3", "◀ Prev")):
            await chats.press((await chats.standing())[-1], button)
            shown = await page(chats, number)
            lines = fixed(shown)
            assert max(map(width, lines)) <= SCREEN
            assert len(lines[1].split()) <= COLUMNS
            assert lines[-1].startswith("Total")
        assert "◀ Prev" in labels(shown)
        assert len(await chats.standing()) == before + 1


async def test_the_rows_that_weigh_most_come_first(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await with_campaigns(chats, 20)
        lines = fixed(await chats.tell("/stats today"))
        clicks = [line.partition("–")[0].replace("\u200e", "").split()[-1] for line in lines[2:17]]
        assert clicks == [str(n) for n in range(20, 5, -1)]


async def test_a_list_is_turned_too(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await with_campaigns(chats, 60)
        first = await chats.tell("/campaign list")
        assert "Page 1 of 4" in first["text"]
        await chats.press(first, "Next ▶")
        await page(chats, "Page 2 of 4")


async def test_a_long_report_comes_with_a_picture_of_its_top_and_a_file_of_all(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        names = await with_campaigns(chats, 60)
        await chats.tell("/stats today")
        documents = await eventually(lambda: chats.calls(chats.telegram, "sendDocument"), "the file")
        assert len(await chats.calls(chats.telegram, "sendPhoto")) == 1
        content = next(value for value in documents[0].values() if "clicks" in str(value))
        assert [line.split(",")[0].strip('"') for line in content.splitlines()[1:]] == names


async def test_slack_keeps_the_total_and_says_once_how_much_is_left_out(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await with_campaigns(chats, 250)
        shown = await chats.flux("stats today")
        table = next(block for block in shown["blocks"] if block["type"] == "table")
        assert "Total" in str(table["rows"][-1][0])
        notes = re.findall(r"'text': '([^']*more rows[^']*)'", str(shown["blocks"]))
        more = 250 - (len(table["rows"]) - 2)
        assert notes == [f"… and {more} more rows: CSV has them all"]


async def test_answers_of_a_team_with_two_thousand_campaigns_stay_within_the_limits(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.tell(f"/start {await chats.invite()}")
        await with_campaigns(chats, 2000, length=200)
        for line in ("campaign list", "stats today", "stats today vs=yesterday", "digest preview", "campaign show c1"):
            check_slack(await chats.flux(line))
            await chats.tell(f"/{line}")
        texts = [message["text"] for message in await chats.standing() if "text" in message]
        assert max(len(text.encode("utf-16-le")) // 2 for text in texts) <= 4096
        assert "Page 1 of 34" in (await chats.tell("/campaign list"))["text"]
