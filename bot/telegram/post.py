"""Posting to Telegram: texts with buttons, files, pictures; to a chat, a topic, or from the outbox."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from aiolimiter import AsyncLimiter
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, ReplyParameters
from telegram import Message as Posted
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)
from telegram.ext import BaseRateLimiter

from bot.chat.session import ChatSessions, Reply
from bot.core.context import Room
from bot.core.message import Message
from bot.delivery import Lost, RetryLater, Unsendable
from bot.telegram.html import Key, Part, long_commands, render
from bot.telegram.pages import paged
from storage.chat import dialogues, rooms
from storage.chat.messages import Queued
from storage.db import tasks

log = logging.getLogger(__name__)

# Durations of PTB as timedelta, as its next major version has them; else each one warns.
os.environ.setdefault("PTB_TIMEDELTA", "true")

#: Parts of BadRequest texts that mean the room is closed to us: https://core.telegram.org/bots/api#making-requests
CLOSED = (
    "chat not found", "user is deactivated", "peer_id_invalid", "not enough rights", "chat_write_forbidden",
    "have no rights to send", "need administrator rights", "chat_restricted", "bot was kicked",
)  # fmt: skip
NO_TOPIC = ("message thread not found", "topic_deleted", "topic_closed", "topic_id_invalid")
CALLS_A_SECOND = 26  # Telegram allows 30; answers to commands need a few
_NEVER_LEFT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
OUTBOX = "outbox"
"""What its own sends are marked with: the outbox puts them off itself."""


def markup(keys: tuple[tuple[Key, ...], ...]) -> InlineKeyboardMarkup | None:
    """Rows of keys as an inline keyboard."""
    rows = [
        [InlineKeyboardButton(key.label, url=key.url or None, callback_data=key.data or None) for key in row]
        for row in keys
    ]
    return InlineKeyboardMarkup(rows) if rows else None


async def post(
    sessions: ChatSessions, bot: Bot, chat: int | str, message: Message, *, thread: str = "",
    reply_to: int | None = None,
    silent: bool = False, pace: AsyncLimiter | None = None,
) -> int:  # fmt: skip
    """Post all parts of a message; returns the id of the first. Once that is posted, the rest waits its turn.

    Raises what PTB raises for the first part, and RetryLater if nothing was posted for a fault of ours.
    """
    try:
        await keep_commands(sessions, message)
    except Exception as fault:
        raise RetryLater(f"its buttons could not be stored ({tasks.short(fault)})") from fault
    where: dict[str, Any] = {"chat_id": chat, "disable_notification": silent}
    if thread:
        where["message_thread_id"] = int(thread)
    if pace:
        where["rate_limit_args"] = OUTBOX
    first, *rest = render(message)
    answer = {"reply_parameters": ReplyParameters(reply_to, allow_sending_without_reply=True)} if reply_to else {}
    async with pace or nullcontext():
        posted = await _part(sessions, bot, first, where | answer)
    for part in rest:
        async with pace or nullcontext():
            await _patiently(sessions, bot, part, where)
    return posted.message_id


async def tell(sessions: ChatSessions, bot: Bot, room: Room, reply: Reply, *, reply_to: int | None = None) -> None:
    """Answer in the room; a secret is sent to the author's own chat, and the room gets a note of it."""
    message = paged(reply.message, reply.line)
    if reply.secret and not room.private:
        try:
            await post(sessions, bot, room.user, message)
            message = Message(f"{message.title}: I have sent it to your own chat with me.")
        except Forbidden:
            message = Message(
                f"{message.title}: it is for your eyes only, and I may not write to you yet. "
                f"Open https://t.me/{bot.username}, press Start, and say it there again."
            )
    await post(sessions, bot, room.room, message, thread=room.thread, reply_to=reply_to)


async def keep_commands(sessions: ChatSessions, message: Message) -> None:
    """Remember the commands whose buttons carry only a short id."""
    if commands := long_commands(message):
        async with sessions.database.begin() as tx:
            await dialogues.store_presses(tx, sessions.clock(), commands)


async def _part(sessions: ChatSessions, bot: Bot, part: Part, where: dict[str, Any]) -> Posted:
    if part.file is not None:
        document = InputFile(part.file.data, filename=part.file.name)
        return await bot.send_document(document=document, **where)
    if part.chart is not None and (drawn := await sessions.ports.draw(part.chart)):
        image = InputFile(drawn, filename="chart.png")
        return await bot.send_photo(photo=image, caption=part.html, parse_mode="HTML", **where)
    preview = LinkPreviewOptions(is_disabled=True)
    return await bot.send_message(
        text=part.html, parse_mode="HTML", reply_markup=markup(part.keys), link_preview_options=preview, **where
    )


