"""Telegram: receives updates, starts and stops the bot, sets its command list. Knows PTB, but no HTTP server."""

import asyncio
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import httpx
import msgspec
from telegram import (
    Bot,
    BotCommand,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeDefault,
    Update,
)
from telegram.error import InvalidToken, TelegramError
from telegram.ext import Application, ApplicationBuilder, BaseUpdateProcessor, TypeHandler
from telegram.request import HTTPXRequest

from bot.chat.session import ChatSessions
from bot.core.command import COMMANDS
from bot.telegram import post
from bot.telegram.post import TelegramSender
from bot.telegram.updates import UpdateHandler
from storage.chat import processed_events
from storage.db import leases, tasks

log = logging.getLogger(__name__)

UPDATES = ["message", "callback_query", "my_chat_member", "inline_query"]
LEASE = timedelta(seconds=60)
POLL_SECONDS = 20
STOP_WITHIN = 8  # seconds
START_WITHIN = 3  # seconds that the start waits for Telegram


class TelegramSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach Telegram, and how it reaches us: by webhook if there is a secret, else we ask."""

    token: str
    webhook_secret: str | None = None
    webhook_url: str = ""
    api_url: str = "https://api.telegram.org/bot"
    file_url: str = "https://api.telegram.org/file/bot"


class _ByChat(BaseUpdateProcessor):
    """Chats are served side by side, the updates of one chat in their order."""

    def __init__(self) -> None:
        super().__init__(256)
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def do_process_update(self, update: object, coroutine: Awaitable[Any]) -> None:
        sender = None
        if isinstance(update, Update):
            sender = update.effective_chat or update.effective_user  # an inline query has no chat
        lock = self._locks.setdefault(sender.id if sender else 0, asyncio.Lock())
        async with lock:
            await coroutine

    async def initialize(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""


def _keys_of(update: dict[str, Any]) -> str:
    """An update's number and the names of what is in it: its contents are people's own."""
    names = sorted(str(name) for inner in update.values() if isinstance(inner, dict) for name in inner)
    return f"{str(update.get('update_id'))[:20]}: {', '.join([*sorted(update), *names])[:300]}"


class TelegramChat:
    """The bot on Telegram: `start`, `receive` a webhook request, `stop`. `named` gets the bot's user name."""

    def __init__(
        self, sessions: ChatSessions, settings: TelegramSettings, *, named: Callable[[str], Awaitable[None]]
    ) -> None:
        # httpx logs every address at INFO, and Telegram's hold the token.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.sessions, self.settings, self._named = sessions, settings, named
        self.app = self._build()
        self.sender = TelegramSender(sessions, self.app.bot)
        self.updates = UpdateHandler(sessions, self.app.bot)
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._holder = f"telegram:{uuid4().hex}"

    def _build(self) -> Application[Any, Any, Any, Any, Any, Any]:
        trusted = {"verify": httpx.create_ssl_context()}  # one for both: each holds a megabyte of certificates
        request = HTTPXRequest(
            connection_pool_size=64, read_timeout=20, write_timeout=20, connect_timeout=10, pool_timeout=10,
            httpx_kwargs=trusted,
        )  # fmt: skip
        polling = HTTPXRequest(
            connection_pool_size=2, read_timeout=POLL_SECONDS + 10, connect_timeout=10, httpx_kwargs=trusted
        )
        builder: Any = ApplicationBuilder().token(self.settings.token).updater(None).job_queue(None)
        builder = builder.base_url(self.settings.api_url).base_file_url(self.settings.file_url)
        builder = builder.rate_limiter(post.Patience())
        app: Application[Any, Any, Any, Any, Any, Any] = (
            builder.request(request).get_updates_request(polling).concurrent_updates(_ByChat()).build()
        )
        app.add_handler(TypeHandler(Update, self._handle_update))
        return app

    @property
    def ready(self) -> bool:
        """Whether Telegram has answered, so that updates can be worked on."""
        return self._ready.is_set()

    async def start(self, *, listen: bool = True) -> None:
        """Begin; a Telegram that does not answer within seconds is tried again in the background until it does.

        `listen`: this process may ask for updates, if there is no webhook.
        """
        self._start("telegram", lambda: self._begin(listen))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), START_WITHIN)

    def _start(self, name: str, work: tasks.Work) -> None:
        self._tasks.append(tasks.start_loop(name, work))

    async def stop(self) -> None:
        """Finish the updates that were received, then disconnect."""
        await tasks.stop(*self._tasks)
        if self.app.running:
            try:
                await asyncio.wait_for(self.app.stop(), STOP_WITHIN)
            except TimeoutError:
                log.warning("updates of Telegram were still worked on at the stop")
        await self.app.shutdown()
        async with self.sessions.database.begin() as tx:
            await leases.release(tx, self._holder)

    async def receive(self, body: bytes, secret: str) -> int:
        """One webhook request; the HTTP status to answer. Telegram repeats what gets no 200."""
        expected = self.settings.webhook_secret or ""
        if not expected or not hmac.compare_digest(secret.encode(), expected.encode()):
            return 401
        if not self.ready:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), START_WITHIN)
        if not self.ready:
            return 503
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return 400
        if not isinstance(data, dict):
            return 400
        try:
            update = Update.de_json(data, self.app.bot)
        except Exception as fault:  # whatever the library makes of what is newer than it is
            log.warning("an update of Telegram cannot be read (%s): %s", type(fault).__name__, _keys_of(data))
            return 200
        await self._take(update)
        return 200

    async def _take(self, update: Update) -> None:
        """Queue an update that no process has handled before."""
        async with self.sessions.database.begin() as tx:
            fresh = await processed_events.first_time(
                tx, self.sessions.clock(), f"telegram:{self.app.bot.id}:{update.update_id}"
            )
        if fresh:
            await self.app.update_queue.put(update)

    async def _handle_update(self, update: Update, _context: Any) -> None:
        try:
            await self.updates.handle_update(update)
        except TelegramError as fault:
            log.warning("an answer to Telegram failed: %s", post.reason(fault))
        except Exception:
            log.exception("an update of Telegram failed")

    async def _begin(self, listen: bool) -> None:
        await self._until_done("be reached", self._open)
        self._start("telegram command list", self._publish_menu)
        if self.settings.webhook_secret:
            await self._until_done("take the webhook", self._set_webhook)
        elif listen:
            self._start("telegram polling", self._poll)

    async def _publish_menu(self) -> None:
        await self._until_done("take the command list", lambda: publish_menu(self.app.bot), tries=3)

    async def _open(self) -> None:
        await self.app.initialize()
        if not self.app.running:  # a start that failed later on is repeated
            await self.app.start()
        await self._named(self.app.bot.username)
        self._ready.set()

    async def _set_webhook(self) -> None:
        await self.app.bot.set_webhook(
            self.settings.webhook_url, secret_token=self.settings.webhook_secret, allowed_updates=UPDATES
        )

    async def _until_done(self, what: str, step: Callable[[], Coroutine[Any, Any, None]], tries: int = 0) -> None:
        """A step, tried again with growing pauses; never the end of the hub."""
        pause, count = 1.0, 0
        while count < tries or not tries:
            try:
                await step()
            except TelegramError as fault:
                count += 1
                log.warning("Telegram could not %s: %s", what, post.reason(fault))
                await asyncio.sleep(300 if isinstance(fault, InvalidToken) and not tries else pause)
                pause = min(pause * 2, 60)
            else:
                return

    async def _poll(self) -> None:
        """Poll for updates in one process at a time: Telegram refuses two."""
        await self._until_done("drop its webhook", self._drop_webhook)
        offset, pause = 0, 1.0
        while True:
            if not await self._leased():
                await asyncio.sleep(5)
                continue
            try:
                updates = await self.app.bot.get_updates(offset, timeout=POLL_SECONDS, allowed_updates=UPDATES)
                pause = 1.0
            except TelegramError as fault:
                log.warning("Telegram could not be asked for updates: %s", post.reason(fault))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 60)
                continue
            for update in updates:
                await self._take(update)
                offset = update.update_id + 1

    async def _drop_webhook(self) -> None:
        await self.app.bot.delete_webhook()

    async def _leased(self) -> bool:
        async with self.sessions.database.begin() as tx:
            return await leases.acquire(tx, "telegram updates", self._holder, now=self.sessions.clock(), good_for=LEASE)


