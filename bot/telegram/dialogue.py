"""Telegram's step-by-step dialogue: what a command lacks is asked for in turn, with buttons where answers are known.

The state is a row, so a dialogue goes on after a restart. Data of its buttons: `d:<nonce>:<step>`; a button of a
question that is over has another nonce.
"""

import html
import secrets
from typing import Any

import msgspec
from telegram import Bot, CallbackQuery
from telegram import Message as TelegramMessage
from telegram.error import BadRequest, TelegramError

from bot.chat.questions import Option, Question, open_questions, options, questions
from bot.chat.session import Caller, ChatSessions, Form, carry_out, identify
from bot.core.arguments import secret_fields
from bot.core.command import COMMANDS, line_of
from bot.core.context import Actor, Room
from bot.core.message import Button, Buttons, Message
from bot.telegram import post
from bot.telegram.html import Key, keyboard
from storage.chat import dialogues
from storage.chat.dialogues import Dialogue
from storage.ledger.credentials import HIDDEN

ON_A_PAGE = 8
QUESTION_OVER = "This question is over, or was asked of someone else: send the command yourself."
EXPIRED = "This question has expired: send the command again"
NOT_YOURS = "This question was asked of someone else: send the command yourself"
WHICH_FIELD = "which of these do you want to give?"
REMOVED = "Your message is removed once it is read."


class State(msgspec.Struct, kw_only=True):
    """Where a dialogue stands. `picked` are values of a question that takes several."""

    arguments: dict[str, Any]
    asking: str
    nonce: str
    message_id: int = 0
    page: int = 0
    menu: bool = False  # optional fields are offered instead of an answer
    picked: list[str] = []
    known: list[Option] = []
    note: str = ""


