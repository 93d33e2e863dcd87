"""Alert rules: read from words, put back into words, judged against figures. Pure."""

import re
from typing import Literal, cast

import msgspec

from storage.ledger.alerts.comparisons import (
    AVERAGES,
    EXAMPLES,
    Comparison,
    describe_comparison,
    read_comparison,
    read_limit,
)
from storage.ledger.errors import Refused
from storage.ledger.numbers import number_text
from storage.ledger.schedule import minutes_text, read_minutes

Baseline = Literal["", "7d", "30d", "weekday"]

_MONEY_KINDS = frozenset({"spend without registrations", "high-value ftd"})
LIVE = frozenset({"clicks", "unique_clicks", "bot_clicks", "registrations", "first_deposits", "deposits"})
"""Measures counted as they happen, so that a part of a day can be judged."""

#: Kinds that are conditions: they fire, last, and resolve. The other kinds are events, each reported once.
CONDITIONS = ("figure", "no clicks", "postback failures", "sync failed", "sync stale", "suspect", "discrepancy", "cap",
              "spend without registrations", "domain down", "domain expiring", "dead offer link")  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to raise an alert.

    For `figure`: `measure` below (or above) `limit`, or below `limit` percent of the `baseline`; money in whole units,
    ratios in percent. Other kinds use `limit` (percent, amount) and `minutes`. `window` is `today`, `yesterday`, or a
    length such as 90m, 6h, 7d. `for_minutes`: how long it must last before it is reported.
    """

    kind: str
    measure: str = ""
    below: bool = True
    limit: float = 0
    baseline: Baseline = ""
    window: str = "today"
    minutes: int = 0
    for_minutes: int = 0


_WRITTEN = (
    r"(?<![a-z])(?P<number>(?!(?:in|for|since)\b)[^\s<>=].*?)"  # whatever stands there: the reader of numbers judges
)
_LIMIT = rf"(?:\s*(?:>|over|above|at)?\s*{_WRITTEN}\s*(?P<percent>%|percent)?)?"
_LENGTH = r"(?:\s*(?:for|in|since)?\s*(?P<length>\d+\s*[mhd][a-z]*))?"
_KINDS: tuple[tuple[str, re.Pattern[str], float, int], ...] = (
    ("no clicks", re.compile(rf"no clicks?{_LENGTH}"), 0, 30),
    ("postback failures", re.compile(rf"postbacks? fail(?:ure|ures|ing|ed)?{_LIMIT}{_LENGTH}"), 10, 60),
    ("sync failed", re.compile(r"sync fail(?:ed|s|ure|ures|ing)?"), 0, 0),
    ("sync stale", re.compile(rf"(?:sync stale|stale sync|no figures){_LENGTH}"), 0, 36 * 60),
    ("suspect", re.compile(r"suspects?(?: (?:reports?|syncs?))?|held reports?"), 0, 0),
    ("discrepancy", re.compile(rf"discrepanc(?:y|ies){_LIMIT}"), 10, 0),
    ("restatement", re.compile(rf"(?:restatements?|restated){_LIMIT}"), 0, 0),
    ("vanished", re.compile(r"vanished(?: (?:ftds?|revenue))?"), 0, 0),
    ("cap", re.compile(rf"caps?{_LIMIT}"), 80, 0),
    ("spend without registrations", re.compile(rf"spend without (?:regs?|registrations?){_LIMIT}"), 0, 0),
    ("high-value ftd", re.compile(rf"(?:high[- ]value|big|large) (?:ftds?|deposits?){_LIMIT}"), 500, 0),
    ("ftd", re.compile(r"(?:every |each |instant |new )?(?:ftds?|first[ _-]deposits?)"), 0, 0),
    ("dead postback", re.compile(r"dead (?:postbacks?|letters?)"), 0, 0),
    ("domain down", re.compile(r"domains? down"), 0, 0),
    ("domain expiring", re.compile(rf"domains? expir(?:ing|es|y){_LENGTH}"), 0, 30 * 24 * 60),
    ("dead offer link", re.compile(r"dead (?:offer )?links?"), 0, 0),
)


def read_rule(text: str, currency: str = "") -> Rule:
    """A rule from words; an amount may have `currency`, that of the reports, beside it.

    Raises Refused at `rule`, with the nearest measure or examples.
    """
    words = " ".join(text.lower().split())
    for kind, form, limit, minutes in _KINDS:
        if match := form.fullmatch(words):
            return _kind(kind, match, limit, minutes, currency)
    comparison = read_comparison(words, currency)
    if comparison is None:
        raise Refused(f"rule: {text!r} cannot be read: {EXAMPLES}", field="rule")
    return _figure(comparison)


def _kind(kind: str, match: re.Match[str], limit: float, minutes: int, currency: str) -> Rule:
    groups = match.groupdict()
    own = currency if kind in _MONEY_KINDS else ""
    return Rule(
        kind=kind, limit=read_limit(groups["number"], own) if groups.get("number") else limit,
        minutes=read_minutes(groups["length"]) if groups.get("length") else minutes,
    )  # fmt: skip


def _figure(comparison: Comparison) -> Rule:
    """A rule of a comparison that an alert can watch."""
    base, window = comparison.baseline, comparison.window or "today"
    if base and base not in AVERAGES:
        raise Refused(f"rule: an alert compares with a number or an average, not with {base}", field="rule")
    if comparison.sign in {"=", "!="}:
        raise Refused("rule: an alert compares with < or >", field="rule")
    if window == "start":
        raise Refused("rule: an alert has a window of days or hours, such as in 7d", field="rule")
    if window[-1] in "mh" and comparison.measure not in LIVE:
        raise Refused(f"rule: {comparison.measure} is known by day only: write in today, yesterday or 7d", field="rule")
    return Rule(
        kind="figure", measure=comparison.measure, below=comparison.sign.startswith("<"), limit=comparison.limit,
        baseline=cast(Baseline, base), window=window, for_minutes=comparison.for_minutes,
    )  # fmt: skip


def describe(rule: Rule) -> str:
    """The rule in its own words; reading them gives the rule again."""
    if rule.kind != "figure":
        return _describe_kind(rule)
    comparison = Comparison(
        measure=rule.measure, sign="<" if rule.below else ">", limit=rule.limit, baseline=rule.baseline,
        window="" if rule.window == "today" else rule.window,
    )  # fmt: skip
    lasting = f" for {minutes_text(rule.for_minutes)}" if rule.for_minutes else ""
    return describe_comparison(comparison, preposition="in") + lasting


def _describe_kind(rule: Rule) -> str:
    number = number_text(rule.limit)
    match rule.kind:
        case "no clicks" | "sync stale":
            return f"{rule.kind} for {minutes_text(rule.minutes)}"
        case "domain expiring":
            return f"{rule.kind} in {minutes_text(rule.minutes)}"
        case "postback failures":
            return f"{rule.kind} > {number}% in {minutes_text(rule.minutes)}"
        case "discrepancy":
            return f"{rule.kind} > {number}%"
        case "cap":
            return f"{rule.kind} at {number}%"
        case "restatement":
            return f"{rule.kind} > {number}%" if rule.limit else rule.kind
        case "spend without registrations" | "high-value ftd":
            return f"{rule.kind} > {number}"
        case _:
            return rule.kind


HYSTERESIS = 0.1


def breached(rule: Rule, value: float, usual: float | None) -> bool | None:
    """Whether a figure breaks the rule; None while that cannot be said."""
    limit = _limit(rule, usual)
    if limit is None:
        return None
    return value < limit if rule.below else value > limit


def recovered(rule: Rule, value: float, usual: float | None) -> bool:
    """Whether a figure is back beyond the limit by a tenth of it, so that it does not flicker."""
    limit = _limit(rule, usual)
    if limit is None:
        return False
    margin = abs(limit) * HYSTERESIS
    return value >= limit + margin if rule.below else value <= limit - margin


def _limit(rule: Rule, usual: float | None) -> float | None:
    if not rule.baseline:
        return rule.limit
    return None if usual is None else rule.limit / 100 * usual
