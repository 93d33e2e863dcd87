"""The answer to a question: confirm or cancel what spends money or destroys."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.core.arguments import Arguments
from bot.core.command import COMMANDS, SEALED, Answer, command, run
from bot.core.context import Context
from bot.core.message import Message
from bot.core.permissions import Scope
from storage.ledger.facts import Role
from storage.people import confirmations


class Code(Arguments):
    code: Annotated[str, Meta(description="the code the question came with")]


class Cancelled(msgspec.Struct, frozen=True):
    command: str


def other_answers(line: str) -> set[str]:
    """The lines of all buttons of the question that this line answers; of any other line the line alone."""
    verb, _, code = line.partition(" ")
    return {f"confirm {code}", f"cancel {code}"} if verb in {"confirm", "cancel"} else {line}


async def _confirmed(ctx: Context, new: Code) -> Answer:
    """Use the code up in a transaction of its own, then run what was asked as any other command."""
    async with ctx.database.begin() as tx:
        question = await confirmations.redeem(tx, ctx.now, new.code, team_id=ctx.team_id, actor=ctx.actor.name)
    sealed = question.arguments.get(SEALED)
    arguments = question.arguments if sealed is None else ctx.box.open(sealed)
    return await run(COMMANDS[question.command], arguments, ctx, confirmed=True)


@command(
    "confirm", role=Role.VIEWER, scope=Scope.OPEN, positional=("code",), reads=True, changes=True, prepare=_confirmed,
    render=lambda ctx, _: ctx.prepared.message,
)  # fmt: skip
async def confirm(ctx: Context, new: Code) -> Any:
    """Go ahead with what was asked; good for ten minutes and for the person who was asked."""
    return ctx.prepared.result


@command(
    "cancel",
    role=Role.VIEWER,
    scope=Scope.OPEN,
    positional=("code",),
    render=lambda _, cancelled: Message(f"Cancelled: {cancelled.command}"),
)
async def cancel(ctx: Context, new: Code) -> Cancelled:
    """Drop what was asked."""
    question = await confirmations.redeem(ctx.tx, ctx.now, new.code, team_id=ctx.team_id, actor=ctx.actor.name)
    return Cancelled(question.command)
