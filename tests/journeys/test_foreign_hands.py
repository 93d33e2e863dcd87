"""Whatever an owner of one team sends to a served hub on PostgreSQL, in commands, pages and forms, with ids, codes and
names of what is another team's: nothing of that is told, and no row of it changes."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import or_, select

import bot.commands  # noqa: F401  registers every command
from bot.core.arguments import meta
from bot.core.command import COMMANDS, Command
from storage.db.engine import Database
from storage.tables import metadata
from tests.fuzz.filled import UNLIMITED, fill
from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.journeys.test_two_teams import TeamSession

pytestmark = pytest.mark.slow

MARK = "zzhidden"  # begins every name of the other team's
#: Values of fields that refer to nothing.
FILLERS: dict[str, Any] = {
    "event": "deposit", "day": "2026-11-20", "amount": "1", "from": "2026-11-01", "to": "2026-11-20", "name": "n",
    "market": "DE", "version": 1, "variant": "b", "url": "https://a.example.test/", "role": "viewer", "rate": "1",
    "rule": "tell campaign when clicks > 5", "platform": "postback_only", "currency": "USD", "kind": "porkbun",
    "casino": "New brand", "cooldown": "1h", "query": "stats 7d", "words": MARK,
}  # fmt: skip
OWN = {"account": "acme", "offer": "brand-spring", "casino": "brand", "site": "land", "source": "push",
       "campaign": "promo", "group": "group"}  # fmt: skip
NOT_SENT = {"token create", "member invite", "team"}  # they would only make more


def test_nothing_of_another_team_is_told_or_changed(deploy_postgres: Deploy) -> None:
    hub = deploy_postgres(ALLOW_PRIVATE_HOSTS="0", **UNLIMITED)
    hub.start("--only", "hub")  # without jobs, so that rows change by what is sent alone
    fill(hub)
    hub.shell("team", "create", "Other")
    other = TeamSession(hub, "other")
    words = fill_other(other)
    before = rows_of(hub, other)
    assert sum(map(len, before.values())) > 30
    told = [*by_commands(hub, words), *by_pages(hub, words), *by_forms(hub, words)]
    assert told == []
    after = rows_of(hub, other)
    assert {table for table in before if before[table] != after[table]} == set()


def fill_other(team: TeamSession) -> dict[str, list[str]]:
    """One of everything for the other team; the words that name each, by kind."""

    def name(noun: str) -> str:
        return f"{MARK} {noun}"

    team.post("account/add", platform="postback_only", name=name("account"), timezone="UTC", currency="EUR")
    team.post("offer/add", casino=name("brand"), account=name("account"), tag="t", name=name("offer"),
              url=f"https://{MARK}.example.test/?s={{click_id}}")  # fmt: skip
    team.post("casino/review", casino=name("brand"), bonus="100 %", terms_url="https://a.example.test/", licence="MGA",
              payment_methods="visa")  # fmt: skip
    team.post("source/add", name=name("source"))
    team.post("site/create", name=name("site"), market="DE", offers=[name("offer")])
    team.post("site/publish", site=name("site"))
    campaign = team.post("campaign/create", name=name("campaign"), offers=[name("offer")], source=name("source"),
                         group=name("group"), direct=True)  # fmt: skip
    code = campaign["code"]
    team.post("domain/add", name=f"{MARK}.example.test", site=name("site"))
    team.post("view/save", name=name("view"), query=f"stats 7d campaign={code}")
    team.post("placement/block", placement=name("zone"), campaign=code, sub="sub1")
    team.post("spend/add", campaign=code, day="2026-11-20", amount="61.83")
    team.post("token/create", name=name("token"), role="viewer")
    alert = team.post("alert/add", rule="ftd", campaign=code, channel="terminal")
    digest = team.post("digest/subscribe", campaigns=[code], channel="terminal")
    automation = team.post("automation/add", rule="tell campaign when clicks > 5", campaign=code, channel="terminal")
    question = team.post("token/revoke", token=name("token"))
    location = team.hub.http.get(f"/c/{code}", headers={"user-agent": f"{BROWSER}1"}).headers["location"]
    click = location.partition("?s=")[2]
    postback = team.post("postback/url", account=name("account"))["url"].partition("?")[0]
    team.hub.http.get(postback, params={"click_id": click, "event": "ftd", "amount": "5"})
    words = {noun: _words(team, noun) for noun in ("account", "offer", "casino", "source", "site", "domain", "campaign",
                                                   "group", "view", "token")}  # fmt: skip
    return words | {
        "click": [click], "alert": [alert["code"], str(alert["id"])], "digest": [digest["code"], str(digest["id"])],
        "automation": [automation["code"], str(automation["id"])],
        "conversion": [str(team.post("conversion/list")["items"][0]["id"])],
        "postback": [str(team.post("postback/log")["items"][0]["id"])],
        "code": [question["confirm"]], "change": [str(line["id"]) for line in team.post("audit")["items"][:3]],
    }  # fmt: skip


def _words(team: TeamSession, noun: str) -> list[str]:
    listed = [item for item in team.post(f"{noun}/list")["items"] if MARK in item["name"]]
    return [str(listed[0][key]) for key in ("id", "code", "name") if key in listed[0]]


def rows_of(hub: Deployment, team: TeamSession) -> dict[str, set[str]]:
    """Every row that is a team's, by itself or by what it refers to."""

    async def read() -> dict[str, set[str]]:
        database = Database(hub.settings["DATABASE_URL"])
        rows: dict[str, set[str]] = {}
        ids: dict[str, list[Any]] = {}
        async with database.read() as tx:
            teams = metadata.tables["teams"]
            number = (await tx.execute(select(teams.c.id).where(teams.c.code == team.code))).scalar_one()
            for table in metadata.sorted_tables:
                parents = [(c, fk.column.table.name) for c in table.c for fk in c.foreign_keys]
                belongs = [c.in_(ids[parent]) for c, parent in parents if parent in ids]
                if "team_id" in table.c:
                    belongs = [table.c.team_id == number]
                if belongs:
                    found = (await tx.execute(select(table).where(or_(*belongs)))).all()
                    rows[table.name] = {str(row) for row in found}
                    ids[table.name] = [row.id for row in found] if "id" in table.c else []
        await database.close()
        return rows

    return asyncio.run(read())


