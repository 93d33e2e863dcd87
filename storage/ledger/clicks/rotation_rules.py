"""Rotation rules of a campaign: read from JSON with every fault named, turned into conditions on a visitor.

A rule is `{"if": {"country": ["DE", "AT"], "hours": "9-18"}, "offers": ["lucky-star:3", "royal"]}`. All conditions of a
rule must hold; a condition holds if any of its values does; a value after `!` must not be. Hours and weekdays are the
report time zone's.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from storage.ledger.clicks.rules_in_words import read_words
from storage.ledger.errors import Refused

SUBS = tuple(f"sub{n}" for n in range(1, 11))
CONDITIONS = ("country", "device", "os", "browser", "language", "source", *SUBS, "hours", "weekdays")
DEVICES = ("desktop", "mobile", "tablet", "bot", "other")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WEIGHT = 1_000_000
_IF = ("if", "when", "match")
_THEN = ("offers", "offer", "then")
_ALIASES = {"countries": "country", "geo": "country", "devices": "device", "languages": "language", "lang": "language",
            "sources": "source", "hour": "hours", "time": "hours", "weekday": "weekdays",
            "days": "weekdays"}  # fmt: skip
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?")


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """What rules can ask of a visitor. `minute` is the minute of the report day, `weekday` 0 for Monday."""

    country: str = ""
    device: str = ""
    os: str = ""
    browser: str = ""
    language: str = ""
    source: str = ""
    subs: tuple[str | None, ...] = ()
    minute: int = 0
    weekday: int = 0


class Share(msgspec.Struct, frozen=True):
    """An offer by its code and its weight, as a rule has it."""

    offer: str
    weight: int = 1


def read_rules(raw: Any, offers: Iterable[str] | Mapping[str, str]) -> list[dict[str, Any]]:
    """Rules as people or programs write them, checked, in the form that is stored (JSON). Raises Refused at `rules`.

    Takes a list of rules, one rule, or JSON text of either. Offers are `code`, `code:weight` or
    `{"offer": code, "weight": 3}`; `offers` are the codes there are, or codes by the words that stand for them.
    """
    if raw is None or raw == "" or raw == []:
        return []
    if isinstance(raw, str):
        raw = _json(raw) if raw.lstrip()[:1] in {"[", "{"} else read_words(raw)
    codes = offers if isinstance(offers, Mapping) else {code: code for code in offers}
    rules = [raw] if isinstance(raw, dict) else raw
    if not isinstance(rules, list | tuple):
        raise _refused('rules are a list: [{"if": {"country": ["DE"]}, "offers": ["code:2"]}]')
    return [_rule(rule, n, codes) for n, rule in enumerate(rules, 1)]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise _refused(f"rules are not JSON ({error})") from None


def _refused(text: str) -> Refused:
    return Refused(text, field="rules")


def _rule(rule: Any, number: int, codes: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(rule, dict):
        raise _refused(f'rule {number} is not {{"if": …, "offers": …}}')
    then = next((rule[word] for word in _THEN if word in rule), None)
    condition = next((rule[word] for word in _IF if word in rule), None)
    if condition is None:
        condition = {name: value for name, value in rule.items() if name not in _THEN}
    if not isinstance(condition, dict):
        raise _refused(f'rule {number}: "if" holds conditions: {{"country": ["DE"]}}')
    conditions = dict(_condition(str(name), value, number) for name, value in condition.items())
    return {"if": conditions, "offers": _offers(then, number, codes)}


def _offers(then: Any, number: int, codes: Mapping[str, str]) -> list[dict[str, Any]]:
    targets = then if isinstance(then, list | tuple) else [] if then is None else [then]
    if not targets:
        raise _refused(f"rule {number} names no offers")
    shares = [read_share(target, codes) for target in targets]
    if not any(share.weight for share in shares):
        raise _refused(f"rule {number}: every weight is 0")
    return [{"offer": share.offer, "weight": share.weight} for share in shares]


def read_share(target: Any, codes: Mapping[str, str] | None = None, *, field: str = "rules") -> Share:
    """`code`, `code:weight` or `{"offer": code, "weight": n}`. Raises Refused at `field`."""
    if isinstance(target, dict):
        code, weight = str(target.get("offer", "")), target.get("weight", 1)
    else:
        code, _, text = str(target).strip().partition(":")
        weight = text or 1
    code = code.strip().lower()
    if not re.fullmatch(r"\d{1,7}", str(weight)) or int(weight) > MAX_WEIGHT:
        raise Refused(f"{code}: weight {weight!r} is not a whole number from 0 to {MAX_WEIGHT:,}", field=field)
    if codes is None:
        return Share(code, int(weight))
    if code not in codes:
        valid = sorted(set(codes.values()))
        near = difflib.get_close_matches(code, valid, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(valid) or 'none'}"
        raise Refused(f"no offer {code!r}: {hint}", field=field)
    return Share(codes[code], int(weight))


def _condition(name: str, value: Any, number: int) -> tuple[str, list[str]]:
    name = _ALIASES.get(name.strip().lower(), name.strip().lower())
    if name not in CONDITIONS:
        near = difflib.get_close_matches(name, CONDITIONS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(CONDITIONS)}"
        raise _refused(f"rule {number}: no condition {name!r}: {hint}")
    values = [str(part).strip() for part in (value if isinstance(value, list | tuple) else str(value).split(","))]
    if not values or "" in values:
        raise _refused(f"rule {number}: condition {name!r} has an empty value")
    for part in values:
        fault = _fault(name, part.removeprefix("!"))
        if fault:
            raise _refused(f"rule {number}: {name} {part!r} {fault}")
    return name, [_tidy(name, value) for value in values]


def _fault(name: str, value: str) -> str:
    if name == "country" and not re.fullmatch(r"[A-Za-z]{2}", value):
        return "is not a two-letter country code such as DE"
    if name == "device" and value.lower() not in DEVICES:
        return f"is none of {', '.join(DEVICES)}"
    if name == "hours" and _hours(value) is None:
        return "is not a span such as 9-18 or 22:30-6"
    if name == "weekdays" and _days(value) is None:
        return "is not a day such as mon, or a span such as mon-fri"
    return ""


def _tidy(name: str, value: str) -> str:
    if name == "country":
        return value.upper()
    return value if name in SUBS else value.lower()


def _hours(text: str) -> tuple[int, int] | None:
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


def _days(text: str) -> frozenset[int] | None:
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


Test = Callable[[Visitor], bool]


def condition(conditions: dict[str, list[str]]) -> Test:
    """One test out of a stored rule's conditions."""
    tests = tuple(_test(name, values) for name, values in conditions.items())
    return tests[0] if len(tests) == 1 else lambda visitor: all(test(visitor) for test in tests)


