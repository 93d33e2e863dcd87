"""Who speaks in a shell: the owner of the first team, or an agent that was started there."""

from bot.core.context import Actor, Context, Room
from hub.runtime.runtime import Runtime
from storage.ledger.facts import Role


def shell_context(runtime: Runtime) -> Context:
    """The shell speaks as owner: whoever reaches it has the database anyway."""
    return Context(
        database=runtime.database, deployment=runtime.deployment, ports=runtime.ports, box=runtime.box,
        clock=runtime.clock, reports=runtime.reports,
        actor=Actor(team_id=runtime.team_id, name="shell", role=Role.OWNER), face="shell",
        room=Room(face="terminal", room="shell"),
    )  # fmt: skip


def agent_context(runtime: Runtime, role: Role) -> Context:
    """An agent that a shell has started speaks in a role that the shell gives it."""
    return Context(
        database=runtime.database, deployment=runtime.deployment, ports=runtime.ports, box=runtime.box,
        clock=runtime.clock, actor=Actor(team_id=runtime.team_id, name="agent", role=role), face="mcp",
    )  # fmt: skip
