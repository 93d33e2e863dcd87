"""Tokens for the HTTP API: made, listed, revoked."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Message, Notice, Table, Text
from storage.catalogue import names
from storage.catalogue.entities import page
from storage.db.secrets import new_token
from storage.ledger.facts import Role
from storage.people import tokens
from storage.people.tokens import Token
from storage.tables import tokens as table


class NewToken(Arguments):
    name: Annotated[str, Meta(description="who or what will use it")]
    role: Annotated[Role, choices("what it may do", *(one.value for one in Role))] = Role.VIEWER


class OneToken(Arguments):
    token: Annotated[str, refers("token", "code or name of the token, not its secret")]


class FreshToken(Token, frozen=True, kw_only=True):
    """A token with its secret, which is shown this once."""

    token: str


def fresh_card(_ctx: Context, made: FreshToken) -> Message:
    blocks = (Text(made.token, code=True), Notice("warning", "Keep it now: it is not shown again."))
    return Message(f"Token {made.name} ({made.role.value})", blocks, private=True)


def token_card(_ctx: Context, found: Token) -> Message:
    state = "revoked" if found.revoked_at else "active"
    return Message(f"Token {found.name} ({found.code}) · {found.role.value} · {state}", private=True)


def token_table(_ctx: Context, found: Page[Token]) -> Message:
    rows = tuple((t.code, t.role.value, "revoked" if t.revoked_at else "active") for t in found.items)
    if not rows:
        return Message("No tokens yet: token create name=… role=viewer", private=True)
    return Message("Tokens", (Table(("Token", "Role", "State"), rows),), private=True)


@command("token create", role=Role.OWNER, render=fresh_card, positional=("name", "role"))
async def create_token(ctx: Context, new: NewToken) -> FreshToken:
    """Make a token for the HTTP API; it is shown once."""
    secret = new_token("cf_")
    code = await names.code_for(ctx.tx, table, ctx.team_id, new.name)
    made = await tokens.add(
        ctx.tx, team_id=ctx.team_id, now=ctx.now, name=new.name, code=code, role=new.role, token=secret
    )
    ctx.notes |= {"entity": "token", "entity_id": made.id, "after": made}
    return FreshToken(**msgspec.structs.asdict(made), token=secret)


@command("token list", role=Role.OWNER, render=token_table, reads=True)
async def list_tokens(ctx: Context, new: Listing) -> Page[Token]:
    """The team's tokens, without their secrets."""
    query = select(table).where(table.c.team_id == ctx.team_id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after)
    return Page([tokens.shown(row) for row in rows], following)


@command("token revoke", role=Role.OWNER, render=token_card, positional=("token",))
async def revoke_token(ctx: Context, new: OneToken) -> Token:
    """Shut a token out, at once."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.token, field="token")
    found = await tokens.revoke(ctx.tx, row.id, ctx.now)
    ctx.notes |= {"entity": "token", "entity_id": found.id, "before": tokens.shown(row), "after": found}
    return found
