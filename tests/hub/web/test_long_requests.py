"""A request that takes too long is given up: HTTP and chats say how to narrow it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from bot.chat.session import ChatSessions, carry_out
from bot.core.command import parse, run
from bot.core.context import Actor, Context, Room
from bot.render import terminal
from hub.requests.problems import from_error
from hub.runtime.helper_process import HelperProcess
from hub.runtime.ports import HubPorts
from hub.runtime.settings import read_settings
from storage.db.secrets import Box
from storage.ledger.errors import TooLong
from storage.ledger.facts import Role
from storage.tables import offers
from tests.bot.asking import NOON, asking

HEAVY = "stats 2024-01-01..2026-11-01 by sub1"


async def test_a_command_that_reads_for_too_long_is_given_up_and_the_next_one_is_answered(
    opened: Callable[[], Any],
) -> None:
    async with asking(opened) as say:
        say.deployment = msgspec.structs.replace(say.deployment, limit_seconds=0.05)
        command, arguments = parse("offer list")

        async def read_for_ever(ctx: Context, _new: Any) -> None:
            await ctx.tx.execute(select(func.count()).select_from(offers))
            await asyncio.Event().wait()

        actor = Actor(team_id=say.team_id, name="anna", role=Role.OWNER)
        endless = replace(command, handler=read_for_ever)
        with pytest.raises(TooLong, match=r"longer than 0\.05 seconds: ask for fewer days"):
            await run(endless, arguments, say.context(actor))
        assert (await say("offer list"))["items"] == []


async def test_a_report_over_the_limit_is_given_up_with_advice(opened: Callable[[], Any]) -> None:
    helper = HelperProcess(seconds=0.01)  # shorter than its process needs to start
    try:
        async with asking(opened) as say:
            say.ports = HubPorts(read_settings({"CASINOFLUX_SECRET_KEY": "k"}), helper)
            with pytest.raises(TooLong) as given_up:
                await say(HEAVY)
            answer = from_error(given_up.value)
            assert answer.status_code == 422
            assert "ask for fewer days" in msgspec.json.decode(answer.content)["detail"]
            sessions = ChatSessions(
                database=say.database, deployment=lambda: say.deployment, ports=say.ports, box=Box("k"),
                clock=lambda: NOON,
            )  # fmt: skip
            actor = Actor(team_id=say.team_id, name="anna", role=Role.OWNER)
            command, arguments = parse(HEAVY)
            reply = await carry_out(sessions, Room(face="slack", room="C1"), actor, command, arguments)
            assert "this takes longer than 0.01 seconds: ask for fewer days" in terminal.render(reply.message)
    finally:
        helper.close()
