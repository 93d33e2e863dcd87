"""Inline mode: campaigns to share, as cards, to members only and within what they may see."""

from typing import Any

from storage.ledger.facts import Role
from storage.people import members
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

MADE = ("Spring <b>Push</b>", "Казино Вулкан", "Autumn")


async def with_team(chatting: Chatting) -> None:
    await chatting.tell(f"/start {await chatting.invite()}")
    for name in MADE:
        await chatting.tell(f'/campaign create name="{name}" fallback_url=https://example.com/')


async def typed(chatting: Chatting, query: str, *, user: int = 42) -> list[dict[str, Any]]:
    """The results that the person sees."""
    before = len(await chatting.calls(chatting.telegram, "answerInlineQuery"))
    await chatting.on(chatting.telegram, "inline", query=query, user=user)

    async def answered() -> list[Any]:
        return (await chatting.calls(chatting.telegram, "answerInlineQuery"))[before:]

    answer = (await eventually(answered, f"an answer to @bot {query}"))[0]
    assert answer["is_personal"] in {True, "true"}
    results: list[dict[str, Any]] = answer["results"]
    return results


async def test_a_campaign_is_found_by_part_of_its_name_and_shared_as_its_card(chat: Chat) -> None:
    async with chat() as chatting:
        await with_team(chatting)
        (card,) = await typed(chatting, "вулкан")
        assert card["title"] == "Казино Вулкан"
        assert "Tracking link:" in card["input_message_content"]["message_text"]
        assert "reply_markup" not in card
        (spring,) = await typed(chatting, "push spring")
        assert "Spring &lt;b&gt;Push&lt;/b&gt;" in spring["input_message_content"]["message_text"]
        assert [card["title"] for card in await typed(chatting, "")] == list(reversed(MADE))
        assert await typed(chatting, "winter") == []


async def test_a_stranger_sees_nothing_and_a_limited_member_their_own(chat: Chat) -> None:
    async with chat() as chatting:
        await with_team(chatting)
        assert await typed(chatting, "", user=99) == []
        async with chatting.database.begin() as tx:
            code, _ = await members.invite(
                tx,
                team_id=chatting.runtime.team_id,
                role=Role.BUYER,
                campaigns=["autumn"],
                now=chatting.runtime.clock(),
            )
        await chatting.tell(f"/start {code}", chat=77, user=77)
        assert [card["title"] for card in await typed(chatting, "", user=77)] == ["Autumn"]
        assert await typed(chatting, "spring", user=77) == []
