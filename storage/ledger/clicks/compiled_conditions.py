"""Conditions as clicks ask them: closures made once, and an index of rules by the plain values they ask for."""

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from storage.ledger.clicks.conditions import (
    ANY,
    NONE,
    All,
    Node,
    Not,
    Test,
    Visitor,
    address_number,
    address_span,
    beginning,
    hours_span,
    is_pattern,
    pattern,
    percent_part,
    weekday_set,
)
from storage.ledger.clicks.referrers import search_engine
from storage.ledger.facts import SUBS

Matches = Callable[[Visitor], bool]
Key = tuple[str, str]
"""A thing that rules ask of, and its value: ("country", "DE"); ("sub1*", "zone") for one that begins so."""
PREFIX = "*"


def compiled(node: Node, salt: int = 0) -> Matches:
    """The condition as a function. `salt`: the rule's number, so that parts of the traffic are drawn apart."""
    if isinstance(node, Test):
        return _test(node, salt)
    if isinstance(node, Not):
        inner = compiled(node.of, salt)
        return lambda visitor: not inner(visitor)
    parts = [compiled(part, salt + 1009 * n) for n, part in enumerate(node.of)]
    if not parts:
        return lambda _visitor: True
    joined = parts[-1]
    for part in reversed(parts[:-1]):  # pairs in pairs: half the time of a generator over all
        joined = _both(part, joined) if isinstance(node, All) else _either(part, joined)
    return joined


def _both(first: Matches, second: Matches) -> Matches:
    return lambda visitor: first(visitor) and second(visitor)


def _either(first: Matches, second: Matches) -> Matches:
    return lambda visitor: first(visitor) or second(visitor)


def _test(test: Test, salt: int) -> Matches:
    allowed = [value for value in test.values if not value.startswith("!")]
    barred = [value[1:] for value in test.values if value.startswith("!")]
    if not barred:
        return _any(test.name, allowed, salt)
    outside = _any(test.name, barred, salt)
    if not allowed:
        return lambda visitor: not outside(visitor)
    inside = _any(test.name, allowed, salt)
    return lambda visitor: inside(visitor) and not outside(visitor)


def _any(name: str, values: list[str], salt: int) -> Matches:
    if name in _SPECIAL:
        return _SPECIAL[name](values)
    if name == "percent":
        limit = (percent_part(values[0]) << 53) // 1_000_000
        return lambda visitor: visitor.draw(salt) < limit
    exact, matches = frozenset(value for value in values if not is_pattern(value)), pattern(values)
    read = READERS[name]
    if matches is None:
        return lambda visitor: read(visitor) in exact
    return lambda visitor: (text := read(visitor)) in exact or matches(text) is not None


def _sub(place: int) -> Callable[[Visitor], str]:
    return lambda visitor: visitor.subs[place] or "" if len(visitor.subs) > place else ""


READERS: dict[str, Callable[[Visitor], str]] = {
    "country": lambda visitor: visitor.country,
    "device": lambda visitor: visitor.device,
    "os": lambda visitor: visitor.os.lower(),
    "browser": lambda visitor: visitor.browser.lower(),
    "language": lambda visitor: visitor.language,
    "source": lambda visitor: visitor.source,
    "city": lambda visitor: visitor.city,
    **{name: _sub(place) for place, name in enumerate(SUBS)},
}


def _within_hours(values: list[str]) -> Matches:
    spans = tuple(span for value in values if (span := hours_span(value)))
    return lambda visitor: any(_within(visitor.minute, *span) for span in spans)


def _within(minute: int, start: int, end: int) -> bool:
    return start <= minute < end if start < end else minute >= start or minute < end


def _on_weekdays(values: list[str]) -> Matches:
    days = frozenset().union(*(weekday_set(value) or frozenset() for value in values))
    return lambda visitor: visitor.weekday in days


