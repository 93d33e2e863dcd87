"""Every command that declares how it is taken back is given and taken back: the database is then as it was before.

Edits are walked field by field, from what a field was and from nothing. A new command that declares an inverse, and a
new field of an edit, are walked by themselves, or fail here until they have a line.
"""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from bot.commands import audits
from bot.core.arguments import bare_kinds, meta, secret_fields
from bot.core.command import COMMANDS
from bot.core.context import Actor
from storage import tables as t
from storage.clicks.queries import ensure_codec
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Role
from storage.tables import metadata
from tests.bot.asking import NOON, Asker, asking
from tests.bot.commands.test_undo import picture
from tests.bot.filled import Opened, copied, filled_once

pytestmark = pytest.mark.slow

PNG = base64.b64encode(picture("red")).decode()

#: A command, and what it is given: {its arguments}. Several lines where it is taken back in several ways.
LINES: dict[str, tuple[dict[str, Any], ...]] = {
    "account archive": ({"account": ["live"]},), "account restore": ({"account": ["gone"]},),
    "campaign archive": ({"campaign": ["c1"]}, {"campaign": ["c1", "c3"]}),
    "campaign restore": ({"campaign": ["gone"]},),
    "casino archive": ({"casino": ["spare"]},), "casino restore": ({"casino": ["gone"]},),
    "offer archive": ({"offer": ["lucky-one"]},), "offer restore": ({"offer": ["gone-z"]},),
    "site archive": ({"site": ["other"]},), "site restore": ({"site": ["gone"]},),
    "source archive": ({"source": ["plain"]},), "source restore": ({"source": ["gone"]},),
    "group add": ({"name": "East"},), "note": ({"campaign": "c1", "text": "Ends"}, {"source": "push", "text": "none"}),
    "account pause": ({"account": "main"},), "account resume": ({"account": "still"},),
    "alert add": (
        {"rule": "ftd < 50% of 7d avg", "channel": "terminal", "campaign": ["c1"], "quiet": "22:00-07:00"},
    ),
    "alert snooze": ({"alert": "alert-1", "for": "2h"},),
    "alert remove": ({"alert": "alert-1"}, {"alert": "alert-2"}),
    "automation add": ({"rule": "pause offer when epc < 0.20 over 3d with clicks > 500", "channel": "terminal"},),
    "webhook add": ({"url": "https://hooks.example.test/new", "events": ["conversion"]},),
    "webhook edit": (
        {"webhook": "webhook-1", "url": "https://hooks.example.test/moved"},
        {"webhook": "webhook-1", "events": ["conversion", "sync"], "name": "Ours", "status": "paused"},
        {"webhook": "webhook-2", "status": "active"},
    ),
    "webhook pause": ({"webhook": "webhook-1"},), "webhook resume": ({"webhook": "webhook-2"},),
    "automation pause": ({"automation": "automation-1"},), "automation resume": ({"automation": "automation-2"},),
    "campaign pause": ({"campaign": ["c1"]}, {"campaign": ["c1", "c2"]}), "campaign resume": ({"campaign": ["c3"]},),
    "casino fill": (), "casino logo": ({"casino": "lucky", "image": PNG},),
    "conversion add": ({"campaign": "c1", "event": "registration", "offer": "lucky-one"},
                       {"campaign": "c2", "event": "deposit", "amount": "20"}),
    "conversion edit": ({"conversion": 1, "status": "pending"}, {"conversion": 1, "amount": "7.50"},
                        {"conversion": 1, "amount": "7.50", "currency": "USD"}),
    "digest subscribe": ({"channel": "terminal", "at": "08:15", "every": "week"},),
    "digest unsubscribe": ({"digest": "digest-1"},),
    "domain add": ({"name": "new.example.test", "site": "wall"}, {"name": "bare.example.test"}),
    "domain attach": ({"domain": "one-example-test", "site": "other", "move": True},),
    "member role": ({"member": "anna", "role": "owner"},
                    {"member": "anna", "role": "viewer", "campaigns": ["c1", "c2"]},
                    {"member": "anna", "role": "buyer", "campaigns": "none"},
                    {"member": "bob", "role": "viewer", "campaigns": ["c1"]}),
    "offer pause": ({"offer": ["lucky-one"]}, {"offer": ["lucky-one", "lucky-two"]}),
    "offer resume": ({"offer": ["lucky-three"]},),
    "payment add": ({"account": "main", "amount": "100.50"},),
    "payment rule": ({"account": "main", "rule": "player", "threshold": "50"}, {"account": "main", "rule": "none"}),
    "placement allow": ({"placement": ["z1"], "campaign": "c2", "sub": "sub1"},),
    "placement block": ({"placement": ["z1", "z2"], "campaign": "c1", "sub": "sub1"},),
    "placement remove": ({"placement": ["z0"], "campaign": "c1", "sub": "sub1"},),
    "rate set": ({"currency": "BRL", "rate": "0.2"}, {"currency": "USDT", "rate": "0.9"},
                 {"currency": "USDT", "rate": "none"}),
    "site image": ({"site": "wall", "image": PNG, "alt": "red"},),
    "site pause": ({"site": "wall"},), "site publish": ({"site": "other"},),
    "site rollback": ({"site": "wall", "version": 1},),
    "spend add": ({"campaign": "c1", "day": "yesterday", "amount": "30", "currency": "EUR"},
                  {"campaign": "c2", "day": "yesterday", "amount": "30", "currency": "EUR"}),
    "token create": ({"name": "ci", "role": "viewer"},),
    "view save": ({"name": "Weekly", "query": "stats 30d by offer"}, {"name": "New", "query": "stats 7d"}),
    "view remove": ({"view": "weekly"},),
}  # fmt: skip
#: What an edit changes, and the field by which it is named.
SUBJECTS = {
    "account": ("main", "live"), "automation": ("automation-1",), "campaign": ("c1", "c2"), "casino": ("lucky", "bare"),
    "offer": ("lucky-one", "lucky-two"), "site": ("wall", "other"), "source": ("push", "plain"),
    "domain": ("one-example-test",), "group": ("north",),
}  # fmt: skip
#: Two values of a field, where its kind does not tell which it takes.
VALUES: dict[str, tuple[Any, ...]] = {
    "group": ("North", "South"), "tags": (["push", "iOS"], ["+Push", "+new"]),
    "rule": tuple(f"pause offer when {when} with clicks > 500" for when in ("epc < 0.30 over 3d", "roi < 1% over 7d")),
    "cooldown": ("2d", "3d"), "quiet": ("22:00-07:00", "23:00-06:00"),
    "url": ("https://n.example.test/?s={click_id}", "https://m.example.test/?s={click_id}"),
    "fallback_url": ("https://back.example.test/", "https://other.example.test/"), "cost": ("0.10", "0.20"),
    "terms_url": ("https://terms.example.test/a", "https://terms.example.test/b"),
    "logo": ("https://logo.example.test/a.png", "https://logo.example.test/b.png"),
    "page": ("https://blog.example.test/a", "https://blog.example.test/b?x=1"),
    "base_url": ("https://a.example.test", "https://b.example.test"), "timezone": ("Europe/Malta", "Europe/Berlin"),
    "currency": ("USD", "GBP"), "account": ("still", "main"), "alternative": ("lucky-three", "lucky-four"),
    "markets": (["DE"], ["AT", "CH"]), "cap": (7, 9), "cap_event": ("click", "registration"),
    "cap_period": ("week", "month"), "site": ("other", "wall"), "source": ("plain", "push"),
    "offers": (["lucky-two"], ["lucky-one", "lucky-two"]), "weights": ([4, 1], [5, 2]),
    "rules": ([{"if": {"country": ["DE"]}, "offers": ["lucky-two"]}], "country=AT -> lucky-one"),
    "cost_model": ("none", "daily"), "payment_methods": (["Visa"], ["Skrill"]), "market": ("AT", "GB"),
    "locale": ("en", "de"), "theme": ("review", "comparison"), "faq": (["Who? | We."], ["Why? | So."]),
    "contact": ("a@example.test", "b@example.test"),
    "options": ({"requests_per_second": 2}, {"requests_per_second": 3}),
    "parameters": ({"sub3": "x"}, {"sub3": "y"}),
    "postbacks": tuple({"deposit": f"https://p{n}.example.test/?c={{click_id}}"} for n in (1, 2)),
    "status": ("pending", "approved"), "country_costs": ("DE:0.08", "DE:0.08,AT:0.06"),
    "unique_period": ("12h", "7d"), "unique_scope": ("team", "site"), "pacing": ("even", "usual"),
    "placement": ("sub1", "sub2"), "placement_format": ("*:{placement}:*", "<{placement}>"),
    "placement_separator": ("comma", "semicolon"),
    **dict.fromkeys(("registration", "first_deposit", "deposit", "qualified", "reversal"),
                    ("https://p.example.test/?c={click_id}&e=a", "https://p.example.test/?c={click_id}&e=b")),
}  # fmt: skip
#: What says how an edit is done, and credentials, which are shown by their names only.
_NO_FIELDS = {"force", "test", "client_id", "affiliate_id", "network_id"}
HOW: dict[str, dict[str, Any]] = {"account": {"test": False}}
#: Of campaigns that hand over their weights: what distributing has done since goes on from there.
_DISTRIBUTION = ("distribute", "distribute_by", "floor", "most_change", "holdout")
#: What a subject has not, or has only together with something else.
_NOT_OF = {
    "main": {"base_url", "tag_from", "click_id_from", "options"}, "live": {"tag_from", "click_id_from"},
    "c1": {"currency", "cost_event", "smart_rotation", "pacing", *_DISTRIBUTION},
    "c2": {"currency", "weights", "country_costs", "budget_day", "budget_total", "pacing", "unique_scope",
           *_DISTRIBUTION},
    "wall": {"market"}, "push": {"per_second"},
    "plain": {"per_second"}, "automation-1": {"url", "schedule"},
}  # fmt: skip

