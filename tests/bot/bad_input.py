"""Hostile words for every command: names of 200 characters, markup, turned text, amounts that are too much or none."""

import os
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import msgspec

from bot.core.arguments import meta
from bot.core.command import COMMANDS, Command

LONG = 200
#: Names as people may type them, each of 200 characters.
NAMES = {
    kind: (text * LONG)[:LONG].strip().ljust(LONG, "x")
    for kind, text in {
        "latin": "Überraschung ", "cyrillic": "Казино Вулкан ", "arabic": "كازينو الحظ ", "han": "赌场大王",
        "emoji": "💸👨‍👩‍👧‍👦🏴‍☠️", "slack": "<!channel> <@U0ANNA> *b* _i_ ~s~ `c` ```p``` <https://x.test|y> ",
        "telegram": "<b>x</b> <pre> & &amp; </b> <a href='tg://user?id=42'>u</a> ",
        "turned": "abc \u202e\u2066fed\u200f ",
    }.items()
}  # fmt: skip
AMOUNTS = ("999999999999", "123456789012.999999", "-5", "-999999999999", "0", "1e99", "1,2,3", "12%", "NaN")
WORDS = ("", "-", "none", "\u202e", "'", '"', "a=b", "9" * 30, "2026-02-30", "0001-01-01..9999-12-31", "{click_id}")
VALUES = (*NAMES.values(), *AMOUNTS, *WORDS)

#: What a required field gets where something sensible is needed.
_SENSIBLE = {
    "name": "Name", "url": "https://a.example.test/?s={click_id}", "market": "DE", "day": "yesterday", "amount": "5",
    "currency": "USD", "rate": "2", "casino": "Lucky", "query": "stats 7d", "code": "zzz", "id": "1", "version": "1",
    "variant": "a", "until": "1h", "platform": "postback_only", "kind": "cloudflare", "rule": "none",
}  # fmt: skip


def sensible(command: Command, codes: dict[str, str]) -> dict[str, Any]:
    """Arguments that a command needs, of the entities there are (codes by noun)."""
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(command.parameters):
        if not field.required:
            continue
        extra = meta(field.type)[2]
        noun = str(extra.get("refers", "")).partition("|")[0]
        choice = next(iter(extra.get("choices", ())), None)
        arguments[field.encode_name] = codes.get(noun) or choice or _SENSIBLE.get(field.encode_name, "1")
    return arguments


def hostile_calls(codes: dict[str, str], *, thorough: bool) -> Iterator[tuple[Command, dict[str, Any]]]:
    """Every command with nothing, with what is sensible, and with hostile words, each in one of its fields.

    `thorough`: each field of every command with a hostile word and every command with eight or more, all of them in
    turn; every command with every word where HOSTILE_WORDS is set.
    """
    words, fewest = cycle(VALUES), len(VALUES) if "HOSTILE_WORDS" in os.environ else 8
    for number, command in enumerate(COMMANDS.values()):
        base = sensible(command, codes)
        yield command, {}
        yield command, base
        fields = [field.encode_name for field in msgspec.structs.fields(command.parameters)]
        for turn in range(max(fewest, len(fields)) if thorough else 2) if fields else ():
            yield command, base | {fields[(number + turn) % len(fields)]: next(words)}


def seeds(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Commands that make one of each kind of entity with that name."""
    yield "account add", {"platform": "postback_only", "name": name, "timezone": "UTC", "currency": "EUR"}
    yield "source add", {"name": name}
    yield "offer add", {"casino": name, "account": name, "name": name, "tag": name[:50], "deal": name,
                        "url": "https://a.example.test/?s={click_id}"}  # fmt: skip
    yield "site create", {"name": name, "market": "DE", "offers": [name], "headline": name}
    yield "campaign create", {"name": name, "offers": [name], "source": name, "site": name, "direct": True}
