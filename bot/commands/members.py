"""Members: invited, listed, given roles, removed; and how a chat joins."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.arguments import EMPTIES, NONE, Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Actor, Context, Room
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.forms.first_steps import guide
from bot.render.figures import instant
from storage.catalogue import names, teams
from storage.catalogue.entities import page
from storage.chat import rooms
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import members, people, tokens
from storage.people.members import Member
from storage.tables import campaigns as campaigns_table
from storage.tables import members as table

ROLES = tuple(role.value for role in Role)


Limited = Annotated[
    list[str] | None, refers("campaign", "campaigns a buyer or viewer is limited to", changes=False, most=200)
]


class Invitation(Arguments):
    role: Annotated[Role, choices("what they may do", *ROLES)]
    campaigns: Limited = None


class Invited(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code, shown this once; `link` opens Telegram, null where no bot is set up."""

    code: str
    link: str | None
    role: Role
    campaigns: list[str] | None
    expires_at: datetime


class Linking(Arguments):
    pass


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time code for oneself, shown this once; `link` opens Telegram, null where no bot is set up."""

    code: str
    link: str | None
    expires_at: datetime


class NewRole(Arguments):
    member: Annotated[str, refers("member", "who")]
    role: Annotated[Role, choices("what they may do from now on", *ROLES)]
    campaigns: Annotated[Limited, Meta(description="campaigns they are limited to; as before, if absent"), EMPTIES] = (
        None
    )


class OneMember(Arguments):
    member: Annotated[str, refers("member", "who")]


class Joining(Arguments):
    code: Annotated[str | None, Meta(description="code of the invitation; none binds this chat to your team")] = None


class Joined(Member, frozen=True, kw_only=True):
    """A member, and whether the room became the team's just now."""

    team_id: int
    bound: bool


def invited_card(ctx: Context, made: Invited) -> Message:
    rows = [("Role", _limited(ctx, made.role, made.campaigns)), ("Good until", instant(made.expires_at))]
    how: list[Block] = [
        Text(made.code, code=True),
        Text(f"On Slack: /flux join {made.code}\nOn Telegram: /start {made.code}"),
        Fields(tuple(rows)),
        Notice("warning", "It works once, for one person, and is not shown again."),
    ]
    if made.link:
        how.append(Buttons((Button("Open in Telegram", url=made.link),)))
    return Message("Invitation", tuple(how), private=True)


def linked_card(_ctx: Context, made: Linked) -> Message:
    how: list[Block] = [
        Text(made.code, code=True),
        Text(f"On Slack: /flux join {made.code}\nOn Telegram: /start {made.code}"),
        Notice(
            "warning",
            f"Whoever sends it acts as you, once, until {made.expires_at:%H:%M} UTC. Keep it to yourself.",
        ),
    ]
    if made.link:
        how.append(Buttons((Button("Open in Telegram", url=made.link),)))
    return Message("Say this on the other chat", tuple(how), private=True)


def member_card(ctx: Context, member: Member) -> Message:
    return Message(f"{member.name} ({member.code}) · {_limited(ctx, member.role, member.campaigns)}")


def removed_card(_ctx: Context, member: Member) -> Message:
    return Message(f"{member.name} ({member.code}) was removed and may do nothing here any more.")


def joined_card(ctx: Context, joined: Joined) -> Message:
    where = " This chat is your team's now." if joined.bound else ""
    title = f"Welcome, {joined.name}: you are {_article(joined.role)}.{where} Say help to see what there is."
    ways = Buttons((Button("Stats, 7 days", "stats 7d"), Button("Help", "help")))
    return Message(title, guide(ctx, ctx.notes.get("done_steps", frozenset({"campaign"}))) or (ways,))


def member_table(ctx: Context, page: Page[Member]) -> Message:
    rows = tuple(
        (member.name, member.code, member.role.value, ctx.names_of("campaign", member.campaigns or ()) or "all")
        for member in page.items
    )
    if not rows:
        return Message("No members yet: member invite role=buyer", private=True)
    more = (Buttons((Button("More", f"member list after={page.next}"),)),) if page.next else ()
    return Message("Members", (Table(("Name", "Code", "Role", "Campaigns"), rows), *more), private=True)


def _limited(ctx: Context, role: Role, campaigns: list[str] | None) -> str:
    named = ctx.names_of("campaign", campaigns or ())
    return f"{role.value}, only {named}" if named else role.value


def _article(role: Role) -> str:
    return f"an {role.value}" if role is Role.OWNER else f"a {role.value}"


@command("member invite", role=Role.OWNER, render=invited_card, positional=("role",))
async def invite_member(ctx: Context, new: Invitation) -> Invited:
    """Invite a person by a code that works once, for 24 hours."""
    limited = await _campaigns(ctx, new.role, new.campaigns)
    code, expires_at = await members.invite(
        ctx.tx, team_id=ctx.team_id, role=new.role, campaigns=limited, now=ctx.now, made_by=ctx.actor.name
    )  # fmt: skip
    return Invited(code=code, link=await _deep_link(ctx, code), role=new.role, campaigns=limited, expires_at=expires_at)


async def _deep_link(ctx: Context, code: str) -> str | None:
    name = ctx.deployment.telegram_name or await teams.fact(ctx.tx, "telegram_name")
    return f"https://t.me/{name}?start={code}" if name else None


