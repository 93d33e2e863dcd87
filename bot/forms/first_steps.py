"""What a new team sets up first, in order, each a press away: account, offer, site, campaign."""

import msgspec
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.command import COMMANDS
from bot.core.context import Context
from bot.core.message import Block, Button, Buttons, Message, Text
from bot.core.permissions import may
from storage.tables import accounts, campaigns, offers, sites


class Step(msgspec.Struct, frozen=True):
    """One thing to set up. `needs` are the nouns that come before it."""

    noun: str
    command: str
    label: str
    text: str
    needs: tuple[str, ...] = ()


STEPS = (
    Step("account", "account add", "Connect an account", "connect an affiliate platform: your login there"),
    Step("offer", "offer add", "Add an offer", "add an offer: a deal on that platform, with its link", ("account",)),
    Step("site", "site create", "Make a site", "make a landing page from your offers", ("offer",)),
    Step("campaign", "campaign create", "Start a campaign", "start a campaign: it gets the tracking link", ("offer",)),
)
STEP_COMMANDS = frozenset(step.command for step in STEPS)
_TABLES = {"account": accounts, "offer": offers, "site": sites, "campaign": campaigns}


async def done_steps(tx: AsyncConnection, team_id: int) -> frozenset[str]:
    """Nouns of the steps that a team has taken."""
    columns = [exists().where(table.c.team_id == team_id).label(noun) for noun, table in _TABLES.items()]
    row = (await tx.execute(select(*columns))).one()
    return frozenset(noun for noun, stands in row._mapping.items() if stands)


def next_steps(done: frozenset[str]) -> list[Step]:
    """Steps that can be taken now; a team with a campaign is set up, and can do without a site."""
    if "campaign" in done:
        return []
    return [step for step in STEPS if step.noun not in done and done.issuperset(step.needs)]


def guide(ctx: Context, done: frozenset[str]) -> tuple[Block, ...]:
    """The way from an empty team to its first figures, what is done ticked, and buttons for what comes next."""
    ready = next_steps(done)
    if not ready:
        return ()
    lines = (f"{'✓' if step.noun in done else number} {step.text}" for number, step in enumerate(STEPS, 1))
    return Text("\n".join(lines)), next_buttons(ctx, ready)


def next_buttons(ctx: Context, ready: list[Step]) -> Block:
    """The steps that can be taken now as buttons, or who can take them."""
    allowed = [step for step in ready if may(COMMANDS[step.command], ctx.actor)]
    if not allowed:
        return Text(f"Your role cannot {ready[0].label.lower()}: ask an owner of the team.")
    return Buttons(tuple(
        Button(step.label, step.command, style="primary" if step is allowed[0] else "normal") for step in allowed
    ))  # fmt: skip


def begin(ctx: Context, label: str, command: str) -> tuple[Block, ...]:
    """A button for the first entry of an empty list, for those who may make one."""
    return (Buttons((Button(label, command),)),) if may(COMMANDS[command], ctx.actor) else ()


async def with_next_step(ctx: Context, message: Message) -> Message:
    """The answer to a step, with what comes next as buttons."""
    async with ctx.database.read() as tx:
        ready = next_steps(await done_steps(tx, ctx.team_id))
    if not ready:
        return message
    following = Text(f"Next: {' or '.join(step.label.lower() for step in ready)}.")
    return msgspec.structs.replace(message, blocks=(*message.blocks, following, next_buttons(ctx, ready)))
