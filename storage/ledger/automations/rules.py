"""Rules of automations: `pause offer when epc < 0.20 over 3d with clicks > 500`, read and put back into words. Pure."""

import difflib
import re
from typing import Literal

import msgspec

from storage.ledger.automations.conditions import Condition, describe_condition, read_condition
from storage.ledger.errors import Refused
from storage.ledger.numbers import number_text, read_count, read_float
from storage.ledger.schedule import read_minutes, read_time

Kind = Literal["pause", "resume", "weight", "cap", "block", "allow", "tell", "webhook"]
Noun = Literal["offer", "campaign", "source", "team", "placement"]

KINDS: tuple[Kind, ...] = ("pause", "resume", "weight", "cap", "block", "allow", "tell", "webhook")
#: Each kind by the words people use, and what it can act on.
_WORDS: dict[str, Kind] = {
    "pause": "pause", "stop": "pause", "resume": "resume", "start": "resume", "activate": "resume", "weight": "weight",
    "cap": "cap", "block": "block", "exclude": "block", "allow": "allow", "unblock": "allow", "tell": "tell",
    "notify": "tell", "alert": "tell", "webhook": "webhook", "call": "webhook", "ping": "webhook",
}  # fmt: skip
_NOUNS: dict[str, Noun] = {
    "offer": "offer", "offers": "offer", "campaign": "campaign", "campaigns": "campaign", "source": "source",
    "sources": "source", "team": "team", "everything": "team", "placement": "placement", "placements": "placement",
}  # fmt: skip
_ON: dict[Kind, tuple[Noun, ...]] = {
    "pause": ("offer", "campaign", "source"), "resume": ("offer", "campaign", "source"), "weight": ("offer",),
    "cap": ("offer",), "block": ("placement",), "allow": ("placement",),
    "tell": ("offer", "campaign", "source", "team", "placement"),
    "webhook": ("offer", "campaign", "source", "team", "placement"),
}  # fmt: skip
OPPOSITE: dict[str, str] = {"pause": "resume", "resume": "pause", "block": "allow", "allow": "block"}
FILTERS = ("campaign", "offer", "source", "account", "casino", "group")
EXAMPLE = 'write e.g. "pause offer when epc < 0.20 over 3d with clicks > 500"'
CAP_EVENTS = {
    "click": "click", "clicks": "click", "registration": "registration", "registrations": "registration",
    "reg": "registration", "regs": "registration", "ftd": "first_deposit", "ftds": "first_deposit",
    "first_deposit": "first_deposit", "first_deposits": "first_deposit",
}  # fmt: skip
MOST_NAMES = 200


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done, and to which subjects.

    `names` are codes of the noun (empty: all), `filters` narrow the figures and the subjects by other entities.
    `amount` is a weight or cap, or by how many percent it changes (`relative`); `bound` the most or least it becomes.
    `until`: a pause ends by itself at HH:MM, `midnight`, or after a length such as 4h. `sub`: which sub id a placement
    is, where the traffic source's own is not meant.
    """

    kind: Kind
    noun: Noun
    names: tuple[str, ...] = ()
    filters: dict[str, tuple[str, ...]] = {}
    amount: float | None = None
    relative: bool = False
    bound: int | None = None
    event: str = ""
    period: str = ""
    until: str = ""
    by_automation: bool = False  # resumes only what an automation paused
    sub: str = ""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """An action and the condition that it is done under."""

    action: Action
    condition: Condition


def read_rule(text: str, currency: str = "", *, field: str = "rule") -> Rule:
    """A rule from words; amounts may have the reports' `currency` beside them.

    Raises Refused at `field` with what cannot be read and an example.
    """
    plain = " ".join(text.split())
    head, word, rest = _parted(plain)
    if not word:
        raise Refused(f"{field}: {text!r} has no condition: {EXAMPLE}", field=field)
    action = read_action(head, field=field)
    when, evidence = _with(rest)
    when, action = _budget(when, action)
    return Rule(action=action, condition=read_condition(when, evidence, currency=currency, field=field))


def _parted(text: str) -> tuple[str, str, str]:
    """The action, `when`, and the condition; quoted words are no `when`."""
    match = re.search(r"""^((?:"[^"]*"|'[^']*'|[^"'])*?)\s(when|if)\s(.+)$""", text, re.IGNORECASE)
    return (match[1], match[2], match[3]) if match else (text, "", "")


def _with(text: str) -> tuple[str, str]:
    match = re.match(r"""^((?:"[^"]*"|'[^']*'|[^"'])*?)\s+with\s+(?:at least\s+|evidence\s+)?(.+)$""", text, re.I)
    return (match[1], match[2]) if match else (text, "")


_BUDGET = re.compile(
    r"(?:its\s+|the\s+)?budget\s+(?:of\s+)?(?P<amount>.+?)\s+(?P<per>a\s+day|per\s+day|daily|today|in\s+all|in\s+total|"
    r"ever)(?:\s+(?:is\s+)?(?:reached|spent|used(?:\s+up)?))?",
    re.IGNORECASE,
)


def _budget(when: str, action: Action) -> tuple[str, Action]:
    """`budget 100 a day` as the comparison it is; a day's budget pauses until midnight."""
    match = _BUDGET.fullmatch(when.strip())
    if match is None:
        return when, action
    whole = match["per"].lower().startswith(("in", "ever"))
    if not whole and action.kind == "pause" and not action.until:
        action = msgspec.structs.replace(action, until="midnight")
    return f"spend >= {match['amount']} {'since start' if whole else 'today'}", action


_QUOTED = r"""(?:"[^"]*"|'[^']*'|[^\s"',]+)"""
_LIST = rf"{_QUOTED}(?:\s*,\s*{_QUOTED})*"
_UNTIL = re.compile(
    r"\s+(?:until|till|for)\s+(?P<until>midnight|\d{1,2}:\d{2}|\d+\s*[mhd][a-z]*|the\s+day|today)$", re.I
)
_BY = re.compile(r"\s+(?:that\s+(?:was|were)\s+)?paused\s+by\s+(?:an?\s+)?automations?$", re.I)
_BOUND = re.compile(r"\s+(?:up\s+to|down\s+to|at\s+most|at\s+least|to\s+at\s+most)\s+(?P<bound>\S+)$", re.I)
_TO = re.compile(r"\s+(?:to\s+|at\s+|by\s+)?(?P<sign>[+\-−–]?)(?P<amount>\d[\d.,]*)\s*(?P<percent>%|percent)?$", re.I)
_CAP = re.compile(
    r"\s+(?:to\s+|at\s+)?(?P<amount>\d[\d.,]*)\s*(?P<event>[a-z_]+)?(?:\s+(?:an?|per)\s+(?P<period>day|week|month))?$",
    re.I,
)
_FILTER = re.compile(rf"\s+(?:of|in|on|from|at)\s+(?P<noun>{'|'.join(FILTERS)})s?\s+(?P<names>{_LIST})$", re.I)
_HEAD = re.compile(
    rf"(?:set\s+(?:the\s+)?)?(?P<kind>[a-z]+)(?:\s+(?:of\s+|about\s+|for\s+)?(?:(?P<all>all|every|any|each)\b\s*)?"
    rf"(?P<noun>[a-z]+\d*)?(?:\s+(?P<names>{_LIST}))?)?",
    re.IGNORECASE,
)


def read_action(text: str, *, field: str = "rule") -> Action:
    """An action from words: `pause offer lucky-star until midnight`, `weight offer +20% up to 50`. Raises Refused."""
    head = text.strip()
    values: dict[str, object] = {}
    kind = _kind(head, field)
    head = re.sub(r"^(?:set\s+(?:the\s+)?)?weight\s+of\s+", "weight ", head, flags=re.IGNORECASE)
    head, values["until"] = _cut(_UNTIL, head, "until")
    head, by = _cut(_BY, head, None)
    values["by_automation"] = bool(by)
    if kind in {"weight", "cap"}:
        head = _sized(head, kind, values, field)
    filters: dict[str, tuple[str, ...]] = {}
    while match := _FILTER.search(head):
        filters[match["noun"].lower()] = _names(match["names"], field)
        head = head[: match.start()]
    match = _HEAD.fullmatch(head.strip())
    if match is None:
        raise Refused(f"{field}: {text!r} is no action: {EXAMPLE}", field=field)
    noun, sub = _noun(match, kind, field)
    until = _until(str(values.pop("until") or ""), field)
    return checked(Action(
        kind=kind, noun=noun, names=_names(match["names"] or "", field), filters=filters, sub=sub, until=until,
        **values,  # type: ignore[arg-type]
    ), field=field)  # fmt: skip


def _kind(head: str, field: str) -> Kind:
    word = re.sub(r"^set\s+(?:the\s+)?", "", head.lower()).partition(" ")[0]
    if word in _WORDS:
        return _WORDS[word]
    near = difflib.get_close_matches(word, _WORDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(KINDS)}"
    raise Refused(f"{field}: no action {word!r}: {hint}", field=field)


def _cut(form: re.Pattern[str], head: str, group: str | None) -> tuple[str, str]:
    match = form.search(head)
    if match is None:
        return head, ""
    return head[: match.start()], match[group] if group else match[0]


def _sized(head: str, kind: Kind, values: dict[str, object], field: str) -> str:
    head, bound = _cut(_BOUND, head, "bound")
    match = (_CAP if kind == "cap" else _TO).search(head)
    if match is None:
        raise Refused(
            f"{field}: say the {kind}: {kind} offer to 5{', or +20%' if kind == 'weight' else ''}", field=field
        )
    if kind == "cap":
        word = (match["event"] or "first_deposit").lower()
        if word not in CAP_EVENTS:
            raise Refused(f"{field}: a cap counts clicks, registrations or FTDs, not {word!r}", field=field)
        values |= {"event": CAP_EVENTS[word], "period": (match["period"] or "day").lower()}
        values["amount"] = _whole(match["amount"], field)
        return head[: match.start()]
    sign = match["sign"]
    if bool(sign) != bool(match["percent"]):
        raise Refused(f"{field}: write a weight (weight offer to 5) or a step (weight offer +20%)", field=field)
    amount = read_number(match["amount"], field) if sign else _whole(match["amount"], field)
    values |= {"amount": -amount if sign in {"-", "−", "–"} else amount, "relative": bool(sign)}
    values["bound"] = _whole(bound, field) if bound else None
    return head[: match.start()]


def read_number(text: str, field: str) -> float:
    try:
        return read_float(text)
    except ValueError as error:
        raise Refused(f"{field}: {error}", field=field) from None


def _whole(text: str, field: str) -> int:
    try:
        number = read_count(text)
    except ValueError as error:
        raise Refused(f"{field}: {error}", field=field) from None
    return number or 0


def _names(text: str, field: str) -> tuple[str, ...]:
    names = tuple(word.strip().strip("\"'") for word in re.findall(_QUOTED, text))
    if len(names) > MOST_NAMES:
        raise Refused(f"{field}: at most {MOST_NAMES} names", field=field)
    return names


def _noun(match: re.Match[str], kind: Kind, field: str) -> tuple[Noun, str]:
    word = (match["noun"] or "").lower()
    if re.fullmatch(r"sub(?:[1-9]|10)", word):
        return "placement", word
    if not word and match["all"]:
        return ("team" if kind in {"tell", "webhook"} else _ON[kind][1 if kind in {"pause", "resume"} else 0]), ""
    if not word and kind in {"tell", "webhook"}:
        return "team", ""
    if word in _NOUNS:
        return _NOUNS[word], ""
    near = difflib.get_close_matches(word, _NOUNS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(_ON[kind])}"
    raise Refused(
        f"{field}: {kind} what? no {word!r}: {hint}" if word else f"{field}: {kind} what? {hint}", field=field
    )


def _until(text: str, field: str) -> str:
    word = text.lower().strip()
    if not word or word == "midnight":
        return word
    if word in {"the day", "today"}:
        return "midnight"
    if ":" in word:
        return read_time(word).strftime("%H:%M")
    minutes = read_minutes(word, field)
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def checked(action: Action, *, field: str = "rule") -> Action:
    """The action if its parts go together. Raises Refused at `field`."""
    kind, on = action.kind, _ON[action.kind]
    if action.noun not in on:
        raise Refused(f"{field}: {kind} acts on {' or '.join(on)}, not on {action.noun}", field=field)
    if action.until and kind != "pause":
        raise Refused(f"{field}: only a pause has an end by itself", field=field)
    if action.by_automation and kind != "resume":
        raise Refused(f"{field}: 'paused by automation' is said of what is resumed", field=field)
    if action.noun == "team" and (action.names or action.filters):
        raise Refused(f"{field}: the team as a whole has no names: write offer, campaign or source", field=field)
    if kind == "weight" and action.relative and not (action.amount and -100 < action.amount <= 1000):
        raise Refused(f"{field}: a weight changes by -99% to +1000%, and not by 0", field=field)
    if kind == "weight" and not action.relative and (action.amount or 0) > 10_000:
        raise Refused(f"{field}: a weight is from 0 to 10,000", field=field)
    if kind == "cap" and not action.amount:
        raise Refused(f"{field}: a cap is at least 1: pause the offer to send no visitors", field=field)
    return action


def describe_rule(rule: Rule) -> str:
    """The rule in its own words; reading them gives the rule again."""
    return f"{describe_action(rule.action)} when {describe_condition(rule.condition)}"


def describe_action(action: Action) -> str:
    """`weight offer lucky-star in campaign spring +20% up to 50`."""
    noun = action.sub or ("everything" if action.noun == "team" else action.noun)
    words = [action.kind, noun, *([_listed(action.names)] if action.names else [])]
    words += [f"of {name} {_listed(values)}" for name, values in action.filters.items()]
    if action.kind == "weight" and action.amount is not None:
        amount = number_text(action.amount)
        words.append(f"{'+' if action.amount > 0 else ''}{amount}%" if action.relative else f"to {amount}")
        words += [f"{'up' if action.amount > 0 else 'down'} to {action.bound}"] if action.bound is not None else []
    if action.kind == "cap" and action.amount is not None:
        words.append(
            f"to {number_text(action.amount)} {action.event}{'s' if action.amount != 1 else ''} a {action.period}"
        )
    words += [f"until {action.until}"] if action.until else []
    words += ["paused by automation"] if action.by_automation else []
    return " ".join(words)


def _listed(names: tuple[str, ...]) -> str:
    return ",".join(f'"{name}"' if re.search(r"[\s,]", name) else name for name in names)
