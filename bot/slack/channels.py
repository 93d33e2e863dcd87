"""What becomes of the channels on Slack that we write to: renamed, archived, left, given another id."""

from typing import Any

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.context import Room
from bot.delivery import lose
from bot.slack.chat import Chat
from storage.chat import rooms

NO_NAMES = {"privategroup", "directmessage"}  # what slash commands say in place of a private channel's name
CLOSED = {
    "channel_archive": "the channel was archived", "group_archive": "the channel was archived",
    "channel_deleted": "the channel was deleted", "channel_left": "the bot was removed from the channel",
    "group_left": "the bot was removed from the channel",
}  # fmt: skip


def listen(chat: Chat) -> None:
    """Register the events of channels: https://docs.slack.dev/reference/events."""
    slack = _Channels(chat)
    for event_name in ("channel_rename", "group_rename"):
        chat.app.event(event_name)(slack.renamed)
    for event_name in CLOSED:
        chat.app.event(event_name)(slack.closed)
    chat.app.event("channel_id_changed")(slack.moved)


async def with_title(chat: Chat, room: Room) -> Room:
    """The room with its channel's name; Slack is asked for one that neither the request nor we know."""
    if room.private or (room.title and room.title not in NO_NAMES):
        return room
    untitled = msgspec.structs.replace(room, title="")
    async with chat.sessions.database.read() as tx:
        known = await rooms.find(tx, room.face, room.workspace, room.room)
    if known is not None and known.title:
        return untitled
    try:
        title = await name_of(await chat.client(room.workspace), room.room)
    except (SlackApiError, aiohttp.ClientError, TimeoutError):
        return untitled
    return msgspec.structs.replace(room, title=title)


async def name_of(web: AsyncWebClient, channel: str) -> str:
    """A channel's name; empty for people's own chats. https://docs.slack.dev/reference/methods/conversations.info"""
    answer = await web.api_call("conversations.info", data={"channel": channel})
    return str((answer.get("channel") or {}).get("name") or "")


class _Channels:
    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    async def renamed(self, ack: Any, event: dict[str, Any], body: dict[str, Any]) -> None:
        await ack()
        channel = event.get("channel") or {}
        async with self.chat.sessions.database.begin() as tx:
            room = await rooms.find(tx, "slack", body.get("team_id", ""), str(channel.get("id", "")))
            if room is not None and channel.get("name"):
                await rooms.rename(tx, room, str(channel["name"]))

    async def closed(self, ack: Any, event: dict[str, Any], body: dict[str, Any]) -> None:
        await ack()
        async with self.chat.sessions.database.begin() as tx:
            room = await rooms.find(tx, "slack", body.get("team_id", ""), str(event.get("channel", "")))
            if room is not None:
                await lose(tx, room, self.chat.sessions.clock(), CLOSED[event["type"]])

    async def moved(self, ack: Any, event: dict[str, Any]) -> None:
        await ack()
        async with self.chat.sessions.database.begin() as tx:
            await rooms.migrate(tx, "slack", old=str(event["old_channel_id"]), new=str(event["new_channel_id"]))
