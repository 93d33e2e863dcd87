"""Updates from Telegram: lines, files, presses, and changes of the chat itself."""

import asyncio
import re
from contextlib import suppress
from typing import Any

import msgspec
from telegram import Bot, CallbackQuery, ChatMemberUpdated, InlineKeyboardMarkup, Update, User
from telegram import Message as TelegramMessage
from telegram.constants import ChatAction
from telegram.error import BadRequest, TelegramError

from bot.chat.session import Attached, Caller, ChatSessions, Reply, handle, holds_credential, press
from bot.commands.confirmations import other_answers
from bot.core.context import Room
from bot.core.message import Message, Notice, Text
from bot.delivery import lose
from bot.forms.uploaded_image import MOST_BYTES, refuse_large
from bot.telegram import inline, pages, post
from bot.telegram.dialogue import DialogueRunner, toast
from bot.telegram.html import TEXT, render
from storage.chat import dialogues, rooms
from storage.ledger.errors import Refused

_COMMAND = re.compile(r"^/([A-Za-z0-9_]+)(?:@([A-Za-z0-9_]+))?(?:\s+|$)(.*)$", re.DOTALL)
PAGES = {"More", "Older"}  # buttons beside those of bot.telegram.pages that turn a page rather than go deeper
PATIENCE = 1.5  # seconds before a press or a line is answered with a note that we are at work


