"""Rotation rules of a campaign: read from JSON or words with every fault named, stored as JSON.

A rule is `{"if": {"country": ["DE", "AT"], "hours": "9-18"}, "offers": ["lucky-star:3", "royal"]}`; what may stand
after `if` is said in storage.ledger.clicks.conditions. Hours and weekdays are the report time zone's.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from storage.ledger.clicks.compiled_conditions import Matches, compiled
from storage.ledger.clicks.conditions import (
    CONDITIONS,
    DEVICES,
    All,
    AnyOf,
    Node,
    Not,
    Test,
    Visitor,
    check_size,
    from_json,
    to_json,
)
from storage.ledger.clicks.rules_in_words import condition_in_words, read_words
from storage.ledger.errors import Refused
from storage.ledger.schedule import WEEKDAYS

__all__ = [
    "CONDITIONS", "DEVICES", "MAX_WEIGHT", "WEEKDAYS", "Share", "Visitor", "condition", "node_of", "read_rules",
    "read_share", "spoken",
]  # fmt: skip

MAX_WEIGHT = 1_000_000
_IF = ("if", "when", "match")
_THEN = ("offers", "offer", "then")


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
    if isinstance(condition, Test | Not | All | AnyOf):
        node: Node = condition  # read from words
    else:
        node = check_size(from_json(condition, f"rule {number}, if"), f"rule {number}")
    return {"if": to_json(node), "offers": _offers(then, number, codes)}


def _offers(then: Any, number: int, codes: Mapping[str, str]) -> list[dict[str, Any]]:
    targets = then if isinstance(then, list | tuple) else [] if then is None else [then]
    if not targets:
        raise _refused(f"rule {number} names no offers")
    shares = [read_share(target, codes) for target in targets]
    if not any(share.weight for share in shares):
        raise _refused(f"rule {number}: every weight is 0")
    return [{"offer": share.offer, "weight": share.weight} for share in shares]


def read_share(target: Any, codes: Mapping[str, str]) -> Share:
    """`code`, `code:weight` or `{"offer": code, "weight": n}`. Raises Refused at `rules`."""
    if isinstance(target, dict):
        code, weight = str(target.get("offer", "")), target.get("weight", 1)
    else:
        code, _, text = str(target).strip().partition(":")
        weight = text or 1
    code = code.strip().lower()
    if not re.fullmatch(r"\d{1,7}", str(weight)) or int(weight) > MAX_WEIGHT:
        raise Refused(f"{code}: weight {weight!r} is not a whole number from 0 to {MAX_WEIGHT:,}", field="rules")
    if code not in codes:
        valid = sorted(set(codes.values()))
        near = difflib.get_close_matches(code, valid, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(valid) or 'none'}"
        raise Refused(f"no offer {code!r}: {hint}", field="rules")
    return Share(codes[code], int(weight))


def node_of(rule: dict[str, Any]) -> Node:
    """The condition of a stored rule."""
    return from_json(rule["if"], "rules")


def condition(conditions: dict[str, Any]) -> Matches:
    """A stored rule's condition as a function of a visitor."""
    return compiled(from_json(conditions, "rules"))


def spoken(rule: dict[str, Any]) -> str:
    """A stored rule as people read it: `country=DE,AT and hours=9-18 → lucky-star:3, royal`."""
    conditions = condition_in_words(node_of(rule))
    offers = ", ".join(f"{s['offer']}:{s['weight']}" if s["weight"] != 1 else s["offer"] for s in rule["offers"])
    return f"{conditions} → {offers}"
