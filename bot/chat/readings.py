"""What a line that is no command may mean: the card of what it names, figures of a range, a mistyped command.

Nothing is done by a guess: a reading is a line to press. Only an exact name or code is answered at once, by its card.
"""

import difflib
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.arguments import list_fields
from bot.core.command import COMMANDS, RANKED, find, parse, singular
from bot.core.context import Actor
from bot.core.permissions import ENTITIES, may, visible
from bot.core.tokenizer import is_period
from storage.catalogue import names
from storage.ledger.credentials import looks_secret
from storage.ledger.errors import Refused
from storage.ledger.reports.arrange import check_sort, measure, measure_named
from storage.ledger.reports.report_rows import DIMENSIONS

MOST = 2
_WORD_OF_A_NAME = 3  # letters; fewer are in every other name
MOST_WORDS = 20  # of a line that is read; a longer one is no command
_FIGURES = ("campaign", "offer", "site", "source", "casino", "account")
_BY_BUTTONS = {"confirm", "cancel", "join"}  # they take a code from a button
_RUN_TOGETHER = 0.85  # of difflib: the words of a command without the space between them
_AGAINST = {"vs", "vs.", "versus", "against", "with", "to"}
_FILLERS = {"by", "sort", "sorted", "with", "most", "highest", "the", "our", "my", "show", "me", "for"}


class Reading(msgspec.Struct, frozen=True, order=True):
    """A line that may have been meant, and how likely, from 0 to 1."""

    likelihood: float
    line: str


def repeatable(text: str) -> str:
    """The words of a line before the first that may be a credential: the others are repeated nowhere."""
    words = text.split()
    return " ".join(takewhile(lambda word: not looks_secret(word), words))


async def cards(tx: AsyncConnection, actor: Actor, text: str) -> list[str]:
    """Lines that show the entities of exactly this name or code."""
    lines = []
    for noun in _shown_nouns(actor):
        table = ENTITIES[noun].table
        row = await names.called(tx, table, actor.team_id, text)
        if row is not None and await _is_visible(tx, actor, noun, row.id):
            lines.append(f"{noun} show {row.code}")
    return lines


async def readings(tx: AsyncConnection, actor: Actor, text: str) -> list[str]:
    """The most likely lines, each one that could be run by this member."""
    words = text.split()
    if len(words) > MOST_WORDS:
        return []
    every = [*_corrected(words), *await _about_entities(tx, actor, words), *await _figures(tx, actor, words)]
    return _likeliest(every, actor)


async def figures(tx: AsyncConnection, actor: Actor, text: str) -> list[str]:
    """What a line of `stats` may mean whose range is none: `stats spring`, `stats spring last week`."""
    words = repeatable(text).split()[1:MOST_WORDS]
    return _likeliest(await _figures(tx, actor, words, usual="7d"), actor)


async def with_whole_name(tx: AsyncConnection, actor: Actor, text: str) -> list[str]:
    """The line with the code of a name of several words that it holds without quotes: `why spring push yesterday`."""
    words = repeatable(text).split()[:MOST_WORDS]
    try:
        command, used = find([(None, word) for word in words])
    except Refused:
        return []
    first = command.positional[:1]
    nouns = [noun for reference in command.references if reference.name in first for noun in reference.nouns]
    several = set(first) <= list_fields(command.parameters)
    for end in range(len(words), used + 1, -1):
        text = " ".join(words[used:end])
        called = [part.strip() for part in text.split(",") if part.strip()] if several else [text]
        for noun in nouns:
            codes = [await _code_of(tx, actor, noun, name) for name in called] if noun in ENTITIES else [""]
            line = " ".join([command.name, ",".join(codes), *words[end:]])
            if all(codes) and _can_run(line, actor):
                return [line]
    entities = tuple(noun for noun in nouns if noun in ENTITIES)
    return await _nearly_named(tx, actor, words, entities, command=command.name, used=used)