class UpdateHandler:
    """Handles updates, one at a time per chat."""

    def __init__(self, sessions: ChatSessions, bot: Bot) -> None:
        self.sessions, self.bot = sessions, bot
        self.dialogues = DialogueRunner(sessions, bot)

    async def handle_update(self, update: Update) -> None:
        if update.my_chat_member is not None:
            await self._moved(update.my_chat_member)
        elif update.callback_query is not None:
            await self._pressed(update.callback_query)
        elif update.inline_query is not None:
            await inline.answer(self.sessions, update.inline_query)
        elif update.message is not None:
            await self._message(update.message)

    async def _message(self, message: TelegramMessage) -> None:
        if message.migrate_to_chat_id or message.migrate_from_chat_id:
            await self._migrated(message)
            return
        if message.new_chat_title:
            await self._renamed(message.chat.id, message.new_chat_title)
            return
        text = message.text or message.caption or ""
        if message.sender_chat is not None and (self.command(text) or self.dialogues.asked_in(message)):
            await self._refuse_anonymous(message)
            return
        if message.from_user is None or message.from_user.is_bot or not text.strip():
            return
        caller = Caller(room=room_of(message, message.from_user), name=message.from_user.full_name)
        command = self.command(text)
        if command is None:
            await self._line(caller, message, text)
        elif command == "cancel":
            await self.dialogues.cancel(caller.room)
        elif command:
            await self.dialogues.forget(caller.room)
            await self._answer(caller, message, command)

    async def _refuse_anonymous(self, message: TelegramMessage) -> None:
        """Answer who writes as the group or a channel: without a name there is no role. Posts that Telegram itself
        forwards from a linked channel get no answer."""
        if message.is_automatic_forward:
            return
        topic = message.message_thread_id if message.is_topic_message else None
        room = Room(face="telegram", room=str(message.chat.id), thread=str(topic or ""))
        as_group = message.sender_chat is not None and message.sender_chat.id == message.chat.id
        why = Message(
            "You write as an anonymous admin, so I cannot see who you are and what you may do. Switch off "
            "“Remain anonymous” in the group's administrators, or write to me in private."
            if as_group
            else "You write in the name of a channel, so I cannot see who you are and what you may do. Choose your own "
            "name beside the text field, or write to me in private."
        )
        await self._say(room, why, message.message_id)

    def command(self, text: str) -> str | None:
        """The command in a line: `/offer@our_bot add …` or `@our_bot offer add …`; empty if meant for another bot,
        None if it is a plain line."""
        if match := _COMMAND.match(text.strip()):
            if match[2] and match[2].lower() != self.bot.username.lower():
                return ""
            return f"{match[1].lower().replace('_', ' ')} {match[3]}".strip()
        mention = f"@{self.bot.username}".lower()
        if text.strip().lower().startswith(mention):
            return text.strip()[len(mention) :].strip(" :,\n") or "help"
        return None

    async def _line(self, caller: Caller, message: TelegramMessage, text: str) -> None:
        """A plain line answers a question if one is open; else it is a command in private, and nothing in a group."""
        if await self.dialogues.answered(caller.room, message, text):
            return
        if caller.room.private:
            await self._answer(caller, message, text, plain=True)

    async def _with_expired_question(self, room: Room, reply: Reply) -> Reply:
        """The answer to a line that is no command, with the person's question that has expired: it may answer that."""
        expired = await self.dialogues.expired_question(room)
        if expired is None:
            return reply
        blocks = (*reply.message.blocks, Notice("info", expired.title), *expired.blocks)
        return msgspec.structs.replace(reply, message=msgspec.structs.replace(reply.message, blocks=blocks))

    async def _answer(self, caller: Caller, message: TelegramMessage, text: str, *, plain: bool = False) -> None:
        """`plain`: the line does not begin as a command."""
        work = handle(self.sessions, caller, text, attached=attached(message))
        reply = await self._patiently(work, caller.room)
        if plain and not reply.done and reply.form is None:
            reply = await self._with_expired_question(caller.room, reply)
        if reply.form and reply.form.missing and reply.actor:
            await self.dialogues.begin(caller.room, reply.actor, reply.form)
            return
        if holds_credential(text):
            await self.dialogues.hide(message)
        reply_to = None if caller.room.private else message.message_id
        await post.tell(self.sessions, self.bot, caller.room, reply, reply_to=reply_to)

    async def _patiently(self, work: Any, room: Room) -> Reply:
        """Wait for a reply; one that takes its time shows as typing."""
        task: asyncio.Task[Reply] = asyncio.create_task(work)
        while not (await asyncio.wait({task}, timeout=PATIENCE))[0]:
            thread = int(room.thread) if room.thread else None
            with suppress(TelegramError):  # the answer matters, not the dots
                await self.bot.send_chat_action(room.room, ChatAction.TYPING, message_thread_id=thread)
        return task.result()

    async def _say(self, room: Room, message: Message, reply_to: int | None = None) -> None:
        await post.post(self.sessions, self.bot, room.room, message, thread=room.thread, reply_to=reply_to)

    async def _pressed(self, query: CallbackQuery) -> None:
        """A button: a step of a dialogue, or a command run as the person who pressed it."""
        origin, data = query.message, query.data or ""
        if not isinstance(origin, TelegramMessage):
            await toast(query, "This message is too old: send the command again.")
            return
        caller = Caller(room=room_of(origin, query.from_user), name=query.from_user.full_name)
        if data.startswith("d:"):
            await self.dialogues.pressed(caller.room, query, data)
            return
        text = data[1:] if data.startswith("=") else await self._stored_command(data)
        if text is None:
            await toast(query, "This button is too old: send the command again.")
            return
        await self._run(caller, query, origin, text)

    async def _stored_command(self, data: str) -> str | None:
        async with self.sessions.database.read() as tx:
            return await dialogues.pressed(tx, data.removeprefix("#"))

    async def _run(self, caller: Caller, query: CallbackQuery, origin: TelegramMessage, text: str) -> None:
        text, page = pages.read(text)
        task = asyncio.create_task(press(self.sessions, caller, text, origin=str(origin.message_id)))
        quick = (await asyncio.wait({task}, timeout=PATIENCE))[0]
        early = task.result() if quick else None
        if early and not early.done and not (early.form and early.form.missing):
            await toast(query, early.message.title, alert=True)
            return
        await toast(query)
        reply = await task
        if reply is None:
            return
        if reply.form and reply.form.missing and reply.actor:
            await self.dialogues.begin(caller.room, reply.actor, reply.form)
        elif reply.done and (page or _label(origin, query.data or "") in PAGES):
            await self._turn_page(caller.room, origin, pages.paged(reply.message, reply.line, page or 1))
        else:
            if reply.done and reply.public:
                with suppress(TelegramError):  # it may be gone, or too old to be changed
                    await self._mark(origin, query)
            await post.tell(self.sessions, self.bot, caller.room, reply, reply_to=origin.message_id)

    async def _turn_page(self, room: Room, origin: TelegramMessage, message: Message) -> None:
        first, *rest = render(message)
        if rest:
            await self._say(room, message)
            return
        await post.keep_commands(self.sessions, message)
        with suppress(BadRequest):  # the same page again is "not modified"
            await origin.edit_text(first.html, parse_mode="HTML", reply_markup=post.markup(first.keys))

    async def _mark(self, origin: TelegramMessage, query: CallbackQuery) -> None:
        """A button that changed something is gone, and the message says who pressed it; so is the other answer to a
        question."""
        rows = origin.reply_markup.inline_keyboard if origin.reply_markup else ()
        gone = other_answers((query.data or "").removeprefix("="))
        remaining = [
            buttons
            for row in rows
            if (buttons := [button for button in row if str(button.callback_data).removeprefix("=") not in gone])
        ]
        keyboard = InlineKeyboardMarkup(remaining) if remaining else None
        who = Message("", (Text(f"✔ {_label(origin, query.data or '')} · {query.from_user.full_name}"),))
        whole = f"{origin.text_html}\n\n{render(who)[0].html}"
        if origin.text and len(whole) <= TEXT:
            await origin.edit_text(whole, parse_mode="HTML", reply_markup=keyboard)
        else:
            await origin.edit_reply_markup(keyboard)

    async def _migrated(self, message: TelegramMessage) -> None:
        old, new = message.migrate_from_chat_id or message.chat.id, message.migrate_to_chat_id or message.chat.id
        async with self.sessions.database.begin() as tx:
            await rooms.migrate(tx, "telegram", old=str(old), new=str(new))

    async def _renamed(self, chat: int, title: str) -> None:
        async with self.sessions.database.begin() as tx:
            room = await rooms.find(tx, "telegram", "", str(chat))
            if room is not None:
                await rooms.rename(tx, room, title)

    async def _moved(self, change: ChatMemberUpdated) -> None:
        """The bot was removed or blocked, or added again."""
        now = self.sessions.clock()
        async with self.sessions.database.begin() as tx:
            room = await rooms.find(tx, "telegram", "", str(change.chat.id))
            if room is None:
                return
            if change.new_chat_member.status in {"left", "kicked"}:
                await lose(tx, room, now, "the bot was removed from the chat")
            else:
                await rooms.regain(tx, room)


def _label(origin: TelegramMessage, data: str) -> str:
    rows = origin.reply_markup.inline_keyboard if origin.reply_markup else ()
    return next((button.text for row in rows for button in row if button.callback_data == data), "")


def room_of(message: TelegramMessage, user: User) -> Room:
    """The chat (and its topic) of a message, with its author."""
    topic = message.message_thread_id if message.is_topic_message else None
    return Room(
        face="telegram", room=str(message.chat.id), thread=str(topic or ""), user=str(user.id),
        title=message.chat.title or user.full_name, private=message.chat.type == "private",
    )  # fmt: skip


def attached(message: TelegramMessage) -> Attached | None:
    """The photo (in its largest size) or document of a message; None without one."""
    sent = max(message.photo, key=lambda size: size.width) if message.photo else message.document
    if sent is None:
        return None

    async def load(field: str) -> bytes:
        if sent.file_size and sent.file_size > MOST_BYTES:
            raise refuse_large(sent.file_size, field)
        try:
            return bytes(await (await sent.get_file()).download_as_bytearray())
        except TelegramError:  # its text may hold the file's address, and that the bot's token
            raise Refused(f"{field}: Telegram did not provide the file: send it again", field=field) from None

    return load
