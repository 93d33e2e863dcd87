"""Clicks as the rest of the project sees them: the id codec, what a click id says of its revenue, one click in full."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.db.bulk_sql import Lookup
from storage.ledger.clicks.click_id import WORKERS, Codec
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import SUBS, ClickLink
from storage.tables import click_links, click_rollup, clicks, facts, user_agents
from storage.tables.types import EPOCH_DAY, day_of_hour

_KEY = "click_id_key"
_WORKER = "click_worker"
_CHUNK = 500


async def ensure_codec(tx: AsyncConnection) -> Codec:
    """The deployment's id codec; its key is made at first use, in this write transaction.

    The key lies in the database, since ids already handed to platforms must be read for years, whatever becomes of
    CASINOFLUX_SECRET_KEY.
    """
    made = upsert(facts).values(name=_KEY, value=secrets.token_hex(32)).on_conflict_do_nothing()
    await tx.execute(made)
    return await codec(tx)


async def codec(tx: AsyncConnection) -> Codec:
    """The deployment's id codec. Raises CasinoFluxError if no process has served clicks yet (see ensure_codec)."""
    key = await teams.fact(tx, _KEY)
    if key is None:
        raise CasinoFluxError("there is no click id key yet: start 'casinoflux serve' once")
    return Codec(bytes.fromhex(key))


async def next_worker(tx: AsyncConnection) -> int:
    """A number for a process that makes click ids: counted up at every start, from 0 to 1023 and round again."""
    await tx.execute(upsert(facts).values(name=_WORKER, value="0").on_conflict_do_nothing())
    locked = select(facts.c.value).where(facts.c.name == _WORKER).with_for_update()
    number = int((await tx.execute(locked)).scalar_one())
    await teams.store_fact(tx, _WORKER, str((number + 1) % WORKERS))
    return number


async def link(tx: AsyncConnection, click_id: int) -> ClickLink | None:
    """Where a click came from and went; None if there is no such click."""
    return (await links(tx, [click_id])).get(click_id)


async def links(
    tx: AsyncConnection, ids: Iterable[int], kept: Mapping[int, ClickLink] | None = None
) -> dict[int, ClickLink]:
    """Links of those click ids that exist, of any team, also of clicks whose detail has expired.

    Whoever asks for a team leaves out those of another (`ClickLink.team_id`). `kept`: those of the ids whose detail has
    not expired, if that is known already.
    """
    distinct = list(dict.fromkeys(ids))
    links: dict[int, ClickLink] = {n: kept[n] for n in distinct if n in kept} if kept is not None else {}
    for start in range(0, len(distinct), _CHUNK):
        chunk = distinct[start : start + _CHUNK]
        for row in await _KEPT.rows(tx, chunk) if kept is None else ():
            links[row[0]] = _link(row, tuple(row[9:]))
        expired = [click_id for click_id in chunk if click_id not in links]
        for row in await _EXPIRED.rows(tx, expired):
            links[row[0]] = _link(row, (None,) * 10)
    return links


_LINK = ("id", "team_id", "campaign_id", "site_id", "offer_id", "source_id", "hour", "country")
_KEPT = Lookup(
    select(
        *(clicks.c[name] for name in _LINK), user_agents.c.device, *(clicks.c[name] for name in SUBS)
    ).join_from(clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True),
    clicks.c.id,
)  # fmt: skip
LINKS_AS_JSON = f"""
SELECT json_agg(json_build_array({", ".join(f"c.{name}" for name in _LINK)}, a.device,
  {", ".join(f"c.{name}" for name in SUBS)}))::text
FROM clicks c LEFT JOIN user_agents a ON a.id = c.user_agent_id WHERE c.id = ANY($1::bigint[])
"""  # noqa: S608 - names of ours
"""On PostgreSQL, for `links_of_json`: the clicks of parameter 1 whose detail has not expired."""
_EXPIRED = Lookup(select(*(click_links.c[name] for name in (*_LINK, "device"))), click_links.c.id)


def links_of_json(rows: Iterable[Sequence[Any]]) -> dict[int, ClickLink]:
    """Links of rows as LINKS_AS_JSON has them."""
    return {row[0]: _link(row, tuple(row[9:])) for row in rows}


def _link(row: Sequence[Any], subs: tuple[str | None, ...]) -> ClickLink:
    number, team_id, campaign_id, site_id, offer_id, source_id, hour, country, device = row[:9]
    return ClickLink(
        click_id=number, team_id=team_id, day=day_of_hour(hour), campaign_id=campaign_id, site_id=site_id,
        offer_id=offer_id, source_id=source_id, country=country or "", device=device or "", subs=subs,
    )  # fmt: skip


def stored_clicks() -> Select[Any]:
    """Clicks with their user agents."""
    statement = select(clicks, user_agents.c.text, user_agents.c.device, user_agents.c.os, user_agents.c.browser)
    return statement.join_from(clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True)


def without_hashes(row: Row[Any]) -> dict[str, Any]:
    """Every stored field of a click but the hashes."""
    stored = dict(row._mapping)
    for name in ("visitor", "ip_hash", "user_agent_id"):
        del stored[name]
    stored["user_agent"] = stored.pop("text")
    return stored


async def show(tx: AsyncConnection, team_id: int, click_id: int) -> dict[str, Any] | None:
    """Every stored field of one click of the team, hashes left out; None if there is none."""
    query = stored_clicks().where(clicks.c.id == click_id, clicks.c.team_id == team_id)
    row = (await tx.execute(query)).one_or_none()
    return await _expired(tx, team_id, click_id) if row is None else without_hashes(row)


async def _expired(tx: AsyncConnection, team_id: int, click_id: int) -> dict[str, Any] | None:
    mine = click_links.c.id == click_id, click_links.c.team_id == team_id
    row = (await tx.execute(select(click_links).where(*mine))).one_or_none()
    return None if row is None else dict(row._mapping) | {"expired": True}


async def clicks_of_a_week(
    tx: AsyncConnection, team_id: int, column: ColumnElement[int], ids: list[int], today: date
) -> int:
    """Human clicks of entities (a column of the roll-up) in the last seven days and today."""
    since = (today - EPOCH_DAY).days * 24 - 7 * 24
    c = click_rollup.c
    total = select(func.coalesce(func.sum(c.clicks), 0)).where(c.team_id == team_id, c.hour >= since, column.in_(ids))
    return int((await tx.execute(total)).scalar_one())
