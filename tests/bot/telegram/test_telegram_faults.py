"""People get their answers although Telegram is out of humour."""

from tests.bot.chatting import eventually
from tests.bot.conftest import Chat
from tests.bot.telegram.test_telegram import joined, latest


async def test_an_answer_waits_out_a_rate_limit(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        limit = {"code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}}
        await one.on(one.telegram, "fail", method="sendMessage", **limit)
        assert "No" in (await one.tell("/source list"))["text"]
        await one.on(one.telegram, "fail", method="sendMessage", **limit)
        assert "Name" in (await one.tell("/source add"))["text"]


async def test_a_press_is_heard_although_it_can_no_longer_be_answered(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        await one.tell("/campaign create name=spring")
        made = await one.tell("/campaign show spring")
        for method in ("answerCallbackQuery", "editMessageText"):
            told = {"code": 400, "description": "Bad Request: query is too old and response timeout expired"}
            await one.on(one.telegram, "fail", method=method, **told)
        await one.press(made, "Pause")
        assert "paused" in (await latest(one, "paused"))["text"]


async def test_what_a_name_does_to_the_direction_of_text_is_taken_out(chat: Chat) -> None:
    async with chat() as one:
        await joined(one)
        told = await one.tell('/source add name="مرحبا \u202egnp.exe"')
        assert "مرحبا gnp.exe" in told["text"]
        assert (await eventually(lambda: one.names("sources"), "the source"))[0] == ("مرحبا \u202egnp.exe",)
