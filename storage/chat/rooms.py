"""Chat rooms and the team each speaks for."""

from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy import Row, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import alerts, audits, automations, identities, members, messages, rooms, subscriptions, teams


class RoomRow(msgspec.Struct, frozen=True, kw_only=True):
    """A Slack channel or Telegram chat; `private` is one person's own chat with the bot.

    `heard`: a member of the team has written there. Until then the team has only named it, and another team whose
    member writes there gets it.
    """

    id: int
    team_id: int
    face: str
    workspace: str
    room: str
    title: str
    private: bool
    heard: bool
    lost_at: datetime | None
    created_at: datetime

    def is_open_to(self, team_id: int, *, private: bool) -> bool:
        """Whether a member of the team may write there: it is the team's, or only named by another one, or the
        member's own chat, which goes with them."""
        return self.team_id == team_id or not self.heard or private


async def find(tx: AsyncConnection, face: str, workspace: str, room: str) -> RoomRow | None:
    """The room as we know it; None if it has no team yet."""
    query = select(rooms).where(rooms.c.face == face, rooms.c.workspace == workspace, rooms.c.room == room)
    return _row((await tx.execute(query)).one_or_none())


async def by_id(tx: AsyncConnection, room_id: int) -> RoomRow | None:
    return _row((await tx.execute(select(rooms).where(rooms.c.id == room_id))).one_or_none())


def _row(row: Row[tuple[object, ...]] | None) -> RoomRow | None:
    return None if row is None else msgspec.convert(row, RoomRow, from_attributes=True)


async def bind(
    tx: AsyncConnection, *, team_id: int, face: str, workspace: str, room: str, title: str, private: bool,
    now: datetime, heard: bool = False,
) -> RoomRow:  # fmt: skip
    """The room of that address, bound to the team if it has none yet; one that was lost is found again.

    `heard`: a member of the team writes there now, so it is no other team's that has only named it.
    """
    values = {"team_id": team_id, "face": face, "workspace": workspace, "room": room, "title": title[:200]}
    made = upsert(rooms).values(**values, private=private, heard=heard, created_at=now)
    await tx.execute(made.on_conflict_do_nothing(index_elements=["face", "workspace", "room"]))
    address = rooms.c.face == face, rooms.c.workspace == workspace, rooms.c.room == room
    room_row = msgspec.convert((await tx.execute(select(rooms).where(*address))).one(), RoomRow, from_attributes=True)
    if heard and (not room_row.heard or room_row.team_id != team_id) and room_row.is_open_to(team_id, private=private):
        if room_row.team_id != team_id:
            await _hand_over(tx, room_row, now)
        here = {"team_id": team_id, "heard": True, "private": private, "title": title[:200] or room_row.title}
        await tx.execute(update(rooms).where(rooms.c.id == room_row.id).values(**here))
        room_row = msgspec.structs.replace(room_row, **here)
    await regain(tx, room_row)
    return room_row


async def _hand_over(tx: AsyncConnection, room: RoomRow, now: datetime) -> None:
    """What the team that had named the room wanted to send there ends. Its automations stop, and tell its terminal."""
    room_id = room.id
    armed = automations.c.room_id == room_id, automations.c.removed_at.is_(None)
    terminal = await bind(
        tx, team_id=room.team_id, face="terminal", workspace=await terminal_workspace(tx, room.team_id),
        room="terminal", title="", private=False, now=now,
    )  # fmt: skip
    stopped = {"status": "stopped", "stopped_why": "the room it told is another team's", "room_id": terminal.id}
    await tx.execute(update(automations).where(*armed).values(**stopped, thread=""))
    await tx.execute(delete(subscriptions).where(subscriptions.c.room_id == room_id))
    await tx.execute(update(alerts).where(alerts.c.room_id == room_id).values(removed_at=now, state="idle"))
    queued = messages.c.room_id == room_id, messages.c.state == "queued"
    await tx.execute(update(messages).where(*queued).values(state="dead", error="the room is another team's"))


async def terminal_workspace(tx: AsyncConnection, team_id: int) -> str:
    """Each team has a terminal of its own; the first one's is called nothing else."""
    first = (await tx.execute(select(func.min(teams.c.id)))).scalar_one()
    return "" if team_id == first else f"team-{team_id}"


