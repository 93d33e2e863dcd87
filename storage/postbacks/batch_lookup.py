"""What nearly every batch of postbacks asks on PostgreSQL, in one round trip: clicks, earlier requests, new ids.

What a batch needs beside it (expired and imported clicks, players, further ties) is asked when that turns up.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import queries
from storage.db.bulk_sql import driver_fetch, under_way
from storage.ledger.facts import ClickLink
from storage.ledger.postbacks.conversion_facts import AccountRules
from storage.ledger.postbacks.conversion_rules import events_of, links
from storage.postbacks.matching import SEEN, as_request, read_seen
from storage.postbacks.requests import Entry, make_ready

Tie = tuple[int, str, object]
"""An account, and a link of storage.ledger.postbacks.conversion_rules."""


@dataclass(slots=True, kw_only=True)
class BatchLookup:
    """`links`: of the clicks that the requests name, as far as their detail is kept; `seen`: stored requests with any
    of the ties `searched`; `ids`: new ones by table; `versions`: of the accounts (`account_versions`); `webhooks`:
    whether any team of these has an active one; `notified_sources`: their traffic sources that want to hear of
    conversions."""

    links: Mapping[int, ClickLink]
    seen: Sequence[Sequence[Any]]
    searched: frozenset[Tie]
    ids: dict[str, list[int]]
    versions: dict[int, int]
    webhooks: bool
    notified_sources: frozenset[int]
    size: int


async def look_up(
    tx: AsyncConnection, entries: Sequence[Entry], account_rules: Mapping[int, AccountRules], size: int, *,
    alone: bool,
) -> BatchLookup:  # fmt: skip
    """Ask for entries that are to be matched and placed. Meanwhile they are made ready to be stored.

    `alone`: by a transaction of its own, whose commit waits for no disk; else in one that holds the lock of accounts.

    `size`: bytes of the table of requests when it was looked at last. PostgreSQL keeps the plan of a statement; one
    that it made while the table was all but empty reads all of an account for each request later on. So each time the
    table has doubled the statement is another one.
    """
    open_entries = [entry for entry in entries if entry.outcome is None]
    ties = _ties(open_entries, account_rules)
    new = sum(entry.postback_request.id is None for entry in entries)
    teams = sorted({entry.postback_request.account.team_id for entry in entries})
    clicks = sorted({entry.click_id for entry in open_entries if entry.click_id is not None})
    accounts = sorted({entry.postback_request.account.id for entry in entries})
    arguments = (clicks, *_columns(ties, account_rules), teams, new, min(new, len(open_entries)), accounts)
    statement = f"{_STATEMENT}{_NO_WAIT if alone else ''} -- {size.bit_length()}"
    async with under_way(driver_fetch(tx, statement, *arguments)) as found:
        make_ready(entries)
    row = found.result()[0]
    seen = [read_seen(one) for one in _rows(row[1])]
    conversions = ((one[0], "conversion", one[_CONVERSION]) for one in seen if one[_CONVERSION] is not None)
    return BatchLookup(
        links=queries.links_of_json(_rows(row[0])),
        seen=seen,
        searched=frozenset((*ties, *conversions)),
        ids={"postbacks": sorted(row[2]), "conversions": sorted(row[3])},
        versions=dict(zip(accounts, row[4], strict=False)),
        webhooks=row[5],
        notified_sources=frozenset(row[6]),
        size=row[7],
    )


def _ties(entries: Iterable[Entry], account_rules: Mapping[int, AccountRules]) -> set[Tie]:
    """What may tie entries to stored requests, if their clicks are what they seem to be."""
    ties: set[Tie] = set()
    for entry in entries:
        account = entry.postback_request.account.id
        ties.update((account, *link) for link in links(as_request(entry), account_rules[account]))
    return {tie for tie in ties if tie[1] != "conversion"}


def _columns(ties: Iterable[Tie], account_rules: Mapping[int, AccountRules]) -> list[list[Any]]:
    """Accounts and transactions; clicks and events; accounts, players and events."""
    columns: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for account, kind, value in ties:
        family, _, key_name = kind.rpartition(" of ")
        events = events_of(family, account_rules[account]) if family else ()
        columns["txn"] += [(account, value)] if key_name == "txn" else []
        columns["click"] += [(value, event.value) for event in events if key_name == "click"]
        columns["player"] += [(account, value, event.value) for event in events if key_name == "player"]
    widths = {"txn": 2, "click": 2, "player": 3}
    return [[row[n] for row in columns[kind]] for kind, width in widths.items() for n in range(width)]


_decoder: msgspec.json.Decoder[list[list[Any]]] = msgspec.json.Decoder(list[list[Any]])


def _rows(text: str | None) -> list[list[Any]]:
    return _decoder.decode(text) if text else []


_NAMES = tuple(column.name for column in SEEN.selected_columns)
_COLUMNS = ", ".join(_NAMES)
_CONVERSION = _NAMES.index("conversion_id")


def _new_ids(table: str, number: int) -> str:
    sequence = f"(SELECT pg_get_serial_sequence('{table}', 'id')::regclass)"
    return f"ARRAY(SELECT nextval({sequence}) FROM generate_series(1, ${number}::integer))"  # noqa: S608


def _of(keys: str, where: str) -> str:
    """Requests of each key by itself: without statistics PostgreSQL would read all of an account instead."""
    return (
        f"SELECT found.* FROM unnest({keys}, "  # noqa: S608 - words of ours
        f"LATERAL (SELECT {_COLUMNS} FROM postbacks WHERE joined AND {where} OFFSET 0) found"
    )


_STATEMENT = f"""
WITH first AS (
  {_of("$2::bigint[], $3::text[]) AS k(account, txn)", "account_id = k.account AND txn_id = k.txn")}
  UNION ALL {_of("$4::bigint[], $5::text[]) AS k(click, event)", "click_id = k.click AND postbacks.event = k.event")}
  UNION ALL {
    _of(
        "$6::bigint[], $7::text[], $8::text[]) AS k(account, player, event)",
        "account_id = k.account AND player_id = k.player AND postbacks.event = k.event",
    )
}
), seen AS (
  SELECT * FROM first
  UNION ALL SELECT found.* FROM (SELECT DISTINCT conversion_id FROM first WHERE conversion_id IS NOT NULL) k,
    LATERAL (SELECT {_COLUMNS} FROM postbacks WHERE joined AND conversion_id = k.conversion_id OFFSET 0) found
)
SELECT ({queries.LINKS_AS_JSON}), (SELECT json_agg(json_build_array({_COLUMNS}))::text FROM seen),
  {_new_ids("postbacks", 10)}, {_new_ids("conversions", 11)},
  ARRAY(SELECT postback_version FROM accounts WHERE id = ANY($12::bigint[]) ORDER BY id),
  EXISTS(SELECT FROM webhooks WHERE status = 'active' AND team_id = ANY($9::bigint[])),
  ARRAY(SELECT id FROM sources WHERE team_id = ANY($9::bigint[]) AND postbacks <> '{{}}'),
  pg_relation_size('postbacks')
"""  # noqa: S608 - names of ours
#: New ids may be lost with the server: then nothing was stored with them.
_NO_WAIT = ", set_config('synchronous_commit', 'off', true)"
