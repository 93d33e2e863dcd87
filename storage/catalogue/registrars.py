"""Logins at registrars and DNS hosts, and the prices they were asked for."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import names
from storage.ledger.errors import Refused
from storage.tables import domain_quotes, registrars

QUOTE_GOOD_FOR = timedelta(minutes=15)
SAFE_BROWSING = "safe_browsing"  # no registrar, but a login that domains need all the same


class RegistrarLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login as every face shows it: never its credentials."""

    id: int
    name: str
    code: str
    kind: str


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A yearly price in micro-units of its currency."""

    price: int
    renewal: int | None
    currency: str


def entry(row: Row[Any]) -> RegistrarLogin:
    return RegistrarLogin(id=row.id, name=row.name, code=row.code, kind=row.kind)


async def chosen(tx: AsyncConnection, team_id: int, word: str | None) -> Row[Any] | None:
    """The login of that code, name or id; without a word the team's only one. Raises Missing at `registrar`."""
    if word:
        return await names.find(tx, registrars, team_id, word, field="registrar")
    sells = registrars.c.team_id == team_id, registrars.c.kind != SAFE_BROWSING
    rows = (await tx.execute(select(registrars).where(*sells).limit(2))).all()
    if len(rows) > 1:
        raise Refused("registrar: there are several: say registrar=…", field="registrar")
    return rows[0] if rows else None


async def store_quote(
    tx: AsyncConnection, *, team_id: int, actor: str, name: str, registrar_id: int, price: Price, now: datetime
) -> None:
    """Remember the price that a person was shown."""
    values = {"team_id": team_id, "actor": actor, "name": name, "registrar_id": registrar_id, "at": now}
    await tx.execute(insert(domain_quotes).values(**values, **msgspec.structs.asdict(price)))


async def last_quote(
    tx: AsyncConnection, *, team_id: int, actor: str, name: str, registrar_id: int, now: datetime
) -> Price | None:
    """The price a person was shown for a name within the last quarter of an hour."""
    q = domain_quotes.c
    mine = q.team_id == team_id, q.actor == actor, q.name == name, q.registrar_id == registrar_id
    query = select(domain_quotes).where(*mine, q.at >= now - QUOTE_GOOD_FOR).order_by(q.id.desc()).limit(1)
    row = (await tx.execute(query)).first()
    return Price(price=row.price, renewal=row.renewal, currency=row.currency) if row else None
