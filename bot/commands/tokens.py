"""Tokens for the HTTP API and sessions of the cockpit: made, listed, revoked."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from sqlalchemy import select

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.forms.first_steps import begin
from storage.catalogue import names
from storage.catalogue.entities import page
from storage.db.secrets import new_token
from storage.ledger.dates import read_day
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.schedule import read_minutes
from storage.people import tokens
from storage.people.tokens import Identity, Kind, Token
from storage.tables import tokens as table

MOST_DAYS = 3_660  # that a token may be valid for


class NewToken(Arguments):
    name: Annotated[str, Meta(description="who or what will use it")]
    role: Annotated[Role, choices("what it may do", *(role.value for role in Role))] = Role.VIEWER

    expires: Annotated[str | None, Meta(description="when it ends: 90d, 12h, or a day; never by default")] = None


class OneToken(Arguments):
    token: Annotated[str, refers("token", "code or name of the token, not its secret")]


class FreshToken(Token, frozen=True, kw_only=True):
    """A token with its secret, which is shown this once."""

    token: str


def fresh_card(_ctx: Context, made: FreshToken) -> Message:
    blocks = (Text(made.token, code=True), Notice("warning", "Keep it now: it is not shown again."))
    return Message(f"Token {made.name} ({made.role.value})", blocks, private=True)


def token_card(ctx: Context, token: Token) -> Message:
    return Message(f"Token {token.name} ({token.code}) · {token.role.value} · {token.state(ctx.now)}", private=True)


def token_table(ctx: Context, page: Page[Token]) -> Message:
    rows = tuple((t.name, t.code, t.role.value, t.state(ctx.now), _until(ctx, t)) for t in page.items)
    if not rows:
        first = begin(ctx, "New token", "token create")
        return Message("No tokens yet: token create name=… role=viewer", first, private=True)
    return Message("Tokens", (Table(("Name", "Token", "Role", "State", "Expires"), rows),), private=True)


def _until(ctx: Context, token: Token) -> str:
    if token.expires_at is None:
        return "never"
    return token.expires_at.astimezone(ctx.deployment.zone).strftime("%Y-%m-%d %H:%M")


def expiry(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The instant of `90d`, `12h`, `4w`, or the end of a day. Raises Refused unless it is within the next ten years."""
    try:
        if text.strip()[-1:].isalpha():
            ends = now + timedelta(minutes=read_minutes(text, "expires", most_days=MOST_DAYS))
        else:
            ends = datetime.combine(read_day(text), time.max, tzinfo=zone)
        ahead = now < ends <= now + timedelta(days=MOST_DAYS)
    except (Refused, ValueError, OverflowError):
        ahead = False
    if not ahead:
        raise Refused("expires: write 90d, 12h, or a day ahead such as 2027-06-30, within ten years", field="expires")
    return ends.astimezone(UTC)


@command("token create", role=Role.OWNER, render=fresh_card, positional=("name", "role"))
async def create_token(ctx: Context, new: NewToken) -> FreshToken:
    """Make a token for the HTTP API; it is shown once."""
    expires_at = expiry(new.expires, ctx.now, ctx.deployment.zone) if new.expires else None
    secret = new_token("cf_")
    code = await names.code_for(ctx.tx, table, ctx.team_id, new.name)
    made = await tokens.add(
        ctx.tx, team_id=ctx.team_id, now=ctx.now, name=new.name, code=code, role=new.role, token=secret,
        expires_at=expires_at, made_by=ctx.actor.name,
    )  # fmt: skip
    ctx.notes |= {"entity": "token", "entity_id": made.id, "after": made}
    return FreshToken(**msgspec.structs.asdict(made), token=secret)


@command("token list", role=Role.OWNER, render=token_table, reads=True)
async def list_tokens(ctx: Context, new: Listing) -> Page[Token]:
    """The team's tokens and sessions of the cockpit, without their secrets."""
    query = select(table).where(table.c.team_id == ctx.team_id, table.c.kind != Kind.LINK.value)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    return Page([tokens.shown(row) for row in rows], following)


async def _token_lost(ctx: Context, new: OneToken) -> str | None:
    row = await names.find(ctx.tx, table, ctx.team_id, new.token, field="token")
    if row.revoked_at is not None or row.kind != Kind.API.value:
        return None  # a session is begun again by a link
    token_names = [token.name for token in await tokens.made_by(ctx.tx, ctx.team_id, f"token:{row.code}", ctx.now)]
    note = f" Tokens that were made with it go on: {', '.join(token_names)}." if token_names else ""
    return f"Whatever uses the token {row.name} is refused from now on; it cannot be brought back.{note}"


@command("token revoke", role=Role.OWNER, render=token_card, positional=("token",), confirm=_token_lost)
async def revoke_token(ctx: Context, new: OneToken) -> Token:
    """End a token, or a member's session of the cockpit, at once."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.token, field="token")
    token = await tokens.revoke(ctx.tx, row.id, ctx.now)
    ctx.notes |= {"entity": "token", "entity_id": token.id, "before": tokens.shown(row), "after": token}
    return token


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """A link that signs in to the cockpit once."""

    url: str
    expires_at: datetime


def entrance_card(_ctx: Context, entrance: Entrance) -> Message:
    text = "Opens the cockpit as you: once, within ten minutes. Do not pass it on."
    return Message("Cockpit", (Text(entrance.url), Notice("warning", text)), private=True)


@command("cockpit", role=Role.VIEWER, scope=Scope.OPEN, render=entrance_card)
async def open_cockpit(ctx: Context, _new: Arguments) -> Entrance:
    """A link to the cockpit, the team's web page, which signs you in once."""
    actor = ctx.actor
    identity = Identity(
        team_id=actor.team_id, name=actor.name, role=actor.role, member_id=actor.member_id, token_id=actor.token_id
    )
    code, expires_at = await tokens.add_link(ctx.tx, identity, ctx.now)
    return Entrance(url=f"{ctx.deployment.public_url}/cockpit/enter/{code}", expires_at=expires_at)
