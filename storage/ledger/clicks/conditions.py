"""Conditions of rotation rules: a tree of tests on a visitor, checked when it is written, compiled for clicks.

As JSON, a condition is `{"country": ["DE", "AT"], "not": {"device": ["mobile"]}}`: all of its keys must hold; `any` and
`all` take lists of conditions, `not` takes one. A test holds if any of its values does; a value after `!` must not be.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from socket import AF_INET, inet_pton
from typing import Any

import msgspec

from storage.ledger.clicks.referrers import ENGINES, host_and_path
from storage.ledger.errors import Refused
from storage.ledger.facts import SUBS
from storage.ledger.schedule import WEEKDAYS

DEVICES = ("desktop", "mobile", "tablet", "bot", "other")
VISITORS = ("unique", "returning", "bot", "person")
PLACES = ("city", "region")
CONDITIONS = (
    "country", *PLACES, "device", "os", "browser", "language", "source", *SUBS, "referrer", "search", "ip", "visitor",
    "percent", "hours", "weekdays",
)  # fmt: skip
ALIASES = {
    "countries": "country", "geo": "country", "devices": "device", "languages": "language", "lang": "language",
    "sources": "source", "hour": "hours", "time": "hours", "weekday": "weekdays", "days": "weekdays",
    "referer": "referrer", "search_engine": "search", "engine": "search", "ips": "ip", "cities": "city",
    "regions": "region", "state": "region", "share": "percent", "traffic": "percent",
}  # fmt: skip
MAX_DEPTH, MAX_TESTS, MAX_VALUES = 8, 200, 500
LONGEST_PATTERN, MOST_STARS = 200, 8
ANY, NONE = "any", "none"  # values of `search` and `referrer`
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?")
_PERCENT = re.compile(r"(\d{1,2})(?:\.(\d{1,4}))?\s*%?")
_WHOLE = 1 << 53
_MASK = (1 << 64) - 1


class Visitor(msgspec.Struct, kw_only=True):
    """What rules can ask of a visitor. `minute` is the minute of the report day, `weekday` 0 for Monday; `regions` are
    code and names, `city` its name, in lower case; `roll` is random, 0 ≤ roll < 1. With `chance`, a part of 1, that
    stands in place of every draw."""

    country: str = ""
    device: str = ""
    os: str = ""
    browser: str = ""
    language: str = ""
    source: str = ""
    subs: tuple[str | None, ...] = ()
    minute: int = 0
    weekday: int = 0
    referrer: str = ""
    address: str = ""
    city: str = ""
    regions: tuple[str, ...] = ()
    unique: bool = True
    bot: bool = False
    roll: float = 0.0
    chance: float | None = None
    _host: str | None = None
    _number: int | None = None

    def came_from(self) -> str:
        """Host and path of the referrer, in lower case, without `www.`."""
        if self._host is None:
            self._host = host_and_path(self.referrer)
        return self._host

    def number(self) -> int:
        """The address as a number, that of IPv6 from 2³² on; -1 for none."""
        if self._number is None:
            self._number = address_number(self.address)
        return self._number

    def draw(self, salt: int) -> int:
        """A number below 2⁵³, independent for each salt, the same whenever it is asked."""
        if self.chance is not None:
            return int(self.chance * _WHOLE)
        mixed = (int(self.roll * _WHOLE) + (salt + 1) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ mixed >> 31) >> 11


class Test(msgspec.Struct, frozen=True):
    """One condition on one thing; its values are joined by or."""

    name: str
    values: tuple[str, ...]


class Not(msgspec.Struct, frozen=True):
    of: "Node"


class All(msgspec.Struct, frozen=True):
    """All of them hold; of none: always."""

    of: tuple["Node", ...] = ()


class AnyOf(msgspec.Struct, frozen=True):
    of: tuple["Node", ...]


Node = Test | Not | All | AnyOf


def all_of(nodes: Iterable[Node], place: str) -> Node:
    """The nodes joined by and. Raises Refused where two tests on one thing can never both hold."""
    flat = [part for node in nodes for part in (node.of if isinstance(node, All) else (node,))]
    seen: dict[str, set[str]] = {}
    for part in flat:
        if isinstance(part, Test) and not any(is_pattern(v) or v.startswith("!") for v in part.values):
            values = set(part.values)
            if part.name in seen and part.name != "visitor" and not seen[part.name] & values:
                raise fault(place, f"{part.name} is asked for twice, and both can never hold: "
                            f"join the values with commas ({part.name}=a,b), or the conditions with or")  # fmt: skip
            seen[part.name] = seen.get(part.name, values) & values or values
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def any_of(nodes: Iterable[Node]) -> Node:
    """The nodes joined by or."""
    flat = [part for node in nodes for part in (node.of if isinstance(node, AnyOf) else (node,))]
    return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))


def negated(node: Node) -> Node:
    return node.of if isinstance(node, Not) else Not(node)


def fault(place: str, text: str) -> Refused:
    return Refused(f"{place}: {text}", field="rules")


def check_size(node: Node, place: str) -> Node:
    """The node itself. Raises Refused where it is larger or deeper than a click may be asked to pay for."""
    tests, deepest = _size(node)
    if tests > MAX_TESTS:
        raise fault(place, f"{tests} conditions: a rule may have {MAX_TESTS}; make several rules of it")
    if deepest > MAX_DEPTH:
        raise fault(place, f"conditions are nested {deepest} deep: {MAX_DEPTH} is the most")
    return node


def _size(node: Node) -> tuple[int, int]:
    if isinstance(node, Test):
        return 1, 1
    parts = [_size(part) for part in ((node.of,) if isinstance(node, Not) else node.of)]
    return sum(part[0] for part in parts), 1 + max((part[1] for part in parts), default=0)


def from_json(raw: Any, place: str, depth: int = 0) -> Node:
    """A condition out of JSON, checked. Raises Refused naming the place in it."""
    if not isinstance(raw, dict):
        raise fault(place, 'a condition is an object such as {"country": ["DE"]}')
    if depth > 2 * MAX_DEPTH:
        raise fault(place, f"conditions are nested too deep: {MAX_DEPTH} is the most")
    nodes: list[Node] = []
    for name, value in raw.items():
        word = str(name).strip().lower()
        inside = f"{place}.{name}"
        if word in {"any", "or", "all", "and"}:
            if not isinstance(value, list | tuple) or not value:
                raise fault(inside, "takes a list of conditions, and not an empty one")
            parts = [_nonempty(part, f"{inside}[{n}]", depth + 1) for n, part in enumerate(value, 1)]
            nodes.append(any_of(parts) if word in {"any", "or"} else all_of(parts, inside))
        elif word == "not":
            nodes.append(negated(_nonempty(value, inside, depth + 1)))
        elif word in VISITORS and isinstance(value, bool):
            nodes.append(Test("visitor", (word,)) if value else Not(Test("visitor", (word,))))
        else:
            values = value if isinstance(value, list | tuple) else str(value).split(",")
            nodes.append(test(word, [str(part) for part in values], place))
    return all_of(nodes, place)


def _nonempty(raw: Any, place: str, depth: int) -> Node:
    node = from_json(raw, place, depth)
    if node == All():
        raise fault(place, "an empty condition: leave it out")
    return node


def to_json(node: Node) -> dict[str, Any]:
    """A condition as it is stored."""
    if isinstance(node, Test):
        return {node.name: list(node.values)}
    if isinstance(node, Not):
        return {"not": to_json(node.of)}
    parts = [to_json(part) for part in node.of]
    if isinstance(node, AnyOf):
        return {"any": parts}
    keys = [key for part in parts for key in part]
    return {key: part[key] for part in parts for key in part} if len(set(keys)) == len(keys) else {"all": parts}


def test(name: str, values: Iterable[str], place: str) -> Test:
    """A test by the names people use, its values checked and in the form that is stored. Raises Refused."""
    name = ALIASES.get(name.strip().lower(), name.strip().lower())
    if name not in CONDITIONS:
        near = difflib.get_close_matches(name, (*CONDITIONS, *VISITORS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(CONDITIONS)}"
        raise fault(place, f"no condition {name!r}: {hint}")
    tidied = [value.strip() for value in values]
    if not tidied or "" in tidied:
        raise fault(place, f"condition {name!r} has an empty value")
    if len(tidied) > MAX_VALUES:
        raise fault(place, f"{name} has {len(tidied)} values: {MAX_VALUES} is the most")
    return Test(name, tuple(_value(name, value, place, len(tidied)) for value in tidied))


def _value(name: str, value: str, place: str, count: int) -> str:
    barred, bare = value.startswith("!"), value.removeprefix("!").strip()
    wrong = _fault(name, bare, barred=barred, count=count)
    if wrong:
        raise fault(place, f"{name} {value!r} {wrong}")
    return ("!" if barred else "") + _tidy(name, bare)


def _fault(name: str, value: str, *, barred: bool, count: int) -> str:
    if not value:
        return "is empty"
    if name in {"percent", "visitor"} and barred:
        return f"takes no !: write not {name}={value}"
    check = _CHECKS.get(name)
    if check is not None:
        return check(value, count)
    if len(value) > LONGEST_PATTERN:
        return f"is longer than {LONGEST_PATTERN} characters"
    return f"has more than {MOST_STARS} stars" if value.count("*") > MOST_STARS else ""


def _country_fault(value: str, _count: int) -> str:
    return "" if re.fullmatch(r"[A-Za-z]{2}", value) else "is not a two-letter country code such as DE"


def _one_of(*values: str) -> Callable[[str, int], str]:
    return lambda value, _count: "" if value.lower() in values else f"is none of {', '.join(values)}"


def _percent_fault(value: str, count: int) -> str:
    if count > 1:
        return "stands beside another: a rule takes one part of the traffic, e.g. percent=20"
    return "" if percent_part(value) else "is no part of the traffic: write a number above 0 and below 100"


def _ip_fault(value: str, _count: int) -> str:
    try:
        address_span(value)
    except ValueError:
        return "is no address or network such as 203.0.113.7, 203.0.113.0/24, 2001:db8::/32 or 10.0.0.1-10.0.0.9"
    return ""


_CHECKS: dict[str, Callable[[str, int], str]] = {
    "country": _country_fault, "device": _one_of(*DEVICES), "visitor": _one_of(*VISITORS), "percent": _percent_fault,
    "ip": _ip_fault, "search": _one_of(ANY, *ENGINES),
    "hours": lambda value, _count: "" if hours_span(value) else "is not a span such as 9-18 or 22:30-6",
    "weekdays": lambda value, _count: "" if weekday_set(value) else "is not a day such as mon, or a span as mon-fri",
}  # fmt: skip


def _tidy(name: str, value: str) -> str:
    if name == "country":
        return value.upper()
    if name == "percent":
        whole, part = divmod(percent_part(value), 10_000)
        return f"{whole}.{part:04}".rstrip("0").rstrip(".")
    if name == "referrer":
        return re.sub(r"^(?:https?://)?(?:www\.)?", "", value.lower()) or value
    return value if name in SUBS else value.lower()


def percent_part(text: str) -> int:
    """A percentage above 0 and below 100, in ten-thousandths of a per cent; 0 for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    return int(match[1]) * 10_000 + int((match[2] or "0").ljust(4, "0")) if match else 0


