"""Every limit that a command declares is told by the API's description and by help, and kept at its field."""

from typing import Any

import msgspec
import pytest

import bot.commands  # noqa: F401  registers every command
from bot.commands.help import describe
from bot.core.command import COMMANDS
from bot.core.limits import Limit, check, in_words
from hub.web import openapi
from storage.ledger.errors import Refused


def too_much(limit: Limit) -> list[Any]:
    """Values that hold more than the limit."""
    values: list[Any] = []
    if limit.text is not None:
        values.append("x" * (limit.text + 1))
    if limit.items is not None:
        values.append(["x"] * (limit.items + 1))
    if limit.depth is not None:
        deep: Any = "x"
        for _ in range(limit.depth + 1):
            deep = [deep]
        values.append(deep)
    if limit.file is not None:
        values.append(bytes(limit.file * 4 // 3 + 1_001))
    return values


def test_every_limit_is_told_and_kept() -> None:
    described = msgspec.json.decode(openapi.document("https://x.example.test"))
    for command in COMMANDS.values():
        helped = {field.name: field.description for field in describe(command).fields}
        body = described["paths"][f"/api/v1/{command.path}"]["post"]["requestBody"]["content"]["application/json"]
        component = described["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        properties = component.get("properties", {})
        for name, limit in command.limits.items():
            told = properties[name]
            assert str(limit) in helped[name], (command.name, name)
            assert in_words(limit) in told.get("description", ""), (command.name, name)
            if limit.items is not None:
                assert told["maxItems"] <= limit.items, (command.name, name)
            elif limit.text is not None:
                assert told["maxLength"] <= limit.text, (command.name, name)
            for value in too_much(limit):
                with pytest.raises(Refused) as refused:
                    check(command.limits, {name: value})
                assert refused.value.field == name, (command.name, name)
