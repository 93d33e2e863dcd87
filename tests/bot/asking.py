"""Ask the bot as an owner, a buyer or a viewer does, on a real database; hear the result as JSON."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import insert

import bot.commands  # noqa: F401  registers every command
from bot.core.command import COMMANDS, Answer, Command, parse, run
from bot.core.context import Actor, Context, Deployment
from bot.render import terminal
from hub.runtime.ports import HubPorts
from hub.runtime.settings import read_settings
from storage.catalogue import teams
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.facts import Role
from storage.tables import accounts

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Asker:
    """`await say("offer list")` answers as the API would; `now` can be moved."""

    def __init__(self, database: Database, team_id: int) -> None:
        self.database = database
        self.team_id = team_id
        self.now = NOON
        self.shown = ""
        self.deployment = Deployment(public_url="https://track.example.test")
        self.ports = HubPorts(read_settings({"CASINOFLUX_SECRET_KEY": "k", "CASINOFLUX_ALLOW_PRIVATE_HOSTS": "1"}))

    async def __call__(self, text: str, *, role: Role = Role.OWNER, campaigns: tuple[str, ...] | None = None) -> Any:
        actor = Actor(team_id=self.team_id, name=f"the-{role.value}", role=role, campaigns=campaigns)
        answer = await self.ask(text, actor)
        self.shown = terminal.render(answer.message)
        return msgspec.json.decode(msgspec.json.encode(answer.result))

    async def sure(self, text: str, *, role: Role = Role.OWNER) -> Any:
        """A command that asks first, and its confirmation."""
        question = await self(text, role=role)
        return await self(f"confirm {question['confirm']}", role=role)

    async def tell(self, name: str, /, **arguments: Any) -> Any:
        """A command with arguments that no line could hold."""
        actor = Actor(team_id=self.team_id, name="the-owner", role=Role.OWNER)
        return (await self._run(COMMANDS[name], arguments, actor)).result

    async def ask(self, text: str, actor: Actor) -> Answer:
        command, arguments = parse(text)
        return await self._run(command, arguments, actor)

    async def _run(self, command: Command, arguments: dict[str, Any], actor: Actor) -> Answer:
        return await run(command, arguments, self.context(actor))

    def context(self, actor: Actor) -> Context:
        """One call of a command by a member."""
        return Context(
            database=self.database, deployment=self.deployment, actor=actor,
            face="shell", ports=self.ports, box=Box("k"), clock=lambda: self.now,
        )  # fmt: skip

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    async def account(self, name: str = "main") -> int:
        """An account without a platform behind it."""
        async with self.database.begin() as tx:
            made = await tx.execute(insert(accounts).values(
                team_id=self.team_id, name=name, code=name, created_at=self.now, platform="postback_only",
                timezone="UTC", currency="EUR", options={}, postback_key=f"key-{name}",
            ).returning(accounts.c.id))  # fmt: skip
            return int(made.scalar_one())


@asynccontextmanager
async def asking(opened: Callable[[], Any]) -> AsyncIterator[Asker]:
    """An asker on an empty database."""
    async with opened() as database:
        async with database.begin() as tx:
            team_id = await teams.first(tx, NOON)
        yield Asker(database, team_id)
