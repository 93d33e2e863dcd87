"""Take back the last reversible change one made: by running what sets it to how it was before."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from bot.commands.sites import TEXTS
from bot.core.arguments import NONE, Arguments, field_names, meta, secret_fields
from bot.core.command import COMMANDS, Answer, command, run
from bot.core.context import Context
from bot.core.message import Message, Notice
from bot.core.permissions import Scope
from storage.ledger.credentials import HIDDEN
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import audits
from storage.people.audits import Recorded

#: What sets a state back; edits are set back field by field.
INVERSE = {
    "offer pause": "offer resume", "offer resume": "offer pause", "campaign pause": "campaign resume",
    "campaign resume": "campaign pause", "site publish": "site pause", "account pause": "account resume",
    "account resume": "account pause",
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
    campaign, amount = str(before["campaign_id"]), micros_written_out(before["amount"])
    return "spend add", {"campaign": campaign, "amount": amount, **_some(before, "day", "currency")}


def _payment_before(_before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    if not after:
        return None
    return "payment add", {"amount": micros_written_out(-after["amount"]), **_some(after, "account", "day", "currency")}


def _rate_before(before: dict[str, Any], _after: dict[str, Any]) -> Inverse | None:
    return ("rate set", _some(before, "currency", "rate", "from", "to")) if before else None


def _some(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: state[name] for name in names}


def micros_written_out(micros: int) -> str:
    """Micro-units as a decimal of whole units."""
    return f"{Decimal(micros) / 1_000_000:f}"


def _view_before(before: dict[str, Any], after: dict[str, Any]) -> Inverse | None:
    if before:
        return "view save", _some(before, "name", "query")
    return ("view remove", {"view": after["code"]}) if after else None


#: Figures and views are set back by the same command, payments by one of the opposite sign.
_FIGURES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Inverse | None]] = {
    "spend add": _spend_before, "payment add": _payment_before, "rate set": _rate_before,
    "view save": _view_before, "view remove": _view_before,
}  # fmt: skip
#: Commands that fill fields of an entity, and the edit that sets those back.
_EDITED_BY = {"casino fill": "casino edit"}
#: How an edit is told that a field was empty before, where it does not take `none`.
_EMPTY: dict[str, Any] = {"markets": "all", "cap": 0}
_NO_CHANGES = {"undo", "confirm", "cancel", "join"}
#: Pictures are kept under their addresses, so the one before can be shown again.
PICTURES = {"casino logo": _logo_before, "site image": _image_before}


class Undo(Arguments):
    pass


class Undone(msgspec.Struct, frozen=True):
    """`undone` is the command taken back, `with_` the one that did it, `result` its own result."""

    undone: str
    with_: str = msgspec.field(name="with")
    audit_id: int
    result: Any


async def _taken_back(ctx: Context, _new: Undo) -> tuple[Recorded, str, Answer]:
    """Find what to take back and run its inverse as any other command: role check, transaction and audit included."""
    async with ctx.database.read() as tx:
        recent = await audits.page(tx, ctx.team_id, limit=LOOK_BACK)
    taken = {number for one in recent if one.command == "undo" and one.after for number in one.after["audit_ids"]}
    mine = [one for one in recent if one.actor == ctx.actor.name and one.id not in taken]
    lasting = [one.command for one in mine if one.command not in _NO_CHANGES and inverse(one) is None]
    for one in mine:
        found = inverse(one)
        if found is not None:
            name, arguments = found
            return one, name, await run(COMMANDS[name], arguments, ctx, confirmed=True)
    if lasting:
        raise Refused(f"your last change, {lasting[0]!r}, cannot be taken back, nor those before it", field="command")
    raise Refused("there is no change of yours to take back", field="command")


def inverse(one: Recorded) -> tuple[str, dict[str, Any]] | None:
    """The command and arguments that set an entity back to what it was; None if there are none."""
    before = _flat(one.before)
    after = _flat(one.after)
    if one.command in _FIGURES:
        return _FIGURES[one.command](before, after)
    code = after.get("code") or before.get("code")
    if not code or not before:
        return None
    noun = one.command.partition(" ")[0]
    if one.command in INVERSE:
        return INVERSE[one.command], {noun: code}
    if one.command in PICTURES:
        return PICTURES[one.command](code, before)
    editing = _EDITED_BY.get(one.command, one.command)
    if not editing.endswith(" edit") or noun not in field_names(COMMANDS[editing].parameters):
        return None
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(COMMANDS[editing].parameters)}
    secret = secret_fields(COMMANDS[editing].parameters)  # shown by their names only
    changed = {name: before[name] for name in fields if name not in secret and _differs(name, before, after)}
    if "postbacks" in changed:  # an event that had no template loses it again
        changed["postbacks"] = {**dict.fromkeys(after["postbacks"], "-"), **changed["postbacks"]}
    emptied = [name for name, was in changed.items() if was in (None, "", [])]
    changed |= {name: NONE for name in emptied if meta(fields[name])[2].get("empties")}
    changed |= {name: _EMPTY[name] for name in emptied if name in _EMPTY}
    if not changed or any(value in (None, "", []) for value in changed.values()) or HIDDEN in str(changed):
        return None
    return editing, {noun: code, **{name: _said(name, value) for name, value in changed.items()}}


def _flat(state: Any) -> dict[str, Any]:
    """A state with the texts of a site beside its other fields."""
    if not isinstance(state, dict):
        return {}
    texts = state.get("texts")
    if not isinstance(texts, dict):
        return state
    faq = [" | ".join(one) for one in texts.get("faq") or ()]
    return {**state, **{name: texts.get(name) for name in TEXTS}, "faq": faq}


def _differs(name: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    return name in before and name in after and before[name] != after[name]


def _said(name: str, value: Any) -> Any:
    """A value as an argument takes it: amounts are shown in micro-units and said in whole ones."""
    return str(value / 1_000_000) if name == "cost" and isinstance(value, int) else value


def undone_card(ctx: Context, done: Undone) -> Message:
    _, _, answer = ctx.prepared
    return Message(f"Taken back: {done.undone}", (Notice("ok", answer.message.title),))


@command("undo", role=Role.BUYER, scope=Scope.OPEN, render=undone_card, prepare=_taken_back)
async def undo(ctx: Context, new: Undo) -> Undone:
    """Take back your last reversible change."""
    one, name, answer = ctx.prepared
    done = Undone(one.command, name, one.id, answer.result)
    recent = await audits.page(ctx.tx, ctx.team_id, limit=LOOK_BACK)
    own = next(each.id for each in recent if each.command == name and each.actor == ctx.actor.name)
    ctx.notes = {"entity": one.entity, "entity_id": one.entity_id, "after": {"audit_ids": [one.id, own]}}
    return done
