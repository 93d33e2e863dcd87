"""Rotation rules as people write them: `country=DE,AT -> lucky-star; device=mobile os=iOS -> wild:2,gold:1`.

Conditions of a rule are joined by spaces, commas, `and` or `&`; values and names with other signs stand in quotes;
`always` has no condition. What is written from stored rules reads back as the same rules.
"""

import re
from typing import Any

from storage.ledger.errors import Refused

EXAMPLE = "country=DE,AT -> lucky-star; device=mobile -> wild:2,gold:1"
ALWAYS = "always"
_QUOTED = r'"(?:\\.|[^"\\])*"'
_VALUE = rf'(?:{_QUOTED}|[^\s,;&="]++(?!\s*=))'
_RULES = re.compile(rf'(?:{_QUOTED}|[^;\n"])+')
_ARROW = re.compile(rf"((?:{_QUOTED}|(?!->|→|=>)[^\"])*)(?:->|→|=>)(.*)", re.DOTALL)
_CONDITION = re.compile(rf"\s*(?:and\b\s*|&\s*|,\s*)?([A-Za-z]\w*)\s*=\s*({_VALUE}(?:\s*,\s*{_VALUE})*)", re.IGNORECASE)
_OFFER = re.compile(rf'\s*({_QUOTED}|[^\s,:;"][^,:;"]*?)\s*(?::\s*(\d+))?\s*(?:,|$)')
_BARE = re.compile(r"!?[\w.:/+*-]+")


def read_words(text: str) -> list[dict[str, Any]]:
    """Rules as JSON would have them, not yet checked. Raises Refused at `rules`."""
    return [_rule(part) for part in _RULES.findall(text) if part.strip()]


def _rule(text: str) -> dict[str, Any]:
    match = _ARROW.fullmatch(text.strip())
    if match is None:
        raise _unreadable(text)
    return {"if": _conditions(match[1].strip()), "offers": _offers(match[2].strip())}


def _conditions(text: str) -> dict[str, list[str]]:
    conditions: dict[str, list[str]] = {}
    at = len(text) if text.lower() in {ALWAYS, "else", "all"} else 0
    while at < len(text):
        match = _CONDITION.match(text, at)
        if match is None or match[1].lower() in conditions:
            raise _unreadable(text)
        conditions[match[1].lower()] = [_bare(value) for value in re.findall(_VALUE, match[2])]
        at = match.end()
    return conditions


def _offers(text: str) -> list[dict[str, Any]]:
    offers = []
    at = 0
    while at < len(text):
        match = _OFFER.match(text, at)
        if match is None:
            raise _unreadable(text)
        offers.append({"offer": _bare(match[1]), "weight": match[2] or 1})
        at = match.end()
    return offers


def _bare(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value


def _unreadable(text: str) -> Refused:
    return Refused(f"rules: {text.strip()[:100]!r} cannot be read: write {EXAMPLE}", field="rules")


def in_words(rules: list[dict[str, Any]]) -> str:
    """Stored rules as one writes them."""
    return "; ".join(f"{_conditions_in_words(rule['if'])} -> {_offers_in_words(rule['offers'])}" for rule in rules)


def _conditions_in_words(conditions: dict[str, list[str]]) -> str:
    return " ".join(f"{name}={','.join(map(_quoted, values))}" for name, values in conditions.items()) or ALWAYS


def _offers_in_words(shares: list[dict[str, Any]]) -> str:
    alone = len(shares) == 1 and shares[0]["weight"] == 1
    return ",".join(_quoted(s["offer"]) + ("" if alone else f":{s['weight']}") for s in shares)


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value) and value.isascii():
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
