"""Every command has an example, which is read as a call of it would be."""

from datetime import date

import msgspec
import pytest

import bot.commands  # noqa: F401  registers every command
from bot.core import limits
from bot.core.arguments import fill
from bot.core.command import COMMANDS
from bot.core.example import OF_COMMANDS, example_of
from hub.web.openapi import document

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_example_is_a_call_that_can_be_made(name: str) -> None:
    command = COMMANDS[name]
    example = example_of(command)
    limits.check(command.limits, example)
    fill(command.parameters, example, TODAY)
    assert {field.encode_name for field in msgspec.structs.fields(command.parameters) if field.required} <= set(example)


def test_openapi_has_an_example_for_every_operation() -> None:
    assert set(OF_COMMANDS) <= set(COMMANDS)
    paths = msgspec.json.decode(document("https://track.example.com"))["paths"]
    for path, operations in paths.items():
        body = operations["post"]["requestBody"]["content"]["application/json"]
        assert isinstance(body["example"], dict), path
        if "get" in operations and body["example"]:
            assert any("example" in parameter for parameter in operations["get"]["parameters"]), path