class DialogueRunner:
    """One bot's open dialogues."""

    def __init__(self, sessions: ChatSessions, bot: Bot) -> None:
        self.sessions, self.bot = sessions, bot

    async def begin(self, room: Room, actor: Actor, form: Form) -> None:
        """Ask for the first field that lacks (or was refused)."""
        state = State(
            arguments=form.arguments, asking=form.missing[0], nonce=secrets.token_hex(3), menu=form.any_of
        )  # fmt: skip
        await self._ask(room, actor, form.command, state)

    async def cancel(self, room: Room) -> None:
        """`/cancel`"""
        dialogue = await self._load(room)
        await self.forget(room)
        if dialogue is None:
            actor = await identify(self.sessions, Caller(room=room))
            reply = actor if isinstance(actor, Message) else Message("There is nothing to cancel.")
        else:
            await self._close(room, dialogue[1], "cancelled")
            reply = Message(f"Cancelled: {dialogue[0]}. Nothing was changed.")
        await post.post(self.sessions, self.bot, room.room, reply, thread=room.thread)

    async def forget(self, room: Room) -> None:
        """End the person's dialogue in this room, if there is one."""
        async with self.sessions.database.read() as tx:
            dialogue = await dialogues.load(tx, self.sessions.clock(), **_address(room))
        if dialogue is not None:
            async with self.sessions.database.begin() as tx:
                await dialogues.drop(tx, **_address(room))

    async def answered(self, room: Room, message: TelegramMessage, text: str) -> bool:
        """Use a line as the answer to the open question, and say so of one that is over or another member's; False if
        it answers none."""
        dialogue = await self._load(room)
        if dialogue is None or not self._is_for(dialogue[1], room, message):
            return await self._refused(room, message)
        command, state = dialogue
        actor = await identify(self.sessions, Caller(room=room))
        if isinstance(actor, Message):
            return False
        question = _question(command, state.asking)
        if question.kind == "secret":
            await self.hide(message)
        await self._close(room, state, HIDDEN if question.kind == "secret" else text)
        state.message_id = 0
        await self._take(room, actor, command, state, _value(question, text.strip()))
        return True

    def _is_for(self, state: State, room: Room, message: TelegramMessage) -> bool:
        """Whether a line answers the question: in private any does that replies to no other one."""
        return _replies_to(message, state.message_id) or (room.private and not self.asked_in(message))

    async def _refused(self, room: Room, message: TelegramMessage) -> bool:
        """Whether a line replies to a question that has expired or is another member's: then that is said, with a
        button to send the command again. Nothing is carried out."""
        expired = await self._expired(room)
        line = self.asked_in(message)
        if expired is not None and _replies_to(message, expired[1].message_id):
            line = _again(*expired)
        if not line or isinstance(await identify(self.sessions, Caller(room=room)), Message):
            return False
        if REMOVED in (message.reply_to_message.text or "" if message.reply_to_message else ""):
            await self.hide(message)
        why = NOT_YOURS if await self._is_of_another(room, message) else EXPIRED
        await post.post(
            self.sessions, self.bot, room.room, _with_line(why, line), thread=room.thread, reply_to=message.message_id
        )
        return True

    def asked_in(self, message: TelegramMessage) -> str:
        """The command that the message to which this one replies asks for; empty if that is no open question of
        ours. A question that was answered or cancelled has another text."""
        origin = message.reply_to_message
        if origin is None or origin.from_user is None or origin.from_user.id != self.bot.id:
            return ""
        heads = (line.partition(" · ") for line in (origin.text or "").splitlines())
        return next((command for command, _, label in heads if _asks(command, label)), "")

    async def expired_question(self, room: Room) -> Message | None:
        """What to say of the person's last question in this room if it has expired; said once."""
        expired = await self._expired(room)
        if expired is None:
            return None
        async with self.sessions.database.begin() as tx:
            await dialogues.drop(tx, **_address(room))
        return _with_line(EXPIRED, _again(*expired))

    async def hide(self, message: TelegramMessage) -> None:
        """Delete a message that holds a credential, where the bot may."""
        try:
            await message.delete()
        except TelegramError:
            post.log.info("a message with a credential could not be removed from a chat")

    async def pressed(self, room: Room, query: CallbackQuery, data: str) -> None:
        """A button of a dialogue."""
        dialogue = await self._load(room)
        _, nonce, step = data.split(":", 2)
        if dialogue is None or dialogue[1].nonce != nonce:
            await toast(query, QUESTION_OVER)
            return
        actor = await identify(self.sessions, Caller(room=room))
        if isinstance(actor, Message):
            await toast(query, actor.title, alert=True)
            return
        await toast(query)
        await self._step(room, actor, dialogue[0], dialogue[1], step)

    async def _step(self, room: Room, actor: Actor, command: str, state: State, step: str) -> None:
        kind, number = step[:1], int(step[1:] or 0)
        question = _question(command, state.asking)
        match kind:
            case "c":
                await self.cancel(room)
            case "p":
                state.page = number
                await self._ask(room, actor, command, state)
            case "m":
                state.menu, state.page = not state.menu, 0
                await self._ask(room, actor, command, state)
            case "f":
                state.asking, state.menu, state.page = _all(self.sessions, command, state)[number].name, False, 0
                await self._ask(room, actor, command, state)
            case "o" if question.many:
                state.picked = _toggled(state, state.known[number].value)
                await self._ask(room, actor, command, state)
            case "o":
                await self._take(room, actor, command, state, state.known[number].value)
            case "x":
                await self._take(room, actor, command, state, state.picked)

    async def _take(self, room: Room, actor: Actor, command: str, state: State, value: Any) -> None:
        """An answer: try the command; ask for what it still lacks, or for what it refused."""
        state.arguments[state.asking] = value
        state.picked, state.page, state.menu, state.note = [], 0, False, ""
        lacking = _lacking(command, state.arguments)
        if lacking:
            state.asking = lacking[0]
            await self._ask(room, actor, command, state)
            return
        reply = await carry_out(self.sessions, room, actor, COMMANDS[command], state.arguments)
        names = {question.name for question in questions(COMMANDS[command])}
        at = reply.form and (reply.form.missing[0] if reply.form.missing else reply.form.field)
        if reply.form and at in names:
            state.asking, state.note = str(at), reply.form.fault or reply.message.title
            state.arguments.pop(state.asking, None)
            await self._ask(room, actor, command, state)
            return
        await self.forget(room)
        await self._close(room, state, _shown(value, state.known))
        await post.tell(self.sessions, self.bot, room, reply)

    async def _ask(self, room: Room, actor: Actor, command: str, state: State) -> None:
        """Show the question: in the message of the one before, if that was answered by a button."""
        question = _question(command, state.asking)
        state.known = await options(self.sessions, actor, question)
        state.nonce = state.nonce or secrets.token_hex(3)
        await self._keep(room, command, state)
        text, keys = _text(command, question, state), _keys(_all(self.sessions, command, state), question, state)
        shown = await self._show(room, state.message_id, text, keyboard(keys))
        if shown != state.message_id:
            state.message_id = shown
            await self._keep(room, command, state)

    async def _show(self, room: Room, message_id: int, text: str, rows: tuple[tuple[Key, ...], ...]) -> int:
        keys = post.markup(rows)
        if message_id:
            try:
                await self.bot.edit_message_text(
                    text, chat_id=room.room, message_id=message_id, parse_mode="HTML", reply_markup=keys
                )
            except BadRequest as fault:
                if "not modified" not in fault.message:
                    return await self._show(room, 0, text, rows)
            return message_id
        thread = int(room.thread) if room.thread else None
        sent = await self.bot.send_message(
            room.room, text, parse_mode="HTML", reply_markup=keys, message_thread_id=thread
        )
        return sent.message_id

    async def _close(self, room: Room, state: State, answer: str) -> None:
        """Close the question: its buttons are removed, the answer stays."""
        if not state.message_id:
            return
        label = html.escape(state.asking.replace("_", " ").capitalize())
        text = f"{label}: <b>{html.escape(answer[:500], quote=False)}</b>"
        try:
            await self.bot.edit_message_text(text, chat_id=room.room, message_id=state.message_id, parse_mode="HTML")
        except BadRequest as fault:
            post.log.info("a question could not be closed: %s", fault.message)

    async def _keep(self, room: Room, command: str, state: State) -> None:
        sealed = self.sessions.box.seal(state)  # arguments may hold credentials
        async with self.sessions.database.begin() as tx:
            await dialogues.store(
                tx, Dialogue(command=command, state={"sealed": sealed}, at=self.sessions.clock(), **_address(room))
            )

    async def _load(self, room: Room) -> tuple[str, State] | None:
        async with self.sessions.database.read() as tx:
            row = await dialogues.load(tx, self.sessions.clock(), **_address(room))
        return self._opened(row)

    async def _expired(self, room: Room) -> tuple[str, State] | None:
        async with self.sessions.database.read() as tx:
            return self._opened(await dialogues.expired(tx, self.sessions.clock(), **_address(room)))

    async def _is_of_another(self, room: Room, message: TelegramMessage) -> bool:
        """Whether the message to which this one replies is the open question of another person."""
        async with self.sessions.database.read() as tx:
            rows = await dialogues.of_others(tx, self.sessions.clock(), **_address(room))
        states = [opened[1] for row in rows if (opened := self._opened(row))]
        return any(_replies_to(message, state.message_id) for state in states)

    def _opened(self, row: Dialogue | None) -> tuple[str, State] | None:
        if row is None or row.command not in COMMANDS:
            return None
        return row.command, msgspec.convert(self.sessions.box.open(row.state["sealed"]), State)