async def _nearly_named(
    tx: AsyncConnection, actor: Actor, words: list[str], nouns: tuple[str, ...], *, command: str, used: int
) -> list[str]:
    """The same for a name that is nearly right: `campaign show alpine natve`."""
    every = [
        Reading(entity.likeness, " ".join([command, entity.code, *words[end:]]))
        for end in range(used + 2, len(words) + 1)
        for entity in await _near(tx, actor, " ".join(words[used:end]), nouns)
    ]
    return _likeliest(every, actor)


async def _code_of(tx: AsyncConnection, actor: Actor, noun: str, name: str) -> str:
    """The code of the entity of that name or code; empty where the member sees none."""
    row = await names.called(tx, ENTITIES[noun].table, actor.team_id, name)
    return row.code if row is not None and await _is_visible(tx, actor, noun, row.id) else ""


async def _is_visible(tx: AsyncConnection, actor: Actor, noun: str, entity_id: int) -> bool:
    table = ENTITIES[noun].table
    return (
        await tx.execute(select(table.c.id).where(table.c.id == entity_id, visible(actor, noun)))
    ).first() is not None


def _likeliest(every: list[Reading], actor: Actor) -> list[str]:
    ranked = sorted(every, key=lambda reading: -reading.likelihood)
    lines = [reading.line for reading in ranked if _can_run(reading.line, actor)]
    return list(dict.fromkeys(lines))[:MOST]


def _can_run(line: str, actor: Actor) -> bool:
    try:
        return may(parse(line)[0], actor)
    except Refused:
        return False


def _corrected(words: list[str]) -> Iterator[Reading]:
    """The commands whose words are each alike, with the rest of the line; a noun alone with its help."""
    spoken = {
        alias: command.name
        for command in COMMANDS.values()
        if command.name not in _BY_BUTTONS
        for alias in (command.name, *command.aliases)
    }
    for count in (2, 1):
        typed = [word.lower() for word in words[:count]]
        for alias, name in spoken.items() if len(typed) == count else ():
            parts = alias.split()
            if len(parts) == count and all(_alike(*pair) >= names.NEAR for pair in zip(typed, parts, strict=True)):
                yield Reading(_alike(" ".join(typed), alias), " ".join([name, *words[count:]]))
            elif count == 1 and _alike(typed[0], "".join(parts)) >= _RUN_TOGETHER:
                yield Reading(_alike(typed[0], alias), " ".join([name, *words[1:]]))
    if len(words) > 1 and words[0].lower() in {command.noun for command in COMMANDS.values()}:
        yield Reading(0.1, f"help {words[0].lower()}")


def _alike(typed: str, word: str) -> float:
    return difflib.SequenceMatcher(None, typed, word).ratio()


async def _about_entities(tx: AsyncConnection, actor: Actor, words: list[str]) -> list[Reading]:
    """`campaigns`, `campaign spring`, `pause spring`, and names that are nearly those of entities."""
    first, rest = singular(words[0]) if words else "", " ".join(words[1:])
    if first in ENTITIES and not rest:
        return [Reading(0.95, f"{first} list")]
    if first in ENTITIES:
        near = await _near(tx, actor, rest, (first,))
        shown = [Reading(0.9, f"{entity.noun} show {entity.code}") for entity in near]
        return [*shown, Reading(0.7, f"{first} find {rest}")]
    verb = words[0].lower() if words else ""
    if rest and any(name.endswith(f" {verb}") for name in COMMANDS):
        near = await _near(tx, actor, rest, _shown_nouns(actor))
        return [
            Reading(0.9, f"{entity.noun} {verb} {entity.code}")
            for entity in near
            if f"{entity.noun} {verb}" in COMMANDS
        ]
    near = await _near(tx, actor, " ".join(words), _shown_nouns(actor))
    return [Reading(entity.likeness, f"{entity.noun} show {entity.code}") for entity in near]


