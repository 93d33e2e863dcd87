"""Conditions of automations: comparisons joined by and, or, not and brackets; read, written, judged, compared. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import inf
from typing import Union

import msgspec

from storage.ledger.alerts.comparisons import (
    TIMES,
    Comparison,
    describe_comparison,
    read_comparison,
    title,
)
from storage.ledger.errors import Refused

MOST_COMPARISONS = 20
MOST_BRACKETS = 10
MOST_HOURS = 72
MOST_DAYS = 90

#: Measures that only a platform's report tells: their days are those settled.
REVENUE = frozenset({
    "commission", "commission_cpa", "commission_revshare", "commission_other", "ngr", "profit", "roi", "roas", "epc",
    "visits",
})  # fmt: skip


class All(msgspec.Struct, frozen=True, tag=True):
    parts: tuple["Node", ...]


class Either(msgspec.Struct, frozen=True, tag=True):
    parts: tuple["Node", ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    part: "Node"


Node = Union[All, Either, Not, Comparison]  # noqa: UP007  a string in it stands for itself


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold, and the evidence that there must be at least. `evidence` is None where none is asked for."""

    holds: Node
    evidence: Node | None = None

    @property
    def comparisons(self) -> list[Comparison]:
        nodes = [self.holds, *([self.evidence] if self.evidence is not None else [])]
        return [comparison for node in nodes for comparison in comparisons_of(node)]

    @property
    def asks_revenue(self) -> frozenset[str]:
        """Windows in which revenue is asked for: everything else in them is of the same, settled days."""
        return frozenset(comparison.window for comparison in self.comparisons if comparison.measure in REVENUE)


def comparisons_of(node: Node) -> Iterator[Comparison]:
    """The comparisons in a condition, in the order they are written."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Not):
        yield from comparisons_of(node.part)
    else:
        for part in node.parts:
            yield from comparisons_of(part)


_TOKEN = re.compile(r""""[^"]*"|'[^']*'|[()]|\s+|[^\s()"']+""")


def read_condition(when: str, evidence: str = "", *, currency: str = "", field: str = "when") -> Condition:
    """A condition from words. Raises Refused at `field`, saying which part cannot be read, or cannot be.

    A comparison without a window has that of the next one that says one, else of the last before it, else today's.
    """
    holds, least = _read(when, currency, field), _read(evidence, currency, field) if evidence.strip() else None
    asked = [comparison for node in (least, holds) if node is not None for comparison in comparisons_of(node)]
    fallback = next((comparison.window for comparison in reversed(asked) if comparison.window), "today")
    condition = Condition(holds=_windowed(holds, fallback), evidence=_windowed(least, fallback) if least else None)
    if len(condition.comparisons) > MOST_COMPARISONS:
        raise Refused(f"{field}: at most {MOST_COMPARISONS} comparisons", field=field)
    for comparison in condition.comparisons:
        _check(comparison, condition, field)
    if not any(map(_possible, alternatives(condition))):
        raise Refused(f"{field}: {describe_condition(condition)} can never hold", field=field)
    return condition


def _read(text: str, currency: str, field: str) -> Node:
    words = _TOKEN.findall(" ".join(text.split()).lower())
    node, rest = _Reader(currency, field).either(words, 0)
    if rest:
        raise Refused(f"{field}: a bracket is closed that was never opened", field=field)
    return node


class _Reader:
    """Reads words: what is joined by or, within that what is joined by and, within that one comparison or bracket."""

    def __init__(self, currency: str, field: str) -> None:
        self.currency, self.field = currency, field

    def either(self, words: list[str], depth: int) -> tuple[Node, list[str]]:
        if depth > MOST_BRACKETS:
            raise Refused(f"{self.field}: at most {MOST_BRACKETS} brackets in each other", field=self.field)
        parts: list[Node] = []
        while True:
            part, words = self._all(words, depth)
            parts.append(part)
            if not words or words[0] != "or":
                return (parts[0] if len(parts) == 1 else Either(tuple(parts))), words
            words = words[1:]

    def _all(self, words: list[str], depth: int) -> tuple[Node, list[str]]:
        parts: list[Node] = []
        while True:
            part, words = self._one(words, depth)
            parts.append(part)
            if not words or words[0] != "and":
                return (parts[0] if len(parts) == 1 else All(tuple(parts))), words
            words = words[1:]

    def _one(self, words: list[str], depth: int) -> tuple[Node, list[str]]:
        words = _stripped(words)
        if words and words[0] == "not":
            part, words = self._one(words[1:], depth + 1)
            return Not(part), words
        if words and words[0] == "(":
            part, words = self.either(words[1:], depth + 1)
            if not words or words[0] != ")":
                raise Refused(f"{self.field}: a bracket is never closed", field=self.field)
            return part, _stripped(words[1:])
        taken = 0
        while taken < len(words) and words[taken] not in {"and", "or", "(", ")"}:
            taken += 1
        text = "".join(words[:taken]).strip()
        if not text:
            raise Refused(f"{self.field}: a comparison is missing: write e.g. epc < 0.20 over 3d", field=self.field)
        comparison = read_comparison(text, self.currency, field=self.field, times=True)
        if comparison is None:
            raise Refused(f"{self.field}: {text!r} cannot be read: write e.g. epc < 0.20 over 3d", field=self.field)
        return comparison, words[taken:]


