"""Tables sent as files with a command, on both chats: longer than a message may be."""

import base64
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from storage.tables import spend
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.bot.test_pictures import answer_to, on_telegram


async def ready(chats: Chatting, telegram: bool) -> None:
    """A campaign, and a file of 300 lines (more than 3,000 characters) as a spreadsheet saves it."""
    code = await chats.invite()
    await (chats.tell(f"/start {code}") if telegram else chats.flux(f"join {code}"))
    say = chats.tell if telegram else chats.flux
    await say("/campaign create name=spring" if telegram else "campaign create name=spring")
    today = datetime.now(UTC).date()
    lines = [f"spring;{today - timedelta(days=n)};{n},50;EUR" for n in range(300)]
    raw = "\ufeffcampaign;day;amount;currency\r\n" + "\r\n".join(lines) + "\r\n"
    standin = chats.telegram if telegram else chats.slack
    await chats.on(standin, "file", name="F1", base64=base64.b64encode(raw.encode()).decode())


async def costs(chats: Chatting) -> int:
    async with chats.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(spend))).scalar_one())


async def test_a_table_sent_as_a_file_is_read_on_telegram(chat: Chat) -> None:
    async with chat() as chats:
        await ready(chats, telegram=True)
        answer = await chats.tell("/spend import", media=on_telegram("document", 9000))
        assert "300 costs read, 300 of them new" in answer["text"]
        assert await costs(chats) == 300


async def test_a_table_sent_as_a_file_is_read_on_slack(chat: Chat) -> None:
    async with chat() as chats:
        await ready(chats, telegram=False)
        address = f"{str(chats.slack.base_url).rstrip('/')}/files/F1"
        sent = [{"id": "F1", "name": "costs.csv", "size": 9000, "url_private_download": address}]
        assert "300 costs read" in await answer_to(chats, "mention", sent, text="spend import")
        assert await costs(chats) == 300


async def test_without_a_file_one_is_told_how_to_send_it(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.tell("/account add csv_upload name=Own")
        assert "send it with 'sync upload" in (await chats.tell("/sync upload own"))["text"]
        assert "send a CSV file along" in (await chats.tell("/spend import"))["text"]
