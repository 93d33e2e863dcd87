"""A whole operation set up in chat alone, once on Slack and once on Telegram: both end with the same database."""

import asyncio
import html
from typing import Any

import pytest
from sqlalchemy import select

from storage.tables import audits, metadata
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

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
PRIVATE, GROUP = 42, -1042


async def kept(chatting: Chatting) -> dict[str, list[Any]]:
    """What the operation left in the database, times and keys apart."""
    results = {}
    async with chatting.database.read() as tx:
        for name in TABLES:
            columns = [column for column in metadata.tables[name].columns if column.name not in APART]
            results[name] = sorted(str(tuple(row)) for row in await tx.execute(select(*columns)))
        a = audits.c
        query = select(a.actor, a.command, a.entity, a.entity_id).where(a.command != "join").order_by(a.id)
        results["audits"] = [str(tuple(row)) for row in await tx.execute(query)]
    return results


#: Changes of several at once and copies; what is asked first is confirmed, twice at the same moment.
AFTER = (
    "campaign resume spring-b-push-b",
    "campaign copy spring-b-push-b name=Autumn",
    "offer copy lucky-star-spring autumn",
    "campaign pause autumn,spring-b-push-b",
    "offer pause account=lucky-partners casino=lucky-star,second",
    "campaign resume source=pushnet",
)


async def on_slack(chatting: Chatting) -> list[str]:
    await chatting.flux(f"join {await chatting.invite()}", user_name="Anna")
    messages = [html.unescape((await chatting.flux(step))["text"]) for step in STEPS]
    opened = await chatting.flux("offer add casino=Second tag=second")
    view = (await chatting.on(chatting.slack, "views"))[-1]
    values = {"account": "lucky-partners", "url": "https://second.example.test/?s={click_id}"}
    assert opened["view"]
    assert (await chatting.on(chatting.slack, "submit", view=view, values=values))["body"] == ""
    await eventually(lambda: chatting.calls(chatting.slack, "chat.postMessage"), "the offer")
    return messages + [html.unescape(await said_on_slack(chatting, step)) for step in AFTER]


async def said_on_slack(chatting: Chatting, step: str) -> str:
    """The title of the answer; where it is a question, that of the answer to Confirm, pressed twice at once."""
    answer = await chatting.flux(step)
    elements = [e for block in answer["blocks"] if block["type"] == "actions" for e in block["elements"]]
    confirm = [e["value"] for e in elements if e["text"]["text"] == "Confirm"]
    if not confirm:
        return str(answer["text"])
    seen = len(await chatting.calls(chatting.slack, "response", "chat.postMessage"))
    message = {"ts": f"{seen}.5", "text": "", "blocks": answer["blocks"]}
    pressing = (chatting.on(chatting.slack, "press", value=confirm[0], message=message, hidden=True) for _ in range(2))
    await asyncio.gather(*pressing)
    await chatting.slack_answered()
    answers = [
        c for c in (await chatting.calls(chatting.slack, "response", "chat.postMessage"))[seen:] if c.get("text")
    ]
    assert len(answers) == 1
    return str(answers[0]["text"])


async def on_telegram(chatting: Chatting, room: int) -> list[str]:
    """In a private chat, or in a group, where an answer is a reply to the question."""
    await chatting.tell(f"/start {await chatting.invite()}")
    if room != PRIVATE:
        await chatting.tell("/join", chat=room)
    messages = [(await chatting.tell(f"/{step}", chat=room))["text"].split("\n")[0] for step in STEPS]
    request = await chatting.tell("/offer add casino=Second tag=second", chat=room)
    await chatting.press(request, "Lucky Partners", chat=room)

    async def next_question() -> Any:
        last = (await chatting.standing(room))[-1]
        return last if "URL" in last["text"] else None

    question = await eventually(next_question, "the next question")
    address = "https://second.example.test/?s={click_id}"
    await chatting.tell(address, chat=room, **({} if room == PRIVATE else {"reply_to": question["message_id"]}))
    return messages + [await said_on_telegram(chatting, step, room) for step in AFTER]


async def said_on_telegram(chatting: Chatting, step: str, room: int) -> str:
    told = await chatting.tell(f"/{step}", chat=room)
    keys = [key["text"] for row in told["reply_markup"]["inline_keyboard"] for key in row]
    if "Confirm" not in keys:
        return str(told["text"].split("\n")[0])
    before = await chatting.posted(room)
    await asyncio.gather(*(chatting.press(told, "Confirm", chat=room) for _ in range(2)))

    async def answers() -> list[Any]:
        return [message for message in await chatting.standing(room) if message["message_id"] not in before]

    (answer,) = await eventually(answers, f"what came of {step}")
    return str(answer["text"].split("\n")[0])


@pytest.mark.parametrize("room", [PRIVATE, GROUP])
async def test_slack_and_telegram_leave_the_same_operation_behind(chat: Chat, room: int) -> None:
    async with chat() as chatting:
        slack_told, slack = await on_slack(chatting), await kept(chatting)
    async with chat(fresh=True) as chatting:
        telegram_told, telegram = await on_telegram(chatting, room), await kept(chatting)
    assert slack == telegram
    assert slack_told == telegram_told
    assert "2 campaigns paused" in slack_told
    assert "3 offers paused" in slack_told
    assert len(slack["campaigns"]) == 2
    assert len(slack["offers"]) == 3
    assert len(slack["audits"]) == len(STEPS) + len(AFTER) + 1, "one line each, and the second offer"
