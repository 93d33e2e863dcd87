"""An example of every command: arguments that it takes, made from its fields. A test reads each as a call would be."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from bot.core.arguments import bare_kinds, field_names, meta
from bot.core.command import Command

#: What entities are called in examples, by what a field refers to.
ENTITIES: dict[str, Any] = {
    "account": "affilka-main", "alert": "alert-7", "automation": "automation-7", "campaign": "spring-push",
    "casino": "Lucky Star", "click": "0c4q2v9k7m1xz", "conversion": 42, "delivery": 42, "digest": "digest-7",
    "domain": "bonus-example-com", "group": "nordics", "member": "anna", "offer": "lucky-star", "postback": 42,
    "registrar": "porkbun", "site": "bonus-de", "source": "push-ads", "token": "reporting", "view": "weekly",
    "webhook": "webhook-7",
}  # fmt: skip
#: What other fields hold.
VALUES: dict[str, Any] = {
    "amount": "12.50", "casino": "Lucky Star", "variant": "b", "as": "first_deposit", "change": 120,
    "code": "Xy12abcd", "command": "campaign",
    "currency": "USD", "event": "first_deposit", "find": "spring", "for": "2h", "id": 42, "market": "DE",
    "name": "Spring push", "placement": ["zone-1"], "query": "stats 7d by campaign", "range": "7d", "rate": "0.92",
    "rule": "ftd < 50% of 7d avg", "segment": "DE mobile", "tag": "spring", "text": "Ends on Friday",
    "url": "https://brand.example/?sub={click_id}", "verb": "create", "version": 3, "words": "spring",
}  # fmt: skip
#: Where a command's fields say too little.
OF_COMMANDS: dict[str, dict[str, Any]] = {
    "account add": {"platform": "affilka", "base_url": "https://brand.example", "timezone": "Europe/Malta"},
    "automation add": {"rule": "pause offer when epc < 0.20 over 3d with clicks > 500"},
    "automation test": {"automation": "automation-7"},
    "campaign create": {"offers": ["lucky-star:2", "wild-win"], "source": "push-ads"},
    "conversion import": {"csv": "click_id,event,amount\n0c4q2v9k7m1xz,deposit,40\n"},
    "casino hub": {"casino": "Lucky Star"},
    "digest subscribe": {"at": "09:00", "every": "day"},
    "placement export": {"source": "push-ads"},
    "placement import": {"source": "push-ads", "csv": "zone-1\nzone-2\n"},
    "domain add": {"name": "bonus.example.com"}, "domain check": {"name": "bonus.example.com"},
    "domain buy": {"name": "bonus.example.com"}, "domain move": {"to": "bonus.example.org"},
    "import binom": {"url": "https://binom.example.com", "key": "YOUR-KEY"},
    "import keitaro": {"url": "https://keitaro.example.com", "key": "YOUR-KEY"},
    "import map": {"import": 1, "statuses": {"lead": "registration", "sale": "first_deposit"}},
    "import redtrack": {"key": "YOUR-KEY"},
    "import statsdrone": {"csv": "Date,Brand,Clicks\n2026-11-21,Lucky Star,120\n"},
    "import run": {"import": 1},
    "import show": {"import": 1},
    "import voluum": {"access_id": "YOUR-ID", "key": "YOUR-KEY"},
    "payment rule": {"rule": "player", "threshold": "50"},
    "report merged": {"from": "2026-11-01", "to": "2026-11-21", "by": ["day", "campaign"]},
    "rate set": {"currency": "BRL", "rate": "0.17"},
    "simulate postback": {"url": "https://track.example.com/postback/KEY?click_id=0c4q2v9k7m1xz&event=deposit"},
    "site create": {"name": "Bonus DE"},
    "spend import": {"csv": "campaign,day,amount\nspring-push,2026-11-21,120.50\n"},
    "stats": {"range": "7d", "by": ["campaign"]},
    "token create": {"name": "reporting", "expires": "90d"},
    "webhook add": {"url": "https://hooks.example.com/casinoflux", "events": ["conversion", "alert"]},
    "webhook edit": {"webhook": "webhook-7", "events": ["conversion", "held_report"]},
}  # fmt: skip
_DAY = "2026-11-21"
_BY_KIND: dict[Any, Any] = {bool: True, int: 1, dict: {}}


def example_of(command: Command) -> dict[str, Any]:
    """Arguments of a call that could be made."""
    fields = msgspec.structs.fields(command.parameters)
    values = OF_COMMANDS.get(command.name, {})
    example = {
        field.encode_name: values.get(field.encode_name, _value(field))
        for field in fields
        if field.required or field.encode_name in command.positional
    }
    example |= values
    if not example and "limit" in field_names(command.parameters):
        example["limit"] = 20
    return {name: value for name, value in example.items() if value is not None}


def _value(field: msgspec.structs.FieldInfo) -> Any:
    """What a field holds; None where nothing is known."""
    kinds, extra = bare_kinds(field.type), meta(field.type)[2]
    refers, name = extra.get("refers"), field.encode_name
    value: Any = None
    if refers:
        value = ENTITIES.get(refers.partition("|")[0])
    elif "choices" in extra:
        value = extra["choices"][0]
    elif date in kinds:
        value = _DAY
    elif name in VALUES:
        value = VALUES[name]
    elif Decimal in kinds:
        value = "12.50"
    elif field.required:
        value = next((shown for kind, shown in _BY_KIND.items() if kind in kinds), f"YOUR-{name.upper()}")
    if list in kinds and value is not None and not isinstance(value, list):
        return [value]
    return value