#: Columns that tell of when and how often, not of what is.
_PASSING = {"id", "created_at", "added_at", "recorded_at", "next_at", "told_until", "at", "updated_at", "history",
            "next_step_at", "token_hash", "next_sync_at", "received_at", "since", "version", "occurred_at",
            "error"}  # fmt: skip
#: Tables of what has happened: nothing there is ever taken back.
_HISTORY = {"audits", "confirmations", "changes", "touched", "site_versions", "images", "cap_counts", "budget_counts",
            "merged", "rooms", "conversion_states", "campaign_offer_spans", "sync_runs", "domain_quotes",
            "placement_lists", "distribution_steps"}  # fmt: skip


async def now(say: Asker) -> dict[str, list[str]]:
    """What there is, as it counts: without what was removed, reversed or revoked, amounts as they stand or sum up."""
    state: dict[str, list[str]] = {}
    async with say.database.read() as tx:
        for table in metadata.sorted_tables:
            if table.name in _HISTORY:
                continue
            rows = [dict(row._mapping) for row in await tx.execute(select(table))]
            counted = _COUNTED[table.name](rows) if table.name in _COUNTED else rows
            lines = [
                str({name: value for name, value in sorted(row.items()) if name not in _PASSING}) for row in counted
            ]
            state[table.name] = sorted(lines)
    return state


