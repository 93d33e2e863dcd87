"""Alert rules: read from words, put back into words, judged against figures. Pure."""

import difflib
import re
from typing import Literal

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.numbers import read_amount, read_count, read_float

Baseline = Literal["", "7d", "30d", "weekday"]

#: Measures by the words people use; the first word of each is the measure's own name.
MEASURES: dict[str, tuple[str, ...]] = {
    "clicks": ("click",),
    "unique_clicks": ("uniques", "unique"),
    "bot_clicks": ("bots",),
    "registrations": ("regs", "reg", "registration", "signups", "leads"),
    "first_deposits": ("ftd", "ftds", "first_deposit"),
    "deposits": ("deposit", "deps"),
    "deposit_amount": ("deposited",),
    "commission": ("revenue", "earnings", "income"),
    "ngr": (),
    "spend": ("cost", "costs"),
    "profit": (),
    "roi": (),
    "cr": (),
    "reg2dep": ("r2d",),
    "epc": (),
    "cpa": (),
}
MONEY = frozenset({"deposit_amount", "commission", "ngr", "spend", "profit", "epc", "cpa"})
_MONEY_KINDS = frozenset({"spend without registrations", "high-value ftd"})
RATIOS = frozenset({"roi", "cr", "reg2dep"})  # in percent
LIVE = frozenset({"clicks", "unique_clicks", "bot_clicks", "registrations", "first_deposits", "deposits"})
"""Measures counted as they happen, so that a part of a day can be judged."""

TITLES = {"first_deposits": "FTD", "ngr": "NGR", "roi": "ROI", "cr": "CR", "epc": "EPC", "cpa": "CPA"}