async def _figures(tx: AsyncConnection, actor: Actor, words: list[str], *, usual: str = "") -> list[Reading]:
    """`campaigns this week`, `spring yesterday`, `nov vs oct`, `roi by campaign`: statistics of the range that the line
    holds, else of the usual one."""
    if ranking := _ranking_in(words):
        return [Reading(0.98, ranking)]
    days, others = _ranges_in(words)
    measures = [measure_named(word.lower()) for word in others if _is_measure(word)]
    days = days or usual or ("7d" if measures else "")
    if not days or _about_a_change(others):
        return []
    dimensions = [singular(word) for word in others if singular(word) in DIMENSIONS]
    read_words = {*dimensions, *_FILLERS}
    rest = " ".join(word for word in others if singular(word) not in read_words and not _is_measure(word))
    line = " ".join(["stats", days, *(["by", ",".join(dimensions)] if dimensions else [])])
    line += f" sort=-{measures[0]}" if measures else ""
    near = await _near(tx, actor, rest, _FIGURES) if rest else []
    filtered = [Reading(0.88, f"{line} {entity.noun}={entity.code}") for entity in near]
    return [*filtered, Reading(0.97 if not rest else 0.65, line)]


def _about_a_change(words: list[str]) -> bool:
    verbs = {command.name.partition(" ")[2] for command in COMMANDS.values() if command.changes}
    return bool(verbs & {word.lower() for word in words})


def _is_measure(word: str) -> bool:
    try:
        measure(word.lower())
    except Refused:
        return False
    return True


def _ranking_in(words: list[str]) -> str:
    """`what was the best campaign yesterday`: the line from the ranking word on, if it is a command."""
    start = next((n for n, word in enumerate(words) if word.lower() in RANKED), 0)
    line = " ".join(words[start:])
    try:
        arguments = parse(line)[1] if start else {}
        check_sort(arguments.get("sort"))
    except Refused:
        return ""
    return line if arguments.get("by") in DIMENSIONS else ""


def _ranges_in(words: list[str]) -> tuple[str, list[str]]:
    """The range in a line, with the one it is compared with, and the other words."""
    for place, word in enumerate(words):
        if word.lower() not in _AGAINST:
            continue
        before = next((n for n in range(place) if is_period(" ".join(words[n:place]))), None)
        after = next((n for n in range(len(words), place + 1, -1) if _is_compared(words[place + 1 : n])), None)
        if before is not None and after is not None:
            days = f"{' '.join(words[before:place])} vs {' '.join(words[place + 1 : after])}"
            return days, [other for other in words[:before] + words[after:] if other.lower() != "compare"]
    start, end = _range_in(words) or (0, 0)
    return " ".join(words[start:end]), [word for n, word in enumerate(words) if not start <= n < end]


def _is_compared(words: list[str]) -> bool:
    return [word.lower() for word in words] == ["previous"] or is_period(" ".join(words))


def _range_in(words: list[str]) -> tuple[int, int] | None:
    """Where in the line the longest range of days is."""
    spans = [(start, end) for start in range(len(words)) for end in range(start + 1, len(words) + 1)]
    spans.sort(key=lambda span: span[0] - span[1])
    return next((span for span in spans if is_period(" ".join(words[slice(*span)]))), None)


class _Entity(NamedTuple):
    """An entity with a name or code like some words, and how alike."""

    likeness: float
    noun: str
    code: str


async def _near(tx: AsyncConnection, actor: Actor, text: str, nouns: tuple[str, ...]) -> list[_Entity]:
    """Entities with a name or code like the text, the nearest first."""
    near = []
    for noun in nouns:
        table = ENTITIES[noun].table
        where = (table.c.team_id == actor.team_id) & visible(actor, noun)
        for row in await names.nearest(tx, table, where, text):
            likeness = max(_alike(text.lower(), row.code), _alike(text.lower(), row.name.lower()))
            near.append(_Entity(likeness, noun, row.code))
        if len(text) < _WORD_OF_A_NAME:
            continue
        holding = select(table.c.code).where(where, await names.holding(tx, table, actor.team_id, text)).limit(MOST)
        near += [_Entity(names.NEAR, noun, code) for code in (await tx.execute(holding)).scalars()]
    return sorted(near, key=lambda entity: -entity.likeness)[:MOST]


def _shown_nouns(actor: Actor) -> tuple[str, ...]:
    """Kinds of entities that have a card the actor may see."""
    return tuple(noun for noun in ENTITIES if f"{noun} show" in COMMANDS and may(COMMANDS[f"{noun} show"], actor))
