"""The App Home: today's numbers, quick actions, how to begin."""

from bot.chat.session import ChatSessions, carry_out
from bot.core.command import COMMANDS, Command
from bot.core.context import Actor, Room
from bot.core.message import Button, Buttons, Message, Text
from bot.core.permissions import may
from bot.slack.blocks import BLOCKS, Json, plain, render, section

QUICK = (
    ("New offer", "offer add"), ("New campaign", "campaign create"), ("New site", "site create"),
    ("Stats, 7 days", "stats 7d"), ("Sync status", "sync status"), ("Alerts", "alert list"), ("Help", "help"),
)  # fmt: skip
SETTINGS = (
    ("Settings", "settings"),
    ("Members", "member list"),
    ("Accounts", "account list"),
    ("Digests", "digest list"),
)


async def view(sessions: ChatSessions, room: Room, actor: Actor | Message) -> Json:
    """What the person may see of today; a stranger sees how to become a member."""
    if isinstance(actor, Message):
        return {"type": "home", "blocks": render(actor)["blocks"]}
    blocks: list[Json] = []
    stats = COMMANDS.get("stats")
    if stats is not None and may(stats, actor):
        blocks += await _today(sessions, room, actor, stats)
    blocks += _section("Quick actions", QUICK, actor, prefix="do")
    blocks += _section("Settings", SETTINGS, actor, prefix="set")
    return {"type": "home", "blocks": blocks[: 2 * BLOCKS]}


async def _today(sessions: ChatSessions, room: Room, actor: Actor, stats: Command) -> list[Json]:
    period = next(iter(stats.positional), None)
    reply = await carry_out(sessions, room, actor, stats, {period: "today"} if period else {})
    shown = [block for block in render(reply.message)["blocks"] if block["type"] not in {"actions", "table"}]
    return [*shown, {"type": "divider"}]


def _section(title: str, ways: tuple[tuple[str, str], ...], actor: Actor, *, prefix: str) -> list[Json]:
    mine = tuple(Button(label, command) for label, command in ways if _may(actor, command))
    if not mine:
        return []
    blocks = render(Message("", (Text(title, strong=True), Buttons(mine))))["blocks"]
    for element in blocks[-1]["elements"]:
        element["action_id"] = f"run-{prefix}-{element['action_id']}"
    return list(blocks) or [section(plain(title, 100))]


def _may(actor: Actor, text: str) -> bool:
    command = COMMANDS.get(text) or COMMANDS.get(text.split()[0])
    return command is not None and may(command, actor)
