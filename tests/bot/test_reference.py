"""The command reference is what the commands say of themselves."""

from pathlib import Path

from bot.commands.help import GROUPS
from bot.core.command import COMMANDS
from bot.reference import reference

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "commands.md"

CONTRACT = """account add|list|show|edit|test|pause|resume · casino list|show|edit|review
offer add|list|show|edit|pause|link
site create|list|show|edit|publish|pause · domain check|buy|add|attach|list|show · source add|list|show
campaign create|list|show|edit|pause|link · stats · why · sync now|status|confirm|discard
rate set|list
postback url|log|replay|map · click show · conversion add · simulate click|postback · spend add
digest subscribe|list|preview|unsubscribe · alert add|list|ack|snooze|remove · member invite|list|role|remove
token create|list|revoke · audit · help"""


def test_the_reference_is_up_to_date() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == reference(), "run: make docs"


def test_every_command_of_the_contract_is_there() -> None:
    commands = []
    for group in CONTRACT.replace("\n", " · ").split(" · "):
        noun, _, verbs = group.strip().partition(" ")
        commands += [f"{noun} {verb}" for verb in verbs.split("|")] if verbs else [noun]
    assert [name for name in commands if name not in COMMANDS] == []


def test_every_command_says_what_it_does() -> None:
    assert [command.name for command in COMMANDS.values() if not command.summary.endswith(".")] == []


def test_usage_names_required_fields_first() -> None:
    assert COMMANDS["conversion add"].usage().index("event=") < COMMANDS["conversion add"].usage().index("[")
    for command in COMMANDS.values():
        words = command.usage().removeprefix(command.name).split()
        optional = [word.startswith("[") for word in words]
        assert optional == sorted(optional)


def test_help_has_a_place_for_every_noun() -> None:
    listed = {noun for _, group in GROUPS for noun in group}
    assert {command.noun for command in COMMANDS.values()} - listed == {"help", "join", "confirm", "cancel"}
    assert listed <= {command.noun for command in COMMANDS.values()}
