"""Automations a team has armed: their terms, how they stand towards their subjects, and who created them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.chat.subscriptions import channel, room_name
from storage.db import config_version
from storage.ledger.automations.steps import SubjectState, Terms
from storage.ledger.credentials import hide_credentials
from storage.ledger.errors import Missing
from storage.ledger.facts import Role
from storage.ledger.schedule import minutes_text
from storage.people import audits
from storage.tables import automations, campaigns, members, offers, rooms, tokens


class Armed(msgspec.Struct, frozen=True, kw_only=True):
    """An automation as the job sees it. `limits`: the campaigns that whoever made it, or tries it, may see now."""

    id: int
    team_id: int
    name: str
    room_id: int
    thread: str
    terms: Terms
    campaigns: tuple[str, ...] | None
    limits: tuple[str, ...] | None = None
    status: str
    role: Role
    member_id: int | None
    token_id: int | None
    subjects: dict[str, SubjectState]
    waiting: tuple[str, ...]
    created_at: datetime
    lost_room: bool = False

    @property
    def code(self) -> str:
        return f"automation-{self.id}"

    def within(self, limits: tuple[str, ...] | None) -> "Armed":
        """The automation as it is for someone limited to campaigns (None: to none): it sees and tells no others."""
        campaigns = self.campaigns
        if limits is not None:
            campaigns = limits if campaigns is None else tuple(code for code in campaigns if code in limits)
        return msgspec.structs.replace(self, campaigns=campaigns, limits=limits)


class Automation(msgspec.Struct, frozen=True, kw_only=True):
    """An automation as people see it, credentials in its address masked. `status`: `active`, `paused`, or `stopped` by
    itself for the reason beside it.

    `waiting` says why it could not judge at its last evaluation. `webhook_secret` signs its calls and is shown once.
    """

    id: int
    name: str
    code: str
    rule: str
    action: str
    on: str
    status: str
    dry: bool
    cooldown: str
    most: int
    quiet: str | None
    schedule: str | None
    timezone: str
    repeat: bool
    url: str | None
    campaigns: list[str] | None
    channel: str
    room: str
    made_by: str
    stopped_why: str | None
    waiting: list[str]
    created_at: datetime
    acts: int | None = None
    webhook_secret: str | None = None
    warnings: list[str] = []
    would_have_acted: int | None = None
    would_have_acted_on: list[str] | None = None
    would_have_saved: int | None = None


class NewAutomation(msgspec.Struct, frozen=True, kw_only=True):
    team_id: int
    name: str
    room_id: int
    thread: str
    terms: Terms
    campaigns: tuple[str, ...] | None
    role: Role
    member_id: int | None
    token_id: int | None
    made_by: str
    webhook_secret: str | None


async def add(tx: AsyncConnection, now: datetime, new: NewAutomation) -> int:
    """Arm an automation."""
    values = {name: getattr(new, name) for name in new.__struct_fields__ if name not in {"terms", "campaigns", "role"}}
    made = insert(automations).values(
        **values, terms=msgspec.to_builtins(new.terms), role=new.role.value, status="active", created_at=now,
        campaigns=None if new.campaigns is None else list(new.campaigns), subjects={}, waiting=[],
    )  # fmt: skip
    return int((await tx.execute(made.returning(automations.c.id))).scalar_one())


def of_team(team_id: int) -> Select[Any]:
    """The team's automations with their rooms, for paging."""
    joined = select(automations, rooms.c.face, rooms.c.room, rooms.c.title, rooms.c.lost_at).join(
        rooms, rooms.c.id == automations.c.room_id
    )
    return joined.where(automations.c.team_id == team_id, automations.c.removed_at.is_(None))


async def find(tx: AsyncConnection, team_id: int, word: str, *, field: str = "automation") -> Row[Any]:
    """By id, code (`automation-7`) or name. Raises Missing at `field`."""
    text = word.strip().lower()
    number = text.removeprefix("automation-").removeprefix("#")
    if number.isdecimal() and number.isascii() and len(number) < 19:
        by_id: Row[Any] | None = (await tx.execute(of_team(team_id).where(automations.c.id == int(number)))).first()
        if by_id is not None:
            return by_id
    rows: list[Row[Any]] = [
        row for row in await tx.execute(of_team(team_id)) if row.name.casefold() == word.strip().casefold()
    ]
    if len(rows) == 1:
        return rows[0]
    why = "several have that name, write its code" if rows else "'automation list' shows them"
    raise Missing(f"no automation {word!r}: {why}", field=field)


async def all_active(tx: AsyncConnection) -> list[Armed]:
    """Every automation that is on, of all teams."""
    query = select(automations, rooms.c.lost_at).join(rooms, rooms.c.id == automations.c.room_id)
    on = automations.c.removed_at.is_(None), automations.c.status == "active"
    return [
        read_armed(row) for row in await tx.execute(query.where(*on).order_by(automations.c.team_id, automations.c.id))
    ]


async def lock(tx: AsyncConnection, automation_id: int) -> Armed | None:
    """Lock the automation until the transaction ends, and read it; None if it is removed."""
    query = select(automations).where(automations.c.id == automation_id, automations.c.removed_at.is_(None))
    row = (await tx.execute(query.with_for_update())).first()
    return None if row is None else read_armed(row)


