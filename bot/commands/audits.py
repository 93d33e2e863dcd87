"""The audit trail, who changed what, and undo: a change is undone by the command that sets its former state."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.commands.sites import TEXTS
from bot.core.arguments import NONE, Arguments, field_names, meta, secret_fields
from bot.core.command import COMMANDS, Answer, Command, admit_words, command, run
from bot.core.context import Actor, Context
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Message, Notice, Table
from bot.core.permissions import Scope, may
from storage.catalogue.entities import MAX_PAGE, cursor
from storage.db import leases
from storage.ledger.credentials import HIDDEN
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.facts import Role
from storage.ledger.money import amount_text
from storage.ledger.schedule import WEEKDAYS
from storage.people import audits
from storage.people.audits import Recorded

MOST_NAMED = 10  # parts of a list in one line


class AuditPage(Arguments):
    limit: int = 20
    after: str | None = None


def audit_table(ctx: Context, page: Page[Recorded]) -> Message:
    if not page.items:
        return Message("Nothing has been changed yet", private=True)
    rows = tuple(
        (
            f"{entry.at.astimezone(ctx.deployment.zone):%Y-%m-%d %H:%M}",
            entry.actor,
            entry.command,
            arguments_in_words(entry.arguments)[:120],
        )
        for entry in page.items
    )
    return Message("Audit", (Table(("When", "Who", "What", "With"), rows),), private=True)


def arguments_in_words(arguments: dict[str, Any]) -> str:
    """A command's arguments in one line, lists by their length where they are long."""
    return " ".join(f"{name}={_in_short(value)}" for name, value in arguments.items())


def _in_short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value):,} of them" if len(value) > MOST_NAMED else ",".join(map(_in_short, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)


@command("audit", role=Role.OWNER, render=audit_table, reads=True, aliases=("audit list",))
async def list_audit(ctx: Context, new: AuditPage) -> Page[Recorded]:
    """Every change, latest first."""
    if not 1 <= new.limit <= MAX_PAGE:
        raise Refused(f"limit: between 1 and {MAX_PAGE}", field="limit")
    rows = await audits.page(ctx.tx, ctx.team_id, limit=new.limit + 1, after=cursor(new.after))
    shown = rows[: new.limit]
    return Page(shown, str(shown[-1].id) if len(rows) > new.limit else None)


ARCHIVABLE = ("account", "campaign", "casino", "offer", "site", "source")
#: What sets a state back; edits are set back field by field.
INVERSE = {
    "offer pause": "offer resume", "offer resume": "offer pause", "campaign pause": "campaign resume",
    "campaign resume": "campaign pause", "account pause": "account resume", "account resume": "account pause",
    "automation pause": "automation resume", "automation resume": "automation pause",
    "webhook pause": "webhook resume", "webhook resume": "webhook pause",
    **{f"{noun} archive": f"{noun} restore" for noun in ARCHIVABLE},
    **{f"{noun} restore": f"{noun} archive" for noun in ARCHIVABLE},
}  # fmt: skip
#: What was added and can be taken away again.
_ADDED = {
    "alert add": "alert remove", "automation add": "automation remove", "digest subscribe": "digest unsubscribe",
    "domain add": "domain remove", "group add": "group remove", "token create": "token revoke",
    "webhook add": "webhook remove",
}  # fmt: skip
#: What was made is never removed; the button beneath it stops what can send visitors, and puts the rest away.
_MADE = {
    "campaign create": "campaign pause", "campaign copy": "campaign pause", "offer add": "offer pause",
    "offer copy": "offer pause", "source add": "source archive", "site create": "site archive",
    "account add": "account archive",
}  # fmt: skip
LOOK_BACK = 50
Inverse = tuple[str, dict[str, Any]]


