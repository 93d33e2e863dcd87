"""The gate: every command, for every role, on an entity of the actor's own, a shared one, one of other campaigns and
one of another team, by code, name and id, on both databases. A command without a verdict fails here."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from bot.core import permissions
from bot.core.arguments import fill
from bot.core.command import COMMANDS, Command, run
from bot.core.context import Actor
from bot.core.permissions import Reference, Scope
from bot.core.serving import ENTITIES, changeable, may_change, may_see, named_entities, visible
from storage.ledger.errors import CasinoFluxError, Forbidden, Missing
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking
from tests.bot.core.worlds import MINE, OpenWorld

Opened = Callable[[], Any]

#: May a buyer limited to campaigns give the command, with an entity of own campaigns, a shared one, and one of others'
#: campaigns? One line per field that refers to something; `-` is a command that names nothing.
LIMITED: dict[str, dict[str, str]] = {
    "account list": {"group": "yes yes no"},
    "account show": {"account": "yes yes no"},
    "account test": {"account": "yes yes no"},
    "alert ack": {"alert": "yes no no"},
    "alert add": {"campaign": "yes - no", "group": "yes yes no"},
    "alert list": {"-": "yes"},
    "alert mute": {"-": "yes"},
    "alert remove": {"alert": "yes no no"},
    "alert show": {"alert": "yes no no"},
    "alert snooze": {"alert": "yes no no"},
    "automation add": {
        "campaign": "yes - no",
        "offer": "yes yes no",
        "source": "yes yes no",
        "account": "yes yes no",
        "casino": "yes yes no",
        "group": "yes yes no",
    },
    "automation edit": {"automation": "yes no no"},
    "webhook add": {"campaigns": "yes - no"},
    "webhook list": {"-": "yes"},
    **{
        f"webhook {verb}": {"webhook": "yes no no"}
        for verb in ("edit", "log", "pause", "remove", "resend", "resume", "show")
    },
    "webhook test": {"webhook": "yes no no"},
    "automation list": {"-": "yes"},
    "automation log": {"automation": "yes no no"},
    "automation pause": {"automation": "yes no no"},
    "automation remove": {"automation": "yes no no"},
    "automation resume": {"automation": "yes no no"},
    "automation show": {"automation": "yes no no"},
    "automation templates": {"-": "yes"},
    "automation test": {"automation": "yes no no"},
    "campaign breakeven": {"campaign": "yes - no"},
    "campaign budget": {"campaign": "yes - no"},
    "campaign archive": dict.fromkeys(("source", "site", "offer", "group"), "yes yes no") | {"campaign": "yes - no"},
    "campaign restore": dict.fromkeys(("source", "site", "offer", "group"), "yes yes no") | {"campaign": "yes - no"},
    **{
        f"{noun} {verb}": {noun: "yes no no", "group": "yes yes no"}
        for noun in ("casino", "site", "source")
        for verb in ("archive", "restore")
    },
    **{
        f"offer {verb}": {"offer": "yes no no"} | dict.fromkeys(("account", "casino", "group"), "yes yes no")
        for verb in ("archive", "restore")
    },
    "domain edit": {"domain": "yes no no"},
    "find": {"-": "yes"},
    "group add": {"-": "yes"},
    "history": dict.fromkeys(("offer", "account", "source", "casino"), "yes yes no") | {"campaign": "yes - no"},
    "group edit": {"group": "yes no no"},
    "group list": {"-": "yes"},
    "group remove": {"group": "yes no no"},
    "group show": {"group": "yes yes no"},
    "note": dict.fromkeys(("offer", "casino", "site", "domain", "source", "account"), "yes no no")
    | {"campaign": "yes - no"},
    "campaign copy": {"campaign": "yes - no"},
    "campaign create": {"offers": "yes yes no", "site": "yes yes no", "source": "yes yes no"},
    "campaign distribution": {"campaign": "yes - no"},
    "campaign edit": {"campaign": "yes - no", "offers": "yes yes no", "site": "yes yes no", "source": "yes yes no"},
    "campaign link": {"campaign": "yes - no"},
    "campaign list": {"source": "yes yes no", "group": "yes yes no"},
    "campaign pause": dict.fromkeys(("source", "site", "offer", "group"), "yes yes no") | {"campaign": "yes - no"},
    "campaign resume": dict.fromkeys(("source", "site", "offer", "group"), "yes yes no") | {"campaign": "yes - no"},
    "campaign show": {"campaign": "yes - no"},
    "cancel": {"-": "yes"},
    "casino edit": {"casino": "yes no no"},
    "casino fill": {"casino": "yes no no"},
    "casino hub": {"-": "yes"},
    "casino list": {"group": "yes yes no"},
    "casino logo": {"casino": "yes no no"},
    "casino review": {"casino": "yes no no"},
    "casino show": {"casino": "yes yes no"},
    "click log": {"campaign": "yes - no", "offer": "yes yes no", "site": "yes yes no", "source": "yes yes no"},
    "click show": {"click_id": "yes - no"},
    "cockpit": {"-": "yes"},
    "confirm": {"-": "yes"},
    "conversion add": {"click_id": "yes - no", "campaign": "yes - no", "account": "yes yes no", "offer": "yes yes no"},
    "conversion edit": {"conversion": "yes - no"},
    "conversion import": {"-": "yes"},
    "conversion list": {"campaign": "yes - no"},
    "digest list": {"-": "yes"},
    "digest preview": {"digest": "yes no no", "campaigns": "yes - no", "group": "yes yes no"},
    "digest subscribe": {"campaigns": "yes - no", "group": "yes yes no"},
    "digest unsubscribe": {"digest": "yes no no"},
    "domain add": {"site": "yes no no", "provider": "- yes -"},
    "domain attach": {"domain": "yes no no", "site": "yes no no"},
    "domain check": {"registrar": "- yes -"},
    "domain list": {"site": "yes yes no", "group": "yes yes no"},
    "domain move": {"domain": "yes no no", "to": "yes no no"},
    "domain show": {"domain": "yes yes no"},
    "domain verify": {"domain": "yes no no"},
    "forecast": {"offer": "yes yes no", "campaign": "yes - no"},
    "help": {"-": "yes"},
    "join": {"-": "yes"},
    "member link": {"-": "yes"},
    "member list": {"-": "yes"},
    "offer add": {"account": "yes yes no", "alternative": "yes yes no"},
    "offer copy": {"offer": "yes yes no", "account": "yes yes no"},
    "offer edit": {"offer": "yes no no", "account": "yes yes no", "alternative": "yes yes no"},
    "offer link": {"offer": "yes yes no"},
    "offer list": {"account": "yes yes no", "casino": "yes yes no", "group": "yes yes no"},
    "offer pause": {"offer": "yes no no", "account": "yes yes no", "casino": "yes yes no", "group": "yes yes no"},
    "offer resume": {"offer": "yes no no", "account": "yes yes no", "casino": "yes yes no", "group": "yes yes no"},
    "offer show": {"offer": "yes yes no"},
    "cohorts": dict.fromkeys(("source", "offer", "account"), "yes yes no") | {"campaign": "yes - no"},
    "invoice add": {"-": "no"},
    "invoice cancel": {"-": "no"},
    "invoice list": {"-": "no"},
    "invoice show": {"-": "no"},
    "payment statement": {"-": "no"},
    "payment add": {"-": "no"},
    "payment list": {"-": "no"},
    "payment owed": {"-": "no"},
    "payment rule": {"-": "no"},
    "player upload": {"-": "no"},
    "placement allow": {"source": "yes no no", "campaign": "yes - no"},
    "placement block": {"source": "yes no no", "campaign": "yes - no"},
    "placement export": {"source": "yes yes no", "campaign": "yes - no"},
    "placement import": {"source": "yes no no", "campaign": "yes - no"},
    "placement list": {"source": "yes yes no", "campaign": "yes - no"},
    "placement remove": {"source": "yes no no", "campaign": "yes - no"},
    "postback log": {"account": "yes yes no", "click_id": "yes - no"},
    "postback replay": {"id": "yes - no", "account": "yes yes no", "click_id": "yes - no"},
    "postback resend": {"id": "yes - no"},
    "postback sent": {"source": "yes yes no"},
    "postback url": {"account": "yes no no"},
    "rate list": {"-": "yes"},
    "registrar list": {"-": "yes"},
    "report merged": dict.fromkeys(("site", "offer", "account", "source", "casino", "group"), "yes yes no")
    | {"campaign": "yes - no"},
    "revenue restated": {"-": "no"},
    "revenue vanished": {"-": "no"},
    "settings": {"-": "yes"},
    "simulate click": {"campaign": "yes - no", "saw": "yes yes no", "offers": "yes yes no"},
    "simulate postback": {"account": "yes yes no", "click_id": "yes - no"},
    "site analytics": {"site": "yes yes no"},
    "site create": {"offers": "yes yes no"},
    "site edit": {"site": "yes no no", "offers": "yes yes no"},
    "site files": {"site": "yes no no"},
    "site image": {"site": "yes no no"},
    "site list": {"group": "yes yes no"},
    "site overview": {"-": "yes"},
    "site pause": {"site": "yes no no"},
    "site publish": {"site": "yes no no"},
    "site report": {"site": "yes yes no"},
    "site rollback": {"site": "yes no no"},
    "site show": {"site": "yes yes no"},
    "site versions": {"site": "yes yes no"},
    "source add": {"-": "yes"},
    "source edit": {"source": "yes no no"},
    "source list": {"group": "yes yes no"},
    "source show": {"source": "yes yes no"},
    "spend add": {"campaign": "yes - no"},
    "spend import": {"-": "yes"},
    "stats": dict.fromkeys(("site", "offer", "account", "source", "casino", "group"), "yes yes no")
    | {"campaign": "yes - no"},
    "sync confirm": {"-": "no"},
    "sync discard": {"-": "no"},
    "sync now": {"-": "no"},
    "sync read": {"-": "no"},
    "sync show": {"-": "no"},
    "sync status": {"account": "yes yes no"},
    "sync upload": {"-": "no"},
    "undo": {"-": "yes"},
    "variant add": {"site": "yes no no", "offers": "yes yes no"},
    "variant distribute": {"site": "yes no no"},
    "variant drop": {"site": "yes no no"},
    "variant keep": {"site": "yes no no"},
    "variant list": {"site": "yes no no"},
    "view list": {"-": "yes"},
    "view remove": {"-": "no"},
    "view save": {"-": "no"},
    "why": {"what": "yes yes no", "campaign": "yes - no", "offer": "yes yes no"},
}
#: Commands of owners: people, accounts, tokens, rates, mappings, signatures, and what costs money or cannot be undone.
OWNERS = {
    "account add", "account archive", "account edit", "account pause", "account restore", "account resume", "audit",
    "import binom", "import csv", "import cutover", "import keitaro", "import list", "import map", "import redtrack",
    "import run", "import show", "import statsdrone", "import voluum",
    "domain buy", "domain remove", "invoice details", "member invite", "member remove", "member role", "player forget",
    "postback map", "rate set", "registrar add", "registrar remove", "token create", "token list", "token revoke",
}  # fmt: skip


#: Who an entity serves -> its place in a line of LIMITED.
PLACES = ("own", "shared", "others")
#: What a field takes that is required and refers to nothing.
FILLERS: dict[str, Any] = {
    "event": "deposit", "day": "2026-11-20", "amount": "1", "from": "2026-11-01", "to": "2026-11-20", "name": "n",
    "market": "DE", "version": 1, "variant": "b", "url": "https://a.example.test/", "code": "x", "rule": "none",
    "role": "viewer", "platform": "affilka", "currency": "USD", "rate": "1", "kind": "porkbun", "casino": "New brand",
    "cooldown": "1h", "query": "stats 7d",
}  # fmt: skip


def arguments(command: Command, field: Reference, word: str, words: dict[str, dict[str, list[str]]]) -> dict[str, Any]:
    """Arguments that name one entity by that word, and own ones wherever another is required."""
    values = fillers(command)
    for other in command.references:
        if other.required and other != field:
            values[_outside(command, other)] = words.get(other.nouns[0], {"own": ["x"]})["own"][0]
    name = _outside(command, field)
    return values | {name: word}


def fillers(command: Command) -> dict[str, Any]:
    """What the command requires at all."""
    required = [field.encode_name for field in msgspec.structs.fields(command.parameters) if field.required]
    return {name: FILLERS.get(name, "x") for name in required}


def _outside(command: Command, field: Reference) -> str:
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(command.parameters)}
    return fields[field.name]


async def verdict(say: Asker, command: Command, values: dict[str, Any], actor: Actor) -> str:
    """What the gate says: yes, no, or missing."""
    ctx = say.context(actor)
    try:
        permissions.check_role(command, actor)
        new = fill(command.parameters, values, ctx.today)
        await permissions.admit(command, new, ctx)
    except Forbidden:
        return "no"
    except Missing:
        return "missing"
    return "yes"


def test_every_command_has_a_verdict() -> None:
    assert [name for name, command in COMMANDS.items() if not command.judged] == [], (
        "declare scope=… (bot.core.permissions)"
    )
    assert {name for name, command in COMMANDS.items() if command.role is Role.OWNER} == OWNERS
    assert set(LIMITED) == COMMANDS.keys() - OWNERS, "say in LIMITED what a limited buyer may do with it"
    for name, line in LIMITED.items():
        named = {_outside(COMMANDS[name], reference) for reference in COMMANDS[name].references}
        allowed = COMMANDS[name].scope is not Scope.TEAM
        assert set(line) == (named if named and allowed else {"-"}), name


@pytest.mark.slow_on_postgresql
async def test_a_limited_buyer_is_judged_by_what_each_command_names(world: OpenWorld) -> None:
    async with world() as scene:
        actor = Actor(team_id=scene.say.team_id, name="b", role=Role.BUYER, campaigns=MINE)
        viewer = msgspec.structs.replace(actor, role=Role.VIEWER)
        wrong = []
        for name, line in LIMITED.items():
            command = COMMANDS[name]
            for field in command.references if "-" not in line else ():
                expected = dict(zip(PLACES, line[_outside(command, field)].split(), strict=True))
                for whose, answer in expected.items():
                    for word in scene.words.get(field.nouns[0], {}).get(whose, ()) if answer != "-" else ():
                        values = arguments(command, field, word, scene.words)
                        for who in (actor, viewer):
                            reads = command.role is Role.VIEWER
                            want = answer if who is actor or reads else "no"
                            if (decision := await verdict(scene.say, command, values, who)) != want:
                                wrong.append(f"{name} {field.name}={word} ({whose}, {who.role.value}): {decision}")
            if "-" in line and line["-"] != (decision := await verdict(scene.say, command, fillers(command), actor)):
                wrong.append(f"{name}: {decision}")
        assert wrong == []


@pytest.mark.slow_on_postgresql
async def test_an_unlimited_member_is_judged_by_their_role_alone(world: OpenWorld) -> None:
    """Every command with every entity of the team, by code, name and id, for each role."""
    async with world() as scene:
        wrong = []
        for command in COMMANDS.values():
            for role in Role:
                actor = Actor(team_id=scene.say.team_id, name="m", role=role)
                want = "yes" if role.includes(command.role) else "no"
                for values in every_entity(command, scene.words):
                    if (decision := await verdict(scene.say, command, values, actor)) != want:
                        wrong.append(f"{command.name} {values} as {role.value}: {decision}")
        assert wrong == []


def every_entity(command: Command, words: dict[str, dict[str, list[str]]]) -> list[dict[str, Any]]:
    """Arguments that name each entity of the own team in each field; without such a field, what is required."""
    return [
        arguments(command, field, word, words)
        for field in command.references for whose in PLACES for word in words.get(field.nouns[0], {}).get(whose, ())
    ] or [fillers(command)]  # fmt: skip


async def test_what_a_limited_buyer_makes_is_theirs_until_another_campaign_uses_it(world: OpenWorld) -> None:
    async with world() as scene:
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": MINE}
        say = scene.say
        await say(
            "offer add casino=Fresh account=own-account tag=fresh url=https://a.example.test/?s={click_id}", **limited
        )
        await say("source add name=fresh", **limited)
        await say("site create name=fresh market=DE offers=fresh-fresh", **limited)
        await say("domain add fresh.example.test site=fresh", **limited)
        for edit in ("offer edit fresh-fresh deal=x", "source edit fresh sub1=z", "site edit fresh intro=Hello",
                     "casino edit fresh bonus=100", "domain verify fresh-example-test"):  # fmt: skip
            await say(edit, **limited)
        await say("campaign edit theirs offers=fresh-fresh source=fresh site=fresh")
        for edit in ("offer edit fresh-fresh deal=y", "source edit fresh sub1=y", "site edit fresh intro=No",
                     "casino edit fresh bonus=200", "domain verify fresh-example-test"):  # fmt: skip
            with pytest.raises(Forbidden):
                await say(edit, **limited)


@pytest.mark.slow_on_postgresql
async def test_another_teams_entity_is_missing_for_every_role(world: OpenWorld) -> None:
    """The whole command is run: nothing of another team is found, whoever asks and however it is named."""
    async with world() as scene:
        wrong = []
        for command in COMMANDS.values():
            for field in command.references:
                for word in scene.words.get(field.nouns[0], {}).get("stranger", ()):
                    values = arguments(command, field, word, scene.words)
                    for role in Role:
                        answer = await outcome(scene.say, command, values, role)
                        if "stranger" in answer.lower().replace(word.lower(), ""):
                            wrong.append(f"{command.name} {values} as {role.value}: {answer}")
        assert wrong == []


async def test_a_refusal_tells_a_limited_member_nothing_of_what_is_others(world: OpenWorld) -> None:
    """Numbers can be tried one after the other: the answer has no name or code that was not typed."""
    async with world() as scene:
        wrong = []
        for command in COMMANDS.values():
            for field in command.references:
                for word in scene.words.get(field.nouns[0], {}).get("others", ()):
                    values = arguments(command, field, word, scene.words)
                    answer = await outcome(scene.say, command, values, Role.BUYER, MINE)
                    if {"others", "theirs"} & set(re.split(r"[^a-z]+", answer.lower().replace(word.lower(), ""))):
                        wrong.append(f"{command.name} {values}: {answer}")
        assert wrong == []


async def outcome(
    say: Asker, command: Command, values: dict[str, Any], role: Role, campaigns: tuple[str, ...] | None = None
) -> str:
    """What a whole command comes to: its error, or all that it gave."""
    actor = Actor(team_id=say.team_id, name="o", role=role, campaigns=campaigns)
    try:
        answer = await run(command, values, say.context(actor))
    except CasinoFluxError as error:
        return str(error)
    return "done: " + msgspec.json.encode(answer.result).decode()


async def test_roles_decide_before_anything_is_looked_up(opened: Opened) -> None:
    async with asking(opened) as say:
        for command in COMMANDS.values():
            for role in Role:
                ctx = say.context(Actor(team_id=say.team_id, name="x", role=role))
                if role.includes(command.role):
                    permissions.check_role(command, ctx.actor)
                else:
                    with pytest.raises(Forbidden, match="needs the role"):
                        await run(command, {}, ctx)


async def test_a_suggestion_names_nothing_of_others(world: OpenWorld) -> None:
    async with world() as scene:
        with pytest.raises(Missing) as fault:
            await scene.say("offer show others-offe", role=Role.BUYER, campaigns=MINE)
        assert "others" not in str(fault.value).replace("others-offe'", "")


async def test_lists_show_what_serves_own_campaigns_or_nothing_yet(world: OpenWorld) -> None:
    async with world() as scene:
        limited: dict[str, Any] = {"role": Role.VIEWER, "campaigns": MINE}
        for noun in ("account", "casino", "offer", "site", "source", "domain", "sync"):
            verb = "status" if noun == "sync" else "list"
            listed = str((await scene.say(f"{noun} {verb}", **limited))["items"])
            assert "others" not in listed.lower(), noun
            assert noun == "sync" or ("Own" in listed or "own" in listed), noun
        assert [c["code"] for c in (await scene.say("campaign list", **limited))["items"]] == ["mine", "also"]
        for noun in ("alert", "automation", "digest"):
            assert [c["campaigns"] for c in (await scene.say(f"{noun} list", **limited))["items"]] == [["mine"]]
        overview = await scene.say("site overview", **limited)
        assert {item["site"] for item in overview["items"]} == {"own-site", "shared-site"}
        for words, key in (("postback sent", "source"), ("postback log", "account"), ("conversion list", "account")):
            assert {item[key] for item in (await scene.say(words, **limited))["items"]} <= {"own-source", "own-account"}


async def test_a_published_site_without_a_campaign_is_the_teams(world: OpenWorld) -> None:
    async with world() as scene:
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": MINE}
        await scene.say("site create name=lone market=DE offers=own-offer")
        await scene.say("domain add lone.example.test site=lone")
        await scene.say("site edit lone intro=Hello", **limited)
        await scene.say("casino review own-brand")
        await scene.say("site publish lone")
        for line in ("site edit lone intro=No", "site pause lone", "domain verify lone.example.test"):
            with pytest.raises(Forbidden):
                await scene.say(line, **limited)
        await scene.say("site show lone", **limited)
        await scene.say("site publish own-site")
        await scene.say("site edit own-site intro=Yes", **limited)


async def test_an_offer_that_a_rule_or_an_alternative_leads_to_is_shared(world: OpenWorld) -> None:
    async with world() as scene:
        say = scene.say
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": MINE}
        for name in ("ruled", "spare"):
            await say(
                f"offer add casino=Side{name} account=own-account tag={name} name={name} "
                "url=https://a.example.test/?s={click_id}"
            )
            await say(f"offer pause {name}", **limited)
        await say.tell("campaign edit", campaign="theirs", rules=[{"if": {"country": ["DE"]}, "offers": ["ruled"]}])
        await say("offer edit others-offer alternative=spare")
        for name in ("ruled", "spare"):
            with pytest.raises(Forbidden):
                await say(f"offer resume {name}", **limited)


async def test_words_of_a_rule_that_are_codes_of_offers_make_nothing_shared(world: OpenWorld) -> None:
    async with world() as scenario:
        say = scenario.say
        await say.tell("campaign edit", campaign="theirs", rules=[{"if": {"country": ["DE"]}, "offers": ["own-offer"]}])
        for name in ("de", "offer", "country"):
            await say(
                f"offer add casino=Side{name} account=own-account tag={name} name={name} "
                "url=https://a.example.test/?s={click_id}"
            )
            await say(f"offer pause {name}", role=Role.BUYER, campaigns=MINE)


async def test_the_gate_and_the_lists_decide_alike(world: OpenWorld) -> None:
    async with world() as scenario:
        team = scenario.say.team_id
        async with scenario.say.database.read() as tx:
            for noun, entity in ENTITIES.items():
                for codes in (MINE, ("theirs",), ()):
                    actor = Actor(team_id=team, name="b", role=Role.BUYER, campaigns=codes)
                    key = entity.table.c.id
                    query = select(key, visible(actor, noun).label("seen"), changeable(actor, noun).label("changed"))
                    listed = {row.id: (row.seen, row.changed) for row in await tx.execute(
                        query.where(entity.table.c.team_id == team)
                    )}  # fmt: skip
                    judged = (await named_entities(tx, team, {noun: map(str, listed)}))[noun]
                    values = {e.id: (may_see(actor, noun, e), may_change(actor, noun, e)) for e in judged}
                    assert {number: values[number] for number in listed} == listed, (noun, codes)


class Counting:
    """A database whose statements are counted."""

    def __init__(self, database: Any) -> None:
        self._database, self.statements = database, 0
        self.dialect = sqlite.dialect()  # what goes to PostgreSQL's driver by itself cannot be counted here

    async def look(self, work: Callable[[Any], Any]) -> Any:
        async with self._database.read() as tx:
            self._tx = tx
            return await work(self)

    async def execute(self, statement: Any, values: Any = None) -> Any:
        self.statements += 1
        return await self._tx.execute(statement, values)


async def test_the_gate_asks_the_database_once(world: OpenWorld) -> None:
    """Each statement is a round trip to PostgreSQL."""
    async with world() as scenario:
        actor = Actor(team_id=scenario.say.team_id, name="b", role=Role.BUYER, campaigns=MINE)
        for name, values in (
            ("campaign edit", {"campaign": "mine", "offers": ["own-offer", "shared-offer"], "site": "own-site"}),
            ("offer show", {"offer": "Own offer"}),
            ("stats", {"range": "7d", "campaign": "mine", "site": "shared-site"}),
            ("why", {"what": "mine", "day": "2026-11-20"}),
        ):
            ctx, command = scenario.say.context(actor), COMMANDS[name]
            ctx.database = counting = Counting(ctx.database)  # type: ignore[assignment]
            await permissions.admit(command, fill(command.parameters, values, ctx.today), ctx)
            assert counting.statements == 1, name


async def test_many_words_are_judged_as_few_are(world: OpenWorld) -> None:
    """More than the event loop looks up by itself."""
    async with world() as scenario:
        actor = Actor(team_id=scenario.say.team_id, name="b", role=Role.BUYER, campaigns=MINE)
        edit, many = COMMANDS["campaign edit"], ["own-offer", *scenario.words["offer"]["shared"], "OWN OFFER"] * 6
        numbered = [f"{word}:{n}" for n, word in enumerate(many, 1)]
        for words, answer in ((numbered, "yes"), ([*numbered, "others-offer"], "no"), ([*numbered, "x"], "missing")):
            assert await verdict(scenario.say, edit, {"campaign": "mine", "offers": words}, actor) == answer
