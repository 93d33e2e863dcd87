"""The hub's chat doors on a real port and database, with the stand-in platforms as processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from litestar import Litestar
from sqlalchemy import select

import bot.commands  # noqa: F401  registers every command
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from hub.web.chats import Chats
from hub.web.listener import Listener
from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.facts import Role
from storage.people import members
from storage.tables import metadata
from tests.standins.telegram import TOKEN
from tests.waiting import eventually, free_port

SECRET = "stand-in-signing-secret"


class Clock:
    """The real time, moved as a test likes."""

    def __init__(self) -> None:
        self.apart = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.apart


class Chatting:
    """One hub process' chats, as the test sees them."""

    def __init__(self, runtime: Runtime, chats: Chats, slack: httpx.AsyncClient, telegram: httpx.AsyncClient) -> None:
        self.runtime, self.chats, self.database = runtime, chats, runtime.database
        self.slack, self.telegram = slack, telegram
        self.url = runtime.settings.public_url

    async def invite(self, role: Role = Role.OWNER) -> str:
        async with self.database.begin() as tx:
            code, _ = await members.invite(
                tx, team_id=self.runtime.team_id, role=role, campaigns=None, now=self.runtime.clock()
            )
        return code

    async def on(self, standin: httpx.AsyncClient, what: str, **body: Any) -> Any:
        return (await standin.post(f"/_control/{what}", json=body)).json()

    async def calls(self, standin: httpx.AsyncClient, *methods: str) -> list[Any]:
        all_of = (await standin.get("/_control/calls")).json()
        return [call["body"] for call in all_of if not methods or call["method"] in methods]

    async def flux(self, text: str, **body: Any) -> Any:
        """A slash command on Slack; what Slack got back for it."""
        before = len(await self.calls(self.slack, *SHOWN))
        answer = await self.on(self.slack, "command", text=text, **body)
        assert answer["status"] == 200, answer
        shown = await eventually(lambda: self._since(before), f"an answer to {text}")
        return shown[-1]

    async def slack_answered(self) -> None:
        """Wait until everything that Slack sent so far is worked off."""
        assert self.chats.slack is not None
        await eventually(self._slack_idle, "an idle Slack adapter")

    async def _slack_idle(self) -> bool:
        return self.chats.slack is not None and not self.chats.slack._tasks

    async def runtime_post(self, sent: Any) -> int:
        """Send a request that was sent before once more, byte for byte."""
        async with httpx.AsyncClient(timeout=60) as client:
            return (
                await client.post(f"{self.url}/slack/events", content=sent["sent"], headers=sent["headers"])
            ).status_code

    async def names(self, table: str) -> list[tuple[str]]:
        async with self.database.read() as tx:
            return [(row.name,) for row in await tx.execute(select(metadata.tables[table].c.name))]

    async def _since(self, before: int) -> list[Any]:
        return (await self.calls(self.slack, *SHOWN))[before:]

    async def tell(self, text: str, *, chat: int = 42, **body: Any) -> Any:
        """A line on Telegram; the message the bot posted for it."""
        before = await self.posted(chat)
        answer = await self.on(self.telegram, "say", text=text, chat=chat, **body)
        assert answer["status"] in {0, 200}, answer
        return (await eventually(lambda: self._after(chat, before), f"an answer to {text}"))[-1]

    async def press(self, message: Any, label: str, *, chat: int = 42, **body: Any) -> None:
        """Press a Telegram button by its label."""
        keys = [key for row in message["reply_markup"]["inline_keyboard"] for key in row]
        data = next(key["callback_data"] for key in keys if key["text"] == label)
        await self.on(self.telegram, "press", data=data, message_id=message["message_id"], chat=chat, **body)

    async def standing(self, chat: int = 42) -> list[Any]:
        """The bot's messages in a chat as they stand now."""
        messages = (await self.telegram.get("/_control/chat", params={"chat": chat})).json()
        return [message for message in messages if message["from"]["is_bot"]]

    async def posted(self, chat: int) -> set[int]:
        return {message["message_id"] for message in await self.standing(chat)}

    async def _after(self, chat: int, before: set[int]) -> list[Any]:
        return [message for message in await self.standing(chat) if message["message_id"] not in before]


SHOWN = ("response", "chat.postMessage", "chat.postEphemeral", "views.open")


@asynccontextmanager
async def chatting(
    database: Database, slack_url: str, telegram_url: str, **settings: str
) -> AsyncIterator[Chatting]:  # fmt: skip
    """Chats on Slack (HTTP) and Telegram (webhook), ready to be spoken to."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    values = {
        "SECRET_KEY": "k", "PUBLIC_URL": url, "ALLOW_PRIVATE_HOSTS": "1",
        "SLACK_BOT_TOKEN": "xoxb-stand-in", "SLACK_SIGNING_SECRET": SECRET, "SLACK_API_URL": f"{slack_url}/api/",
        "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_WEBHOOK_SECRET": "hook", "TELEGRAM_API_URL": f"{telegram_url}/bot",
        "TELEGRAM_FILE_URL": f"{telegram_url}/file/bot",
    } | settings  # fmt: skip
    read = read_settings({f"CASINOFLUX_{name}": value for name, value in values.items() if value})
    clock = Clock()
    async with database.begin() as tx:
        team_id = await teams.first(tx, clock())
        await ensure_codec(tx)
    runtime = Runtime(
        settings=read, database=database, box=Box("k"), ports=HubPorts(read), team_id=team_id, clock=clock
    )
    chats = Chats(runtime)
    app = Litestar(route_handlers=chats.handlers, openapi_config=None, logging_config=None)
    server = Listener(app, host="127.0.0.1", port=port)
    await server.start()
    await chats.start()
    try:
        async with (
            httpx.AsyncClient(base_url=slack_url, timeout=60) as slack,
            httpx.AsyncClient(base_url=telegram_url, timeout=60) as telegram,
        ):
            chatting_hub = Chatting(runtime, chats, slack, telegram)
            await chatting_hub.on(slack, "setup", hub=url, signing_secret=SECRET)
            await chatting_hub.on(slack, "reset")
            await chatting_hub.on(telegram, "reset")
            await eventually(
                lambda: _settled(chatting_hub, bool(values["TELEGRAM_WEBHOOK_SECRET"])), "Telegram to be ready"
            )
            yield chatting_hub
    finally:
        await chats.stop()
        await server.stop()


async def _settled(chats: Chatting, webhook: bool) -> bool:
    if chats.chats.telegram is None or not chats.chats.telegram.ready:
        return False
    webhook_info = (await chats.telegram.get("/_control/webhook")).json()
    return bool(webhook_info.get("url", "").startswith(chats.url)) if webhook else not webhook_info
