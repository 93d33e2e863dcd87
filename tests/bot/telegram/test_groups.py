"""Groups on Telegram: answers are replies, anonymous admins, questions that are over, updates that cannot be read."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from storage.tables import sources
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat

GROUP = -1007


async def in_group(chats: Chatting) -> None:
    await chats.tell(f"/start {await chats.invite()}")
    await chats.tell("/join", chat=GROUP)


async def named(chats: Chatting) -> list[str]:
    async with chats.database.read() as tx:
        return list((await tx.execute(select(sources.c.name))).scalars())


async def idle(chats: Chatting) -> bool:
    """Whether every update that came is worked off."""
    assert chats.chats.telegram is not None
    return chats.chats.telegram.app.update_processor.current_concurrent_updates == 0


async def test_only_a_reply_to_the_question_answers_it(chat: Chat) -> None:
    async with chat() as chats:
        await in_group(chats)
        question = await chats.tell("/source add", chat=GROUP)
        await chats.on(chats.telegram, "say", text="who has lunch?", chat=GROUP)
        await chats.on(chats.telegram, "say", text="PushNet", chat=GROUP, reply_to=question["message_id"])

        async def made() -> list[str]:
            return await named(chats)

        assert await eventually(made, "the source") == ["PushNet"]


async def test_a_question_is_over_after_a_quarter_of_an_hour(chat: Chat) -> None:
    async with chat() as chats:
        await chats.tell(f"/start {await chats.invite()}")
        await chats.tell("/source add")
        await eventually(lambda: idle(chats), "the question to be stored")
        chats.runtime.clock.apart += timedelta(minutes=16)  # type: ignore[attr-defined]
        assert "no command" in (await chats.tell("PushNet"))["text"].lower()
        assert await named(chats) == []


async def test_an_anonymous_admin_is_told_why_there_is_no_answer(chat: Chat) -> None:
    async with chat() as chats:
        await in_group(chats)
        before = len(await chats.standing(GROUP))
        group = {"id": GROUP, "type": "supergroup", "title": "Team"}
        update: dict[str, Any] = {
            "message_id": 5, "date": 1, "chat": group, "sender_chat": group, "text": "/source list",
            "from": {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"},
        }  # fmt: skip
        await chats.on(chats.telegram, "update", message=update)

        async def answered() -> list[Any]:
            return (await chats.standing(GROUP))[before:]

        assert "anonymous admin" in (await eventually(answered, "an answer"))[0]["text"]


async def test_an_update_that_cannot_be_read_is_taken_and_logged(chat: Chat, caplog: Any) -> None:
    async with chat() as chats:
        wrong = {"message_id": 5, "date": 1, "chat": {"type": "private"}, "text": "secret words"}
        answer = await chats.on(chats.telegram, "update", update_id=987654, message=wrong)
        assert answer["status"] == 200
        assert "cannot be read" in caplog.text
        assert "secret words" not in caplog.text


async def test_a_refused_credential_is_sent_nowhere() -> None:
    from bot.chat.session import without_secrets
    from bot.core.command import COMMANDS

    text = without_secrets(COMMANDS["account add"], {"token": "abc-secret-1"}, "token: 'abc-secret-1' is refused")
    assert text == "token: '•••' is refused"
