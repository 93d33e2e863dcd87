"""The usual words of postbacks: parameter names, events, statuses, macros that were not filled in.

Words are compared without case and without `_`, `-`, dots and spaces: `Sign_Up`, `sign-up` and `signup` are one.
Platforms add their own through `connectors.base.PostbackWords`, teams through the account's mapping.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from storage.ledger.facts import Event, Status

#: Our parameter names, each with the names it also goes by; earlier ones win.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "click_id": ("click_id", "cid", "click", "clk", "subid", "cnv_id", "afp", "extid", "aff_sub"),
    "event": ("event", "goal", "type", "et", "event_type", "event_name", "goal_name", "action"),
    "txn_id": (
        "txn_id", "tid", "txid", "txn", "transaction_id", "transaction", "order_id", "conversion_id", "postback_id",
    ),
    "amount": ("amount", "payout", "sum", "revenue", "value", "deposit_amount", "amt", "deposit"),
    "currency": ("currency", "cur", "ccy", "currency_code", "cnv_currency"),
    "occurred_at": (
        "occurred_at", "occurred", "event_time", "timestamp", "time", "datetime", "date", "created_at", "ts",
    ),
    "status": ("status", "state", "conversion_status", "cnv_status"),
    "player_id": (
        "player_id", "player", "user_id", "uid", "customer_id", "registration_id", "lead_id", "profile_id",
    ),
}  # fmt: skip

EVENTS: Mapping[Event, tuple[str, ...]] = {
    Event.REGISTRATION: ("registration", "reg", "signup", "sign_up", "register", "lead", "nrc"),
    Event.FIRST_DEPOSIT: ("first_deposit", "ftd", "fd", "first_dep", "firstdeposit", "ndc"),
    Event.DEPOSIT: ("deposit", "dep", "redeposit", "rdep", "rdeposit", "rebill"),
    Event.QUALIFIED: ("qualified", "qftd", "cpa", "baseline"),
    Event.REVERSAL: ("reversal", "chargeback", "refund", "fraud"),
}

STATUSES: Mapping[Status, tuple[str, ...]] = {
    Status.APPROVED: ("approved", "confirmed", "sale", "ok", "success", "paid"),
    Status.PENDING: ("pending", "hold", "new", "waiting", "review"),
    Status.REVERSED: (
        "reversed",
        "rejected",
        "reject",
        "declined",
        "decline",
        "trash",
        "cancelled",
        "canceled",
        "chargeback",
        "refunded",
        "refund",
        "void",
        "invalid",
        "fraud",
        "failed",
        "expired",
    ),
}

_LONGEST_KEPT = 60
_SEPARATORS = re.compile(r"[\s_.\-]+")
_ENDS = {"}", "]", "#", "_"}
_MACRO = re.compile(r"\$?\{.*\}|\[.*\]|##.+##|__.+__", re.DOTALL)


def plain(word: str) -> str:
    """A word as it is compared: lower case, no separators."""
    return _plain(word) if len(word) <= _LONGEST_KEPT else _SEPARATORS.sub("", word.strip().lower())


@lru_cache(2048)
def _plain(word: str) -> str:
    return _SEPARATORS.sub("", word.strip().lower())


def is_macro(value: str) -> bool:
    """Whether a whole value (stripped) is a macro that was not replaced: `{x}` `${x}` `[x]` `##x##` `__x__`."""
    return value[-1:] in _ENDS and _MACRO.fullmatch(value) is not None


def spoken(words: Mapping[Event, tuple[str, ...]] | Mapping[Status, tuple[str, ...]]) -> dict[str, str]:
    """Compared word -> our word."""
    return {plain(word): str(ours) for ours, theirs in words.items() for word in theirs}


def event_words(*more: Mapping[str, str]) -> dict[str, Event]:
    """Every event word known, later mappings over earlier ones. Raises ValueError for an event there is none of."""
    return {word: Event(ours) for word, ours in _layered(spoken(EVENTS), more).items()}


def status_words(*more: Mapping[str, str]) -> dict[str, Status]:
    """Every status word known, later mappings over earlier ones. Raises ValueError for a status there is none of."""
    return {word: Status(ours) for word, ours in _layered(spoken(STATUSES), more).items()}


def _layered(base: dict[str, str], more: Iterable[Mapping[str, str]]) -> dict[str, str]:
    for mapping in more:
        base |= {plain(word): ours for word, ours in mapping.items()}
    return base


def parameter_names(*more: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Our parameter -> the names to look under, in order. `more` map a sender's name to ours, the last one first.

    A name that a mapping gives to one of ours no longer stands for another.
    """
    meanings: dict[str, str] = {}
    for mapping in more:
        meanings |= {plain(theirs): ours for theirs, ours in mapping.items()}
    names: dict[str, tuple[str, ...]] = {}
    for ours, aliases in PARAMETERS.items():
        mapped = [theirs for theirs, meant in reversed(meanings.items()) if meant == ours]
        usual = [plain(name) for name in aliases if plain(name) not in meanings]
        names[ours] = tuple(dict.fromkeys((*mapped, *usual)))
    return names
