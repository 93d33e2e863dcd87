"""An account's own postback mapping: read, changed, checked."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.json_column import change_keys
from storage.ledger.errors import Refused
from storage.ledger.facts import Event, Status
from storage.ledger.postbacks.vocabulary import PARAMETERS, plain
from storage.tables import accounts

REPEATS = ("ignore", "update", "count")


class PostbackMapping(msgspec.Struct, frozen=True, kw_only=True):
    """What the team has set for an account, over its platform's words."""

    parameters: dict[str, str] = {}  # their parameter name -> ours
    events: dict[str, str] = {}  # their word -> our event
    statuses: dict[str, str] = {}
    repeats: dict[str, str] = {}  # event -> ignore | update | count
    default_event: str | None = None
    has_ftd_event: bool | None = None
    allow: list[str] = []
    signed: bool = False


def mapping_of(row: Row[Any]) -> PostbackMapping:
    """The mapping of an account's row; of the signature only whether there is one."""
    rules = dict((row.options or {}).get("postback") or {})
    rules["signed"] = bool(rules.pop("hmac_sealed", None))
    rules.pop("hmac_parameter", None)
    return msgspec.convert(rules, PostbackMapping, strict=False)


async def change(tx: AsyncConnection, row: Row[Any], values: Mapping[str, Any]) -> None:
    """Merge into the account's mapping: words are added to those there are, a word mapped to `-` is taken away."""
    options = dict(row.options or {})
    rules = dict(options.get("postback") or {})
    for name, value in values.items():
        if isinstance(value, Mapping):
            merged = {**rules.get(name, {}), **value}
            rules[name] = {word: ours for word, ours in merged.items() if ours != "-"}
        else:
            rules[name] = value
    options["postback"] = {name: value for name, value in rules.items() if value not in (None, {}, [])}
    await change_keys(tx, accounts.c.options, row.id, before=row.options or {}, after=options)


def checked(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    """Their word -> ours, ours spelled as we spell it. Raises Refused with what there is."""
    meanings = {
        "parameters": {plain(name): name for name in PARAMETERS},
        "events": {plain(event): event.value for event in Event},
        "statuses": {plain(status): status.value for status in Status},
        "repeats": {plain(word): word for word in REPEATS},
    }[kind]
    parameters = {}
    for theirs, ours in words.items():
        if ours != "-" and plain(ours) not in meanings:
            raise Refused(f"{kind}: no {ours!r}: there is {', '.join(meanings.values())}", field=kind)
        parameters[theirs.strip()] = meanings.get(plain(ours), ours)
    return parameters
