"""The command reference, made from the commands themselves: `python -m bot.reference > docs/commands.md`."""

import sys

import bot.commands  # noqa: F401  registers every command
from bot.commands.help import CommandHelp, describe
from bot.core.command import COMMANDS


def reference() -> str:
    """docs/commands.md as it should be."""
    nouns: dict[str, list[CommandHelp]] = {}
    for command in sorted(COMMANDS.values(), key=lambda command: command.name):
        nouns.setdefault(command.noun, []).append(describe(command))
    listed = " · ".join(f"[{noun}](#{noun})" for noun in nouns)
    parts = [_HEAD, listed, ""]
    for noun, commands in nouns.items():
        parts += [f"## {noun}", "", *(line for command in commands for line in _entry(command))]
    return "\n".join(parts).rstrip() + "\n"


def _entry(entry: CommandHelp) -> list[str]:
    lines = [f"### `{entry.name}`", "", f"{entry.summary} *({entry.role})*", "", f"    {entry.usage}", ""]
    described = [field for field in entry.fields if field.description]
    if described:
        lines += ["| field | |", "|---|---|"]
        lines += [f"| `{f.name}`{' (required)' if f.required else ''} | {_cell(f.description)} |" for f in described]
        lines.append("")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_HEAD = """# Commands

The same on every face: `/flux offer add …` in Slack, `/offer add …` in Telegram, `casinoflux run offer add …` in
a shell, `POST /api/v1/offer/add` with JSON over HTTP (`GET` with a query for those that only read). Words are
`key=value`, quotes go around spaces; fields in `<…>` may come without their name. What a chat lacks it asks for.
The role in brackets is the least that may. Where a field does not say otherwise, a text has at most 3,000 characters,
a list 500 entries, JSON 16 levels, a file 20 MB; a body over HTTP 20 MB.

Made by `make docs` from the commands themselves.
"""

if __name__ == "__main__":
    sys.stdout.write(reference())
