"""Lines that are no command: a name shows its card, anything else gets the nearest readings as buttons."""

from typing import Any

import pytest
from sqlalchemy import func, select

from bot.core.command import parse
from storage.tables import audits
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NAME = "Казино Вулкан"


async def team(chatting: Chatting) -> None:
    """An owner on both chats, with campaigns that are called alike."""
    await chatting.tell(f"/start {await chatting.invite()}")
    await chatting.flux(f"join {await chatting.invite()}")
    await chatting.tell(f'/campaign create name="{NAME}" fallback_url=https://example.com/')
    for name in ("Spring push", "Push native"):
        await chatting.tell(f'/campaign create name="{name}" fallback_url=https://example.com/')
    await chatting.tell('/source add name="Push native"')


async def changes(chatting: Chatting) -> int:
    async with chatting.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(audits))).scalar_one())


def telegram_buttons(message: Any) -> list[str]:
    return [key["text"] for row in message.get("reply_markup", {}).get("inline_keyboard", []) for key in row]


def slack_buttons(message: Any) -> list[str]:
    elements = [e for block in message["blocks"] if block["type"] == "actions" for e in block["elements"]]
    return [element["value"] for element in elements if "value" in element]


async def test_a_bare_name_or_code_shows_its_card_in_both_chats(chat: Chat) -> None:
    async with chat() as chatting:
        await team(chatting)
        for line in (NAME, NAME.upper(), f"“{NAME}”", "spring-push", "Spring Push"):
            title = NAME if "Push".lower() not in line.lower() else "Spring push"
            assert f"Campaign {title}" in (await chatting.tell(line))["text"], line
            assert f"Campaign {title}" in (await chatting.flux(line))["text"], line


async def test_a_name_of_two_things_is_asked_about(chat: Chat) -> None:
    async with chat() as chatting:
        await team(chatting)
        answer = await chatting.tell("Push native")
        assert "is the name of several" in answer["text"]
        assert telegram_buttons(answer) == ["campaign show push-native", "source show push-native"]
        assert slack_buttons(await chatting.flux("push native")) == telegram_buttons(answer)


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("campain list", "campaign list"),
        ("campaigns", "campaign list"),
        ("campaign spring push", "campaign show spring-push"),
        ("campaigns this week", "stats this week by campaign"),
        ("offer yesterday", "stats yesterday by offer"),
        ("this week", "stats this week"),
        ("how was yesterday", "stats yesterday"),
        ("spring push last week", "stats last week campaign=spring-push"),
        ("sprng push", "campaign show spring-push"),
        ("pause spring push", "campaign pause spring-push"),
        ("campaigns last week", "stats last week by campaign"),
        ("campaign show spring push", "campaign show spring-push"),
        ("why spring push yesterday", "why spring-push yesterday"),
        ("campaign pause spring push", "campaign pause spring-push"),
        ("stast 7d", "stats 7d"),
        ("stats spring push", "stats 7d campaign=spring-push"),
        ("this week vs last week", "stats this week vs last week"),
        ("compare nov with oct by campaign", "stats nov vs oct by campaign"),
        ("what was the best campaign yesterday", "best campaign yesterday"),
        ("who is our worst source", "worst source"),
        ("roi by campaign this week", "stats this week by campaign sort=-roi"),
        ("campaigns by profit", "stats 7d by campaign sort=-profit"),
        ("campaigns with most ftds this month", "stats this month by campaign sort=-first_deposits"),
        ("clicks today", "stats today sort=-clicks"),
        ("campaign вулкан", "campaign show campaign"),
        ("alert subscribe here", "help alert"),
        ("`stats 7d`", "stats 7d"),
        ("last three months", "stats last three months"),
        ("campaign pause Spring push, Push native", "campaign pause spring-push,push-native"),
        ("why sprng", "why what=spring-push"),
        ("campaign show spring pusch", "campaign show spring-push"),
        ("why sprng pusch yesterday", "why spring-push yesterday"),
        ("campaign pause spring pussh", "campaign pause spring-push"),
        ("stats sprng push last week by offer", "stats last week by offer campaign=spring-push"),
    ],
)
async def test_an_unclear_line_gets_readings_and_changes_nothing(chat: Chat, line: str, first: str) -> None:
    async with chat() as chatting:
        await team(chatting)
        before = await changes(chatting)
        answer = await chatting.tell(line)
        assert telegram_buttons(answer)[0] == first
        assert 1 <= len(telegram_buttons(answer)) <= 2
        assert slack_buttons(await chatting.flux(line)) == telegram_buttons(answer)
        assert await changes(chatting) == before
        await chatting.press(answer, first)

        async def answered() -> bool:
            return bool((await chatting.standing())[-1]["message_id"] > answer["message_id"])

        await eventually(answered, f"an answer to {first}")


async def test_a_line_like_nothing_offers_help(chat: Chat) -> None:
    async with chat() as chatting:
        await team(chatting)
        answer = await chatting.tell("qqqqqq zzzzzz")
        assert telegram_buttons(answer) == ["help"]


async def test_a_credential_on_a_mistyped_line_is_repeated_nowhere(chat: Chat) -> None:
    async with chat() as chatting:
        await team(chatting)
        for line in ("acount add affilka token=s3cr3t-of-ours", "acount add affilka abcDEF123456789012345678"):
            shown = str(await chatting.flux(line)) + str(await chatting.tell(f"/{line}"))
            assert "s3cr3t" not in shown
            assert "abcDEF" not in shown
            assert "account add" in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("best campaign this week", {"range": "this week", "by": "campaign", "sort": "-profit", "top": "1"}),
        ("worst offers 7d by roi", {"range": "7d", "by": "offer", "sort": "roi", "top": "5"}),
        ("top 5", {"range": "7d", "by": "campaign", "sort": "-profit", "top": "5"}),
        ("bottom 3 offers q3", {"range": "q3", "by": "offer", "sort": "profit", "top": "3"}),
        ("best campaigns in november", {"range": "in november", "by": "campaign", "sort": "-profit", "top": "5"}),
        ("top 3 countries yesterday by ftds",
         {"range": "yesterday", "by": "country", "sort": "-ftds", "top": "3"}),
        ("best source", {"range": "7d", "by": "source", "sort": "-profit", "top": "1"}),
        ("best last month", {"range": "last month", "by": "campaign", "sort": "-profit", "top": "5"}),
        ("stats yesterday vs last monday", {"range": "yesterday", "vs": "last monday"}),
        ("stats this week vs previous by offer top 5",
         {"range": "this week", "vs": "previous", "by": "offer", "top": "5"}),
        ("stats since 1 oct sort=profit country=DE sub1=a",
         {"range": "since 1 oct", "sort": "profit", "country": "DE", "sub1": "a"}),
        ("campaign find push native", {"find": "push native"}),
    ],
)  # fmt: skip
def test_questions_as_people_ask_them(line: str, words: dict[str, str]) -> None:
    assert parse(line)[1] == words