async def _patiently(sessions: ChatSessions, bot: Bot, part: Part, where: dict[str, Any]) -> None:
    """A later part: rate limits are waited out; a failure does not send the first part again."""
    for _ in range(4):
        try:
            await _part(sessions, bot, part, where)
        except RetryAfter as wait:
            await asyncio.sleep(seconds(wait))
        except TelegramError as fault:
            log.warning("a part of a message was not posted: %s", reason(fault))
            return
        else:
            return


def seconds(wait: RetryAfter) -> float:
    after = wait.retry_after
    return after.total_seconds() if isinstance(after, timedelta) else after


def reason(fault: TelegramError) -> str:
    """What Telegram said. Its own words hold no address or token; those of the transport might."""
    if isinstance(fault, NetworkError | TimedOut) and not isinstance(fault, BadRequest):
        return type(fault.__cause__ or fault).__name__
    return "the token is not valid" if isinstance(fault, InvalidToken) else fault.message


class Patience(BaseRateLimiter[str]):
    """Answers wait out what Telegram asks to wait, chat by chat, and are tried again where they never left; what the
    outbox sends is not held here."""

    TRIES, LONGEST = 4, 60  # seconds; who waits longer asks again

    async def initialize(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def process_request(
        self, callback: Callable[..., Coroutine[Any, Any, Any]], args: Any, kwargs: dict[str, Any], endpoint: str,
        data: dict[str, Any], rate_limit_args: str | None,
    ) -> Any:  # fmt: skip
        for _ in range(self.TRIES - 1):
            try:
                return await callback(*args, **kwargs)
            except RetryAfter as wait:
                if rate_limit_args == OUTBOX or seconds(wait) > self.LONGEST:
                    raise
                await asyncio.sleep(seconds(wait))
            except NetworkError as fault:
                if rate_limit_args == OUTBOX or endpoint == "getUpdates" or reason(fault) not in _NEVER_LEFT:
                    raise
                await asyncio.sleep(1)
        return await callback(*args, **kwargs)


class TelegramSender:
    """The outbox's way to Telegram."""

    def __init__(self, sessions: ChatSessions, bot: Bot) -> None:
        self.sessions, self.bot = sessions, bot
        self.pace = AsyncLimiter(1, 1 / CALLS_A_SECOND)  # a digest is several calls: text, picture

    async def post(self, item: Queued, message: Message, *, under: str | None) -> str:
        reply_to = int(under) if under and under.isdecimal() else None
        try:
            return str(await self._post(item, message, item.thread, reply_to))
        except ChatMigrated as moved:
            async with self.sessions.database.begin() as tx:
                await rooms.migrate(tx, "telegram", old=item.room, new=str(moved.new_chat_id))
            raise RetryLater("the group has a new id", 0) from None
        except TelegramError as fault:
            raise delivery_fault(fault) from None

    async def _post(self, item: Queued, message: Message, thread: str, reply_to: int | None) -> int:
        try:
            return await post(
                self.sessions, self.bot, item.room, message, thread=thread, reply_to=reply_to, silent=item.silent,
                pace=self.pace,
            )  # fmt: skip
        except BadRequest as fault:
            if not thread or not any(phrase in fault.message.lower() for phrase in NO_TOPIC):
                raise
            return await post(
                self.sessions, self.bot, item.room, message, reply_to=reply_to, silent=item.silent, pace=self.pace
            )


def delivery_fault(fault: TelegramError) -> Exception:
    """Lost, RetryLater or Unsendable."""
    why = reason(fault)
    if isinstance(fault, RetryAfter):
        return RetryLater("rate limited", seconds(fault))
    if isinstance(fault, Forbidden) or (
        isinstance(fault, BadRequest) and any(phrase in why.lower() for phrase in CLOSED)
    ):
        return Lost(f"Telegram says: {why}")
    if isinstance(fault, BadRequest | InvalidToken):
        return Unsendable(f"Telegram says: {why}")
    if isinstance(fault, NetworkError) and (fault.__cause__ is None or why in _NEVER_LEFT):
        return RetryLater(f"Telegram cannot be reached ({why})")
    return Unsendable(f"no answer ({why}): it may have arrived")