EVERYWHERE = (
    ("help", "What there is to say"), ("cancel", "Stop what is being asked"), ("settings", "You, and what is sent here")
)  # fmt: skip


def nouns() -> list[BotCommand]:
    """One entry a noun, with what can be done to it."""
    verbs: dict[str, list[str]] = {}
    for name in sorted(COMMANDS):
        noun, _, verb = name.partition(" ")
        verbs.setdefault(noun, []).append(verb)
    shown = {name for name, _ in EVERYWHERE} | {"join", "confirm"}
    named = [(noun, _about(noun, commands)) for noun, commands in verbs.items() if noun not in shown]
    return [BotCommand(noun, about[:256]) for noun, about in named if re.fullmatch(r"[a-z0-9_]{1,32}", noun)]


def _about(noun: str, verbs: list[str]) -> str:
    listed = ", ".join(verb for verb in verbs if verb)
    return listed or COMMANDS[noun].summary.rstrip(".") or noun


async def publish_menu(bot: Bot) -> None:
    """Set the lists: in groups also `join`, in private also `start`."""
    common = [*(BotCommand(name, about) for name, about in EVERYWHERE), *nouns()]
    join = BotCommand("join", "Bind this chat to your team")
    start = BotCommand("start", "Begin, or join with a code")
    await bot.set_my_commands(common[:100], scope=BotCommandScopeDefault())
    await bot.set_my_commands([start, *common][:100], scope=BotCommandScopeAllPrivateChats())
    await bot.set_my_commands([join, *common][:100], scope=BotCommandScopeAllGroupChats())