def _latest_spend(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    latest = {(row["campaign_id"], row["day"], row["origin"]): row for row in sorted(rows, key=lambda row: row["id"])}
    return [row for row in latest.values() if row["amount"]]


def _summed_payments(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = row["account_id"], row["day"], row["currency"]
        sums[key] = sums.get(key, 0) + row["amount"]
    return [{"key": key, "amount": amount} for key, amount in sums.items() if amount]


def _domains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"state": None} for row in rows]


def _accounts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An account without terms of its own has the usual ones."""
    usual = {"rule": "account", "threshold": 0}
    sealed = {"credentials_secret": None}
    return [row | sealed | {"paused_at": bool(row["paused_at"]), "options": {"carryover": usual} | row["options"]}
            for row in rows]  # fmt: skip


def _sources(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A source without an option does what is usual."""
    return [row | {"options": audits._USUAL | row["options"], "credentials_secret": None} for row in rows]


_COUNTED: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "spend": _latest_spend, "payments": _summed_payments, "domains": _domains, "accounts": _accounts,
    "sources": _sources,
    "automations": lambda rows: [row for row in rows if row["removed_at"] is None],
    "webhooks": lambda rows: [row for row in rows if row["removed_at"] is None],
    "alerts": lambda rows: [row for row in rows if row["removed_at"] is None],
    "tokens": lambda rows: [row for row in rows if row["revoked_at"] is None],
    "conversions": lambda rows: [row | {"marks": None} for row in rows if row["status"] != "reversed"],
    "sites": lambda rows: [row | {"status": row["status"].replace("draft", "paused")} for row in rows],
}  # fmt: skip


