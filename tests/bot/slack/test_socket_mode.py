"""Slack without a public address: the socket is opened, commands come through it, answers go out over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from aiohttp import WSMsgType, web

from tests.bot.conftest import Chat
from tests.waiting import eventually


class Socket:
    """Slack's side of the socket."""

    def __init__(self) -> None:
        self.open: web.WebSocketResponse | None = None
        self.acknowledged: list[str] = []
        self.posted: list[dict[str, Any]] = []
        self.url = ""

    async def call(self, request: web.Request) -> web.Response:
        if request.path.endswith("apps.connections.open"):
            return web.json_response({"ok": True, "url": self.url.replace("http", "ws") + "/link"})
        if request.path.startswith("/_response"):
            self.posted.append(await request.json())
        return web.json_response({"ok": True, "user_id": "U0BOT", "team_id": "T0", "bot_id": "B0"})

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.open = socket
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0"}})
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                self.acknowledged.append(json.loads(message.data)["envelope_id"])
        return socket

    async def command(self, text: str, number: int) -> None:
        assert self.open is not None
        payload = {
            "command": "/flux", "text": text, "team_id": "T0", "channel_id": "C0", "channel_name": "general",
            "user_id": "U0ANNA", "user_name": "anna", "trigger_id": "1",
            "response_url": f"{self.url}/_response/{number}",
        }  # fmt: skip
        envelope = {"envelope_id": str(number), "type": "slash_commands", "accepts_response_payload": True}
        await self.open.send_json(envelope | {"payload": payload})


@asynccontextmanager
async def listening() -> AsyncIterator[Socket]:
    socket = Socket()
    app = web.Application()
    app.router.add_get("/link", socket.link)
    app.router.add_post("/{tail:.*}", socket.call)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    socket.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield socket
    finally:
        await runner.cleanup()


async def test_commands_come_through_the_socket(chat: Chat) -> None:
    async with listening() as socket:
        settings = {"SLACK_SIGNING_SECRET": "", "SLACK_APP_TOKEN": "xapp-1", "SLACK_API_URL": f"{socket.url}/api/"}
        async with chat(**settings) as chats:
            await eventually(lambda: _now(socket.open), "the socket to open")
            await _answer_over_socket(socket, f"join {await chats.invite()}", 1)
            answer = await _answer_over_socket(socket, "member list", 2)
            assert "anna" in json.dumps(answer)
            await eventually(
                lambda: _now(socket.acknowledged == ["1", "2"] or None), "both to be acknowledged, once each"
            )


async def test_no_one_gets_in_over_http_where_no_signature_can_be_checked(chat: Chat) -> None:
    async with listening() as socket, httpx.AsyncClient(timeout=60) as client:
        settings = {"SLACK_SIGNING_SECRET": "", "SLACK_APP_TOKEN": "xapp-1", "SLACK_API_URL": f"{socket.url}/api/"}
        async with chat(**settings) as chats:
            body = {"command": "/flux", "text": "help", "team_id": "T0", "channel_id": "C0", "user_id": "U0"}
            answer = await client.post(f"{chats.url}/slack/events", data=body)
            assert answer.status_code == 404


async def _now(value: Any) -> bool:
    await asyncio.sleep(0)
    return value is not None


async def _answer_over_socket(socket: Socket, text: str, number: int) -> Any:
    await socket.command(text, number)

    async def answered() -> Any:
        return len(socket.posted) == number and socket.posted[-1]

    return await eventually(answered, f"an answer to {text}")