def hours_span(text: str) -> tuple[int, int] | None:
    """Minutes of the day from and to; `9` is the hour from 9 to 10."""
    first, dash, last = text.partition("-")
    start, end = _minute(first), _minute(last) if dash else None
    if start is None or (dash and end is None):
        return None
    return start, start + 60 if end is None else end


def _minute(text: str) -> int | None:
    match = _CLOCK.fullmatch(text.strip())
    if not match or int(match[1]) > 24 or int(match[2] or 0) > 59:
        return None
    return int(match[1]) * 60 + int(match[2] or 0)


def weekday_set(text: str) -> frozenset[int] | None:
    """Weekdays of `mon`, `1` (Monday) or a span of them, over the weekend too."""
    first, dash, last = text.partition("-")
    start, end = _weekday(first), _weekday(last if dash else first)
    if start is None or end is None:
        return None
    return frozenset((start + n) % 7 for n in range((end - start) % 7 + 1))


def _weekday(text: str) -> int | None:
    word = text.strip().lower()
    if word in {"1", "2", "3", "4", "5", "6", "7"}:
        return int(word) - 1
    return WEEKDAYS.index(word[:3]) if word[:3] in WEEKDAYS else None


def address_span(text: str) -> tuple[int, int]:
    """The first and last address of an address, a network or a span, as numbers. Raises ValueError."""
    first, dash, last = text.partition("-")
    if dash:
        span = address_number(first.strip()), address_number(last.strip())
        if min(span) < 0 or span[0] > span[1] or (span[0] < 1 << 32) != (span[1] < 1 << 32):
            raise ValueError(text)
        return span
    network = ip_network(text, strict=False)
    offset = 0 if network.version == 4 else 1 << 32
    return int(network[0]) + offset, int(network[-1]) + offset


