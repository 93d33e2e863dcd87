"""Rotation rules as people write them: `country=DE,AT and not device=mobile -> lucky-star; sub1=news-* -> wild:2`.

Conditions are joined by `and` (a space, a comma or `&` do as well) and `or`, and grouped by brackets; `not` negates the
one that follows. Values with other signs stand in quotes, `*` and `?` in a value make it a pattern; `always` has no
condition. What is written from stored rules reads back as the same rules.
"""

import re
from typing import Any, NamedTuple

from storage.ledger.clicks.conditions import (
    ALIASES,
    CONDITIONS,
    VISITORS,
    All,
    AnyOf,
    Node,
    Not,
    Test,
    all_of,
    any_of,
    check_size,
    fault,
    from_json,
    negated,
    test,
)
from storage.ledger.errors import Refused

EXAMPLE = "country=DE,AT and not device=mobile -> lucky-star; sub1=news-* -> wild:2,gold:1"
ALWAYS = "always"
_JOINING = frozenset({"and", "or", "not"})
_QUOTED = r'"(?:\\.|[^"\\])*"'
_RULES = re.compile(rf'(?:{_QUOTED}|[^;\n"])+')
_ARROW = re.compile(rf"((?:{_QUOTED}|(?!->|→|=>)[^\"])*)(?:->|→|=>)(.*)", re.DOTALL)
_TOKEN = re.compile(rf'({_QUOTED})|(!=|=|,|&|\||\(|\))|((?:(?!!=)[^\s,;&|="()])+)', re.DOTALL)
_OFFER = re.compile(rf'\s*({_QUOTED}|[^\s,:;"][^,:;"]*?)\s*(?::\s*(\d+))?\s*(?:,|$)')
_BARE = re.compile(r"!?[\w.:/+*?%-]+")


class Token(NamedTuple):
    """A word, a value in quotes or a sign, and where it stands in the text (from 1)."""

    text: str
    at: int
    quoted: bool
    sign: bool

    @property
    def word(self) -> str:
        """A bare word in lower case; empty for anything else."""
        return "" if self.quoted or self.sign else self.text.lower()


def read_words(text: str) -> list[dict[str, Any]]:
    """Rules with their conditions as nodes and their offers not yet checked. Raises Refused at `rules`, naming the
    position."""
    rules = [_rule(match[0], match.start(), text) for match in _RULES.finditer(text) if match[0].strip()]
    covered = sum(len(match[0]) for match in _RULES.finditer(text))
    if not rules or covered < len(re.sub(r"[;\n]", "", text)):
        raise _unreadable(text)
    return rules


def read_condition(text: str, number: int) -> Node:
    """The condition of one rule, as one writes it; `number` is the rule's. Raises Refused at `rules`, naming the
    position in the condition."""
    return _condition(text, 0, number)


def _rule(text: str, start: int, whole: str) -> dict[str, Any]:
    match = _ARROW.fullmatch(text)
    if match is None or not match[2].strip():
        raise _unreadable(text, start)
    number = len([part for part in _RULES.findall(whole[:start]) if part.strip()]) + 1
    return {"if": _condition(match[1], start, number), "offers": _offers(match[2], start + match.start(2))}


def _condition(text: str, start: int, number: int) -> Node:
    if text.strip().lower() in {ALWAYS, "else", "all", ""}:
        return All()
    parser = _Parser(_tokens(text, start), number, start + len(text.rstrip()) + 1)
    node = parser.alternatives()
    if parser.next is not None:
        raise parser.fault(f"{parser.next.text!r} is one too many: join conditions with and, or")
    return check_size(node, f"rule {number}")


def _tokens(text: str, start: int) -> list[Token]:
    tokens, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, start + at)
        bare = _bare(match[0]) if match[1] else match[0]
        tokens.append(Token(bare, start + at + 1, bool(match[1]), bool(match[2])))
        at = match.end()
    return tokens


