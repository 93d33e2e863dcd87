"""Agents: the commands as tools of the Model Context Protocol, asked by the official client."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from mcp import Client
from mcp_types import CallToolResult, TextContent
from sqlalchemy import select

from bot.agents import MAX_LIST, PAGE, new_server, tool_name, tools
from bot.core.command import COMMANDS
from bot.core.context import Actor, Context
from bot.core.permissions import Scope
from storage.catalogue import teams
from storage.ledger.facts import Role
from storage.tables import audits, campaigns, confirmations
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


@asynccontextmanager
async def agent(asker: Asker, role: Role = Role.OWNER, **limits: Any) -> AsyncIterator[Client]:
    actor = Actor(team_id=asker.team_id, name=f"the-{role.value}", role=role, **limits)

    def context() -> Context:
        ctx = asker.context(actor)
        ctx.face = "mcp"
        return ctx

    async with Client(new_server(context)) as client:
        yield client


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def code(result: CallToolResult) -> str:
    return str(result.structured_content["confirm"])


async def test_every_command_is_a_tool_reads_first_in_forty_kilobytes(opened: Opened) -> None:
    async with asking(opened) as asker, agent(asker) as client:
        listing = await client.list_tools()
        assert "confirm" in (client.instructions or "")
    assert {tool.name for tool in listing.tools} == {tool_name(command) for command in COMMANDS.values()}
    assert len(listing.model_dump_json(by_alias=True, exclude_none=True)) <= 38_000  # 2 kB of room
    hints = {tool.name: tool.annotations for tool in listing.tools}
    reads = [tool.annotations.read_only_hint for tool in listing.tools if tool.annotations]
    assert reads == sorted(reads, key=lambda read_only: not read_only), "what only reads comes first"
    for command in COMMANDS.values():
        hint = hints[tool_name(command)]
        assert hint is not None
        assert bool(hint.read_only_hint) == (not command.changes)
        assert command.changes is False or hint.destructive_hint == (command.confirm is not None), command.name
    by_name = {tool.name: tool.input_schema for tool in listing.tools}
    assert by_name["spend_add"]["required"] == ["campaign", "day", "amount"]
    assert by_name["token_create"]["properties"]["name"] == {}


def test_the_list_stays_small_however_many_commands_there_are() -> None:
    names = tuple(COMMANDS)
    assert len(msgspec.json.encode(tools(names[:20]))) < len(msgspec.json.encode(tools(names))) <= MAX_LIST
    cut = [tool for tool in tools(names) if tool["description"].endswith("…")]
    assert len(cut) < len(names) / 10, "descriptions end where a sentence can"
    few = next(tool for tool in tools(("campaign create",)) if tool["name"] == "campaign_create")
    assert len(few["inputSchema"]["properties"]) > 10, "a short list has room for optional fields"


async def test_a_change_is_asked_about_first_and_done_once_with_its_code(opened: Opened) -> None:
    async with asking(opened) as asker, agent(asker) as client:
        question = await client.call_tool(
            "campaign_create", {"name": "Spring push", "cost_model": "cpc", "cost": "0.1"}
        )
        assert "This changes something: campaign create" in text(question)
        assert "Spring push" in text(question)
        async with asker.database.read() as tx:
            assert (await tx.execute(select(campaigns.c.id))).first() is None
        assert "Spring push" in text(await client.call_tool("confirm", {"code": code(question)}))
        again = await client.call_tool("confirm", {"code": code(question)})
        assert again.is_error
        assert "already" in text(again)
        assert "Spring push" in text(await client.call_tool("campaign_list", {}))
        async with asker.database.read() as tx:
            audit = (await tx.execute(select(audits).where(audits.c.command == "campaign create"))).one()
        assert (audit.face, audit.actor) == ("mcp", "the-owner")


async def test_a_question_of_credentials_keeps_them_encrypted(opened: Opened) -> None:
    async with asking(opened) as asker, agent(asker) as client:
        arguments = {"platform": "affilka", "name": "Main", "base_url": "https://affilka.example.test",
                     "token": "very-secret-token", "test": False}  # fmt: skip
        question = await client.call_tool("account_add", arguments)
        assert "very-secret-token" not in text(question)
        async with asker.database.read() as tx:
            row = (await tx.execute(select(confirmations))).one()
        assert "very-secret-token" not in str(row.arguments)
        assert "Main" in text(await client.call_tool("confirm", {"code": code(question)}))


async def test_faults_name_the_field_and_the_fix(opened: Opened) -> None:
    async with asking(opened) as asker, agent(asker) as client:
        lacking = await client.call_tool("spend_add", {"campaign": "x"})
        assert lacking.is_error
        assert "day" in text(lacking)
        assert "usage: spend add" in text(lacking)
        wrong = await client.call_tool("campaign_create", {"nmae": "x"})
        assert wrong.is_error
        assert "did you mean 'name'" in text(wrong)
        unknown = await client.call_tool("campain_list", {})
        assert unknown.is_error
        assert "campaign list" in text(unknown)


async def test_results_are_pages_that_say_how_they_go_on(opened: Opened) -> None:
    async with asking(opened) as asker, agent(asker) as client:
        for n in range(PAGE + 1):
            await asker(f"campaign create name=c{n:02}")
        first = text(await client.call_tool("campaign_list", {}))
        assert "c00" in first
        assert f"c{PAGE:02}" not in first
        after = first.rpartition("after=")[2]
        assert f"c{PAGE:02}" in text(await client.call_tool("campaign_list", {"after": after}))


async def test_an_agent_has_the_rights_of_its_token_and_no_more(opened: Opened) -> None:
    async with asking(opened) as asker:
        await asker("campaign create name=Mine")
        await asker("campaign create name=Theirs")
        async with asker.database.begin() as tx:
            other = await teams.add(tx, "Others", asker.now)
        async with agent(asker, Role.VIEWER) as viewer:
            names = {tool.name for tool in (await viewer.list_tools()).tools}
            assert "campaign_list" in names
            assert "campaign_create" not in names
            refused = await viewer.call_tool("campaign_create", {"name": "x"})
            assert refused.is_error
            assert "needs the role buyer" in text(refused)
        async with agent(asker, Role.BUYER, campaigns=("mine",)) as limited:
            names = {tool.name for tool in (await limited.list_tools()).tools}
            assert not names & {tool_name(c) for c in COMMANDS.values() if c.scope is Scope.TEAM}
            shown = text(await limited.call_tool("campaign_list", {}))
            assert "Mine" in shown
            assert "Theirs" not in shown
            assert (await limited.call_tool("campaign_show", {"campaign": "theirs"})).is_error
        asker.team_id = other.id
        async with agent(asker) as foreign:
            assert "Mine" not in text(await foreign.call_tool("campaign_list", {}))
            assert (await foreign.call_tool("campaign_show", {"campaign": "mine"})).is_error
