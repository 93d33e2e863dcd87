"""The interface that parts of the Slack adapter use: its app, its Web API, its replies."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.chat.session import Caller, ChatSessions, Reply


class Chat(Protocol):
    """The bot on Slack, as buttons and modals see it."""

    app: AsyncApp
    session: aiohttp.ClientSession
    sessions: ChatSessions

    async def client(self, workspace: str, *, patient: bool = True) -> AsyncWebClient:
        """A Web API client with the workspace's token."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Work that goes on after Slack has its answer."""

    async def tell(self, caller: Caller, reply: Reply, url: str, *, replace: bool = False) -> None:
        """Show a reply where it was asked for."""
