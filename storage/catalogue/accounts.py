"""Platform accounts: our logins at the affiliate platforms, their secrets sealed."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.groups import ACTIVE, ARCHIVED, Sorted, sorting_of
from storage.db.secrets import UNREADABLE, Box, UnreadableSecret, new_key
from storage.ledger.credentials import hide_credentials
from storage.tables import accounts, offers, revenue

_HIDDEN_OPTIONS = ("hmac_sealed", "hmac_secret")


class Account(Sorted, frozen=True, kw_only=True):
    """An account as every face shows it: which credentials are set, never what they are."""

    id: int
    name: str
    code: str
    platform: str
    base_url: str | None
    has_report_url: bool
    credentials: list[str]  # names of those that are set
    timezone: str
    currency: str
    sync_hour: int
    options: dict[str, Any]
    status: str  # active | paused | archived
    paused_why: str | None
    error: str | None
    last_success_at: datetime | None
    next_sync_at: datetime | None


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector needs of an account, opened for the time of one call."""

    timezone: str
    currency: str
    base_url: str | None = None
    report_url: str | None = None
    credentials: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}


async def add(
    tx: AsyncConnection, box: Box, *, team_id: int, now: datetime, login: Login, named: Mapping[str, Any]
) -> int:
    """Store an account, its secrets sealed; `named` holds name, code, platform, sync_hour, next_sync_at."""
    row = {"postback_key": new_key(), **named, **sealed(box, login)}
    made = await tx.execute(insert(accounts).values(team_id=team_id, created_at=now, **row).returning(accounts.c.id))
    return int(made.scalar_one())


async def change(tx: AsyncConnection, account_id: int, values: Mapping[str, Any]) -> None:
    await tx.execute(update(accounts).where(accounts.c.id == account_id).values(**values))


async def report_shape(tx: AsyncConnection, account_id: int) -> tuple[str, ...] | None:
    """What the account's last accepted report had (`Report.shape`); None before the first."""
    shape = (await tx.execute(select(accounts.c.report_shape).where(accounts.c.id == account_id))).scalar_one()
    return None if shape is None else tuple(shape)


def sealed(box: Box, login: Login) -> dict[str, Any]:
    """A login as it is stored."""
    return {
        "timezone": login.timezone,
        "currency": login.currency,
        "base_url": login.base_url,
        "report_url_secret": box.seal(login.report_url) if login.report_url else None,
        "credentials_secret": box.seal(dict(login.credentials)) if login.credentials else None,
        "options": dict(login.options),
    }


def opened(box: Box, row: Row[Any]) -> Login:
    """The login of an account's row. Raises UnreadableSecret when it was sealed under another key."""
    if not _opens(box, row):
        raise UnreadableSecret
    return readable(box, row)


def readable(box: Box, row: Row[Any]) -> Login:
    """The login of an account's row, without what was sealed under another key."""
    return Login(
        timezone=row.timezone,
        currency=row.currency,
        base_url=row.base_url,
        report_url=box.open_or(row.report_url_secret, None),
        credentials=box.open_or(row.credentials_secret, {}),
        options=row.options or {},
    )


def _opens(box: Box, row: Row[Any]) -> bool:
    return box.opens(row.report_url_secret, row.credentials_secret)


def shown(box: Box, row: Row[Any]) -> Account:
    """An account as faces show it."""
    login = readable(box, row)
    return Account(
        id=row.id, name=row.name, code=row.code, platform=row.platform, base_url=row.base_url,
        has_report_url=row.report_url_secret is not None, credentials=sorted(login.credentials),
        timezone=row.timezone, currency=row.currency, sync_hour=row.sync_hour,
        options=hide_credentials(_public(row.options or {})),
        status=ARCHIVED if row.archived_from else "paused" if row.paused_at else ACTIVE,
        paused_why=row.paused_why, error=row.error or (None if _opens(box, row) else UNREADABLE),
        last_success_at=row.last_success_at, next_sync_at=None if row.paused_at else row.next_sync_at,
        **sorting_of(row),
    )  # fmt: skip


def _public(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _public(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if name not in _HIDDEN_OPTIONS
    }


async def claimed(tx: AsyncConnection, account_id: int, of: ColumnElement[bool] | None = None) -> set[str]:
    """Tags that the account's offers (those that meet a condition) claim, lower case."""
    query = select(offers.c.tag_key).where(offers.c.account_id == account_id, offers.c.tag_key.is_not(None))
    query = query if of is None else query.where(of)
    return set((await tx.execute(query)).scalars())


async def segments(tx: AsyncConnection, account_id: int, *, since: date | None = None) -> list[tuple[str, str]]:
    """Tags the account's revenue has shown (since a day), each with what the platform calls it."""
    query = select(func.min(revenue.c.tag), func.max(revenue.c.tag_name)).where(revenue.c.account_id == account_id)
    if since is not None:
        query = query.where(revenue.c.day >= since)
    return sorted((tag, name) for tag, name in await tx.execute(query.group_by(revenue.c.tag_key)))


def zone_of(row: Row[Any]) -> ZoneInfo:
    return ZoneInfo(row.timezone)