def _test(name: str, values: list[str]) -> Test:
    allowed = [value for value in values if not value.startswith("!")]
    barred = [value[1:] for value in values if value.startswith("!")]
    if not barred:
        return _any(name, allowed)
    outside = _any(name, barred)
    if not allowed:
        return lambda visitor: not outside(visitor)
    inside = _any(name, allowed)
    return lambda visitor: inside(visitor) and not outside(visitor)


def _any(name: str, values: list[str]) -> Test:
    if name == "hours":
        spans = tuple(span for value in values if (span := _hours(value)))
        return lambda visitor: any(_within(visitor.minute, *span) for span in spans)
    if name == "weekdays":
        days = frozenset().union(*(_days(value) or frozenset() for value in values))
        return lambda visitor: visitor.weekday in days
    allowed_set = frozenset(values)
    if name in SUBS:
        at = int(name[3:]) - 1
        return lambda visitor: len(visitor.subs) > at and visitor.subs[at] in allowed_set
    if name == "country":
        return lambda visitor: visitor.country in allowed_set
    return lambda visitor: str(getattr(visitor, name)).lower() in allowed_set


def _within(minute: int, start: int, end: int) -> bool:
    return start <= minute < end if start < end else minute >= start or minute < end


def spoken(rule: dict[str, Any]) -> str:
    """A stored rule as people read it: `country DE, AT · hours 9-18 → lucky-star:3, royal`."""
    conditions = " · ".join(f"{name} {', '.join(values)}" for name, values in rule["if"].items()) or "everybody"
    offers = ", ".join(f"{s['offer']}:{s['weight']}" if s["weight"] != 1 else s["offer"] for s in rule["offers"])
    return f"{conditions} → {offers}"
