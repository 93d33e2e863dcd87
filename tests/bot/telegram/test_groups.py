"""Groups on Telegram: answers are replies, anonymous admins, questions that are over, updates that cannot be read."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from storage.tables import metadata, sources
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually

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


async def answer_to(chatting: Chatting, text: str, question: Any, **body: Any) -> Any:
    return await chatting.tell(text, chat=GROUP, reply_to=question["message_id"], **body)


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_reply_to_an_expired_question_is_told_so_and_carries_out_nothing(chat: Chat, forgotten: bool) -> None:
    """`forgotten`: its row is gone from the database as well."""
    async with chat() as chatting:
        await in_group(chatting)
        await chatting.tell("/account add postback_only name=Main timezone=UTC currency=EUR", chat=GROUP)
        question = await chatting.tell("/offer add account=main casino=Lucky", chat=GROUP)
        await eventually(lambda: idle(chatting), "the question to be stored")
        chatting.runtime.clock.apart += timedelta(minutes=16)  # type: ignore[attr-defined]
        if forgotten:
            async with chatting.database.begin() as tx:
                await tx.execute(delete(metadata.tables["dialogues"]))
        late = await answer_to(chatting, "https://l.example.test/?s={click_id}", question)
        assert late["text"].startswith("This question has expired: send the command again")
        assert await chatting.names("offers") == []
        ((again,),) = late["reply_markup"]["inline_keyboard"]
        assert again["text"] == ("offer add" if forgotten else "offer add account=main casino=Lucky")
        await chatting.press(late, again["text"], chat=GROUP)

        async def asks() -> Any:
            last = (await chatting.standing(GROUP))[-1]
            return last if "offer add" in last["text"] and last["message_id"] > late["message_id"] else None

        assert ("Casino" if forgotten else "URL") in (await eventually(asks, "the question"))["text"]
        await chatting.on(chatting.telegram, "say", text="who has lunch?", chat=GROUP)
        await eventually(lambda: idle(chatting), "the line to be read")
        assert await chatting.names("offers") == []


async def test_a_reply_to_the_question_of_another_member_is_told_so(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        await chatting.tell(f"/start {await chatting.invite()}", chat=77, user=77)
        question = await chatting.tell("/source add", chat=GROUP)
        others = await answer_to(chatting, "PushNet", question, user=77)
        assert "was asked of someone else" in others["text"]
        await answer_to(chatting, "Own", question)
        assert await named(chatting) == ["Own"]


async def test_a_late_answer_that_may_be_a_credential_is_removed(chat: Chat) -> None:
    async with chat() as chatting:
        await in_group(chatting)
        line = "/account add affilka name=A timezone=UTC base_url=http://127.0.0.1:9/"
        question = await chatting.tell(line, chat=GROUP)
        assert "removed once it is read" in question["text"]
        await eventually(lambda: idle(chatting), "the question to be stored")
        chatting.runtime.clock.apart += timedelta(minutes=16)  # type: ignore[attr-defined]
        late = await answer_to(chatting, "s3cr3t-of-ours-1", question)
        assert "expired" in late["text"]

        async def removed() -> bool:
            messages = (await chatting.telegram.get("/_control/chat", params={"chat": GROUP})).json()
            return "s3cr3t" not in str(messages)

        await eventually(removed, "the answer to be removed")


async def test_in_private_a_line_after_an_expired_question_is_told_of_it_once(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.tell(f"/start {await chatting.invite()}")
        await chatting.tell("/source add")
        await eventually(lambda: idle(chatting), "the question to be stored")
        chatting.runtime.clock.apart += timedelta(minutes=16)  # type: ignore[attr-defined]
        assert "expired" not in (await chatting.tell("source list"))["text"]
        late = await chatting.tell("PushNet")
        assert "This question has expired: send the command again" in late["text"]
        assert "source add" in [key["text"] for row in late["reply_markup"]["inline_keyboard"] for key in row]
        assert "expired" not in (await chatting.tell("PushNet"))["text"]
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
        question = await chatting.tell("/source add", chat=GROUP)
        before = len(await chatting.standing(GROUP))
        await chatting.on(
            chatting.telegram, "update",
            message=message | {"message_id": 6, "text": "PushNet", "reply_to_message": question},
        )  # fmt: skip
        assert "anonymous admin" in (await eventually(answered, "an answer to the reply"))[0]["text"]
        assert await named(chatting) == []


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
