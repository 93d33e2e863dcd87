"""Large bodies of the API: read whole as any other, or refused by their beginning where a list is too long."""

import json
from typing import Any

import pytest

import bot.commands  # noqa: F401  registers every command
from bot.core.command import COMMANDS
from hub.web.api import AT_ONCE, _decode_by_parts
from storage.ledger.errors import Refused

RULE = {"if": {"country": ["DE", "AT"]}, "offers": ["a, b", "c]},"]}


@pytest.mark.parametrize(
    "arguments",
    [
        {"campaign": "x", "rules": [RULE] * 150, "fallback_url": "y" * AT_ONCE},
        {"fallback_url": 'y],"},' * AT_ONCE, "campaign": "x", "rules": [RULE] * 200},
        {"campaign": "x", "rules": [[1, 2], [3, [4, 5]], "]}", {"a": [{}, {}]}] * 50, "offers": ["z" * AT_ONCE]},
        {"campaign": "x", "rules": [], "note": ["ä" * AT_ONCE]},
    ],
)
async def test_a_large_body_is_read_as_it_was_sent(arguments: dict[str, Any]) -> None:
    for escaped in (True, False):
        body = json.dumps(arguments, ensure_ascii=escaped).encode()
        assert await _decode_by_parts(body, COMMANDS["campaign edit"]) == arguments


async def test_a_list_that_is_too_long_is_refused_by_the_beginning_of_the_body() -> None:
    body = json.dumps({"campaign": "x", "rules": [RULE] * 5_000}).encode()
    with pytest.raises(Refused, match="at most 200") as refused:
        await _decode_by_parts(body[:40_000], COMMANDS["campaign edit"])  # its rest is not looked at
    assert refused.value.field == "rules"


async def test_a_list_that_is_too_long_at_the_end_of_the_body_is_refused() -> None:
    body = json.dumps({"fallback_url": "y" * AT_ONCE, "rules": [RULE] * 201}).encode()
    with pytest.raises(Refused, match="201 entries, at most 200"):
        await _decode_by_parts(body, COMMANDS["campaign edit"])