def _logo_before(code: str, before: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if before["logo"]:
        return "casino edit", {"casino": code, "logo": before["logo"]}
    return "casino logo", {"casino": code, "remove": True}


def _image_before(code: str, before: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    shown = before["texts"].get("image")
    if shown:
        return "site image", {"site": code, "earlier": shown["src"], "alt": shown["alt"]}
    return "site image", {"site": code, "remove": True}


def _spend_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    if not before:
        return None
    campaign, amount = str(before["campaign_id"]), amount_text(before["amount"])
    return "spend add", {"campaign": campaign, "amount": amount, **_some(before, "day", "currency")}


def _payment_before(_before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    if not after:
        return None
    return "payment add", {"amount": amount_text(-after["amount"]), **_some(after, "account", "day", "currency")}


def _rate_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    return ("rate set", _some(before, "currency", "rate", "from", "to")) if before else None


def _some(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: state[name] for name in names}


def _view_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    if before:
        return "view save", _some(before, "name", "query")
    return ("view remove", {"view": after["code"]}) if after else None


def _note_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    return ("note", {before["noun"]: before["code"], "text": before["note"] or NONE}) if before else None


def _placements_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    """What was added comes off again, or goes back to the list it came from; what came off goes back."""
    if not before:
        return None
    owner = "campaign" if after["campaign"] else "source"
    values = after["placements"] if "placements" in after else after[before["list"]]
    command = f"placement {before['list']}" if before["list"] else "placement remove"
    return command, {"placement": values, **_some(after, owner, "sub")}


def _live_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    """A site that was live before shows its former version again."""
    if not before or before["status"] != "published":
        return None
    return "site rollback", {"site": before["code"], "version": before["version"]}


def _unpublished_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    """The same; one that was not live is taken off its domains again."""
    return _live_before(before, after) or (("site pause", {"site": before["code"]}) if before else None)


def _terms_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    if not before:
        return None
    threshold = {"threshold": amount_text(before["threshold"])} if before["threshold"] else {}
    return "payment rule", {**_some(before, "account", "rule"), **threshold}


def _role_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    if not before:
        return None
    return "member role", {**_some(before, "role"), "member": before["code"], "campaigns": before["campaigns"] or NONE}


def _conversion_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    """A correction is corrected back; a conversion recorded by hand is reversed, which counts as if it were not."""
    if not before:
        made = bool(after) and after["outcome"] in {None, "accepted"} and after["event"] != "reversal"
        return ("conversion edit", {"conversion": after["id"], "status": "reversed"}) if made else None
    if before["amount"] is None and after["amount"] is not None:
        return None
    amount = {} if before["amount"] is None else {"amount": amount_text(before["amount"])}
    currency = {"currency": before["currency"]} if amount and before["currency"] else {}
    return "conversion edit", {"conversion": before["id"], "status": before["status"], **amount, **currency}


def _site_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    """A domain that led to no site before cannot be made to lead nowhere again but by removing it."""
    if not before or not before["site"]:
        return None
    return "domain attach", {"domain": before["code"], "site": before["site"], "move": True}


def _scope_before(before: dict[str, Any]) -> dict[str, Any]:
    """Groups and tags of a digest or alert; old changes have neither."""
    named = (("group", before.get("groups")), ("tag", before.get("tags")))
    return {field: values for field, values in named if values}


def _digest_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    if not before:
        return None
    weekdays = {"weekdays": [WEEKDAYS[number - 1] for number in before["weekdays"]]} if before["weekdays"] else {}
    campaigns = {"campaigns": before["campaigns"]} if before["campaigns"] else {}
    campaigns |= _scope_before(before)
    return "digest subscribe", {**_some(before, "at", "timezone", "every", "channel"), **weekdays, **campaigns}


def _alert_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    if not before:
        return None
    more = {name: before[name] for name in ("for", "quiet") if before[name]}
    more |= {"campaign": before["campaigns"]} if before["campaigns"] else {}
    more |= _scope_before(before)
    return "alert add", {**_some(before, "rule", "cooldown", "timezone", "channel"), **more}


def _snooze_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    """An alert that was awake is awake again."""
    if not before or before["snoozed_until"] or not after["snoozed_until"]:
        return None
    return "alert snooze", {"alert": before["code"], "for": "off"}


#: Commands that are undone by their own rule: figures and views by the same command, payments by one of the
#: opposite sign, what a site shows by its version before.
_RULES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Inverse | None]] = {
    "spend add": _spend_before, "payment add": _payment_before, "rate set": _rate_before,
    "payment rule": _terms_before, "view save": _view_before, "view remove": _view_before,
    "site publish": _unpublished_before, "site pause": _live_before, "site rollback": _live_before,
    "member role": _role_before, "conversion add": _conversion_before, "conversion edit": _conversion_before,
    "domain attach": _site_before, "digest unsubscribe": _digest_before, "alert remove": _alert_before,
    "alert snooze": _snooze_before,
    "placement block": _placements_before, "placement allow": _placements_before,
    "placement remove": _placements_before, "note": _note_before,
}  # fmt: skip
#: Commands that fill fields of an entity, and the edit that sets those back.
_EDITED_BY = {"casino fill": "casino edit"}
#: How an edit says that a field was empty before, where it does not take `none`.
_EMPTY: dict[str, Any] = {
    "markets": "all", "cap": 0, "rules": "[]", "offers": "[]", "budget_day": 0, "budget_total": 0,
}  # fmt: skip
#: What takes an entry of a table away.
_TAKEN_AWAY = {"postbacks": "-", "parameters": "-", "options": None}
#: Fields of an edit that another one empties, too: without a cost model there is no cost, without a cap no period.
_SET_BY = {
    "cost": "cost_model", "cost_event": "cost_model", "currency": "cost_model", "cap_event": "cap", "cap_period": "cap",
}  # fmt: skip
#: What a source does where its options say nothing.
_USUAL = {"delay": 0, "payout_share": "100", "only_approved": False, "only_unique": False, "concurrency": 10,
          "placement_format": "{placement}", "placement_separator": "line"}  # fmt: skip
#: Credentials of an account that are no secrets; like those they are shown by their names only.
_SHOWN_BY_NAME = {"client_id", "affiliate_id", "network_id"}
#: Fields that are shown in micro-units and said in whole units.
_AMOUNTS = frozenset({"cost", "budget_day", "budget_total"})
_CLAIMED = timedelta(minutes=1)  # in which a change is undone, or may be tried again
_NO_CHANGES = {"undo", "confirm", "cancel", "join", "sign-in"}
#: Pictures are kept under their addresses, so the one before can be shown again.
PICTURES = {"casino logo": _logo_before, "site image": _image_before}


class Undo(Arguments):
    change: Annotated[int | None, Meta(description="number of the change in audit; default: your last")] = None


class Undone(msgspec.Struct, frozen=True):
    """`undone` is the command undone, `with_` the one that did it, `result` its own result. `left`: later changes
    that could not be undone, with the reason."""

    undone: str
    with_: str = msgspec.field(name="with")
    audit_id: int
    result: Any
    left: list[str] = []


class Inverted(msgspec.Struct, frozen=True):
    """A change, the command that undid it, and its answer; `left`: later ones that were refused, and why."""

    change: Recorded
    command: str
    answer: Answer
    audit_ids: tuple[int, ...]  # of the change, and of what undid it
    claim: str  # the holder of the lease under which it was undone
    left: tuple[str, ...] = ()


class AlreadyUndone(Refused):
    """The change is undone already, or is being undone at this moment."""


async def _undo(ctx: Context, new: Undo) -> Inverted:
    """Find what to undo and run its inverse as any other command: role check, transaction and audit included."""
    if new.change is None:
        return await _undo_last(ctx)
    async with ctx.database.read() as tx:
        change = await audits.get(tx, ctx.team_id, new.change)
        later = await audits.since(tx, change) if change else []
    inverted = inverses(change) if change else []
    if change is None or not inverted:
        raise Refused(f"change: {new.change} is no change that can be undone", field="change")
    for name, arguments in inverted:
        await admit_words(COMMANDS[name], arguments, ctx)  # before anything is said of what others did since
    _refuse_superseded(change, later)
    return await _run_inverses(change, inverted, ctx)


async def _run_inverses(change: Recorded, inverted: list[Inverse], ctx: Context) -> Inverted:
    claim = await _claim(change, ctx)
    try:
        answers = [await run(COMMANDS[name], arguments, ctx, confirmed=True) for name, arguments in inverted]
    except BaseException:
        await ctx.database.run(lambda tx: leases.release(tx, claim))
        raise
    ids = [answer.change.id for answer in answers if answer.change]
    return Inverted(change, inverted[0][0], answers[-1], (change.id, *ids), claim)


async def _claim(change: Recorded, ctx: Context) -> str:
    """Take the lease by which a change is undone once, however often that is asked for at one moment; its holder.

    The transaction that records the undo gives it back. Raises AlreadyUndone.
    """
    claim = secrets.token_hex(8)

    async def work(tx: AsyncConnection) -> tuple[bool, list[Recorded]]:
        claimed = await leases.acquire(tx, f"undo:{change.id}", claim, now=ctx.now, good_for=_CLAIMED)
        return claimed, await audits.since(tx, change)

    claimed, later = await ctx.database.run(work)
    if not claimed:
        raise AlreadyUndone(f"{change.command!r} is being undone already", field="change")
    if change.id in _undone(later):
        await ctx.database.run(lambda tx: leases.release(tx, claim))
        raise AlreadyUndone(f"{change.command!r} is undone already", field="change")
    return claim


def _undone(later: list[Recorded]) -> set[int]:
    """Numbers of what the undos among entries undid."""
    return {number for entry in later if entry.command == "undo" and entry.after for number in entry.after["audit_ids"]}


def _refuse_superseded(change: Recorded, later: list[Recorded]) -> None:
    """A change that is undone already, or that another one of the same entity followed."""
    undone = _undone(later)
    if change.id in undone:
        raise AlreadyUndone(f"{change.command!r} is undone already", field="change")
    newer = [
        entry for entry in later if entry.command != "undo" and entry.entity_id is not None and entry.id not in undone
    ]
    if newer:
        raise Refused(
            f"{change.command!r} is not the last change any more: {newer[-1].actor} did {newer[-1].command!r} since",
            field="change",
        )


async def _undo_last(ctx: Context) -> Inverted:
    async with ctx.database.read() as tx:
        entries = await audits.latest_of(tx, ctx.team_id, ctx.actor.name, limit=LOOK_BACK)
    lasting = [
        entry.command
        for entry in entries
        if entry.command not in _NO_CHANGES and (entry.command in _MADE or inverse(entry) is None)
    ]
    refusals: list[CasinoFluxError] = []
    left: list[str] = []
    for entry in entries:
        inverted = inverses(entry)
        if not inverted or entry.command in _MADE or not may(COMMANDS[inverted[0][0]], ctx.actor):
            continue
        try:
            undone = await _run_inverses(entry, inverted, ctx)
        except AlreadyUndone:  # by the same word at the same moment: the change before it was not meant
            raise
        except CasinoFluxError as refusal:  # it does not hide those before it
            refusals.append(refusal)
            left.append(f"{entry.command}: {refusal}")
            continue
        return msgspec.structs.replace(undone, left=tuple(left))
    if refusals:
        raise refusals[0]
    if lasting:
        raise Refused(f"your last change, {lasting[0]!r}, cannot be undone, nor those before it", field="command")
    raise Refused("there is no change of yours to undo", field="command")


def inverses(entry: Recorded) -> list[Inverse]:
    """The commands that set a change back: one, or of an edit of several entities one for each former state; empty
    where there are none."""
    if not isinstance(entry.after, list) or not entry.command.endswith(" edit"):
        single = inverse(entry)
        return [] if single is None else [single]
    noun = entry.command.partition(" ")[0]
    by_state: dict[bytes, tuple[str, dict[str, Any]]] = {}
    for before, after in zip(entry.before or [], entry.after, strict=False):
        single = inverse(msgspec.structs.replace(entry, before=before, after=after))
        if single is None:
            return []
        name, arguments = single
        former = {field: value for field, value in arguments.items() if field != noun}
        kept = by_state.setdefault(msgspec.json.encode(former), (name, {noun: [], **former}))
        kept[1][noun].append(arguments[noun])
    return list(by_state.values())


def inverse(entry: Recorded) -> tuple[str, dict[str, Any]] | None:
    """The command and arguments that set an entity back to what it was; None if there are none."""
    noun = entry.command.partition(" ")[0]
    if isinstance(entry.after, list):  # of several
        codes = [state["code"] for state in entry.after]
        if entry.command == "alert mute":
            slept = any(state["snoozed_until"] for state in entry.before or ())
            return None if slept or not codes else ("alert mute", {"for": "off"})
        return (INVERSE[entry.command], {noun: codes}) if codes and entry.command in INVERSE else None
    before = _flat(entry.before)
    after = _flat(entry.after)
    if entry.command in _ADDED:
        return (_ADDED[entry.command], {noun: str(after["id"])}) if after.get("id") else None
    if entry.command in _MADE:
        return (_MADE[entry.command], {noun: [after["code"]]}) if after.get("code") else None
    if entry.command in _RULES:
        return _RULES[entry.command](before, after)
    code = after.get("code") or before.get("code")
    if not code or not before:
        return None
    if entry.command in INVERSE:
        return INVERSE[entry.command], {noun: code}
    if entry.command in PICTURES:
        return PICTURES[entry.command](code, before)
    editing = _EDITED_BY.get(entry.command, entry.command)
    if not editing.endswith(" edit") or noun not in field_names(COMMANDS[editing].parameters):
        return None
    changed = _fields_before(entry, COMMANDS[editing], before, after)
    if not changed or any(value in (None, "", []) for value in changed.values()) or HIDDEN in str(changed):
        return None
    how = {"test": False} if editing == "account edit" else {}  # that login worked before
    return editing, {noun: code, **how, **{name: _as_argument(name, value) for name, value in changed.items()}}


def _fields_before(
    entry: Recorded, edit: Command, before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any] | None:
    """What an edit changed, as an edit sets it back; empty values where it cannot. None where credentials changed."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(edit.parameters)}
    if entry.arguments.keys() & (secret_fields(edit.parameters) | _SHOWN_BY_NAME):
        return None
    changed = {name: before[name] for name in fields if _differs(name, before, after)}
    changed.pop("settings", None)  # names only: the credentials that the templates of a source hold
    for name in changed.keys() & _TAKEN_AWAY.keys():  # what had none loses it again
        changed[name] = {**dict.fromkeys(after[name], _TAKEN_AWAY[name]), **changed[name]}
    emptied = [name for name, was in changed.items() if was in (None, "", [])]
    for name in [name for name in emptied if _SET_BY.get(name) in changed]:
        del changed[name]
        emptied.remove(name)
    changed |= {name: NONE for name in emptied if meta(fields[name])[2].get("empties")}
    return changed | {name: _EMPTY[name] for name in emptied if name in _EMPTY}


def _flat(state: Any) -> dict[str, Any]:
    """A state with the texts of a site, or the options of a source, beside its other fields."""
    if not isinstance(state, dict):
        return {}
    if "postbacks" in state and isinstance(state.get("options"), dict):
        state = {**_USUAL, **state["options"], **state}
    texts = state.get("texts")
    if not isinstance(texts, dict):
        return cast(dict[str, Any], state)
    faq = [" | ".join(pair) for pair in texts.get("faq") or ()]
    return {**state, **{name: texts.get(name) for name in TEXTS}, "faq": faq}


def _differs(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    return name in before and name in after and before[name] != after[name]


def _as_argument(name: str, value: Any) -> Any:
    """A value as an argument takes it: amounts are shown in micro-units and said in whole ones."""
    return amount_text(value) if name in _AMOUNTS and isinstance(value, int) and value else value


def undone_card(ctx: Context, done: Undone) -> Message:
    left = (Notice("warning", f"Left as it is: {text}") for text in done.left)
    return Message(f"Undone: {done.undone}", (Notice("ok", ctx.prepared.answer.message.title), *left))


def with_undo(answer: Answer, actor: Actor) -> Message:
    """The answer's message with a button that takes its change back, if that can be, and the actor may."""
    message, change = answer.message, answer.change
    inverted = [] if change is None else inverses(change)
    if change is None or not inverted or not may(COMMANDS[inverted[0][0]], actor):
        return message
    button = Button("Undo", f"undo {change.id}")
    *others, last = message.blocks or (None,)
    if isinstance(last, Buttons):
        blocks = (*others, Buttons((*last.buttons, button)))
    else:
        blocks = (*message.blocks, Buttons((button,)))
    return msgspec.structs.replace(message, blocks=blocks)


@command("undo", role=Role.BUYER, scope=Scope.OPEN, render=undone_card, positional=("change",), prepare=_undo)
async def undo(ctx: Context, new: Undo) -> Undone:
    """Undo a change: your last reversible one, or the one of a number."""
    inverted: Inverted = ctx.prepared
    change = inverted.change
    await leases.release(ctx.tx, inverted.claim)
    ctx.notes = {"entity": change.entity, "entity_id": change.entity_id, "after": {"audit_ids": inverted.audit_ids}}
    return Undone(change.command, inverted.command, change.id, inverted.answer.result, list(inverted.left))