def read_armed(row: Row[Any]) -> Armed:
    return Armed(
        id=row.id, team_id=row.team_id, name=row.name, room_id=row.room_id, thread=row.thread,
        terms=msgspec.convert(row.terms, Terms), status=row.status, role=Role(row.role), member_id=row.member_id,
        token_id=row.token_id, subjects=msgspec.convert(row.subjects, dict[str, SubjectState]),
        campaigns=None if row.campaigns is None else tuple(row.campaigns), waiting=tuple(row.waiting),
        created_at=row.created_at, lost_room=row._mapping.get("lost_at") is not None,
    )  # fmt: skip


async def store_subjects(tx: AsyncConnection, automation_id: int, subjects: Mapping[str, SubjectState]) -> None:
    """Store how the automation stands towards its subjects."""
    kept = {key: state for key, state in subjects.items() if state != SubjectState()}
    await tx.execute(
        update(automations).where(automations.c.id == automation_id).values(subjects=msgspec.to_builtins(kept))
    )


async def change(tx: AsyncConnection, automation_id: int, **values: Any) -> None:
    """Change columns of an automation."""
    await tx.execute(update(automations).where(automations.c.id == automation_id).values(**values))


class CreatorRights(msgspec.Struct, frozen=True, kw_only=True):
    """What an automation may do now: role and limits of its creator."""

    role: Role
    campaigns: tuple[str, ...] | None


async def creator_rights(tx: AsyncConnection, automation: Armed, now: datetime) -> CreatorRights | None:
    """`rights_of_creators` of one."""
    return (await rights_of_creators(tx, [automation], now))[automation.id]


async def rights_of_creators(
    tx: AsyncConnection, armed: Iterable[Armed], now: datetime
) -> dict[int, CreatorRights | None]:  # fmt: skip
    """Role and limits of the creators as they are now, by the automation's id; None for a member who left, or a token
    that was revoked or has expired."""
    several = list(armed)
    m, k = members.c, tokens.c
    here = m.id.in_({automation.member_id for automation in several} - {None}), m.removed_at.is_(None)
    people = {row.id: row for row in await tx.execute(select(m.id, m.role, m.campaigns).where(*here))}
    good = k.id.in_({automation.token_id for automation in several} - {None}), k.revoked_at.is_(None)
    valid = or_(k.expires_at.is_(None), k.expires_at > now)
    roles = {row.id: Role(row.role) for row in await tx.execute(select(k.id, k.role).where(*good, valid))}
    rights: dict[int, CreatorRights | None] = {}
    for automation in several:
        if automation.member_id is not None:
            person = people.get(automation.member_id)
            limits = None if person is None or person.campaigns is None else tuple(person.campaigns)
            rights[automation.id] = None if person is None else CreatorRights(role=Role(person.role), campaigns=limits)
        elif automation.token_id is not None:
            role = roles.get(automation.token_id)
            rights[automation.id] = None if role is None else CreatorRights(role=role, campaigns=None)
        else:
            limits = None if automation.role is Role.OWNER else automation.campaigns
            rights[automation.id] = CreatorRights(role=automation.role, campaigns=limits)
    return rights


def read_automation(row: Row[Any], *, action: str, on: str) -> Automation:
    terms = msgspec.convert(row.terms, Terms)
    return Automation(
        id=row.id, name=row.name, code=f"automation-{row.id}", rule=terms.rule, action=action, on=on,
        status=row.status, dry=terms.dry, cooldown=minutes_text(terms.cooldown), most=terms.most,
        quiet="-".join(terms.quiet) if terms.quiet else None, schedule=terms.schedule or None, timezone=terms.timezone,
        repeat=terms.repeat, url=hide_credentials(terms.url) or None, campaigns=row.campaigns,
        channel=channel(row.face, row.room, row.thread), room=room_name(row), made_by=row.made_by,
        stopped_why=row.stopped_why, waiting=list(row.waiting), created_at=row.created_at,
    )  # fmt: skip


class HeldPause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause of an automation's, and what of it is still paused."""

    automation: Armed
    noun: str
    codes: list[str]


async def held_pause(tx: AsyncConnection, act: Row[Any]) -> HeldPause | None:
    """What an act paused and is still paused by it; None where a member has changed the same since."""
    query = select(automations, rooms.c.lost_at).join(rooms, rooms.c.id == automations.c.room_id)
    row = (await tx.execute(query.where(automations.c.id == act.automation_id))).one()
    change = await audits.get(tx, act.team_id, act.audit_id) if act.audit_id else None
    if change is None or change.entity is None:
        return None
    noun = change.entity
    later = [entry for entry in await audits.since(tx, change) if entry.command != "undo"]
    if change.entity_id is not None and any(entry.entity_id == change.entity_id for entry in later):
        return None
    after = change.after if isinstance(change.after, list) else [change.after]
    table = {"campaign": campaigns, "offer": offers}[noun]
    paused = (
        table.c.id.in_([state["id"] for state in after]), table.c.status == "paused", table.c.archived_from.is_(None)
    )  # fmt: skip
    codes = list((await tx.execute(select(table.c.code).where(table.c.team_id == act.team_id, *paused))).scalars())
    return HeldPause(automation=read_armed(row), noun=noun, codes=codes)


async def version(tx: AsyncConnection) -> int:
    """The version of the configuration."""
    return await config_version.current(tx)