#: Kinds that are conditions: they fire, last, and resolve. The other kinds are events, each reported once.
CONDITIONS = ("figure", "no clicks", "postback failures", "sync failed", "sync stale", "suspect", "discrepancy", "cap",
              "spend without registrations", "domain down", "domain expiring", "dead offer link")  # fmt: skip


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to raise an alert.

    For `figure`: `measure` below (or above) `limit`, or below `limit` percent of the `baseline`; money in whole units,
    ratios in percent. Other kinds use `limit` (percent, amount) and `minutes`. `window` is `today`, `yesterday`, or a
    length such as 90m, 6h, 7d. `for_minutes`: how long it must last before it is told.
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
_NUMBER = rf"{_WRITTEN}\s*(?P<percent>%|percent\b)?"
_FIGURE = re.compile(
    rf"(?P<measure>[a-z][a-z0-9 _-]*?)\s*(?P<op><=|>=|<|>|\bbelow\b|\bunder\b|\babove\b|\bover\b)\s*{_NUMBER}"
    r"(?:\s+of\s+(?:the\s+|its\s+)?(?P<base>7d|7-day|7 day|30d|30-day|30 day|(?:same[- ])?weekday)"
    r"\s*(?:avg|average|mean)?)?"
    r"(?:\s+in\s+(?:the\s+)?(?:last\s+)?(?P<window>today|yesterday|\d+\s*[mhd][a-z]*|hour|day|week))?"
    r"(?:\s+for\s+(?P<lasting>\d+\s*[mhd][a-z]*))?",
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
_EXAMPLES = 'write e.g. "ftd < 50% of 7d avg", "clicks < 100 in 1h", "no clicks for 30m" or "sync failed"'


def read_rule(text: str, currency: str = "") -> Rule:
    """A rule from words; an amount may have `currency`, that of the reports, beside it.

    Raises Refused at `rule`, with the nearest measure or examples.
    """
    words = " ".join(text.lower().split())
    for kind, form, limit, minutes in _KINDS:
        if match := form.fullmatch(words):
            return _kind(kind, match, limit, minutes, currency)
    match = _FIGURE.fullmatch(words)
    if match is None:
        raise Refused(f"rule: {text!r} cannot be read: {_EXAMPLES}", field="rule")
    return _figure(match, currency)


def _kind(kind: str, match: re.Match[str], limit: float, minutes: int, currency: str) -> Rule:
    groups = match.groupdict()
    own = currency if kind in _MONEY_KINDS else ""
    return Rule(
        kind=kind, limit=read_limit(groups["number"], own) if groups.get("number") else limit,
        minutes=read_minutes(groups["length"]) if groups.get("length") else minutes,
    )  # fmt: skip


def _figure(match: re.Match[str], currency: str) -> Rule:
    measure = _measure(match["measure"])
    if match["base"] and not match["percent"]:
        raise Refused('rule: against an average write a percentage: "ftd < 50% of 7d avg"', field="rule")
    if match["percent"] and not match["base"] and measure not in RATIOS:
        raise Refused(f'rule: percent of what? write "{match["measure"]} < 50% of 7d avg"', field="rule")
    base: Baseline = "" if not match["base"] else _BASES[match["base"][:2]]
    window = {"hour": "1h", "day": "24h", "week": "7d", None: "today"}.get(match["window"], match["window"] or "today")
    count = measure in LIVE and not match["percent"]
    own = currency if measure in MONEY and not match["percent"] else ""
    return Rule(
        kind="figure", measure=measure, below=match["op"] in {"<", "<=", "below", "under"},
        limit=read_limit(match["number"], own, count=count), baseline=base, window=_window(window, measure),
        for_minutes=read_minutes(match["lasting"]) if match["lasting"] else 0,
    )  # fmt: skip


_BASES: dict[str, Baseline] = {"7d": "7d", "7-": "7d", "7 ": "7d", "30": "30d", "sa": "weekday", "we": "weekday"}


def _measure(word: str) -> str:
    plain = word.strip().replace(" ", "_").replace("-", "_")
    for name, others in MEASURES.items():
        if plain == name or plain in others:
            return name
    names = [word for name, others in MEASURES.items() for word in (name, *others)]
    near = difflib.get_close_matches(plain, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(MEASURES)}"
    raise Refused(f"rule: no measure {word.strip()!r}: {hint}", field="rule")


def _window(text: str, measure: str) -> str:
    if text in {"today", "yesterday"}:
        return text
    minutes = read_minutes(text)
    if minutes % 1440 == 0 and not text.strip().endswith("h"):
        return f"{minutes // 1440}d"
    if measure not in LIVE:
        raise Refused(f"rule: {measure} is known by day only: write in today, yesterday or 7d", field="rule")
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def read_minutes(text: str, field: str = "rule") -> int:
    """30m, 2h, 1d as minutes. Raises Refused."""
    match = re.fullmatch(r"(\d{1,6})\s*(m|min|mins|minutes?|h|hours?|d|days?)", text.strip().lower())
    minutes = int(match[1]) * {"m": 1, "h": 60, "d": 1440}[match[2][0]] if match else 0
    if not 0 < minutes <= 366 * 1440:
        raise Refused(f"{field}: {text!r} is not a length of time: write 30m, 2h or 1d", field=field)
    return minutes


def read_limit(text: str, own: str = "", *, count: bool = False) -> float:
    """The number of a rule; an amount may have its `own` currency beside it. Raises Refused.

    In one of counts a lone separator before three digits parts thousands.
    """
    try:
        amount = read_amount(text, own=own)
        if amount is not None and own and amount.currency == own:
            return read_float(amount.value)
        if amount is not None and own and amount.currency:
            raise ValueError(f"{text!r} is in {amount.currency}, and reports are in {own}")
        return (read_count(text) or 0) if count and _is_whole(text) else read_float(text)
    except ValueError as error:
        raise Refused(f"rule: {error}: {_EXAMPLES}", field="rule") from None


def _is_whole(text: str) -> bool:
    """Whether the text is a count as counts are written, such as 1.000."""
    try:
        return read_count(text) is not None
    except ValueError:
        return False


def length(minutes: int) -> str:
    """30m, 2h, 3d."""
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def title(measure: str) -> str:
    return TITLES.get(measure, measure.replace("_", " "))


def describe(rule: Rule) -> str:
    """The rule in its own words; reading them gives the rule again."""
    if rule.kind != "figure":
        return _describe_kind(rule)
    number = f"{rule.limit:,.10g}".replace(",", "")
    sign = "<" if rule.below else ">"
    against = f"% of {rule.baseline} avg" if rule.baseline else "%" if rule.measure in RATIOS else ""
    window = "" if rule.window == "today" else f" in {rule.window}"
    lasting = f" for {length(rule.for_minutes)}" if rule.for_minutes else ""
    word = "ftd" if rule.measure == "first_deposits" else rule.measure
    return f"{word} {sign} {number}{against}{window}{lasting}"


def _describe_kind(rule: Rule) -> str:
    number = f"{rule.limit:.10g}"
    match rule.kind:
        case "no clicks" | "sync stale":
            return f"{rule.kind} for {length(rule.minutes)}"
        case "domain expiring":
            return f"{rule.kind} in {length(rule.minutes)}"
        case "postback failures":
            return f"{rule.kind} > {number}% in {length(rule.minutes)}"
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