class Person(Protocol):
    """Whose own chats are meant: a member."""

    @property
    def id(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def campaigns(self) -> list[str] | None: ...


async def end_own(tx: AsyncConnection, team_id: int, member: Person, now: datetime) -> None:
    """Send nothing more to the own chats of a member who was removed."""
    for room_id in await _own(tx, team_id, member):
        await lose(tx, room_id, now, f"{member.name} was removed from the team")


async def limit_own(tx: AsyncConnection, team_id: int, member: Person, now: datetime) -> None:
    """Limit digests and alerts in a member's own chats to the member's campaigns; what was about others alone
    ends."""
    if member.campaigns is None:
        return
    room_ids = await _own(tx, team_id, member)
    for table, ended in ((subscriptions, {"disabled_at": now}), (alerts, {"removed_at": now, "state": "idle"})):
        for row in (await tx.execute(select(table).where(table.c.room_id.in_(room_ids)))).all():
            kept = [code for code in member.campaigns if row.campaigns is None or code in row.campaigns]
            if row.campaigns is None or len(kept) < len(row.campaigns):
                values = {"campaigns": kept} if kept else ended
                await tx.execute(update(table).where(table.c.id == row.id).values(**values))


async def _own(tx: AsyncConnection, team_id: int, member: Person) -> list[int]:
    """A member's own chats with the bot: under their id on a platform, and where they gave commands by themselves."""
    known = select(identities.c.face, identities.c.workspace, identities.c.user)
    people = {tuple(row) for row in await tx.execute(known.where(identities.c.member_id == member.id))}
    users = {user for *_, user in people}
    said = select(audits.c.room).where(audits.c.team_id == team_id, audits.c.actor == member.code, audits.c.room != "")
    query = select(rooms).where(rooms.c.team_id == team_id, rooms.c.private.is_(True))
    own = await tx.execute(query.where(or_(rooms.c.room.in_(said), rooms.c.room.in_(users))))
    return [
        row.id for row in own if row.room not in users or (row.face, row.workspace, row.room) in people
    ]  # fmt: skip


async def regain(tx: AsyncConnection, room: RoomRow) -> None:
    """Messages arrive there again: it is not lost."""
    if room.lost_at is not None:
        await tx.execute(update(rooms).where(rooms.c.id == room.id).values(lost_at=None))


async def rename(tx: AsyncConnection, room: RoomRow, title: str) -> None:
    """A room has another title now."""
    await tx.execute(update(rooms).where(rooms.c.id == room.id).values(title=title[:200]))


async def lose(tx: AsyncConnection, room_id: int, now: datetime, why: str) -> int:
    """The platform lets us write there no more: its subscriptions stop, what was queued is dead.

    Returns how many subscriptions stopped; -1 if the room was lost before.
    """
    lost = await tx.execute(update(rooms).where(rooms.c.id == room_id, rooms.c.lost_at.is_(None)).values(lost_at=now))
    queued = messages.c.room_id == room_id, messages.c.state == "queued"
    await tx.execute(update(messages).where(*queued).values(state="dead", error=why))
    live = subscriptions.c.room_id == room_id, subscriptions.c.disabled_at.is_(None)
    stopped = await tx.execute(update(subscriptions).where(*live).values(disabled_at=now))
    return stopped.rowcount if lost.rowcount else -1


async def own_chats(tx: AsyncConnection, team_id: int, now: datetime, *, but: int = 0) -> list[RoomRow]:
    """The owners' own chats with the bot, on every face they are known on, save the room `but`.

    Both platforms let a bot write to a person under the person's id (Telegram: once they have started it).
    """
    query = (
        select(identities.c.face, identities.c.workspace, identities.c.user, members.c.name)
        .join(members, members.c.id == identities.c.member_id)
        .where(members.c.team_id == team_id, members.c.role == "owner", members.c.removed_at.is_(None))
        .where(identities.c.face.in_(["slack", "telegram"]))
    )
    rooms_ = []
    for who in (await tx.execute(query)).all():
        address = {"face": who.face, "workspace": who.workspace, "room": who.user}
        existing = await find(tx, **address)
        if existing is None or (existing.team_id == team_id and existing.id != but):
            rooms_.append(await bind(tx, team_id=team_id, **address, title=who.name, private=True, now=now))
    return rooms_


class TeamRoom(msgspec.Struct, frozen=True):
    """A place in a room where a team is notified."""

    room_id: int
    thread: str = ""


async def of_team(tx: AsyncConnection, team_id: int, campaign: str, now: datetime) -> list[TeamRoom]:
    """Where a team is notified: rooms with a digest or an alert that covers the campaign, else the owners' chats.

    `campaign` is a code; empty for what concerns no single campaign.
    """
    s, a = subscriptions.c, alerts.c
    digests = select(s.room_id, s.thread, s.campaigns).where(s.team_id == team_id, s.disabled_at.is_(None))
    watches = select(a.room_id, a.thread, a.campaigns).where(a.team_id == team_id, a.removed_at.is_(None))
    lost = set((await tx.execute(select(rooms.c.id).where(rooms.c.lost_at.is_not(None)))).scalars())
    rooms_: dict[TeamRoom, None] = {}
    for query in (digests, watches):
        for room_id, thread, campaigns in await tx.execute(query):
            if room_id not in lost and (campaigns is None or campaign in campaigns):
                rooms_[TeamRoom(room_id, thread)] = None
    if rooms_:
        return list(rooms_)
    return [TeamRoom(room.id) for room in await own_chats(tx, team_id, now)]


async def migrate(tx: AsyncConnection, face: str, *, old: str, new: str) -> None:
    """A group got another id (Telegram makes supergroups of groups): everything said there follows it."""
    mine = rooms.c.face == face
    before = (await tx.execute(select(rooms.c.id).where(mine, rooms.c.room == old))).scalar_one_or_none()
    after = (await tx.execute(select(rooms.c.id).where(mine, rooms.c.room == new))).scalar_one_or_none()
    if before is None:
        return
    if after is not None:
        for table in (subscriptions, alerts, automations, messages):
            await tx.execute(update(table).where(table.c.room_id == after).values(room_id=before))
        await tx.execute(delete(rooms).where(rooms.c.id == after))
    await tx.execute(update(rooms).where(rooms.c.id == before).values(room=new, lost_at=None))
