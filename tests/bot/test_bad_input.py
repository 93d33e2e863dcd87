"""Every command with hostile words, in both chats: an answer that either platform takes, and no fault of ours."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from bot.chat.session import Caller, ChatSessions, Reply, handle
from bot.core.command import COMMANDS, line_of
from bot.core.context import Deployment, Room
from bot.core.message import Table
from bot.core.permissions import ENTITIES
from bot.slack import blocks as slack_blocks
from bot.slack import form as slack_form
from bot.slack.form import Origin
from bot.telegram import html as telegram_html
from hub.runtime.ports import HubPorts
from hub.runtime.settings import read_settings
from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.facts import Role
from storage.people import members
from storage.tables import click_rollup
from storage.tables.types import EPOCH_DAY
from tests.bot.bad_input import NAMES, hostile_calls, seeds
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.bot.render.test_renderers import check_telegram
from tests.standins.slack_limits import check_slack, check_view

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
READS = ("list", "show")


class Speaker:
    """An owner who says lines in a chat, without a platform in between."""

    def __init__(self, sessions: ChatSessions, room: Room) -> None:
        self.sessions, self.caller = sessions, Caller(room=room, name="Anna")

    async def say(self, line: str) -> Reply:
        return await handle(self.sessions, self.caller, line)

    async def codes(self) -> dict[str, str]:
        """The first entity of each kind, by noun."""
        async with self.sessions.database.read() as tx:
            return {
                noun: str(code)
                for noun, entity in ENTITIES.items()
                if (code := (await tx.execute(select(entity.table.c.code).limit(1))).scalar())
            }


@asynccontextmanager
async def speaking(path: Path) -> AsyncIterator[Speaker]:
    database = Database(f"sqlite+aiosqlite:///{path}")
    settings = read_settings({"CASINOFLUX_SECRET_KEY": "k", "CASINOFLUX_ALLOW_PRIVATE_HOSTS": "1"})
    sessions = ChatSessions(
        database=database, deployment=lambda: Deployment(public_url="https://track.example.test"),
        ports=HubPorts(settings), box=Box("k"), clock=lambda: NOON,
    )  # fmt: skip
    room = Room(face="telegram", room="42", user="42", private=True)
    try:
        async with database.begin() as tx:
            team_id = await teams.first(tx, NOON)
            await ensure_codec(tx)
            code, _ = await members.invite(tx, team_id=team_id, role=Role.OWNER, campaigns=None, now=NOON)
        speaker = Speaker(sessions, room)
        assert (await speaker.say(f"start {code}")).done
        yield speaker
    finally:
        await database.close()


async def seed(speaker: Speaker, name: str) -> None:
    for command, arguments in seeds(name):
        reply = await speaker.say(line_of(COMMANDS[command], arguments))
        assert reply.done, (command, reply.message.title)


async def check_reply(speaker: Speaker, reply: Reply, line: str) -> None:
    """What either chat would be sent: valid, within the limits, and no fault of ours."""
    assert "on our side" not in reply.message.title, line
    heads = [head for block in reply.message.blocks if isinstance(block, Table) for head in block.columns]
    assert all(head.strip() for head in heads), f"{line}: a column without a head"
    check_slack(slack_blocks.render(reply.message))
    check_slack(slack_blocks.fallback(reply.message))
    check_telegram(telegram_html.render(reply.message))
    if reply.form and reply.actor:
        origin = Origin(command=reply.form.command)
        check_view(await slack_form.view(speaker.sessions, reply.actor, reply.form, origin))


@pytest.fixture
def database_file(tmp_path: Path, sqlite_template: Path) -> Path:
    return Path(shutil.copy(sqlite_template, tmp_path / "casinoflux.db"))


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_every_command_takes_hostile_words_or_says_what_is_wrong(database_file: Path, thorough: bool) -> None:
    async with speaking(database_file) as speaker:
        await seed(speaker, "Lucky")
        codes = await speaker.codes()
        for command, arguments in hostile_calls(codes, thorough=thorough):
            line = line_of(command, arguments)
            await check_reply(speaker, await speaker.say(line), line)


@pytest.mark.parametrize("kind", NAMES)
async def test_names_of_200_characters_are_listed_shown_and_counted(database_file: Path, kind: str) -> None:
    name = NAMES[kind]
    async with speaking(database_file) as speaker:
        await seed(speaker, name)
        codes = await speaker.codes()
        lines = [f"{noun} {verb} {code if verb == 'show' else ''}" for noun, code in codes.items() for verb in READS
                 if f"{noun} {verb}" in COMMANDS]  # fmt: skip
        lines += [f"stats 7d campaign={codes['campaign']}", "stats 7d by campaign,offer,source", "sync status",
                  f"why {codes['campaign']}", "campaign pause source=" + codes["source"], "site overview"]  # fmt: skip
        for line in [*lines, *(f'{noun} find "{word}"' for noun in ("campaign", "offer") for word in name.split()[:1])]:
            reply = await speaker.say(line)
            assert reply.done, (line, reply.message.title)
            await check_reply(speaker, reply, line)
        shown = await speaker.say(name.replace("\\", "\\\\"))
        await check_reply(speaker, shown, name)


async def test_two_thousand_campaigns_fit_any_message(database_file: Path) -> None:
    async with speaking(database_file) as speaker:
        await seed(speaker, "Lucky")
        table = ENTITIES["campaign"].table
        async with speaker.sessions.database.begin() as tx:
            first = (await tx.execute(select(table))).mappings().one()
            names = list(NAMES.values())
            await tx.execute(insert(table), [
                dict(first) | {"id": n, "code": f"code-{n}", "name": f"{n} {names[n % len(names)]}"[:200]}
                for n in range(2, 2001)
            ])  # fmt: skip
            await tx.execute(insert(click_rollup), [_clicks(n, team_id=first["team_id"]) for n in range(1, 2001)])
        for line in (
            "campaign list", "campaign list limit=500", "campaign find x", "stats today", "stats 7d by campaign,offer",
            "stats today vs yesterday", "stats today after=1995", "best 2000 campaigns today by clicks",
            "campaign pause source=lucky", f"campaign pause {','.join(f'code-{n}' for n in range(2, 300))}",
            "member role x buyer campaigns=lucky", "campaign show cod-2", "no such thing",
        ):  # fmt: skip
            await check_reply(speaker, await speaker.say(line), line)


def _clicks(campaign_id: int, *, team_id: int) -> dict[str, Any]:
    return {
        "team_id": team_id, "hour": (date(2026, 11, 22) - EPOCH_DAY).days * 24 + 9, "campaign_id": campaign_id,
        "site_id": 0, "offer_id": 1, "source_id": 0, "country": "DE", "device": "mobile", "currency": "EUR",
        "clicks": 999_999_999, "unique_clicks": 1, "bot_clicks": 0, "site_visits": 0, "outgoing": 0,
        "cost": 999_999_999_999_000_000 // 1000,
    }  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
async def test_the_sdks_post_hostile_names_as_they_are(chat: Chat, kind: str) -> None:
    """Through the real SDKs to the stand-ins, which refuse what the platforms would."""
    async with chat() as chatting:
        await chatting.tell(f"/start {await chatting.invite()}")
        await chatting.flux(f"join {await chatting.invite()}")
        for command, arguments in seeds(NAMES[kind]):
            await chatting.tell("/" + line_of(COMMANDS[command], arguments))
        for line in ("campaign list", "offer list", "stats 7d", "account list", "offer add", "campaign pause"):
            answer = await chatting.tell(f"/{line}")
            assert "on our side" not in answer["text"]
            await chatting.flux(line)
        await _none_refused(chatting)


async def _none_refused(chatting: Chatting) -> None:
    for sent in await chatting.calls(chatting.slack, "response", "chat.postMessage", "chat.postEphemeral"):
        if sent.get("blocks"):
            check_slack(sent)
    for sent in await chatting.calls(chatting.slack, "views.open"):
        check_view(sent["view"] if isinstance(sent["view"], dict) else json.loads(sent["view"]))
