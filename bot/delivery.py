"""Messages from the outbox to their rooms: in order per room, within the platforms' limits, never twice.

A message is claimed by compare-and-set before it is sent. Where a send ends without an answer (a time-out, a process
that dies) it may have arrived, so it is given up rather than posted a second time.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from time import process_time
from typing import Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.message import Message, Notice, Text
from bot.render.figures import plural
from storage.chat import messages, rooms
from storage.chat.messages import Queued
from storage.chat.rooms import RoomRow
from storage.db import tasks
from storage.db.engine import Database

log = logging.getLogger(__name__)

PER_SECOND = 15  # Telegram allows 30 calls a second over all chats, and a digest is two
GENTLE, BUSY = 3, 0.5  # messages a second while this process uses more than half a processor: clicks go first
BACK_OFF = (5, 30, 120, 600, 1800, 3600, 7200, 14400)  # seconds after each temporary failure, then dead
GATHER = 0.5  # seconds that an outcome waits for others, to be kept in one transaction with them
GROUP_GAP, OWN_GAP = 3.0, 1.0  # Telegram: 20 a minute in a group, one a second in a chat; Slack: one a second


class Lost(Exception):
    """We may not write to that room any more: bot removed or blocked, channel archived or gone."""


class RetryLater(Exception):
    """It was surely not posted: try again after so many seconds (None: as we see fit)."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class Unsendable(Exception):
    """This message can never be posted, or may have been posted: the room is fine."""


class Sender(Protocol):
    """One chat platform."""

    async def post(self, item: Queued, message: Message, *, under: str | None) -> str:
        """Post and return the platform's id of the message. `under`: the id of the message it answers.

        Raises Lost, RetryLater or Unsendable.
        """


class Delivery:
    """One process's deliverer. `senders` gives the platforms that are set up, by face."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], senders: Callable[[], dict[str, Sender]]
    ) -> None:
        self.database, self.clock, self.senders = database, clock, senders
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._ended: list[tuple[Queued, str | Exception]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._free_at: dict[int, float] = {}
        self._allowance: float = PER_SECOND
        self._asked_at, self._used = 0.0, 0.0

    async def tick(self) -> int:
        """Begin to send what is due and may go now; returns how many were begun. Call about once a second."""
        now = self.clock()
        limit = self._allowed()
        faces = sorted(self.senders())
        if not faces or limit < 1:
            return 0
        if not await self.database.look(lambda tx: messages.due(tx, now, faces)):
            return 0
        claimed = await self.database.run(lambda tx: self._claim(tx, now, faces, limit))
        self._allowance -= len(claimed)
        for n, item in enumerate(claimed):
            # One after the other: all at once, they would hold up the clicks of that moment.
            self._sending[item.room_id] = asyncio.create_task(self._send(item, after=n / PER_SECOND))
        return len(claimed)

    async def _claim(self, tx: AsyncConnection, now: datetime, faces: list[str], limit: int) -> list[Queued]:
        await messages.expire_lapsed(tx, now)
        return await messages.claim(tx, now, faces=faces, busy=self._busy(), limit=limit)

    async def drain(self) -> None:
        """Wait for what is being sent."""
        while self._sending:
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def _allowed(self) -> int:
        """How many messages may go now: a bucket that fills by the second."""
        at, used = asyncio.get_running_loop().time(), process_time()
        lasted = max(at - self._asked_at, 0.001)
        pace = GENTLE if (used - self._used) / lasted > BUSY else PER_SECOND
        self._allowance = min(pace, self._allowance + lasted * pace)
        self._asked_at, self._used = at, used
        return int(self._allowance)

    def _busy(self) -> set[int]:
        at = asyncio.get_running_loop().time()
        self._free_at = {room: free for room, free in self._free_at.items() if free > at}
        return {*self._sending, *self._free_at}

    async def _send(self, item: Queued, *, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await self._keep(item, await self._outcome(item))
        finally:
            gap = OWN_GAP if item.private or item.face == "slack" else GROUP_GAP
            self._free_at[item.room_id] = asyncio.get_running_loop().time() + gap
            del self._sending[item.room_id]

    async def _keep(self, item: Queued, outcome: str | Exception) -> None:
        """Outcomes of one moment are kept in one transaction: each commit makes clicks wait for the disk."""
        self._ended.append((item, outcome))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_all())
        await asyncio.shield(self._keeping)

    async def _keep_all(self) -> None:
        if len(self._sending) > len(self._ended):
            await asyncio.sleep(GATHER)
        self._keeping, ended, self._ended = None, self._ended, []
        try:
            await self.database.run(lambda tx: self._settle(tx, ended))
        except Exception as error:  # kept with the next ones; a message whose claim lapses meanwhile is given up
            self._ended = ended + self._ended
            tasks.monitor.failed("message outcomes", error)
        else:
            tasks.monitor.succeeded("message outcomes")

    async def _outcome(self, item: Queued) -> str | Exception:
        sender = self.senders().get(item.face)
        if sender is None:
            return RetryLater(f"{item.face} is not set up here")
        under = None
        try:
            if item.answers:
                async with self.database.read() as tx:
                    under = await messages.posted_as(tx, item.answers)
        except Exception as fault:
            return RetryLater(tasks.short(fault))
        try:
            return await sender.post(item, msgspec.convert(item.message, Message), under=under)
        except Exception as fault:
            return fault

    async def _settle(self, tx: AsyncConnection, ended: list[tuple[Queued, str | Exception]]) -> None:
        now = self.clock()
        for item, outcome in ended:
            match outcome:
                case str():
                    await messages.sent(tx, item.id, outcome)
                case Lost():
                    await messages.dead(tx, item.id, str(outcome))
                    if room := await rooms.by_id(tx, item.room_id):
                        await lose(tx, room, now, str(outcome))
                case RetryLater() if item.attempts < len(BACK_OFF):
                    seconds = BACK_OFF[item.attempts] if outcome.seconds is None else outcome.seconds
                    await messages.retry(tx, item.id, now + timedelta(seconds=seconds), str(outcome))
                case _:
                    why = tasks.short(outcome)
                    log.warning("message %s to %s is given up: %s", item.id, item.face, why)
                    await messages.dead(tx, item.id, why)


async def lose(tx: AsyncConnection, room: RoomRow, now: datetime, why: str) -> None:
    """Mark a room as lost: its subscriptions stop, and the owners get a message in their own chats."""
    stopped = await rooms.lose(tx, room.id, now, why)
    if stopped < 0:
        return
    notice = lost_message(room.face, room.title or room.room, why, stopped)
    for own in await rooms.own_chats(tx, room.team_id, now, but=room.id):
        key = f"lost:{room.id}:{now:%Y%m%dT%H%M%S%f}:{own.id}"
        await messages.queue(tx, team_id=room.team_id, room_id=own.id, key=key, message=notice, now=now)


def lost_message(face: str, title: str, why: str, stopped: int) -> Message:
    """The owners' message about a room that the bot may not write to."""
    ended = f"{plural(stopped, 'subscription')} there stopped." if stopped else ""
    again = Text(f"Invite the bot again and subscribe again there. {ended}".strip())
    return Message(f"I can no longer write to {title} on {face.title()}", (Notice("warning", why), again))
