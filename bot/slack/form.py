"""Modals from a command's struct: a field is an input block, its name the block's id. Pure, but for the options."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from bot.chat.questions import MOST, Option, Question, open_questions, options
from bot.chat.session import ChatSessions, Form
from bot.core.command import COMMANDS
from bot.core.context import Actor
from bot.core.message import Message
from bot.render.text_columns import cut
from bot.slack.blocks import Json, plain, render, section

ACTION = "value"
DAY = "day-"  # begins the ids of a day's buttons
CALLBACK = "form"
MOST_INPUTS = 95
TEXT = 3000


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a modal must remember: its command, and where the result goes."""

    command: str
    channel: str = ""
    thread: str = ""
    title: str = ""
    extra: dict[str, Any] = msgspec.field(default_factory=dict)  # arguments that are not among its inputs


async def view(sessions: ChatSessions, actor: Actor, form: Form, origin: Origin, *, note: str = "") -> Json:
    """The modal that asks for what a command takes, filled with what was given."""
    command = COMMANDS[form.command]
    fields = open_questions(sessions.ports.platforms(), command, form.arguments)[:MOST_INPUTS]
    blocks = [section(plain(command.summary or command.name, TEXT))]
    blocks += [section(plain(f"⛔ {note}", TEXT))] if note else []
    for question in fields:
        choices = await options(sessions, actor, question)
        blocks.append(block(question, choices, form.arguments.get(question.name)))
        if question.kind == "day":
            blocks.append(_day_buttons(question, choices))
    return {
        "type": "modal", "callback_id": CALLBACK, "title": plain(command.name.capitalize(), 24),
        "submit": plain("Save" if command.changes else "Show", 24), "close": plain("Cancel", 24),
        "private_metadata": msgspec.json.encode(origin).decode(), "blocks": blocks,
    }  # fmt: skip


def block(question: Question, choices: list[Option], value: Any) -> Json:
    """One input. What was given and is not among the options is kept as typed."""
    values = _values(question, value)
    among = {choice.value for choice in choices}
    listed = choices and question.kind != "day" and set(values) <= among
    element = _select(question, choices, values) if listed else _typed(question, values)
    element_block: Json = {
        "type": "input", "block_id": question.name, "optional": not question.required,
        "label": plain(question.label, 200), "element": element,
    }  # fmt: skip
    if question.refers == "platform":
        element_block["dispatch_action"] = True  # what else is asked depends on it
    if question.description:
        element_block["hint"] = plain(question.description, 500)
    return element_block


def _day_buttons(question: Question, known: list[Option]) -> Json:
    """Days one need not look for in a calendar; pressed, they fill the field above."""
    elements = [
        {
            "type": "button",
            "text": plain(one.label, 75),
            "action_id": f"{DAY}{question.name}-{one.value}",
            "value": one.value,
        }
        for one in known
    ]
    return {"type": "actions", "block_id": f"{DAY}{question.name}", "elements": elements}


def day_pressed(action: Mapping[str, Any]) -> tuple[str, str]:
    """The field that a day's button fills, and its word: today, yesterday."""
    return str(action["block_id"]).removeprefix(DAY), str(action["value"])


def _values(question: Question, value: Any) -> list[str]:
    if value is None or value == "":
        return [question.default] if question.default and question.kind != "yes" else []
    if isinstance(value, list):
        return [str(element) for element in value]
    if question.kind == "yes":
        return ["yes" if str(value).lower() in {"true", "yes", "y", "1", "on"} else "no"]
    return [part.strip() for part in str(value).split(",")] if question.many else [str(value)]


def _select(question: Question, choices: list[Option], values: list[str]) -> Json:
    many = "multi_" if question.many else ""
    chosen = [option(choice) for choice in choices if choice.value in values]
    initial: Json = {}
    if chosen:
        initial = {"initial_options": chosen} if question.many else {"initial_option": chosen[0]}
    if len(choices) >= MOST:
        return {"type": f"{many}external_select", "action_id": ACTION, "min_query_length": 0} | initial
    return {
        "type": f"{many}static_select",
        "action_id": ACTION,
        "options": [option(choice) for choice in choices],
    } | initial


def option(choice: Option) -> Json:
    return {"text": plain(choice.label, 75), "value": cut(choice.value, 150)}


def _typed(question: Question, values: list[str]) -> Json:
    text = ",".join(values)[:TEXT]
    if question.kind == "day" and (not text or _iso(text)):
        # Slack keeps what was picked before under the same id: a day that a button fills in has its own.
        return {"type": "datepicker", "action_id": f"{ACTION}{text}"} | ({"initial_date": text} if text else {})
    element: Json = {"type": "plain_text_input", "action_id": ACTION, "max_length": TEXT}
    return element | ({"initial_value": text} if text else {})


def _iso(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def submitted(submission: Mapping[str, Any]) -> tuple[Origin, dict[str, Any]]:
    """Where a submitted modal came from, and the arguments in it."""
    origin = msgspec.json.decode(submission["private_metadata"], type=Origin)
    arguments = dict(origin.extra)
    for name, actions in submission["state"]["values"].items():
        value = _read(next(iter(actions.values()), {}))
        if value not in (None, "", []):
            arguments[name] = value
    return origin, arguments


def _read(state: Mapping[str, Any]) -> Any:
    match state.get("type"):
        case "static_select" | "external_select":
            return (state.get("selected_option") or {}).get("value")
        case "multi_static_select" | "multi_external_select":
            return [selected["value"] for selected in state.get("selected_options") or []]
        case "datepicker":
            return state.get("selected_date")
        case _:
            return state.get("value")


def faults(form: Form | None, message: Message, view_blocks: list[Json]) -> dict[str, str]:
    """A refusal as Slack shows it: at its field, or at the first one if it has none here."""
    inputs = [block["block_id"] for block in view_blocks if block["type"] == "input"]
    if not inputs:
        return {}
    if form and form.missing and not form.any_of:
        return {name: "please fill this in" for name in form.missing if name in inputs} or {inputs[0]: message.title}
    at = form.field if form and form.field in inputs else inputs[0]
    return {at or inputs[0]: cut((form.fault if form else "") or message.title, 300)}


def notice_view(message: Message, title: str) -> Json:
    """A modal that only shows something."""
    blocks = [block for block in render(message)["blocks"] if block["type"] not in {"table", "data_visualization"}]
    return {"type": "modal", "title": plain(title.capitalize(), 24), "close": plain("Close", 24), "blocks": blocks}