async def scene(say: Asker) -> None:
    """Two entities of each kind: one whose fields are filled, one bare."""
    async with say.database.begin() as tx:
        await ensure_codec(tx)
    await say.account()
    await say.account("still")
    await say.account("gone")
    await say("group add North")
    await say("group add South")
    await say.sure("account pause still")
    await say("account add affilka name=live base_url=https://p.example.test token=t1 test=false timezone=Europe/Malta")
    for name in ("one", "two", "three", "four"):
        await say(f"offer add casino=Lucky account=main tag={name} url=https://lucky.example.test/?s={{click_id}}")
    await say("offer add casino=Bare account=still url=https://bare.example.test/?s={click_id}")
    for tag in ("spare", "gone"):
        await say(
            f"offer add casino={tag} account=still tag=z-{tag} name={tag}-z url=https://z.example.test/?s={{click_id}}"
        )
        await say(f"offer archive {tag}-z")
    await say("casino archive gone")
    await say.sure("account archive gone")
    await say("offer edit lucky-one cap=5 cap_event=click cap_period=day markets=SE,DE deal=CPA alternative=lucky-two")
    await say("offer edit lucky-one group=north tags=a,b note=First")
    await say("offer pause lucky-three")
    await say("casino review lucky bonus=100 licence=MGA terms_url=https://l.example.test/ payment_methods=Mastercard")
    await say("casino edit lucky markets=SE,DE wagering=35x free_spins=20 logo=https://l.example.test/l.png")
    await say("source add name=push sub1=a click_id=cid cost=price delay=5")
    await say("source add name=plain")
    for noun, more in (("source", ""), ("site", "market=DE"), ("campaign", "")):
        await say(f"{noun} {'add' if noun == 'source' else 'create'} name=gone {more}")
        await say(f"{noun} archive gone")
    await say("source edit push note=Costs group=south")
    await say.tell("site create", name="wall", market="DE", offers=["lucky-one"], headline="Hello", intro="Intro",
                   about="About", faq=["What? | That."], operator="We", contact="w@example.test")  # fmt: skip
    await say("site create name=other market=DE offers=lucky-two operator=We contact=w@example.test")
    await say("site publish wall")
    await say("site edit wall headline=Welcome")
    await say.tell("campaign create", name="c1", offers=["lucky-one:2", "lucky-two"], site="wall", source="push",
                   cost="0.05", fallback_url="https://f.example.test/",
                   rules=[{"if": {"country": ["SE"]}, "offers": ["lucky-one"]}])  # fmt: skip
    await say("campaign create name=c2 offers=lucky-one cost_model=cpa cost=5")
    await say("campaign create name=c3")
    await say("campaign pause c3")
    await say("alert add ftd channel=terminal campaign=c1")
    await say('alert add "clicks < 100 in 1h" channel=terminal for=2h quiet=22:00-07:00')
    await say("digest subscribe channel=terminal weekdays=mon,wed campaigns=c1")
    await say("domain add one.example.test site=wall")
    for name in ("Night", "Still night"):
        await say(
            f'automation add pause offer when epc < 0.20 over 3d with clicks > 500 name="{name}" channel=terminal'
        )
    await say("automation pause automation-2")
    await say("webhook add https://hooks.example.test/a events=alert")  # what it is told cannot be taken back
    await say("webhook add https://hooks.example.test/b")
    await say("webhook pause webhook-2")
    await say("placement block z0 campaign=c1 sub=sub1")
    await say('view save Weekly "stats 7d by campaign"')
    await say("spend add c1 yesterday 20.25 EUR")
    await say("rate set USDT 0.95")
    await say("conversion add campaign=c2 event=deposit amount=50 day=yesterday")
    async with say.database.begin() as tx:
        for name, campaigns in (("anna", ["c1"]), ("bob", None)):
            await tx.execute(insert(t.members).values(
                team_id=say.team_id, name=name, code=name, role="buyer", campaigns=campaigns, created_at=NOON
            ))  # fmt: skip
        await tx.execute(insert(t.members).values(
            team_id=say.team_id, name="boss", code="boss", role="owner", created_at=NOON
        ))  # fmt: skip


async def done(say: Asker, name: str, arguments: dict[str, Any]) -> Any:
    """The command carried out, and confirmed where it asks."""
    result = await say.tell(name, **arguments)
    if isinstance(result, dict) and "confirm" in result:
        result = await say.tell("confirm", code=result["confirm"])
    return result


async def taken_back(say: Asker, name: str, arguments: dict[str, Any], before: dict[str, list[str]]) -> str:
    """What is otherwise after a command and its undo than before; empty if nothing is."""
    await done(say, name, arguments)
    changed = await now(say)
    if changed == before:
        return f"{name} {arguments} changed nothing"
    try:
        undone = await say.tell("undo")
    except CasinoFluxError as error:
        return f"{name} {arguments}: {error}"
    after = await now(say)
    left = {table: (before[table], after[table]) for table in before if before[table] != after[table]}
    if undone.undone != name:
        return f"{name} {arguments}: {undone.undone} was taken back"
    return f"{name} {arguments}, by {undone.with_}: {left}" if left else ""


