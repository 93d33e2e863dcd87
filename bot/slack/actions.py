"""Slack's buttons: a press runs the button's command as the person who pressed it."""

import re
from typing import Any

import msgspec
from slack_sdk.errors import SlackApiError

from bot.chat.session import Caller, Reply, press
from bot.commands.confirmations import other_answers
from bot.core.context import Room
from bot.slack import post, views
from bot.slack.blocks import Json, escape
from bot.slack.chat import Chat
from bot.slack.text import SHARE


def listen(chat: Chat) -> None:
    """Register the buttons of render()."""
    chat.app.action(re.compile(r"^run-"))(_Actions(chat).pressed)
    chat.app.action(re.compile(r".*"))(_opened)


async def _opened(ack: Any) -> None:
    """A link was opened, or a select changed: nothing to do."""
    await ack()


class _Actions:
    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    async def pressed(self, ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
        await ack()
        self.chat.spawn(self._run(body, action))

    async def _run(self, body: dict[str, Any], action: dict[str, Any]) -> None:
        text = action.get("value", "")
        shared = text.startswith(SHARE)
        caller = Caller(room=_room(body), name=body["user"].get("username") or body["user"].get("name", ""))
        command, origin = text.removeprefix(SHARE), _origin(body)
        reply = await press(self.chat.sessions, caller, command, origin=origin + SHARE * shared, once=shared)
        if reply is None:
            return
        if reply.form and reply.form.missing and await views.ask(self.chat, caller.room, reply, body):
            return
        if shared and reply.done:
            reply = msgspec.structs.replace(reply, public=True)
        await self._show(body, action, caller, reply)
        if (body.get("view") or {}).get("type") == "home" and reply.done:
            await views.publish_home(self.chat, caller.room)

    async def _show(self, body: dict[str, Any], action: dict[str, Any], caller: Caller, reply: Reply) -> None:
        url = body.get("response_url", "")
        if _hidden(body) and url:
            await self._replace(caller, reply, url)
        elif not reply.done or reply.message.private or "message" not in body:
            await self.chat.tell(caller, msgspec.structs.replace(reply, public=False), "")
        else:
            await self._in_thread(body, action, caller, reply)

    async def _replace(self, caller: Caller, reply: Reply, url: str) -> None:
        """The pressed message was for one person: it is replaced by the answer; a change is shown to all."""
        session = self.chat.session
        if reply.public and not caller.room.private:
            await post.respond_raw(session, url, {"delete_original": True})
            await self.chat.tell(caller, reply, url)
        else:
            await self.chat.tell(caller, reply, url, replace=reply.done)

    async def _in_thread(self, body: dict[str, Any], action: dict[str, Any], caller: Caller, reply: Reply) -> None:
        """The answer stands under the message; a button that changed something is gone, with who pressed it."""
        web = await self.chat.client(caller.room.workspace)
        if reply.public:
            changed = used(body["message"], action, body["user"]["id"])
            where = {"channel": caller.room.room, "ts": body["message"]["ts"]}
            try:
                await web.api_call("chat.update", json=where | changed)
            except SlackApiError as fault:
                post.log.info("a pressed message could not be changed: %s", post.reason(fault))
        thread = body["message"].get("thread_ts") or body["message"]["ts"]
        await post.post(web, caller.room.room, reply.message, draw=self.chat.sessions.ports.draw, thread=thread)


def used(message: Json, action: Json, user: str) -> Json:
    """The message without the pressed button (and the other answer to a question), and with who pressed it."""
    blocks: list[Json] = []
    gone = other_answers(str(action.get("value", "")))
    for block in message.get("blocks", []):
        if block["type"] == "actions":
            remaining = [
                element
                for element in block["elements"]
                if element.get("action_id") != action.get("action_id")
                and not (len(gone) > 1 and element.get("value") in gone)
            ]
            block = block | {"elements": remaining}
            if not remaining:
                continue
        blocks.append(block)
    label = render_label(action)
    who = {"type": "mrkdwn", "text": f"✔ {label} · <@{user}>"}
    return {"text": message.get("text") or label, "blocks": [*blocks[:49], {"type": "context", "elements": [who]}]}


def render_label(action: Json) -> str:
    """The button's label, safe in mrkdwn."""
    return escape((action.get("text") or {}).get("text", "done"))


def _origin(body: dict[str, Any]) -> str:
    """The pressed message; a message for one person's eyes has no other mark than the container's."""
    container = body.get("container") or {}
    return str((body.get("message") or {}).get("ts") or container.get("message_ts") or container.get("view_id") or "")


def _hidden(body: dict[str, Any]) -> bool:
    return bool((body.get("container") or {}).get("is_ephemeral"))


def _room(body: dict[str, Any]) -> Room:
    """Where it was pressed: a channel, or (App Home) the person's own chat."""
    user = body["user"]["id"]
    channel = body.get("channel") or {}
    at = channel.get("id") or user
    return Room(
        face="slack", workspace=(body.get("team") or {}).get("id", ""), room=at, user=user,
        title=channel.get("name", ""), private=at[:1] in {"D", "U", "W"},
        thread=(body.get("message") or {}).get("thread_ts", ""),
    )  # fmt: skip
