"""Slack's modals and App Home: opened, filled with live data, submitted."""

import asyncio
import logging
import re
from typing import Any

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError

from bot.chat.home import home_message
from bot.chat.questions import options, questions
from bot.chat.session import Caller, ChatSessions, Form, Reply, carry_out, identify
from bot.core.command import COMMANDS
from bot.core.context import Actor, Room
from bot.core.message import Button, Buttons, Message, Text
from bot.core.permissions import may
from bot.core.tokenizer import past_day
from bot.slack import form as slack_form
from bot.slack import post
from bot.slack.blocks import BLOCKS, Json, fallback, plain, render, section
from bot.slack.chat import Chat
from bot.slack.form import Origin

log = logging.getLogger(__name__)

ACK_WITHIN = 2.3  # seconds; Slack waits three for the answer to a submission
SHORTCUTS = {"new_offer": "offer add", "new_campaign": "campaign create", "stats": "stats"}


def listen(chat: Chat) -> None:
    """Register what modals and the App Home send."""
    slack = _Views(chat)
    chat.app.view(slack_form.CALLBACK)(slack.submitted)
    chat.app.options(slack_form.ACTION)(slack.suggested)
    chat.app.action(slack_form.ACTION)(slack.chosen)
    chat.app.action(re.compile(f"^{slack_form.DAY}"))(slack.day)
    chat.app.event("app_home_opened")(slack.home)
    for name in SHORTCUTS:
        chat.app.shortcut(name)(slack.shortcut)


async def ask(chat: Chat, room: Room, reply: Reply, body: dict[str, Any]) -> bool:
    """Open the form of a command that lacks fields; False where Slack lets us not."""
    if reply.form is None or reply.actor is None or not body.get("trigger_id"):
        return False
    origin = Origin(command=reply.form.command, channel=room.room, thread=room.thread, title=room.title)
    web = await chat.client(room.workspace)
    try:
        shown = await slack_form.view(chat.sessions, reply.actor, reply.form, origin)
        await web.api_call("views.open", json={"trigger_id": body["trigger_id"], "view": shown})
    except (SlackApiError, aiohttp.ClientError, TimeoutError) as fault:
        log.warning("a form could not be opened: %s", post.reason(fault))
        return False
    return True