def _is_visitor(values: list[str]) -> Matches:
    kinds = frozenset(values)
    if len(kinds) > 1:
        parts = [_is_visitor([kind]) for kind in kinds]
        return lambda visitor: any(part(visitor) for part in parts)
    return _KINDS[values[0]]


_KINDS: dict[str, Matches] = {
    "unique": lambda visitor: visitor.unique and not visitor.bot,
    "returning": lambda visitor: not visitor.unique and not visitor.bot,
    "bot": lambda visitor: visitor.bot,
    "person": lambda visitor: not visitor.bot,
}


def _in_regions(values: list[str]) -> Matches:
    exact, matches = frozenset(value for value in values if not is_pattern(value)), pattern(values)
    return lambda visitor: any(
        region in exact or (matches is not None and matches(region) is not None) for region in visitor.regions
    )


def _from_referrers(values: list[str]) -> Matches:
    """A domain stands for its subdomains too, a value with a slash for what begins so, `none` for no referrer."""
    domains = frozenset(value for value in values if not is_pattern(value) and "/" not in value)
    beginnings = tuple(value for value in values if not is_pattern(value) and "/" in value)
    matches = pattern(values)

    def test(visitor: Visitor) -> bool:
        text = visitor.came_from()
        if not text:
            return NONE in domains
        host = text.partition("/")[0].partition("?")[0].partition(":")[0]
        if host in domains or text.startswith(beginnings) or (matches is not None and matches(text) is not None):
            return True
        labels = host.split(".")
        return any(".".join(labels[n:]) in domains for n in range(1, len(labels) - 1))

    return test


def _from_search(values: list[str]) -> Matches:
    engines = frozenset(values)
    if ANY in engines:
        return lambda visitor: search_engine(visitor.came_from()) != ""
    return lambda visitor: search_engine(visitor.came_from()) in engines


def _in_networks(values: list[str]) -> Matches:
    """A bisection of the spans, of which those that touch are made one."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(address_span(value) for value in values):
        if ends and start <= ends[-1] + 1:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)

    if len(starts) == 1:
        first, last = starts[0], ends[0]
        return lambda visitor: first <= visitor.number() <= last

    def test(visitor: Visitor) -> bool:
        number = visitor.number()
        place = bisect_right(starts, number) - 1
        return place >= 0 and number <= ends[place]

    return test


_SPECIAL: dict[str, Callable[[list[str]], Matches]] = {
    "hours": _within_hours, "weekdays": _on_weekdays, "visitor": _is_visitor, "region": _in_regions,
    "referrer": _from_referrers, "search": _from_search, "ip": _in_networks,
}  # fmt: skip


def asked(node: Node) -> frozenset[str]:
    """What the condition asks of a visitor, by the names of its tests."""
    if isinstance(node, Test):
        return frozenset({node.name})
    return frozenset().union(*(asked(part) for part in ((node.of,) if isinstance(node, Not) else node.of)))


def keys(node: Node, names: Container[str] = READERS) -> tuple[Key, ...] | None:
    """Values, beginnings of values, or networks, of which a visitor must have one for the condition to hold; None if
    there are no such. Of several the rarest are taken. `names`: the things that can be looked up; networks always can.
    """
    if isinstance(node, Test):
        return _test_keys(node) if node.name in names or node.name == "ip" else None
    if isinstance(node, Not):
        return None
    parts = [keys(part, names) for part in node.of]
    if isinstance(node, All):
        return min((part for part in parts if part is not None), key=_part_of_traffic, default=None)
    return None if None in parts else tuple(key for part in parts if part is not None for key in part)


def _test_keys(test: Test) -> tuple[Key, ...] | None:
    if any(value.startswith("!") for value in test.values):
        return None
    needed = [(test.name + PREFIX, beginning(v)) if is_pattern(v) else (test.name, v) for v in test.values]
    return tuple(needed) if all(value for _, value in needed) else None


_DIFFERENT = {"country": 20, "language": 10, "os": 5, "browser": 5, "device": 3, "source": 1}
"""How many values of a thing a campaign's visitors have, about; of all others many more."""


