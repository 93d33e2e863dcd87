"""Who speaks in a shell: the owner of the first team."""

from bot.core.context import Actor, Context, Room
from hub.runtime.runtime import Runtime
from storage.ledger.facts import Role


def shell_context(runtime: Runtime) -> Context:
    """The shell speaks as owner: whoever reaches it has the database anyway."""
    return Context(
        database=runtime.database, deployment=runtime.deployment, ports=runtime.ports, box=runtime.box,
        clock=runtime.clock, actor=Actor(team_id=runtime.team_id, name="shell", role=Role.OWNER), face="shell",
        room=Room(face="terminal", room="shell"),
    )  # fmt: skip