def _stripped(words: list[str]) -> list[str]:
    return words[1:] if words and words[0].isspace() else words


def _timeless(comparison: Comparison) -> bool:
    return comparison.measure in {"hour", "weekday"}


def _windowed(node: Node, fallback: str) -> Node:
    """The same with every window said: a comparison without one has the next one's."""

    def walk(node: Node, following: str) -> tuple[Node, str]:
        if isinstance(node, Comparison):
            if _timeless(node):
                return node, following
            window = node.window or following
            return msgspec.structs.replace(node, window=window), window
        if isinstance(node, Not):
            part, following = walk(node.part, following)
            return Not(part), following
        parts: list[Node] = []
        for part in reversed(node.parts):
            walked, following = walk(part, following)
            parts.insert(0, walked)
        return type(node)(tuple(parts)), following

    return walk(node, fallback)[0]


def _check(comparison: Comparison, condition: Condition, field: str) -> None:
    """Raises Refused for what no figure answers."""
    window, measure = comparison.window, title(comparison.measure)
    if comparison.for_minutes:
        raise Refused(f"{field}: write the window as over {comparison.window or '3d'}, without for", field=field)
    if _timeless(comparison):
        if comparison.baseline or not 0 <= comparison.limit <= 23:
            raise Refused(f"{field}: {measure} is compared with a number: hour 0 to 23, weekday 1 to 7", field=field)
        return
    if window.endswith("m"):
        raise Refused(f"{field}: a window is at least an hour: write over 1h", field=field)
    if window.endswith("h") and int(window[:-1]) > MOST_HOURS:
        raise Refused(f"{field}: a window of hours has at most {MOST_HOURS}: write days", field=field)
    if window.endswith("d") and int(window[:-1]) > MOST_DAYS:
        raise Refused(f"{field}: a window has at most {MOST_DAYS} days, or write since start", field=field)
    if window in condition.asks_revenue and (window == "today" or window.endswith("h")):
        raise Refused(
            f"{field}: revenue of a running day is never settled: write over 1d or more for {measure}", field=field
        )
    if comparison.baseline == "payout" and comparison.measure in {"clicks", "registrations", "first_deposits"}:
        raise Refused(f"{field}: payout is money: compare spend, cpa or commission with it", field=field)
    if comparison.baseline in {"7d", "30d", "weekday"} and window == "start":
        raise Refused(f"{field}: there is nothing before the start to compare with", field=field)


def describe_condition(condition: Condition) -> str:
    """The condition in its own words; reading them gives it again."""
    text = _described(condition.holds)
    return text + (f" with {_described(condition.evidence)}" if condition.evidence is not None else "")


def _described(node: Node, inside: str = "") -> str:
    if isinstance(node, Comparison):
        return describe_comparison(node)
    if isinstance(node, Not):
        return f"not ({_described(node.part)})"
    word = " and " if isinstance(node, All) else " or "
    text = word.join(_described(part, word) for part in node.parts)
    return f"({text})" if inside == " and " and word == " or " else text


class Known(msgspec.Struct, frozen=True):
    """A figure and what it is compared with; `value` None where there is none to speak of (a ratio without a whole)."""

    value: float | None
    limit: float | None


class Unknown(msgspec.Struct, frozen=True):
    """Why a figure cannot be judged: pending, held, without a rate, not measured, gone."""

    kind: str
    why: str


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison saw."""

    comparison: Comparison
    value: float | None
    limit: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a condition holds; None while that cannot be said, and why."""

    met: bool | None
    facts: tuple[Fact, ...] = ()
    unknown: tuple[Unknown, ...] = ()


