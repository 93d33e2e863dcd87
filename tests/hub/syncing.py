"""A hub's runtime without a server, spoken to by commands, and stand-ins as threads on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

import bot.commands  # noqa: F401  registers every command
from bot.core.command import parse, run
from bot.core.context import Actor, Context, Room
from hub.cli.standins.affilka import Affilka
from hub.jobs import sync
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.catalogue import teams
from storage.clicks import queries
from storage.db.secrets import Box
from storage.ledger.facts import Role
from tests.standins.serving import answering

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, **apart: float) -> None:
        self.now += timedelta(**apart)


class Ports(HubPorts):
    """The hub's ports on the test's clock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings)
        self._clock = clock

    def _now(self) -> datetime:
        return self._clock()


@dataclass
class Hub:
    """A deployment in one object."""

    runtime: Runtime
    clock: Clock

    async def say(self, text: str, **more: Any) -> Any:
        """Run a command as owner; its result as JSON."""
        command, arguments = parse(text)
        actor = Actor(team_id=self.runtime.team_id, name="test", role=Role.OWNER)
        context = Context(
            database=self.runtime.database, deployment=self.runtime.deployment, actor=actor, face="shell",
            ports=self.runtime.ports, box=self.runtime.box, clock=self.clock, room=Room(face="shell", room="test"),
        )  # fmt: skip
        answer = await run(command, arguments | more, context)
        return msgspec.json.decode(msgspec.json.encode(answer.result))

    async def sync(self) -> None:
        """Do all the syncing that is due now."""
        for _ in range(6):
            await sync.tick(self.runtime)
            while going := sync.of(self.runtime).going:
                await asyncio.gather(*going, return_exceptions=True)


@asynccontextmanager
async def hub(opened: Callable[[], Any]) -> AsyncIterator[Hub]:
    """A hub on an empty database."""
    clock = Clock()
    settings = Settings(secret_key="test-secret-key", allow_private_hosts=True)
    async with opened() as database:
        async with database.begin() as tx:
            team_id = await teams.first(tx, clock())
            await queries.ensure_codec(tx)
        runtime = Runtime(
            settings=settings, database=database, box=Box("test-secret-key"), ports=Ports(settings, clock),
            team_id=team_id, clock=clock,
        )  # fmt: skip
        sync.of(runtime).http.first_wait = 0.01
        try:
            yield Hub(runtime, clock)
        finally:
            await sync.stop(runtime)


@dataclass
class Programme:
    """A stand-in Affilka programme."""

    url: str
    standin: Affilka

    def says(self, day: str, campaign: str, **figures: Any) -> None:
        self.control("figures", day=day, campaign=campaign, **figures)

    def control(self, what: str, **values: Any) -> None:
        httpx.post(f"{self.url}/_control/{what}", json=values, timeout=60).raise_for_status()

    def fails(self, mode: Any, **more: Any) -> None:
        self.control("fail", mode=mode, **more)


@contextmanager
def programme() -> Iterator[Programme]:
    standin = Affilka()
    with answering(standin) as url:
        yield Programme(url, standin)