def declared() -> set[str]:
    """The commands that say how they are taken back."""
    edits = {name for name in COMMANDS if name.endswith(" edit")}
    return edits | audits.INVERSE.keys() | audits._ADDED.keys() | audits._RULES.keys() | audits.PICTURES.keys() | (
        audits._EDITED_BY.keys()
    )  # fmt: skip


def test_every_command_that_declares_its_inverse_has_a_line() -> None:
    edits = {f"{noun} edit" for noun in SUBJECTS}
    assert declared() - edits == LINES.keys(), "say in LINES what the command is given"


async def make_scene(opened: Opened) -> None:
    async with asking(opened) as say:
        await scene(say)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def scene_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database that holds the scene, to copy, on each kind in turn."""
    with filled_once(request, request.param, make_scene) as (url, _):
        yield url


@pytest.fixture
def opened(request: pytest.FixtureRequest, scene_url: str, tmp_path: Path) -> Iterator[Opened]:
    """`async with opened() as database:` — a copy of the database that holds the scene."""
    with copied(request, scene_url, tmp_path) as opened_copy:
        yield opened_copy


async def test_every_command_is_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        assert await faults(say, [(name, arguments) for name in LINES for arguments in LINES[name]]) == []


@pytest.mark.parametrize("noun", sorted(SUBJECTS))
async def test_every_field_of_an_edit_is_set_back(opened: Opened, scene_url: str, noun: str) -> None:
    """On PostgreSQL one value of each field of one subject, and on SQLite all."""
    command = COMMANDS[f"{noun} edit"]
    secret = secret_fields(command.parameters)
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(command.parameters)}
    walked = fields.keys() - secret - _NO_FIELDS - {noun}
    every = 1 if scene_url.startswith("postgresql") else None
    lines = [
        (command.name, {noun: subject, name: value, **HOW.get(noun, {})})
        for name in fields if name in walked
        for subject in [subject for subject in SUBJECTS[noun] if name not in _NOT_OF.get(subject, ())][:every]
        for value in _values(name, fields[name])[:every]
    ]  # fmt: skip
    async with asking(opened) as say:
        left = await faults(say, lines)
        assert left == [], "\n".join(left)


async def faults(say: Asker, lines: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """What is left of each command that was given and taken back, one after another; an edit may change nothing."""
    wrong, before = [], await now(say)
    for name, arguments in lines:
        say.later(seconds=1)
        try:
            fault = await taken_back(say, name, arguments, before)
        except CasinoFluxError as refusal:
            fault = f"{name} {arguments}: {refusal}"
        if fault:
            before = await now(say)
        if fault and not (name.endswith(" edit") and re.search("changed nothing|nothing to change", fault)):
            wrong.append(fault)
    return wrong


def _values(name: str, annotation: Any) -> tuple[Any, ...]:
    if name in VALUES:
        return VALUES[name]
    kinds = bare_kinds(annotation)
    if bool in kinds:
        return (True, False)
    if int in kinds or Decimal in kinds:
        return (3, 4)
    if choices := meta(annotation)[2].get("choices"):
        return tuple(choices[:2])
    if kinds & {date, datetime}:
        return ("2026-11-01",)
    return ("first", "second")


async def test_what_is_refused_does_not_hide_what_was_before_it(opened: Opened) -> None:
    """The name that an edit would set back is another's by now: what was done before is taken back, and that said."""
    async with asking(opened) as say:
        await say("offer pause lucky-two")
        await say("campaign edit c2 name=renamed")
        async with say.database.begin() as tx:
            await tx.execute(insert(t.campaigns).values(
                team_id=say.team_id, name="c2", code="c2-b", created_at=NOON, cost_model="none", rules=[],
                status="active",
            ))  # fmt: skip
        undone = await say("undo")
        assert undone["undone"] == "offer pause"
        assert "campaign edit: name 'c2' is taken" in undone["left"][0]
        assert "Left as it is: campaign edit" in say.shown


async def test_undo_tells_nothing_of_what_is_not_the_actors(opened: Opened) -> None:
    """A change of another campaign by its number: refused as the change itself would be, before its story is told."""
    async with asking(opened) as say:
        await say("campaign edit c2 fallback_url=https://x.example.test/")
        await say("campaign pause c2")
        edits = [entry for entry in (await say("audit"))["items"] if entry["command"] == "campaign edit"]
        limited = Actor(team_id=say.team_id, name="anna", role=Role.BUYER, campaigns=("c1",))
        with pytest.raises(CasinoFluxError, match="not one of yours") as fault:
            await say.ask(f"undo {edits[0]['id']}", limited)
        assert "pause" not in str(fault.value)