def judge(condition: Condition, read: Callable[[Comparison], Known | Unknown]) -> Verdict:
    """The condition by the figures that `read` gives. What decides without an unknown figure is decided."""
    facts: list[Fact] = []
    unknown: list[Unknown] = []

    def of(node: Node) -> bool | None:
        if isinstance(node, Comparison):
            return _judge_one(node, read(node), facts, unknown)
        if isinstance(node, Not):
            inner = of(node.part)
            return None if inner is None else not inner
        answers = [of(part) for part in node.parts]
        deciding = not isinstance(node, All)
        if deciding in answers:
            return deciding
        return None if None in answers else not deciding

    met = of(condition.holds)
    if condition.evidence is not None and met is not False:
        enough = of(condition.evidence)
        met = False if enough is False else None if enough is None else met
    return Verdict(met=met, facts=tuple(facts), unknown=tuple(dict.fromkeys(unknown)))


def _judge_one(
    comparison: Comparison, figure: Known | Unknown, facts: list[Fact], unknown: list[Unknown]
) -> bool | None:
    if isinstance(figure, Unknown):
        unknown.append(figure)
        return None
    facts.append(Fact(comparison=comparison, value=figure.value, limit=figure.limit))
    if figure.value is None or figure.limit is None:
        return False
    return holds(comparison.sign, figure.value, figure.limit)


def holds(sign: str, value: float, limit: float) -> bool:
    """Whether a comparison of two numbers holds."""
    match sign:
        case "<":
            return value < limit
        case "<=":
            return value <= limit
        case ">":
            return value > limit
        case ">=":
            return value >= limit
        case "=":
            return abs(value - limit) <= 1e-9 * max(1.0, abs(limit))
        case _:
            return abs(value - limit) > 1e-9 * max(1.0, abs(limit))


#: Pairs of signs that say the opposite.
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "=": "!=", "!=": "="}
_MOST_ALTERNATIVES = 200

Bounds = dict[tuple[str, str, str], tuple[float, bool, float, bool]]
"""By measure, window and baseline: the lowest value and whether it is left out, the highest and whether it is."""


def alternatives(condition: Condition) -> list[Bounds]:
    """The condition as alternatives, each a range of every figure it asks for; too many are cut to what is certain."""
    parts = [condition.holds, *([condition.evidence] if condition.evidence is not None else [])]
    return [_bounds(chosen) for chosen in _normal(All(tuple(parts)), negated=False)]


def _normal(node: Node, *, negated: bool) -> list[tuple[Comparison, ...]]:
    """Alternatives of comparisons that hold together."""
    if isinstance(node, Comparison):
        return [(msgspec.structs.replace(node, sign=_OPPOSITE[node.sign]) if negated else node,)]
    if isinstance(node, Not):
        return _normal(node.part, negated=not negated)
    parts = [_normal(part, negated=negated) for part in node.parts]
    if isinstance(node, All) is not negated:
        number = 1
        for part in parts:
            number *= len(part)
        if number > _MOST_ALTERNATIVES:
            return [()]
        return [tuple(comparison for one in chosen for comparison in one) for chosen in product(*parts)]
    return [alternative for part in parts for alternative in part][:_MOST_ALTERNATIVES]


def _bounds(comparisons: Sequence[Comparison]) -> Bounds:
    bounds: Bounds = {}
    for comparison in comparisons:
        key = comparison.measure, comparison.window, comparison.baseline
        low, low_out, high, high_out = bounds.get(key, (-inf, False, inf, False))
        limit, sign = comparison.limit, comparison.sign
        if sign in {">", ">=", "="} and (limit, sign == ">") > (low, low_out):
            low, low_out = limit, sign == ">"
        if sign in {"<", "<=", "="} and (limit, sign != "<") < (high, not high_out):
            high, high_out = limit, sign == "<"
        bounds[key] = low, low_out, high, high_out
    return bounds


def _possible(bounds: Bounds) -> bool:
    return all(
        low < high or (low == high and not low_out and not high_out) for low, low_out, high, high_out in bounds.values()
    )


def overlap(one: Condition, other: Condition) -> tuple[bool, bool]:
    """Whether both conditions may hold at once, and whether they ask for the same figure."""
    shared = may = False
    for mine, theirs in product(alternatives(one), alternatives(other)):
        together = dict(mine)
        for key, (low, low_out, high, high_out) in theirs.items():
            if key in together:
                shared = True
                a_low, a_low_out, a_high, a_high_out = together[key]
                low, low_out = max((low, low_out), (a_low, a_low_out))
                high, not_out = min((high, not high_out), (a_high, not a_high_out))
                high_out = not not_out
            together[key] = low, low_out, high, high_out
        may = may or _possible(together)
    return may, shared


__all__ = [
    "TIMES", "All", "Condition", "Either", "Fact", "Known", "Not", "Unknown", "Verdict", "describe_condition", "judge",
    "overlap", "read_condition",
]  # fmt: skip
