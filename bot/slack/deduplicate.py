"""Slack's requests are handled once: the same signed request, the same event, or one it marks as a retry."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from time import monotonic

from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.chat.session import ChatSessions
from storage.chat import processed_events

GOOD_FOR = 300.0  # seconds after which a signature is stale anyway
WAIT = 1.5  # seconds for the database; Slack waits three for its answer


class Deduplicator:
    """Remembers requests in the database for all processes, and in memory while the database is busy."""

    def __init__(self, sessions: ChatSessions) -> None:
        self.sessions = sessions
        self._recent: dict[str, float] = {}

    async def handle(self, request: AsyncBoltRequest, next_: Callable[[], Awaitable[BoltResponse]]) -> BoltResponse:
        """Bolt's middleware: what was handled gets its 200 and goes no further."""
        keys = [f"slack:sig:{signature}" for signature in request.headers.get("x-slack-signature", [])]
        if event := request.body.get("event_id"):
            keys.append(f"slack:event:{event}")
        body = f"slack:body:{hashlib.sha256(request.raw_body.encode()).hexdigest()}"
        again = "x-slack-retry-num" in request.headers
        if self._seen(keys) or not await self._fresh(keys, body, again=again):
            return BoltResponse(status=200, body="")
        return await next_()

    def _seen(self, keys: list[str]) -> bool:
        now = monotonic()
        self._recent = {key: at for key, at in self._recent.items() if at > now - GOOD_FOR}
        seen = any(key in self._recent for key in keys)
        self._recent |= dict.fromkeys(keys, now)
        return seen

    async def _fresh(self, keys: list[str], body: str, *, again: bool) -> bool:
        """Whether no process has handled it; taken for fresh where the database does not say so in time, since Slack
        would otherwise tell the person that we do not answer."""
        try:
            return await asyncio.wait_for(self._claim(keys, body, again=again), WAIT)
        except TimeoutError:
            return True

    async def _claim(self, keys: list[str], body: str, *, again: bool) -> bool:
        now = self.sessions.clock()
        async with self.sessions.database.begin() as tx:
            repeated = again and await processed_events.before(tx, body)
            fresh = await processed_events.first_time(tx, now, *keys)
            await processed_events.first_time(tx, now, body)
        return fresh and not repeated