class _Parser:
    """alternatives := joined ("or" joined)* · joined := negation ("and"? negation)* · negation := "not" negation |
    "(" alternatives ")" | name "=" values | name "!=" values | unique | returning | bot | person"""

    def __init__(self, tokens: list[Token], number: int, end: int) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self._number = number
        self._end = end

    @property
    def next(self) -> Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def fault(self, text: str, token: Token | None = None) -> Refused:
        token = token or self.next
        return fault(f"rules: rule {self._number}, character {token.at if token else self._end}", text)

    def _take(self, *texts: str) -> bool:
        token = self.next
        if token is not None and not token.quoted and token.text.lower() in texts:
            self._place += 1
            return True
        return False

    def alternatives(self) -> Node:
        parts = [self._joined()]
        while self._take("or", "|"):
            parts.append(self._joined())
        return any_of(parts)

    def _joined(self) -> Node:
        start = self.next
        parts = [self._negation()]
        while self._take("and", "&", ",") or self._begins_condition():
            parts.append(self._negation())
        return all_of(parts, f"rules: rule {self._number}, character {start.at if start else self._end}")

    def _begins_condition(self) -> bool:
        token = self.next
        return token is not None and (token.text == "(" or (bool(token.word) and token.word != "or"))

    def _negation(self) -> Node:
        if self._take("not", "!"):
            return negated(self._negation())
        if self._take("("):
            self._depth += 1
            if self._depth > 50:
                raise self.fault("brackets are nested too deep")
            node = self.alternatives()
            if not self._take(")"):
                raise self.fault("a bracket is not closed: write ) here")
            self._depth -= 1
            return node
        return self._test()

    def _test(self) -> Node:
        token = self.next
        if token is None or not token.word or token.word in _JOINING:
            shown = repr(token.text) if token else "the end"
            raise self.fault(f"a condition is missing before {shown}: write e.g. country=DE")
        self._place += 1
        differs = self._take("!=")
        if differs or self._take("="):
            place = f"rules: rule {self._number}, character {token.at}"
            node = test(token.text, self._values(token), place)
            return Not(node) if differs else node
        if token.word in VISITORS:
            return Test("visitor", (token.word,))
        known = token.word in CONDITIONS or token.word in ALIASES
        hint = f"{token.word}=…" if known else "name=value, unique, returning, bot or person"
        raise self.fault(f"{token.text!r} is no condition: write {hint}", token)

    def _values(self, name: Token) -> list[str]:
        token = self.next
        if token is None or token.sign:
            raise self.fault(f"a value is missing after {name.text}=")
        self._place += 1
        values = [token.text]
        while (token := self._another_value()) is not None:
            self._place += 2
            values.append(token.text)
        return values

    def _another_value(self) -> Token | None:
        """The value after a comma; None where the comma joins another condition."""
        comma, value, after = (*self._tokens[self._place : self._place + 3], None, None, None)[:3]
        if comma is None or comma.text != "," or comma.quoted or value is None or value.sign:
            return None
        if value.word in _JOINING or (not value.quoted and after is not None and after.text in {"=", "!="}):
            return None
        return value


def _offers(text: str, start: int) -> list[dict[str, Any]]:
    offers = []
    at = 0
    while at < len(text):
        match = _OFFER.match(text, at)
        if match is None:
            raise _unreadable(text, start + at)
        offers.append({"offer": _bare(match[1]), "weight": match[2] or 1})
        at = match.end()
    return offers


def _bare(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value


def _unreadable(text: str, at: int = 0) -> Refused:
    shown = text.strip()[:100]
    return Refused(f"rules: rule {shown!r} (character {at + 1}) cannot be read: write {EXAMPLE}", field="rules")


def in_words(rules: list[dict[str, Any]], separator: str = "; ") -> str:
    """Stored rules as one writes them."""
    return separator.join(
        f"{condition_in_words(from_json(rule['if'], 'rules'))} -> {_offers_in_words(rule['offers'])}" for rule in rules
    )


def condition_in_words(node: Node) -> str:
    """A condition as one writes it; `always` for none."""
    if isinstance(node, Test):
        if node.name == "visitor" and len(node.values) == 1:
            return node.values[0]
        return f"{node.name}={','.join(map(_quoted, node.values))}"
    if isinstance(node, Not):
        return f"not {_grouped(node.of, All, AnyOf)}"
    if isinstance(node, AnyOf):
        return " or ".join(condition_in_words(part) for part in node.of)
    return " and ".join(_grouped(part, AnyOf) for part in node.of) or ALWAYS


def _grouped(node: Node, *kinds: type[Node]) -> str:
    text = condition_in_words(node)
    return f"({text})" if isinstance(node, kinds) else text


def _offers_in_words(shares: list[dict[str, Any]]) -> str:
    alone = len(shares) == 1 and shares[0]["weight"] == 1
    return ",".join(_quoted(s["offer"]) + ("" if alone else f":{s['weight']}") for s in shares)


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value) and value.isascii() and value.lower() not in _JOINING:
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
