"""Groups on Telegram: answers are replies, anonymous admins, questions that are over, updates that cannot be read."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from storage.tables import metadata, sources
from tests.bot.chatting import Chatting, eventually
from tests.bot.conftest import Chat

GROUP = -1007


async def in_group(chatting: Chatting) -> None:
    await chatting.tell(f"/start {await chatting.invite()}")
    await chatting.tell("/join", chat=GROUP)


async def named(chatting: Chatting) -> list[str]:
    async with chatting.database.read() as tx:
        return list((await tx.execute(select(sources.c.name))).scalars())


async def idle(chatting: Chatting) -> bool:
    """Whether every update that came is worked off."""
    assert chatting.chats.telegram is not None
    return chatting.chats.telegram.app.update_processor.current_concurrent_updates == 0


async def test_only_a_reply_to_the_question_answers_it(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        question = await chatting.tell("/source add", chat=GROUP)
        await chatting.on(chatting.telegram, "say", text="who has lunch?", chat=GROUP)
        await chatting.on(chatting.telegram, "say", text="PushNet", chat=GROUP, reply_to=question["message_id"])

        async def made() -> list[str]:
            return await named(chatting)

        assert await eventually(made, "the source") == ["PushNet"]


async def test_help_in_a_group_is_grouped_with_buttons_and_without_what_buttons_say(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        answer = await chatting.tell("/help", chat=GROUP)
        labels = [key["text"] for row in answer["reply_markup"]["inline_keyboard"] for key in row]
        assert {"Stats", "Campaign", "Offer"} <= set(labels)
        for group in ("See how it goes", "Set up deals", "Bring visitors"):
            assert group in answer["text"]
        assert not {"confirm", "cancel", "join"} & set(answer["text"].lower().replace(",", " ").split())
        usage = (await chatting.tell("/help offer add", chat=GROUP))["text"]
        assert "offer add <casino> account=… url=… [tag=…]" in usage


async def test_a_question_is_over_after_a_quarter_of_an_hour(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.tell(f"/start {await chatting.invite()}")
        await chatting.tell("/source add")
        await eventually(lambda: idle(chatting), "the question to be stored")
        chatting.runtime.clock.apart += timedelta(minutes=16)  # type: ignore[attr-defined]
        assert "no command" in (await chatting.tell("PushNet"))["text"].lower()
        assert await named(chatting) == []


async def test_an_anonymous_admin_is_told_why_there_is_no_answer(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        before = len(await chatting.standing(GROUP))
        group = {"id": GROUP, "type": "supergroup", "title": "Team"}
        message: dict[str, Any] = {
            "message_id": 5, "date": 1, "chat": group, "sender_chat": group, "text": "/source list",
            "from": {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"},
        }  # fmt: skip
        await chatting.on(chatting.telegram, "update", message=message)

        async def answered() -> list[Any]:
            return (await chatting.standing(GROUP))[before:]

        assert "anonymous admin" in (await eventually(answered, "an answer"))[0]["text"]


async def test_an_update_that_cannot_be_read_is_taken_and_logged(chat: Chat, caplog: Any) -> None:
    async with chat() as chatting:
        wrong = {"message_id": 5, "date": 1, "chat": {"type": "private"}, "text": "secret words"}
        answer = await chatting.on(chatting.telegram, "update", update_id=987654, message=wrong)
        assert answer["status"] == 200
        assert "cannot be read" in caplog.text
        assert "secret words" not in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "account add affilka base_url=http://127.0.0.1:9/ token=abc-secret-1",
        'account add affilka base_url=http://127.0.0.1:9/ token="abc-secret-1 ü"',
        "account add affilca token=abc-secret-1",
        "account add affilka abc-secret-1234567890123 more",
        "acount add affilka token=abc-secret-1",
    ],
)
async def test_a_refused_credential_is_sent_nowhere(chat: Chat, caplog: pytest.LogCaptureFixture, line: str) -> None:
    async with chat() as chatting:
        await chatting.tell(f"/start {await chatting.invite()}")
        await chatting.flux(f"join {await chatting.invite()}")
        await chatting.tell(f"/{line}")
        await chatting.flux(line)
        sent = str(await chatting.calls(chatting.telegram, "sendMessage", "editMessageText"))
        sent += str(
            await chatting.calls(chatting.slack, "response", "chat.postMessage", "chat.postEphemeral", "views.open")
        )
        assert "abc-secret" not in sent
        assert "abc-secret" not in caplog.text
        async with chatting.database.read() as tx:
            kept = [str(row) for name in ("presses", "audits", "dialogues") if name in metadata.tables
                    for row in await tx.execute(select(metadata.tables[name]))]  # fmt: skip
        assert "abc-secret" not in str(kept)


async def test_a_line_with_a_credential_is_removed_from_the_chat_mistyped_or_not(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        for line in (
            "/account add affilka name=A timezone=UTC base_url=http://127.0.0.1:9/ token=s3cr3t-of-ours-1",
            "/acount add affilka token=s3cr3t-of-ours-1",
        ):
            shown = await chatting.tell(line, chat=GROUP)
            assert "s3cr3t" not in str(shown)

            async def removed(number: int = len(line)) -> bool:
                messages = (await chatting.telegram.get("/_control/chat", params={"chat": GROUP})).json()
                return not any("s3cr3t" in message.get("text", "") for message in messages) and number > 0

            await eventually(removed, "the line to be removed")


async def test_who_writes_as_a_channel_is_told_so_and_a_forwarded_post_gets_no_answer(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        channel = {"id": -10099, "type": "channel", "title": "News"}
        message = {
            "message_id": 901, "date": 1, "chat": {"id": GROUP, "type": "supergroup", "title": "Buyers"},
            "from": {"id": 136817688, "is_bot": True, "first_name": "Channel"}, "sender_chat": channel,
            "text": "/stats 7d",
        }  # fmt: skip
        await chatting.on(chatting.telegram, "update", message=message | {"is_automatic_forward": True})
        await eventually(lambda: idle(chatting), "the forwarded post to be worked off")
        before = await chatting.posted(GROUP)
        await chatting.on(chatting.telegram, "update", message=message | {"message_id": 902})
        (told,) = await eventually(lambda: chatting._after(GROUP, before), "an answer to the channel")
        assert "in the name of a channel" in told["text"]