def sendings(words: dict[str, list[str]], *, most: int) -> Iterator[tuple[Command, dict[str, Any]]]:
    """Each command with each field that refers to something, or holds a code or a change, naming what is foreign."""
    for command in COMMANDS.values():
        if command.name in NOT_SENT:
            continue
        needed: dict[str, Any] = {}
        foreign: list[tuple[str, str]] = []
        for field in msgspec.structs.fields(command.parameters):
            nouns = (meta(field.type)[2].get("refers") or field.encode_name).split("|")
            if field.required:
                needed[field.encode_name] = OWN.get(nouns[0]) or FILLERS.get(field.encode_name, "x")
            foreign += [(field.encode_name, word) for noun in nouns for word in words.get(noun, ())[:most]]
        yield from ((command, needed | {name: word}) for name, word in foreign)


def leaks(what: str, sent: Any, answer: httpx.Response) -> Iterator[str]:
    """What an answer tells of the other team beside the words that were sent; a fault is told, too."""
    if answer.status_code >= 500:
        yield f"{what} {sent}: {answer.status_code}"
    text = answer.text.lower()
    for word in sorted({part for value in sent for part in (value, value.replace(" ", "-"))}, key=len, reverse=True):
        text = text.replace(word.lower(), "")
    if at := text.find(MARK) + 1:
        yield f"{what} {sent}: {text[max(0, at - 80) : at + 80]}"


def by_commands(hub: Deployment, words: dict[str, list[str]]) -> Iterator[str]:
    for command, arguments in sendings(words, most=3):
        answer = hub.try_post(command.path, **arguments)
        sent = [str(value) for value in arguments.values()]
        yield from leaks(command.name, sent, answer)
        if answer.status_code == 200 and command.confirm and "confirm" in (asked := json.loads(answer.text)):
            yield from leaks(f"confirm {command.name}", sent, hub.try_post("confirm", code=asked["confirm"]))


def by_pages(hub: Deployment, words: dict[str, list[str]]) -> Iterator[str]:
    """As addresses that are typed, and as filters."""
    with signed_in(hub) as person:
        places = [f"/cockpit/{noun}/{word}" for noun in OWN for word in words[noun]]
        places += [f"/cockpit/campaign/{word}/rotation" for word in words["campaign"]]
        places += [f"/cockpit/site/{word}/edit" for word in words["site"]]
        places += [f"/cockpit/{noun}/{word}" for noun in ("alert", "automation", "domain") for word in words[noun]]
        places += [f"/cockpit/story/{words['click'][0]}", f"/cockpit/find?q={MARK}", f"/cockpit/complete?text={MARK}"]
        places += [f"/cockpit/logs/{log}?campaign={words['campaign'][0]}&account={words['account'][0]}"
                   for log in ("clicks", "clicks.csv", "postbacks", "conversions", "sent")]  # fmt: skip
        places += [f"/cockpit/reports?range=30d&by=offer&{noun}={words[noun][0]}" for noun in OWN]
        places += ["/cockpit", "/cockpit/revenue", "/cockpit/alerts", "/cockpit/digests", "/cockpit/automation"]
        for place in places:
            answer = person.get(place)
            yield from leaks("page", re.split("[/?=&]", place), answer)


def by_forms(hub: Deployment, words: dict[str, list[str]]) -> Iterator[str]:
    """In forms, in bulk, in the rotation's and the site's editor, and on the command line of a page."""
    with signed_in(hub) as person:
        page = person.get("/cockpit/team").text
        result = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
        assert result is not None, page
        proof = {"csrf": result[1]}
        for command, arguments in sendings(words, most=1):
            answer = person.post(f"/cockpit/do/{command.path}", data={**arguments, **proof})
            yield from leaks(f"form {command.name}", [str(value) for value in arguments.values()], answer)
        for path, form in special_forms(words):
            answer = person.post(path, data={**form, **proof})
            values = [value if isinstance(value, list) else re.split("[/ ]", value) for value in (path, *form.values())]
            sent = [part for parts in values for part in parts]
            yield from leaks(path, sent, answer)


def special_forms(words: dict[str, list[str]]) -> list[tuple[str, dict[str, Any]]]:
    offer = words["offer"][0]
    rotation = {"do": "save", "offer": offer, "weight": "1"}
    return [
        *((f"/cockpit/bulk/{noun}", {"do": f"{noun} archive", "chosen": words[noun], "sure": "yes"}) for noun in OWN),
        (f"/cockpit/campaign/{words['campaign'][0]}/rotation", rotation),
        ("/cockpit/campaign/promo/rotation", rotation),
        (f"/cockpit/site/{words['site'][0]}/edit", {"headline": "x"}),
        *(("/cockpit/say", {"say": line}) for line in (f"undo {words['change'][0]}", f"find {MARK}")),
    ]


@contextmanager
def signed_in(hub: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.url, timeout=60) as person:
        assert person.post("/cockpit/sign-in", data={"token": hub.token}).status_code == 303
        yield person
