"""What a traffic source receives of a conversion: its template filled in.

In a template `{click_id}` is the *source's* click id, as its link brought it. Lower-case macros are filled when the
conversion is accepted; upper-case ones (`{AID}`, `{KEY}`) belong to the account at the source, may be secret, and are
filled when the request is sent, so that no secret is in the outbox.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from storage.ledger.facts import SUBS
from storage.ledger.money import amount_text, rounded, units

_MACRO = re.compile(r"\{([a-z_]+\d*)\}")
_PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")

#: Parameters of our link by which an API knows a click that has no click id of its own (iOS visitors of Google Ads).
INSTEAD = {"google": ("gbraid", "wbraid")}

MACROS = (
    "click_id", "source_click_id", "our_click_id", "event", "payout", "payout_whole", "amount", "currency", "txn_id",
    "key", "random", "timestamp", "player_id", "status", "campaign", "offer", "site", "country",
    *SUBS,
)  # fmt: skip


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as a traffic source receives it. `amount` is in micro-units, the source's share of it."""

    key: str  # one per conversion and event: the same at every try
    event: str
    name: str  # the source's own word for the event
    click_id: str  # the source's
    our_click_id: str
    clicked_at: datetime | None
    occurred_at: datetime
    amount: int | None
    currency: str
    status: str
    txn_id: str = ""
    player_id: str = ""
    campaign: str = ""
    offer: str = ""
    site: str = ""
    country: str = ""
    user_agent: str = ""
    subs: tuple[str | None, ...] = ()
    extra: Mapping[str, str] = {}  # parameters of the link without a field of their own (fbp …)

    @property
    def payout(self) -> str:
        """The amount with a decimal point, in at most six digits after it; empty if there is none."""
        return "" if self.amount is None else amount_text(self.amount)


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """When an answer of a 2xx status counts as taken: what the body must hold, and must not."""

    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    json_equals: Mapping[str, Any] = {}


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a traffic source; placeholders in it are filled at sending."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: str = ""
    success: Success = Success()


def whole(micros: int) -> int:
    """Micro-units as whole units, rounded half-even; never 0 for something."""
    return rounded(units(micros)) or (1 if micros > 0 else -1 if micros < 0 else 0)


def idempotency_key(team_id: int, conversion_id: int, event: str, our_click_id: str) -> str:
    """One key per conversion and event, the same however often it is made."""
    text = f"{team_id}:{conversion_id}:{event}:{our_click_id}".encode()
    return "cf-" + hashlib.blake2b(text, digest_size=12).hexdigest()


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its lower-case macros replaced by encoded values; unknown ones are left empty."""
    return _MACRO.sub(lambda match: quote(values.get(match[1], ""), safe=""), template)


def values(sending: Sending) -> dict[str, str]:
    """What the macros of a plain template stand for."""
    subs = {f"sub{n}": value or "" for n, value in enumerate(sending.subs, 1)}
    whole_payout = "" if sending.amount is None else str(whole(sending.amount))
    return subs | {
        "click_id": sending.click_id, "source_click_id": sending.click_id, "our_click_id": sending.our_click_id,
        "event": sending.name or sending.event, "payout": sending.payout, "amount": sending.payout,
        "payout_whole": whole_payout, "currency": sending.currency, "txn_id": sending.txn_id or sending.key,
        "key": sending.key, "random": str(int(sending.key[-8:], 16)),
        "timestamp": str(int(sending.occurred_at.timestamp())),
        "player_id": sending.player_id, "status": sending.status, "campaign": sending.campaign, "offer": sending.offer,
        "site": sending.site, "country": sending.country,
    }  # fmt: skip


def placeholders(*texts: str) -> set[str]:
    """Names of the account's own values a template needs: `AID` of `{AID}`."""
    return {name for text in texts for name in _PLACEHOLDER.findall(text)}


def reveal(text: str, settings: Mapping[str, str], *, encode: bool) -> str:
    """A template with the account's values filled in. Raises KeyError naming one that lacks."""

    def value(match: re.Match[str]) -> str:
        setting = settings[match[1].lower()]
        return quote(setting, safe="") if encode else setting

    return _PLACEHOLDER.sub(value, text)


def names_click(template: str, sending: Sending) -> bool:
    """Whether a plain template, filled with this, tells the source which click it is about, as far as it asks that."""
    id_macros = {"click_id", "source_click_id"} & set(_MACRO.findall(template))
    return bool(sending.click_id) or not id_macros


def names_click_to(api: str, sending: Sending) -> bool:
    """Whether an API can know the click: by the source's id of it, or by what else on our link takes its place."""
    return bool(sending.click_id) or any(sending.extra.get(name) for name in INSTEAD.get(api, ()))


def unknown_macros(template: str) -> list[str]:
    """Lower-case macros of a template that stand for nothing."""
    return [name for name in _MACRO.findall(template) if name not in MACROS]


def host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def share(amount: int | None, percent: Decimal | None) -> int | None:
    """The part of an amount that the source receives, rounded half-even."""
    if amount is None or percent is None:
        return amount
    return rounded(amount * percent / 100)