async def toast(query: CallbackQuery, text: str = "", *, alert: bool = False) -> None:
    """Answer a press, so that its button stops waiting, with a text if there is one; ignore one too old for that."""
    try:
        await query.answer(text[:200] or None, show_alert=alert)
    except BadRequest as fault:
        post.log.info("a press could not be answered: %s", fault.message)


def _asks(command: str, label: str) -> bool:
    """Whether a line of a message is the head of a question: `offer add · Account`."""
    if command not in COMMANDS:
        return False
    return label == WHICH_FIELD or any(question.label == label for question in questions(COMMANDS[command]))


def _again(command: str, state: State) -> str:
    """The line that asks again for what lacks; without the arguments where it would no longer ask."""
    hidden = secret_fields(COMMANDS[command].parameters)
    visible_arguments = {name: value for name, value in state.arguments.items() if name not in hidden}
    return line_of(COMMANDS[command], visible_arguments if _lacking(command, state.arguments) else {})


def _with_line(text: str, line: str) -> Message:
    """A text with a button that sends a line."""
    return Message(text, (Buttons((Button(line, line),)),))


def _replies_to(message: TelegramMessage, message_id: int) -> bool:
    """Whether a line is written as a reply to that message: in a group people go on talking to each other."""
    return message.reply_to_message is not None and message.reply_to_message.message_id == message_id


