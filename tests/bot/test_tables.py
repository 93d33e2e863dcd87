"""Tables sent as files with a command, on both chats: longer than a message may be."""

import base64
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from storage.tables import spend
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.bot.test_pictures import on_telegram, said


async def ready(one: Chatting, telegram: bool) -> None:
    """A campaign, and a file of 300 lines (more than 3,000 characters) as a spreadsheet saves it."""
    code = await one.invite()
    await (one.tell(f"/start {code}") if telegram else one.flux(f"join {code}"))
    say = one.tell if telegram else one.flux
    await say("/campaign create name=spring" if telegram else "campaign create name=spring")
    today = datetime.now(UTC).date()
    lines = [f"spring;{today - timedelta(days=n)};{n},50;EUR" for n in range(300)]
    raw = "\ufeffcampaign;day;amount;currency\r\n" + "\r\n".join(lines) + "\r\n"
    standin = one.telegram if telegram else one.slack
    await one.on(standin, "file", name="F1", base64=base64.b64encode(raw.encode()).decode())


async def costs(one: Chatting) -> int:
    async with one.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(spend))).scalar_one())


async def test_a_table_sent_as_a_file_is_read_on_telegram(chat: Chat) -> None:
    async with chat() as one:
        await ready(one, telegram=True)
        told = await one.tell("/spend import", media=on_telegram("document", 9000))
        assert "300 costs read, 300 of them new" in told["text"]
        assert await costs(one) == 300


async def test_a_table_sent_as_a_file_is_read_on_slack(chat: Chat) -> None:
    async with chat() as one:
        await ready(one, telegram=False)
        address = f"{str(one.slack.base_url).rstrip('/')}/files/F1"
        sent = [{"id": "F1", "name": "costs.csv", "size": 9000, "url_private_download": address}]
        assert "300 costs read" in await said(one, "mention", sent, text="spend import")
        assert await costs(one) == 300


async def test_without_a_file_one_is_told_how_to_send_it(chat: Chat) -> None:
    async with chat() as one:
        await one.tell(f"/start {await one.invite()}")
        await one.tell("/account add csv_upload name=Own")
        assert "send it with 'sync upload" in (await one.tell("/sync upload own"))["text"]
        assert "send a CSV file along" in (await one.tell("/spend import"))["text"]