@command("member link", role=Role.VIEWER, scope=Scope.OPEN, render=linked_card)
async def link_member(ctx: Context, _new: Linking) -> Linked:
    """Be the same member on Slack and Telegram: a code to send in the other chat."""
    if ctx.actor.member_id is None:
        raise Refused("member link is said by a member, on Slack or Telegram", field="command")
    code, expires_at = await people.link(ctx.tx, team_id=ctx.team_id, member_id=ctx.actor.member_id, now=ctx.now)
    return Linked(code=code, link=await _deep_link(ctx, code), expires_at=expires_at)


async def _campaigns(ctx: Context, role: Role, words: list[str] | None) -> list[str] | None:
    if words is None:
        return None
    if not words:
        raise Refused("campaigns: name one at least, or leave it out", field="campaigns")
    if role is Role.OWNER:
        raise Refused("campaigns limit a buyer or a viewer, not an owner: leave them out", field="campaigns")
    rows = [await names.find(ctx.tx, campaigns_table, ctx.team_id, word, field="campaigns") for word in words]
    return [row.code for row in rows]


@command("member list", role=Role.VIEWER, scope=Scope.OWN, render=member_table, reads=True)
async def list_members(ctx: Context, new: Listing) -> Page[Member]:
    """Who is in the team, and what they may do."""
    query = select(table).where(table.c.team_id == ctx.team_id, table.c.removed_at.is_(None))
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    return Page([member for row in rows if (member := _visible_to(ctx.actor, members.shown(row)))], following)


def _visible_to(actor: Actor, member: Member) -> Member | None:
    """A member as an actor limited to campaigns sees them: those who share one, and of their campaigns the shared."""
    if actor.campaigns is None or member.campaigns is None:
        return member
    shared = [code for code in member.campaigns if code in actor.campaigns]
    return msgspec.structs.replace(member, campaigns=shared) if shared else None


@command("member role", role=Role.OWNER, render=member_card, positional=("member", "role"))
async def set_role(ctx: Context, new: NewRole) -> Member:
    """Change what a member may do."""
    before = await members.find(ctx.tx, ctx.team_id, new.member)
    limited = await _campaigns(ctx, new.role, None if new.campaigns == [NONE] else new.campaigns)
    if new.campaigns is None and new.role is not Role.OWNER:
        limited = before.campaigns
    after = await members.set_role(ctx.tx, before, new.role, limited)
    await rooms.limit_own(ctx.tx, ctx.team_id, after, ctx.now)
    ctx.notes |= {"entity": "member", "entity_id": after.id, "before": before, "after": after}
    return after


async def _access_lost(ctx: Context, new: OneMember) -> str:
    member = await members.find(ctx.tx, ctx.team_id, new.member)
    token_names = [token.name for token in await tokens.made_by(ctx.tx, ctx.team_id, member.code, ctx.now)]
    ends = f" What uses the API tokens they made is refused, too: {', '.join(token_names)}." if token_names else ""
    return (
        f"{member.name} ({member.role.value}) loses access at once, everywhere; only a new invitation brings it back."
        f"{ends}"
    )


@command("member remove", role=Role.OWNER, render=removed_card, positional=("member",), confirm=_access_lost)
async def remove_member(ctx: Context, new: OneMember) -> Member:
    """Take a member's access away, at once and on every chat, with their sessions and the API tokens they made."""
    before = await members.find(ctx.tx, ctx.team_id, new.member)
    after = await members.remove(ctx.tx, before, ctx.now)
    await rooms.end_own(ctx.tx, ctx.team_id, after, ctx.now)
    ctx.notes |= {"entity": "member", "entity_id": after.id, "before": before}
    return after


@command("join", role=Role.VIEWER, scope=Scope.OPEN, render=joined_card, positional=("code",), aliases=("start",))
async def join(ctx: Context, new: Joining) -> Joined:
    """Become a member by an invitation's code, or bind this chat to your team."""
    if ctx.room is None or ctx.room.face not in {"slack", "telegram"}:
        raise Refused("join is said in the chat that joins: on Slack or Telegram", field="code")
    return await join_team(ctx.tx, ctx.now, ctx.room, name=ctx.actor.name, code=new.code)


async def join_team(tx: AsyncConnection, now: datetime, room: Room, *, name: str, code: str | None) -> Joined:
    """Make the person a member by the code (if any), and the room the team's if it has none yet.

    Raises Refused for a bad code, a stranger without one, or a room of another team.
    """
    place = await rooms.find(tx, room.face, room.workspace, room.room)
    if code:
        address = {"face": room.face, "workspace": room.workspace, "user": room.user}
        team, member = await people.join(tx, code, **address, name=name, now=now)
        team_id = team.team_id
        await rooms.limit_own(tx, team_id, member, now)
    else:
        person = await people.who(tx, room.face, room.workspace, room.user)
        if person is None or person.removed_at is not None:
            raise Refused(
                "I work for members of a team only: say join with the code of an owner's invitation", field="code"
            )
        team_id, member = person.team_id, await members.get(tx, person.member_id)
    if place is not None and not place.is_open_to(team_id, private=room.private):
        raise Refused("this chat belongs to another team: join from one of your own", field="code")
    await rooms.bind(
        tx, team_id=team_id, face=room.face, workspace=room.workspace, room=room.room, title=room.title,
        private=room.private, now=now, heard=True,
    )  # fmt: skip
    bound = place is None or place.team_id != team_id
    return Joined(**msgspec.structs.asdict(member), team_id=team_id, bound=bound)
