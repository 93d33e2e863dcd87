"""Rooms as people name them in a command: `slack:C123`, `telegram:-100…`, `terminal`."""

import re
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.chat import rooms
from storage.ledger.errors import Refused
from storage.tables import identities
from storage.tables import rooms as table

_FORMS = {
    "slack": re.compile(r"(?:(?P<workspace>[TE][A-Z0-9]{2,})/)?(?P<room>[CGDU][A-Z0-9]{2,})(?:/(?P<thread>[\d.]+))?"),
    "telegram": re.compile(r"(?P<workspace>)(?P<room>-?\d{1,20}|@\w{4,32})(?:/(?P<thread>\d+))?"),
}


#: A channel picked from Slack's own list while typing.
_PICKED = re.compile(r"<#(?P<room>[CG][A-Z0-9]{2,})(?:\|[^>]*)?>")


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A place to post: face, Slack workspace (or empty), channel or chat id, thread or topic."""

    face: str
    room: str
    workspace: str = ""
    thread: str = ""
    title: str = ""
    private: bool = False


def read(text: str) -> Channel:
    """A channel as typed. Raises Refused at `channel`."""
    word = text.strip()
    if word.lower() == "terminal":
        return Channel(face="terminal", room="terminal")
    if picked := _PICKED.fullmatch(word.partition(":")[2] if word.lower().startswith("slack:") else word):
        return Channel(face="slack", room=picked["room"])
    face, _, rest = word.partition(":")
    form = _FORMS.get(face.lower())
    match = form.fullmatch(rest.strip()) if form else None
    if match is None:
        raise Refused(
            f"channel: {text!r} is not a channel: write slack:C0123456, telegram:-1001234567 or terminal",
            field="channel",
        )
    return Channel(
        face=face.lower(), room=match["room"], workspace=match["workspace"] or "", thread=match["thread"] or ""
    )


async def room_of(tx: AsyncConnection, team_id: int, channel: Channel, now: datetime) -> int:
    """Id of the team's room, made if unknown. Raises Refused at `channel` for a room that speaks for another team."""
    if channel.workspace and not await _is_there(tx, team_id, channel.workspace):
        raise Refused("channel: no member of the team is known in that Slack workspace: say it there", field="channel")
    workspace = await workspace_of(tx, team_id, channel)
    room = await rooms.bind(
        tx, team_id=team_id, face=channel.face, workspace=workspace, room=channel.room, title=channel.title,
        private=channel.private, now=now,
    )  # fmt: skip
    if room.team_id != team_id:
        raise Refused("channel: that room belongs to another team", field="channel")
    if channel.title and not room.title:
        await rooms.rename(tx, room, channel.title)
    return room.id


async def _is_there(tx: AsyncConnection, team_id: int, workspace: str) -> bool:
    """Whether a member of the team is known in a Slack workspace: what is installed there sends the messages."""
    here = identities.c.team_id == team_id, identities.c.face == "slack", identities.c.workspace == workspace
    return (await tx.execute(select(identities.c.id).where(*here).limit(1))).first() is not None


async def workspace_of(tx: AsyncConnection, team_id: int, channel: Channel) -> str:
    """The workspace of a channel: the one named with it, else that in which we have met the channel, else the only one
    in which members of the team are known. Each team has a terminal of its own."""
    if channel.workspace:
        return channel.workspace
    if channel.face == "terminal":
        return await rooms.terminal_workspace(tx, team_id)
    workspaces = select(table.c.workspace).where(table.c.face == channel.face, table.c.room == channel.room)
    if met := (await tx.execute(workspaces.order_by(table.c.workspace.desc()).limit(1))).scalar():
        return str(met)
    own = select(identities.c.workspace).where(identities.c.team_id == team_id, identities.c.face == channel.face)
    known = list((await tx.execute(own.distinct().limit(2))).scalars())
    return known[0] if len(known) == 1 else ""