class _Views:
    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    async def submitted(self, ack: Any, body: dict[str, Any]) -> None:
        """A form was sent in: faults are shown at their fields, a result where it was asked for."""
        origin, arguments = slack_form.submitted(body["view"])
        room = self._room(body, origin)
        work = asyncio.create_task(self._run(room, origin, arguments))
        if not (await asyncio.wait({work}, timeout=ACK_WITHIN))[0]:
            busy = Message(f"⏳ Working on {origin.command} … this takes a little longer.")
            await ack(response_action="update", view=slack_form.notice_view(busy, origin.command))
            self.chat.spawn(self._late(work, room, origin, body))
            return
        reply = work.result()
        wrong = {} if reply.done else slack_form.faults(
            reply.form, reply.message, body["view"]["blocks"]
        )  # fmt: skip
        if wrong:
            await ack(response_action="errors", errors=wrong)
            return
        await ack()
        self.chat.spawn(self.chat.tell(Caller(room=room), reply, ""))

    async def _run(self, room: Room, origin: Origin, arguments: dict[str, Any]) -> Reply:
        actor = await identify(self.chat.sessions, Caller(room=room))
        if isinstance(actor, Message):
            return Reply(message=actor)
        return await carry_out(self.chat.sessions, room, actor, COMMANDS[origin.command], arguments)

    async def _late(self, work: asyncio.Task[Reply], room: Room, origin: Origin, body: dict[str, Any]) -> None:
        """The result of a long command: in the still open modal, and where it was asked for."""
        reply = await work
        web = await self.chat.client(room.workspace)
        if reply.form is not None and reply.actor is not None and not reply.done:
            note = reply.form.fault or reply.message.title
            shown = await slack_form.view(self.chat.sessions, reply.actor, reply.form, origin, note=note)
        else:
            shown = slack_form.notice_view(reply.message, origin.command)
        try:
            await web.api_call("views.update", json={"view_id": body["view"]["id"], "view": shown})
        except SlackApiError as fault:
            log.info("the modal was closed meanwhile: %s", post.reason(fault))
        if reply.done:
            await self.chat.tell(Caller(room=room), reply, "")

    def _room(self, body: dict[str, Any], origin: Origin) -> Room:
        """The room the form came from; one opened by a shortcut has none but the person's own."""
        user = body["user"]["id"]
        channel = origin.channel or user
        return Room(
            face="slack", workspace=(body.get("team") or {}).get("id", ""), room=channel, thread=origin.thread,
            user=user, title=origin.title, private=channel[:1] in {"D", "U", "W"},
        )  # fmt: skip

    async def chosen(self, ack: Any, body: dict[str, Any]) -> None:
        """A choice that other fields depend on: the open form is filled again."""
        await ack()
        if body.get("view", {}).get("callback_id") == slack_form.CALLBACK:
            self.chat.spawn(self._refill(body))

    async def day(self, ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Today or yesterday beneath a day: the open form is filled with it."""
        await ack()
        name, word = slack_form.day_pressed(action)
        sessions = self.chat.sessions
        today = sessions.clock().astimezone(sessions.deployment().zone).date()
        self.chat.spawn(self._refill(body, {name: past_day(word, today).isoformat()}))

    async def _refill(self, body: dict[str, Any], chosen: dict[str, Any] | None = None) -> None:
        origin, arguments = slack_form.submitted(body["view"])
        arguments |= chosen or {}
        room = self._room(body, origin)
        actor = await identify(self.chat.sessions, Caller(room=room))
        if isinstance(actor, Actor):
            form = Form(command=origin.command, arguments=arguments)
            shown = await slack_form.view(self.chat.sessions, actor, form, origin)
            web = await self.chat.client(room.workspace)
            await web.api_call("views.update", json={"view_id": body["view"]["id"], "view": shown})

    async def suggested(self, ack: Any, body: dict[str, Any]) -> None:
        """What a long list offers for the letters typed so far."""
        origin = msgspec.json.decode(body["view"]["private_metadata"], type=Origin)
        actor = await identify(self.chat.sessions, Caller(room=self._room(body, origin)))
        matching = [question for question in questions(COMMANDS[origin.command]) if question.name == body["block_id"]]
        choices = []
        if isinstance(actor, Actor) and matching:
            choices = await options(self.chat.sessions, actor, matching[0], typed=body.get("value", ""))
        await ack(options=[slack_form.option(choice) for choice in choices])

    async def shortcut(self, ack: Any, body: dict[str, Any]) -> None:
        """A global shortcut: the form of its command."""
        await ack()
        room = self._room(body, Origin(command=""))
        actor = await identify(self.chat.sessions, Caller(room=room))
        if isinstance(actor, Message):
            self.chat.spawn(self.chat.tell(Caller(room=room), Reply(message=actor), ""))
            return
        form = Form(command=SHORTCUTS[body["callback_id"]], arguments={})
        await ask(self.chat, room, Reply(message=Message(form.command), form=form, actor=actor), body)

    async def home(self, ack: Any, event: dict[str, Any], body: dict[str, Any]) -> None:
        """The App Home was opened: today's numbers and the ways on."""
        await ack()
        if event.get("tab", "home") == "home":
            room = Room(
                face="slack", workspace=body.get("team_id", ""), room=event["user"], user=event["user"], private=True
            )
            self.chat.spawn(self._publish(room))

    async def _publish(self, room: Room) -> None:
        await publish_home(self.chat, room)


async def publish_home(chat: Chat, room: Room) -> None:
    """Show the person's App Home as it is now."""
    actor = await identify(chat.sessions, Caller(room=room))
    shown = await home_view(chat.sessions, room, actor)
    web = await chat.client(room.workspace)
    await web.api_call("views.publish", json={"user_id": room.user, "view": shown})


QUICK = (
    ("New offer", "offer add"), ("New campaign", "campaign create"), ("New site", "site create"),
    ("Stats, 7 days", "stats 7d"), ("Sync status", "sync status"), ("Alerts", "alert list"), ("Help", "help"),
)  # fmt: skip
SETTINGS = (
    ("Settings", "settings"),
    ("Members", "member list"),
    ("Accounts", "account list"),
    ("Digests", "digest list"),
)


async def home_view(sessions: ChatSessions, room: Room, actor: Actor | Message) -> Json:
    """Figures, chart, alerts, what is to be done, and the ways on; a stranger sees how to become a member.

    A home takes no tables or charts of Slack's own: https://docs.slack.dev/surfaces/app-home.
    """
    if isinstance(actor, Message):
        return {"type": "home", "blocks": render(actor)["blocks"]}
    blocks = [*fallback(await home_message(sessions, room, actor))["blocks"], {"type": "divider"}]
    blocks += _section("Quick actions", QUICK, actor, prefix="do")
    blocks += _section("Settings", SETTINGS, actor, prefix="set")
    return {"type": "home", "blocks": blocks[: 2 * BLOCKS]}


def _section(title: str, ways: tuple[tuple[str, str], ...], actor: Actor, *, prefix: str) -> list[Json]:
    mine = tuple(Button(label, command) for label, command in ways if _may(actor, command))
    if not mine:
        return []
    blocks = render(Message("", (Text(title, strong=True), Buttons(mine))))["blocks"]
    for element in blocks[-1]["elements"]:
        element["action_id"] = f"run-{prefix}-{element['action_id']}"
    return list(blocks) or [section(plain(title, 100))]


def _may(actor: Actor, text: str) -> bool:
    command = COMMANDS.get(text) or COMMANDS.get(text.split()[0])
    return command is not None and may(command, actor)