def address_number(address: str) -> int:
    """An address as a number, that of IPv6 from 2³² on; -1 for what is none."""
    try:
        return int.from_bytes(inet_pton(AF_INET, address), "big")
    except (OSError, ValueError):
        pass  # no plain IPv4 address, which most are
    try:
        parsed = ip_address(address)
    except ValueError:
        return -1
    mapped = getattr(parsed, "ipv4_mapped", None)
    return int(mapped or parsed) + (0 if parsed.version == 4 or mapped else 1 << 32)


def is_pattern(value: str) -> bool:
    """Whether a value has stars or question marks; `\\*` and `\\?` stand for themselves in it."""
    return "*" in value or "?" in value


def beginning(value: str) -> str:
    """What every text that a pattern matches begins with, as far as that is plain."""
    return re.split(r"[*?\\\\]", value, maxsplit=1)[0]


def pattern(values: Iterable[str]) -> Callable[[str], Any] | None:
    """One matcher of all patterns among the values; None without any.

    Each star becomes an atomic group: what it has taken is not tried again, so that a text costs its length times the
    patterns' at most.
    """
    expressions = [_expression(value) for value in values if is_pattern(value)]
    return re.compile("|".join(expressions), re.DOTALL).fullmatch if expressions else None


def _expression(value: str) -> str:
    parts = [""]
    for escaped, sign, text in re.findall(r"\\([*?\\])|([*?])|(.)", value, re.DOTALL):
        if sign == "*":
            parts.append("")
        else:
            parts[-1] += "." if sign else re.escape(escaped or text)
    first, *middle = parts
    if not middle:
        return f"(?:{first})"
    *between, last = middle
    stars = "".join(f"(?>.*?{part})" for part in between if part)
    return f"(?:{first}{stars}.*{last})"