def _address(room: Room) -> dict[str, str]:
    return {"face": room.face, "room": f"{room.room}/{room.thread}", "user": room.user}


def _question(command: str, name: str) -> Question:
    return next(question for question in questions(COMMANDS[command]) if question.name == name)


def _lacking(command: str, arguments: dict[str, Any]) -> list[str]:
    return [
        question.name
        for question in questions(COMMANDS[command])
        if question.required and question.name not in arguments
    ]


def _value(question: Question, text: str) -> Any:
    """A typed answer; that of a choice may be typed in any letter case."""
    return next((choice for choice in question.choices if choice.lower() == text.lower()), text)


def _toggled(state: State, value: str) -> list[str]:
    return [choice for choice in state.picked if choice != value] if value in state.picked else [*state.picked, value]


def _shown(value: Any, known: list[Option]) -> str:
    """An answer as people read it: what was chosen by the names of the choices."""
    labels = {element.value: element.label for element in known}
    values = value if isinstance(value, list) else [value]
    return ", ".join(labels.get(element, str(element)) for element in values)


def _text(command: str, question: Question, state: State) -> str:
    lines = [f"<b>{html.escape(command)}</b> · {html.escape(question.label)}"]
    if state.note:
        lines.insert(0, f"⛔ {html.escape(state.note[:1000], quote=False)}")
    if state.menu:
        return "\n".join([*lines[:-1], f"<b>{html.escape(command)}</b> · {WHICH_FIELD}"])
    if question.description:
        lines.append(html.escape(question.description, quote=False))
    if question.kind == "secret":
        lines.append(f"<i>{REMOVED}</i>")
    if not state.known or question.kind == "day":
        lines.append("<i>Type it (in a group: as a reply to this). /cancel stops.</i>")
    return "\n".join(lines)


def _all(sessions: ChatSessions, command: str, state: State) -> list[Question]:
    return open_questions(sessions.ports.platforms(), COMMANDS[command], state.arguments)


def _keys(every: list[Question], question: Question, state: State) -> list[Key]:
    def key(label: str, step: str) -> Key:
        return Key(label, data=f"d:{state.nonce}:{step}")

    if state.menu:
        arguments = state.arguments
        rest = [(n, question) for n, question in enumerate(every) if not question.required]
        return [
            *(key(f"{question.label}{' ✓' if question.name in arguments else ''}", f"f{n}") for n, question in rest),
            key("‹ Back", "m"),
        ]
    first = state.page * ON_A_PAGE
    page = list(enumerate(state.known))[first : first + ON_A_PAGE]
    keys = [key(f"{'✓ ' if choice.value in state.picked else ''}{choice.label}"[:60], f"o{n}") for n, choice in page]
    if state.page:
        keys.append(key("‹", f"p{state.page - 1}"))
    if len(state.known) > first + ON_A_PAGE:
        keys.append(key("›", f"p{state.page + 1}"))
    if question.many and state.picked:
        keys.append(key("Done", "x"))
    if any(not question.required for question in every):
        keys.append(key("Optional…", "m"))
    return [*keys, key("Cancel", "c")]