def _part_of_traffic(needed: tuple[Key, ...]) -> tuple[float, int]:
    """How many visitors have one of the keys, about; of as many, what is looked up comes before what is searched."""
    part = sum(1 / _DIFFERENT.get(name.removesuffix(PREFIX), 1_000) for name, _ in needed)
    return part, sum(name.endswith(PREFIX) + 2 * (name == "ip") for name, _ in needed)


class _Networks:
    """Rules by the networks that they ask for: the address space is cut at the ends of all of them."""

    def __init__(self, spans: Iterable[tuple[int, int, int]]) -> None:
        """Spans are the first and last address, and the number of the rule."""
        known = list(spans)
        self._cuts = sorted({0, *(first for first, _, _ in known), *(last + 1 for _, last, _ in known)})
        self._rules = [sorted({number for first, last, number in known if first <= cut <= last}) for cut in self._cuts]

    def of(self, address: str) -> Sequence[int] | None:
        number = address_number(address)
        return self._rules[bisect_right(self._cuts, number) - 1] if number >= 0 else None


class Addressed(Protocol):
    """Whoever rules are asked of: a visitor, or a click."""

    @property
    def address(self) -> str: ...


Subject = TypeVar("Subject", bound=Addressed)
_Places = dict[str, list[int]]


class RuleIndex(Generic[Subject]):
    """Which of many rules can match at all: those that ask for one of the subject's values, and those that ask for no
    value that can be looked up. `readers` tell the values, by the names of READERS."""

    def __init__(self, conditions: Iterable[Node], readers: Mapping[str, Callable[[Subject], str]]) -> None:
        buckets: dict[str, _Places] = {}
        always: list[int] = []
        for number, node in enumerate(conditions):
            needed = keys(node, readers)
            if needed is None:
                always.append(number)
            for name, value in dict.fromkeys(needed or ()):
                buckets.setdefault(name, {}).setdefault(value, []).append(number)
        spans = [
            (*address_span(value), number) for value, numbers in buckets.pop("ip", {}).items() for number in numbers
        ]
        self._networks = _Networks(spans) if spans else None
        self._always = always
        self._exact = tuple((read, buckets[name]) for name, read in readers.items() if name in buckets)
        self._prefixes = tuple(
            (readers[name], _by_length(buckets[name + PREFIX])) for name in readers if name + PREFIX in buckets
        )

    def candidates(self, subject: Subject) -> Sequence[int]:
        """Numbers of those rules, in order."""
        found: Sequence[int] = self._always
        numbers: Sequence[int] | None
        for read, by_value in self._exact:
            numbers = by_value.get(read(subject))
            if numbers is not None:
                found = sorted({*found, *numbers}) if found else numbers
        for read, lengths in self._prefixes:
            text = read(subject)
            for length, by_prefix in lengths:
                numbers = by_prefix.get(text[:length])
                if numbers is not None:
                    found = sorted({*found, *numbers}) if found else numbers
        if self._networks is not None and (numbers := self._networks.of(subject.address)):
            found = sorted({*found, *numbers}) if found else numbers
        return found


def _by_length(by_prefix: _Places) -> tuple[tuple[int, _Places], ...]:
    lengths = sorted({len(prefix) for prefix in by_prefix})
    return tuple((n, {prefix: numbers for prefix, numbers in by_prefix.items() if len(prefix) == n}) for n in lengths)


def failing(node: Node, visitor: Visitor, salt: int = 0) -> Node | None:
    """The part of a condition that keeps it from holding; None if it holds."""
    if compiled(node, salt)(visitor):
        return None
    if isinstance(node, All):
        for n, part in enumerate(node.of):
            if not compiled(part, salt + 1009 * n)(visitor):
                return failing(part, visitor, salt + 1009 * n)
    return node
