"""How a person and a room come to belong to a team: by a one-time code, or a member's word."""

from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.context import Room
from storage.chat import rooms
from storage.ledger.errors import Refused
from storage.people import members, people
from storage.people.members import Member


class Joined(Member, frozen=True, kw_only=True):
    """A member, and whether the room became the team's just now."""

    team_id: int
    bound: bool


async def join(tx: AsyncConnection, now: datetime, room: Room, *, name: str, code: str | None) -> Joined:
    """Make the person a member by the code (if any), and the room the team's if it has none yet.

    Raises Refused for a bad code, a stranger without one, or a room of another team.
    """
    place = await rooms.find(tx, room.face, room.workspace, room.room)
    if code:
        address = {"face": room.face, "workspace": room.workspace, "user": room.user}
        team, member = await people.join(tx, code, **address, name=name, now=now)
        team_id = team.team_id
    else:
        person = await people.who(tx, room.face, room.workspace, room.user)
        if person is None or person.removed_at is not None:
            raise Refused(
                "I work for members of a team only: say join with the code of an owner's invitation", field="code"
            )
        team_id, member = person.team_id, await members.get(tx, person.member_id)
    if place is not None and place.team_id != team_id:
        raise Refused("this chat belongs to another team: join from one of your own", field="code")
    await rooms.bind(
        tx, team_id=team_id, face=room.face, workspace=room.workspace, room=room.room, title=room.title,
        private=room.private, now=now,
    )  # fmt: skip
    return Joined(**msgspec.structs.asdict(member), team_id=team_id, bound=place is None)
