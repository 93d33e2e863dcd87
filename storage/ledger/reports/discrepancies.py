"""Why the two layers tell different numbers: the probable cause, and what to check one by one."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

Cause = Literal[
    "time-zone edge", "unknown click id", "duplicate", "reversal", "restatement", "untagged offer", "late batch",
    "missing postback",
]  # fmt: skip


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as evidence. `ref` is what the platform knows it by; `here` and `there` say on whose day it falls:
    the report's, the platform's."""

    ref: str
    here: bool
    there: bool
    counts: bool = True  # neither reversed nor taken out
    player: str = ""
    click: str = ""  # our click id, as the platform may return it


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known around one measure of one offer-day."""

    seen: Sequence[Seen] = ()
    unmatched: Sequence[str] = ()  # requests that day whose click or player nobody knows
    unread: Sequence[str] = ()  # requests that day that were rejected, or of an unmapped event
    stated: Sequence[str] = ()  # ids the platform lists with this measure
    earlier: Sequence[int] = ()  # what the platform stated before, latest first
    unclaimed: Sequence[str] = ()  # segments of the account that day that no offer claims
    untagged: bool = False  # the offer takes several segments for lack of a tag
    fresh: bool = False  # the platform's day has been over for less than two days


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One measure on which the layers differ. `ids` are transaction, player or click ids to ask the platform about."""

    measure: str
    postback: int
    platform: int
    cause: str
    ids: list[str]
    offer: str | None = None
    others: list[str] = []  # further causes that may play a part


def explain(measure: str, postback: int, platform: int, evidence: Evidence) -> Discrepancy | None:
    """The discrepancy of a measure with its most probable cause; None where the layers agree."""
    if postback == platform:
        return None
    found = list(_causes(postback, platform, evidence))
    (cause, ids), rest = found[0], found[1:]
    return Discrepancy(
        measure=measure, postback=postback, platform=platform, cause=cause, ids=list(dict.fromkeys(ids)),
        others=[name for name, _ in rest],
    )  # fmt: skip


def _causes(postback: int, platform: int, of: Evidence) -> Iterator[tuple[Cause, Sequence[str]]]:
    """Causes that fit, the most telling first; the last one always fits."""
    edge = [one.ref for one in of.seen if one.counts and one.here != one.there]
    if edge and sum(one.counts and one.there for one in of.seen) == platform:
        yield "time-zone edge", edge
    yield from _we_have_more(of) if postback > platform else _they_have_more(of)
    if postback in of.earlier:
        yield "restatement", [one.ref for one in of.seen if one.here and one.counts]
    elif edge:
        yield "time-zone edge", edge
    if postback > platform:
        yield "late batch", [one.ref for one in of.seen if one.here and one.counts and one.click not in of.stated]
    else:
        known = {one.click for one in of.seen}
        yield "missing postback", [ref for ref in of.stated if ref not in known] or of.unread


def _we_have_more(of: Evidence) -> Iterator[tuple[Cause, Sequence[str]]]:
    players = [one.player for one in of.seen if one.here and one.counts and one.player]
    twice = {player for player in players if players.count(player) > 1}
    if twice:
        yield "duplicate", [one.ref for one in of.seen if one.player in twice and one.here and one.counts]
    if of.unclaimed:
        yield "untagged offer", of.unclaimed
    if of.fresh:
        yield "late batch", [one.ref for one in of.seen if one.here and one.counts and one.click not in of.stated]


def _they_have_more(of: Evidence) -> Iterator[tuple[Cause, Sequence[str]]]:
    if of.unmatched:
        yield "unknown click id", of.unmatched
    reversed_here = [one.ref for one in of.seen if one.here and not one.counts]
    if reversed_here:
        yield "reversal", reversed_here
    if of.untagged:
        yield "untagged offer", of.stated
    if of.unread:
        yield "missing postback", of.unread
