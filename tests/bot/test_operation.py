"""A whole operation set up in chat alone, once on Slack and once on Telegram: both end with the same database."""

import html
from typing import Any

from sqlalchemy import select

from storage.tables import metadata
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat

STEPS = (
    'account add platform=postback_only name="Lucky Partners" timezone=Europe/Malta currency=EUR',
    "offer add casino=“Lucky Star” account=lucky-partners tag=spring url=https://lucky.example.test/?s={click_id}",
    'casino edit lucky-star bonus="100% up to 200 EUR" licence=MGA terms_url=https://lucky.example.test/terms',
    "casino review lucky-star",
    'site create name="Best Casinos" market=DE locale=de offers=lucky-star-spring',
    "source add name=PushNet preset=custom",
    'campaign create name="Spring 💸 <b>Push</b>" offers=lucky-star-spring:3 source=pushnet',
    "spend add campaign=spring-b-push-b day=2026-11-01 amount=12.50 currency=EUR",
    "rate set currency=USD day=2026-11-01 rate=0.92",
    "campaign pause spring-b-push-b",
)
TABLES = (
    "accounts", "casinos", "offers", "sites", "site_offers", "sources", "campaigns", "campaign_offers", "spend",
    "rates", "members",
)  # fmt: skip
APART = {"created_at", "recorded_at", "postback_key", "next_sync_at", "since", "until"}


async def stored_rows(chats: Chatting) -> dict[str, list[Any]]:
    """What the operation left in the database, times and keys apart."""
    tables = {}
    async with chats.database.read() as tx:
        for name in TABLES:
            columns = [column for column in metadata.tables[name].columns if column.name not in APART]
            tables[name] = sorted(str(tuple(row)) for row in await tx.execute(select(*columns)))
    return tables


async def on_slack(chats: Chatting) -> list[str]:
    await chats.flux(f"join {await chats.invite()}", user_name="Anna")
    titles = [html.unescape((await chats.flux(step))["text"]) for step in STEPS]
    opened = await chats.flux("offer add casino=Second tag=second")
    view = (await chats.on(chats.slack, "views"))[-1]
    values = {"account": "lucky-partners", "url": "https://second.example.test/?s={click_id}"}
    assert opened["view"]
    assert (await chats.on(chats.slack, "submit", view=view, values=values))["body"] == ""
    await eventually(lambda: chats.calls(chats.slack, "chat.postMessage"), "the offer")
    return titles


async def on_telegram(chats: Chatting) -> list[str]:
    await chats.tell(f"/start {await chats.invite()}")
    titles = [(await chats.tell(f"/{step}"))["text"].split("\n")[0] for step in STEPS]
    question = await chats.tell("/offer add casino=Second tag=second")
    await chats.press(question, "Lucky Partners")

    async def next_question() -> bool:
        return "URL" in (await chats.standing())[-1]["text"]

    await eventually(next_question, "the next question")
    await chats.tell("https://second.example.test/?s={click_id}")
    return titles


async def test_slack_and_telegram_leave_the_same_operation_behind(chat: Chat) -> None:
    async with chat() as chats:
        slack_told, slack = await on_slack(chats), await stored_rows(chats)
    async with chat(fresh=True) as chats:
        telegram_told, telegram = await on_telegram(chats), await stored_rows(chats)
    assert slack == telegram
    assert slack_told == telegram_told
    assert len(slack["campaigns"]) == 1
    assert len(slack["offers"]) == 2
