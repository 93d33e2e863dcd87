"""People get their answers although Telegram is out of humour."""

from tests.bot.conftest import Chat
from tests.bot.telegram.test_telegram import joined, latest
from tests.waiting import eventually


async def test_an_answer_waits_out_a_rate_limit(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        limit = {"code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}}
        await chats.on(chats.telegram, "fail", method="sendMessage", **limit)
        assert "No" in (await chats.tell("/source list"))["text"]
        await chats.on(chats.telegram, "fail", method="sendMessage", **limit)
        assert "Name" in (await chats.tell("/source add"))["text"]


async def test_a_press_is_heard_although_it_can_no_longer_be_answered(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        await chats.tell("/campaign create name=spring")
        made = await chats.tell("/campaign show spring")
        for method in ("answerCallbackQuery", "editMessageText"):
            fault = {"code": 400, "description": "Bad Request: query is too old and response timeout expired"}
            await chats.on(chats.telegram, "fail", method=method, **fault)
        await chats.press(made, "Pause")
        assert "paused" in (await latest(chats, "paused"))["text"]


async def test_what_a_name_does_to_the_direction_of_text_is_taken_out(chat: Chat) -> None:
    async with chat() as chats:
        await joined(chats)
        answer = await chats.tell('/source add name="مرحبا \u202egnp.exe"')
        assert "مرحبا gnp.exe" in answer["text"]
        assert (await eventually(lambda: chats.names("sources"), "the source"))[0] == ("مرحبا \u202egnp.exe",)
