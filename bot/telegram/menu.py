"""The list of commands Telegram shows while a person types, per kind of chat."""

import re

from telegram import (
    Bot,
    BotCommand,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeDefault,
)

from bot.core.command import COMMANDS

EVERYWHERE = (
    ("help", "What there is to say"), ("cancel", "Stop what is being asked"), ("settings", "You, and what is sent here")
)  # fmt: skip


def nouns() -> list[BotCommand]:
    """One entry a noun, with what can be done to it."""
    verbs: dict[str, list[str]] = {}
    for name in sorted(COMMANDS):
        noun, _, verb = name.partition(" ")
        verbs.setdefault(noun, []).append(verb)
    shown = {name for name, _ in EVERYWHERE} | {"join", "confirm"}
    named = [(noun, _about(noun, commands)) for noun, commands in verbs.items() if noun not in shown]
    return [BotCommand(noun, about[:256]) for noun, about in named if re.fullmatch(r"[a-z0-9_]{1,32}", noun)]


def _about(noun: str, verbs: list[str]) -> str:
    listed = ", ".join(verb for verb in verbs if verb)
    return listed or COMMANDS[noun].summary.rstrip(".") or noun


async def publish(bot: Bot) -> None:
    """Set the lists: in groups also `join`, in private also `start`."""
    common = [*(BotCommand(name, about) for name, about in EVERYWHERE), *nouns()]
    join = BotCommand("join", "Bind this chat to your team")
    start = BotCommand("start", "Begin, or join with a code")
    await bot.set_my_commands(common[:100], scope=BotCommandScopeDefault())
    await bot.set_my_commands([start, *common][:100], scope=BotCommandScopeAllPrivateChats())
    await bot.set_my_commands([join, *common][:100], scope=BotCommandScopeAllGroupChats())
