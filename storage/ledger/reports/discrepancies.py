"""Why the two layers tell different numbers: the probable causes, and what to check one by one."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

Cause = Literal[
    "restatement", "duplicate", "reversal", "missing postback", "unknown click id", "untagged offer", "time-zone edge",
    "late batch", "amounts differ", "not reported",
]  # fmt: skip

#: Two reports of one deposit come within this time of one another.
SAME_DEPOSIT = timedelta(minutes=10)


class ComparedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as evidence. `ref` is what the platform knows it by; `here` and `there` say on whose day it falls:
    the report's, the platform's."""

    ref: str
    here: bool
    there: bool
    counts: bool = True  # neither reversed nor taken out
    player: str = ""  # the platform's id of the player
    click: str = ""  # our click id, as the platform may return it
    amount: int | None = None
    currency: str = ""
    occurred_at: datetime | None = None
    once: bool = False  # of a kind that happens once per player


class Restatement(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform stated of a settled day before, what it stated from `at` on, and in which rows."""

    before: int
    after: int
    at: datetime
    rows: list[int] = []


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known around one measure of one offer-day, of the campaign asked about."""

    conversions: Sequence[ComparedConversion] = ()
    unmatched: Sequence[str] = ()  # requests that day whose click or player is unknown
    unread: Sequence[str] = ()  # requests that day that were rejected, or of an unmapped event
    stated: Sequence[str] = ()  # click ids the platform lists with this measure
    restated: Sequence[Restatement] = ()  # the latest first
    unclaimed: Sequence[str] = ()  # segments of the account that day that no offer claims
    segments: Sequence[str] = ()  # those an offer without a tag takes, if there are several
    fresh: bool = False  # the platform's day has been over for less than two days
    is_amount: bool = False  # the measure is an amount, of which the counts agree


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that fits, with the ids that show it. `restatement`: both values and when, of a restatement."""

    cause: Cause
    ids: list[str]
    restatement: Restatement | None = None


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One measure on which the layers differ. `ids` are transaction, player or click ids to ask the platform about.

    `causes` has every cause that fits, the most telling first: `cause` and `ids` are those of the first.
    """

    measure: str
    postback: int
    platform: int
    cause: Cause
    ids: list[str]
    causes: list[Explanation] = []
    offer: str | None = None
    others: list[str] = []  # further causes that may play a part
    restatement: Restatement | None = None


def explain(measure: str, postback: int, platform: int, evidence: Evidence) -> Discrepancy | None:
    """The discrepancy of a measure with its most probable cause; None where the layers agree."""
    if postback == platform:
        return None
    causes = list(_causes(postback, platform, evidence))
    first = causes[0]
    return Discrepancy(
        measure=measure, postback=postback, platform=platform, cause=first.cause, ids=first.ids, causes=causes,
        others=[further.cause for further in causes[1:]], restatement=first.restatement,
    )  # fmt: skip


def _causes(postback: int, platform: int, evidence: Evidence) -> Iterator[Explanation]:
    """Causes that fit, the most telling first; the last ones fit where nothing else does."""
    causes = [*_restatement(postback, platform, evidence)]
    causes += _of_surplus(evidence) if postback > platform else _of_lack(evidence)
    causes += _edge(postback, platform, evidence)
    if postback > platform and evidence.fresh:
        causes.append(_because("late batch", _unstated(evidence)))
    if evidence.is_amount and not causes:
        causes.append(_because("amounts differ", [fact.ref for fact in _counted(evidence)]))
    if not causes:
        last: Cause = "not reported" if postback > platform else "missing postback"
        causes.append(_because(last, _unstated(evidence) if postback > platform else evidence.stated))
    yield from causes


def _because(cause: Cause, ids: Sequence[str]) -> Explanation:
    return Explanation(cause=cause, ids=list(dict.fromkeys(ids)))


def _counted(evidence: Evidence) -> list[ComparedConversion]:
    return [fact for fact in evidence.conversions if fact.here and fact.counts]


def _unstated(evidence: Evidence) -> list[str]:
    """Conversions that the platform does not list by their click."""
    return [fact.ref for fact in _counted(evidence) if not fact.click or fact.click not in evidence.stated]


def _restatement(postback: int, platform: int, evidence: Evidence) -> Iterator[Explanation]:
    """The platform stated a settled day otherwise before, and moved away from the postbacks, not back since."""

    def is_away(before: int, after: int) -> bool:
        return before > after if postback > platform else before < after

    for change in evidence.restated:
        if is_away(change.before, change.after) and is_away(change.before, evidence.restated[0].after):
            ids = [fact.ref for fact in _counted(evidence)] or [f"row {row}" for row in change.rows]
            yield Explanation(cause="restatement", ids=list(dict.fromkeys(ids)), restatement=change)
            return


def _of_surplus(evidence: Evidence) -> Iterator[Explanation]:
    """Causes of more postbacks than the platform counts."""
    if repeated := _repeated(_counted(evidence)):
        yield _because("duplicate", repeated)
    if evidence.unclaimed:
        yield _because("untagged offer", evidence.unclaimed)


def _repeated(counted: Sequence[ComparedConversion]) -> list[str]:
    """Conversions that are probably one: of one player, or of one amount at nearly the same time."""
    refs: list[str] = []
    for n, fact in enumerate(counted):
        for other in counted[n + 1 :]:
            if _same(fact, other):
                refs += [fact.ref, other.ref]
    return refs


def _same(first: ComparedConversion, other: ComparedConversion) -> bool:
    if first.once and first.player and first.player == other.player:
        return True
    if first.once and first.click and first.click == other.click:
        return True
    if first.amount is None or (first.amount, first.currency) != (other.amount, other.currency):
        return False
    if first.occurred_at is None or other.occurred_at is None or (first.player and other.player != first.player):
        return False
    return abs(first.occurred_at - other.occurred_at) <= SAME_DEPOSIT


def _of_lack(evidence: Evidence) -> Iterator[Explanation]:
    """Causes of fewer postbacks than the platform counts."""
    if reversed_here := [fact.ref for fact in evidence.conversions if fact.here and not fact.counts]:
        yield _because("reversal", reversed_here)
    clicks = {fact.click for fact in evidence.conversions}
    if lacking := [*(click for click in evidence.stated if click not in clicks), *evidence.unread]:
        yield _because("missing postback", lacking)
    if evidence.unmatched:
        yield _because("unknown click id", evidence.unmatched)
    if evidence.segments:
        yield _because("untagged offer", evidence.segments)


def _edge(postback: int, platform: int, evidence: Evidence) -> Iterator[Explanation]:
    """Conversions on another day of the platform's, where they move the counts apart as they are."""
    counted = [fact for fact in evidence.conversions if fact.counts]
    ours = [fact.ref for fact in counted if fact.here and not fact.there]
    theirs = [fact.ref for fact in counted if fact.there and not fact.here]
    if len(ours) != len(theirs) and (len(ours) > len(theirs)) == (postback > platform):
        yield _because("time-zone edge", [*ours, *theirs])
