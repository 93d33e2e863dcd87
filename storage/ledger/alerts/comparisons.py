"""One comparison of a rule: a measure over a window against a number, a share of what is usual, or another entity.

Alerts and automations read and write their comparisons here. Pure.
"""

import difflib
import re

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.numbers import number_text, read_amount, read_count, read_float
from storage.ledger.schedule import WEEKDAYS, minutes_text, read_minutes

#: Measures by the words people use; the first word of each is the measure's own name.
MEASURES: dict[str, tuple[str, ...]] = {
    "clicks": ("click",),
    "unique_clicks": ("uniques", "unique"),
    "bot_clicks": ("bots",),
    "site_visits": ("views", "site_visit"),
    "outgoing": ("outgoing_clicks",),
    "registrations": ("regs", "reg", "registration", "signups", "leads"),
    "first_deposits": ("ftd", "ftds", "first_deposit"),
    "deposits": ("deposit", "deps"),
    "qualified": ("qftd", "qftds"),
    "deposit_amount": ("deposited",),
    "commission": ("revenue", "earnings", "income"),
    "commission_cpa": ("cpa_commission",),
    "commission_revshare": ("revshare", "rev_share"),
    "commission_other": (),
    "ngr": (),
    "visits": ("platform_visits",),
    "spend": ("cost", "costs"),
    "profit": (),
    "roi": (),
    "roas": (),
    "cr": (),
    "ctr": (),
    "reg2dep": ("r2d",),
    "epc": (),
    "cpa": (),
}
MONEY = frozenset({
    "deposit_amount", "commission", "commission_cpa", "commission_revshare", "commission_other", "ngr", "spend",
    "profit", "epc", "cpa",
})  # fmt: skip
RATIOS = frozenset({"roi", "cr", "ctr", "reg2dep"})  # in percent
QUOTIENTS = RATIOS | {"epc", "cpa", "roas"}
"""Measures that are one sum over another: of several days they are no sum."""
COUNTS = frozenset({
    "clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "registrations", "first_deposits", "deposits",
    "qualified", "visits",
})  # fmt: skip

TITLES = {
    "first_deposits": "FTD", "ngr": "NGR", "roi": "ROI", "roas": "ROAS", "cr": "CR", "ctr": "CTR", "epc": "EPC",
    "cpa": "CPA",
}  # fmt: skip

#: What a comparison may be with beside a number: averages of the measure, the money an FTD brings, the other subjects.
AVERAGES = ("7d", "30d", "weekday")
ENTITIES = ("offer", "campaign", "source")

_SIGNS = {
    "<": "<", "below": "<", "under": "<", "less than": "<", ">": ">", "above": ">", "over": ">", "more than": ">",
    "greater than": ">", "<=": "<=", "=<": "<=", "≤": "<=", "at most": "<=", "no more than": "<=", ">=": ">=",
    "=>": ">=", "≥": ">=", "at least": ">=", "no less than": ">=", "=": "=", "==": "=", "is": "=", "equals": "=",
    "!=": "!=", "<>": "!=", "≠": "!=", "is not": "!=",
}  # fmt: skip
_SIGN = "|".join(
    rf"\b{re.escape(word)}\b" if word[0].isalpha() else re.escape(word)
    for word in sorted(_SIGNS, key=len, reverse=True)
)
_WINDOW = (
    r"(?:(?:over|in|within|during)\s+)?(?:the\s+)?(?:last\s+|past\s+)?"
    r"(?P<window>today|yesterday|(?:since\s+(?:the\s+)?start|in\s+all|in\s+total|ever|lifetime|all\s+time)"
    r"|\d{1,6}\s*(?:m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)|hour|day|week)"
)
_FORM = re.compile(
    rf"(?P<measure>[a-z][a-z0-9 _-]*?)\s*(?P<sign>{_SIGN})\s*(?P<value>.+?)(?:\s+{_WINDOW})?"
    r"(?:\s+for\s+(?P<lasting>\d+\s*[mhd][a-z]*))?"
)
_BASE = (
    r"(?:the\s+|its\s+)?(?P<base>(?:7d|7-day|7\s+day|30d|30-day|30\s+day|(?:same[- ])?weekday)"
    r"(?:\s*(?:avg|average|mean))?|usual|normal|payout|others?(?:\s+(?:avg|average|mean))?"
    r"|(?:(?:[a-z][a-z0-9_]*\s+of\s+)?)(?P<entity>offer|campaign|source)\s+(?P<code>\S.*))"
)
_BARE = re.compile(r"(?P<number>\S.*?)\s*(?P<percent>%|percent)?")  # the reader of numbers judges what stands there
_SHARE = re.compile(rf"(?P<number>\S.*?)\s*(?P<unit>%|percent\b|x\b|×|times\b|\*)\s*(?:of\s+)?{_BASE}")
_NO_SHARE = re.compile(rf"\S.*?\s+of\s+{_BASE}")
_WHOLE = re.compile(_BASE)


class Comparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measure over a window, and what it is compared with.

    `limit` is in whole units of the report currency, ratios in percent; with a `baseline` it is a
    percentage of it: `7d`, `30d`, `weekday` (averages of the measure), `payout` (commission per FTD), `others` (the
    average of the other subjects), or an entity such as `offer:lucky-star`. `window` is `today`, `yesterday`, `start`
    (since the start), a length such as 90m, 6h, 7d, or empty where none is said.
    """

    measure: str
    sign: str
    limit: float
    baseline: str = ""
    window: str = ""
    for_minutes: int = 0


def read_comparison(text: str, currency: str = "", *, field: str = "rule", times: bool = False) -> Comparison | None:
    """A comparison from words in lower case; None for what is none. Raises Refused at `field` for a part of it.

    An amount may have `currency`, that of the reports, beside it. `times`: hour and weekday are measures, too.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return None
    sign = _SIGNS[match["sign"]]
    try:
        measure = measure_of(match["measure"], field=field, times=times)
    except Refused:
        if match["sign"].startswith(("is", "equals")):  # a sentence about something else
            return None
        raise
    lasting = read_minutes(match["lasting"], field) if match["lasting"] else 0
    window = _window(match["window"] or "", field)
    value = match["value"].strip()
    if measure == "weekday" and value[:3] in WEEKDAYS and value.isalpha():
        value = str(WEEKDAYS.index(value[:3]) + 1)
    limit, baseline = _value(value, measure, match["measure"].strip(), currency=currency, field=field)
    return Comparison(
        measure=measure, sign=sign, limit=limit, baseline=baseline, window=window, for_minutes=lasting
    )  # fmt: skip


def _value(text: str, measure: str, word: str, *, currency: str, field: str) -> tuple[float, str]:
    """Limit and baseline of what stands after the sign."""
    if share := _SHARE.fullmatch(text):
        factor = 1 if share["unit"] in {"%", "percent"} else 100
        return read_limit(share["number"], field=field) * factor, _baseline(share)
    if whole := _WHOLE.fullmatch(text):
        return 100, _baseline(whole)
    if _NO_SHARE.fullmatch(text):
        raise Refused(f'{field}: against an average write a percentage: "{word} < 50% of 7d avg"', field=field)
    bare = _BARE.fullmatch(text)
    number, percent = (bare["number"], bare["percent"]) if bare else (text, None)
    if percent and measure not in RATIOS | {"roas"}:
        raise Refused(f'{field}: percent of what? write "{word} < 50% of 7d avg"', field=field)
    own = currency if measure in MONEY and not percent else ""
    limit = read_limit(number, own, count=measure in COUNTS and not percent, field=field)
    return (limit / 100 if percent and measure == "roas" else limit), ""


def _baseline(match: re.Match[str]) -> str:
    if match["entity"]:
        return f"{match['entity']}:{match['code'].strip().strip(chr(34) + chr(39))}"
    word = match["base"]
    if word.startswith("other"):
        return "others"
    if word in {"usual", "normal"}:
        return "30d"
    return {"7d": "7d", "7-": "7d", "7 ": "7d", "30": "30d", "sa": "weekday", "we": "weekday", "pa": "payout"}[word[:2]]


def measure_of(word: str, *, field: str = "rule", times: bool = False) -> str:
    """The measure of a word. Raises Refused with the nearest."""
    plain = word.strip().replace(" ", "_").replace("-", "_")
    if times and plain in TIMES:
        return plain
    for name, others in MEASURES.items():
        if plain == name or plain in others:
            return name
    names = [word for name, others in MEASURES.items() for word in (name, *others)]
    near = difflib.get_close_matches(plain, [*names, *(TIMES if times else ())], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(MEASURES)}"
    raise Refused(f"{field}: no measure {word.strip()!r}: {hint}", field=field)


#: What an automation's condition may ask beside measures: the hour (0 to 23) and the day of the week (1 is Monday), and
#: how many registrations the usual conversion rate lets expect of the window's clicks.
TIMES = ("hour", "weekday", "expected_registrations")


def _window(text: str, field: str) -> str:
    if text in {"", "today", "yesterday"}:
        return text
    if re.match(r"since|in\b|ever|lifetime|all", text):
        return "start"
    text = {"hour": "1h", "day": "24h", "week": "7d"}.get(text, text)
    minutes = read_minutes(text, field)
    return f"{minutes // 60}h" if "h" in text and minutes % 60 == 0 else minutes_text(minutes)


EXAMPLES = 'write e.g. "ftd < 50% of 7d avg", "clicks < 100 in 1h", "no clicks for 30m" or "sync failed"'


def read_limit(text: str, own: str = "", *, count: bool = False, field: str = "rule") -> float:
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
        raise Refused(f"{field}: {error}: {EXAMPLES}", field=field) from None


def _is_whole(text: str) -> bool:
    """Whether the text is a count as counts are written, such as 1.000."""
    try:
        return read_count(text) is not None
    except ValueError:
        return False


def title(measure: str) -> str:
    """A measure in a sentence: FTD, ROI, expected registrations."""
    return TITLES.get(measure, measure.replace("_", " "))


def describe_comparison(comparison: Comparison, *, preposition: str = "over") -> str:
    """The comparison in its own words; reading them gives it again."""
    number = number_text(comparison.limit)
    if not comparison.baseline:
        against = number + ("%" if comparison.measure in RATIOS else "")
    else:
        name = {"payout": "payout", "others": "others"}.get(comparison.baseline, f"{comparison.baseline} avg")
        if ":" in comparison.baseline:
            name = _quoted(comparison.baseline)
        against = f"{number}% of {name}"
    window = f" {preposition} {comparison.window}"
    if preposition == "over":
        window = {"today": " today", "yesterday": " yesterday", "start": " since start"}.get(comparison.window, window)
    window = window if comparison.window else ""
    word = "ftd" if comparison.measure == "first_deposits" else comparison.measure
    return f"{word} {comparison.sign} {against}{window}"


def _quoted(baseline: str) -> str:
    entity, _, code = baseline.partition(":")
    return f'{entity} "{code}"' if " " in code else f"{entity} {code}"
