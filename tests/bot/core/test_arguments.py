"""Arguments: read from words or JSON alike, every fault at its field."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest

import bot.commands  # noqa: F401  registers every command
from bot.core.arguments import EMPTIES, NONE, Arguments, MissingFields, choices, fill, secret, secret_fields
from bot.core.command import COMMANDS
from storage.ledger.errors import Refused
from storage.ledger.facts import Role

TODAY = date(2026, 11, 22)


class Example(Arguments):
    name: str
    day: date | None = None
    amount: Decimal | None = None
    offers: list[str] = []
    on: bool = False
    cap: int | None = None
    role: Annotated[Role, choices("which", "viewer", "buyer", "owner")] = Role.VIEWER
    from_: date | None = None
    rules: list[Any] | dict[str, Any] = []
    key: Annotated[str | None, secret("a key")] = None


def test_words_and_json_give_the_same() -> None:
    both = {"name": "7", "role": "owner", "from": "2026-10-01"}
    typed = {
        "day": "yesterday",
        "amount": "12,50",
        "offers": "a, b:2",
        "on": "yes",
        "cap": "3",
        "rules": '[{"if": {}}]',
    }
    sent = {"day": "2026-11-21", "amount": 12.5, "offers": ["a", "b:2"], "on": True, "cap": 3, "rules": [{"if": {}}]}
    words, json = fill(Example, both | typed, TODAY), fill(Example, both | sent, TODAY)
    assert words == json
    assert words.amount == Decimal("12.50")


@pytest.mark.parametrize(
    "text", ["1.000", "1,000", "1 000", "1'000", "1\u00a0000", "１０００", "1e3", "1000.0", "+1000", 1000.0]
)
def test_a_count_is_read_as_people_write_it(text: str) -> None:
    assert fill(Example, {"name": "x", "cap": text}, TODAY).cap == 1000


@pytest.mark.parametrize(
    ("arguments", "field", "reason"),
    [
        ({}, "name", "missing"), ({"name": "x", "dya": "1"}, "dya", "did you mean 'day'"),
        ({"name": "x", "day": "soon"}, "day", "not a day"), ({"name": "x", "amount": "NaN"}, "amount", "no number"),
        ({"name": "x", "cap": "many"}, "cap", "no number"), ({"name": "x", "cap": "1,5"}, "cap", "no whole number"),
        ({"name": "x", "cap": 1.5}, "cap", "no whole number"), ({"name": "x", "cap": "5 EUR"}, "cap", "currency"),
        ({"name": "x", "cap": "12%"}, "cap", "no number"), ({"name": "x", "cap": "-"}, "cap", "no whole number"),
        ({"name": "x", "role": "king"}, "role", "viewer, buyer, owner"),
        ({"name": "x", "on": "perhaps"}, "on", "neither"), ({"name": "a\x00b"}, "name", "NUL"),
        ({"name": "x", "offers": ["a", "\x00"]}, "offers", "NUL"),
        ({"name": "x", "offers": '["\\u0000"]'}, "offers", "NUL"),
        ({"name": "x", "rules": [{"if": {"sub1": ["\x00"]}}]}, "rules", "NUL"),
        ({"name": "x", "rules": '{"\\u0000": 1}'}, "rules", "NUL"),
        ({"name": "x", "amount": "9" * 30}, "amount", "too large"), ({"name": "x", "cap": 10**12}, "cap", "too large"),
        ({"name": "x" * 3001}, "name", "3,000"), ({"name": "x", "rules": "[{"}, "rules", "cannot be read"),
    ],
)  # fmt: skip
def test_every_fault_names_its_field(arguments: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        fill(Example, arguments, TODAY)
    assert caught.value.field == field
    assert reason in str(caught.value)


def test_numbers_in_a_list_are_ids() -> None:
    assert fill(Example, {"name": "x", "offers": [2, "b:3"]}, TODAY).offers == ["2", "b:3"]
    assert fill(Example, {"name": "x", "offers": "[2]"}, TODAY).offers == ["2"]


def test_a_field_is_emptied_by_saying_so() -> None:
    class Edit(Arguments):
        site: Annotated[str | None, EMPTIES] = None
        name: str | None = None

    for word in ("none", "-", "", "None"):
        assert fill(Edit, {"site": word, "name": word}, TODAY).site == NONE
    assert fill(Edit, {"site": None, "name": "none"}, TODAY) == Edit(name="none")


def test_missing_fields_are_listed_for_a_form() -> None:
    with pytest.raises(MissingFields) as caught:
        fill(Example, {"name": ""}, TODAY)
    assert caught.value.names == ["name"]


def test_secrets_are_known() -> None:
    assert secret_fields(Example) == {"key"}


def test_what_is_of_another_kind_is_refused_in_words_of_people() -> None:
    command = COMMANDS["campaign edit"]
    for weights in ("a:0,5", ["x"]):
        with pytest.raises(Refused, match=r"^weights: write a whole number, not a text$"):
            fill(command.parameters, {"campaign": "c", "weights": weights}, TODAY)
