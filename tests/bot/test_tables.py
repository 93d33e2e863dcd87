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
        assert "attach it to the message 'sync upload" in (await chats.tell("/sync upload own"))["text"]
        assert "attach a CSV file" in (await chats.tell("/spend import"))["text"]


async def test_an_export_of_another_tracker_is_tried_out_from_a_file_on_both_chats(chat: Chat) -> None:
    """A dry run: what it would bring is told, and nothing is taken before `import run`."""
    table = "Campaign;Date;Country;Clicks;Conversions;Cost\r\nOld push;01.10.2026;DE;1.200;14;85,50\r\n".encode(
        "utf-16"
    )
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.flux(f"join {await chats.invite()}")
        for standin in (chats.telegram, chats.slack):
            await chats.on(standin, "file", name="F1", base64=base64.b64encode(table).decode())
        told = (await chats.tell("/import csv", media=on_telegram("document", len(table))))["text"]
        address = f"{str(chats.slack.base_url).rstrip('/')}/files/F1"
        sent = [{"id": "F1", "name": "export.csv", "size": len(table), "url_private_download": address}]
        for answer in (told, await answer_to(chats, "mention", sent, text="import csv")):
            assert "nothing is changed yet" in answer
            assert "1,200 clicks, 14 conversions" in answer
