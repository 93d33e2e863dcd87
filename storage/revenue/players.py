"""Players as platforms report them: whose click each is, what each did on which day; ids as keyed hashes.

A platform that tells totals is compared with the totals known: a day holds what they rose or fell by. Reports are
restated as revenue is: the same report again changes nothing, a corrected one replaces its days.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks import queries
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.dates import monday_of
from storage.ledger.facts import ClickLink, PlayerReport, PlayerRow
from storage.tables import (
    PLAYER_MEASURES,
    campaigns,
    facts,
    offers,
    player_days,
    player_feeds,
    players,
    touched_cohorts,
)

_CHUNK = 250  # players of one transaction
_MOST_DAYS = 20_000  # of one transaction that forgets ids

Values = dict[str, Any]


class RecordedPlayers(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a report: players in it, players never seen before, days that were new or differed."""

    players: int = 0
    new: int = 0
    changed: int = 0
    outdated: int = 0  # totals older than what is known


class Places(msgspec.Struct, frozen=True):
    """What a player's words stand for: offers of the account by tag, campaigns by code, clicks by id."""

    offers: Mapping[str, int]
    campaigns: Mapping[str, Any]
    clicks: Mapping[str, ClickLink]


async def ensure_key(tx: AsyncConnection, box: Box, team_id: int) -> bytes:
    """The key that a team's player ids are hashed with; made at first use, in this write transaction.

    It is encrypted in the database: a new CASINOFLUX_SECRET_KEY seals it again, so that players stay who they are.
    """
    name = f"player_key:{team_id}"
    made = upsert(facts).values(name=name, value=box.seal(secrets.token_hex(32)))
    await tx.execute(made.on_conflict_do_nothing())
    return bytes.fromhex(box.open(await teams.fact(tx, name) or ""))


def player_key(key: bytes, account_id: int, player: str) -> str:
    """What is stored in place of a platform's id: the same for the same player of the account, and not to be undone."""
    return hmac.new(key, f"{account_id}:{player.strip()}".encode(), hashlib.sha256).hexdigest()[:32]


async def record(
    database: Database, box: Box, account: Row[Any], report: PlayerReport, *, now: datetime
) -> RecordedPlayers:
    """Record a report in short transactions; what is broken off half way is completed by the report's next coming."""
    by_player: dict[str, list[PlayerRow]] = {}
    for row in report.rows:
        by_player.setdefault(row.player.strip(), []).append(row)
    async with database.begin() as tx:
        key = await ensure_key(tx, box, account.team_id)
        await queries.ensure_codec(tx)
        if not report.totals:
            await _withdraw(tx, account, report, {player_key(key, account.id, word) for word in by_player})
    done = RecordedPlayers(players=len(by_player))
    words = sorted(by_player)
    for start in range(0, len(words), _CHUNK):
        part = {player_key(key, account.id, word): by_player[word] for word in words[start : start + _CHUNK]}
        async with database.begin() as tx:
            new, changed, outdated = await _write(tx, account, report, part, now)
        done = msgspec.structs.replace(
            done, new=done.new + new, changed=done.changed + changed, outdated=done.outdated + outdated
        )
    async with database.begin() as tx:
        await _extend_feed(tx, account, report, now)
    return done


async def _withdraw(tx: AsyncConnection, account: Row[Any], report: PlayerReport, keys: set[str]) -> None:
    """Days of the report's window on which players did something who are not in it any more: they did nothing."""
    d, p = player_days.c, players.c
    within = d.account_id == account.id, d.day.between(report.first, report.last)
    query = select(d.player_id, p.key, p.registered).join(players, p.id == d.player_id).where(*within).distinct()
    gone = [row for row in await tx.execute(query) if row.key not in keys]
    for start in range(0, len(gone), _CHUNK):
        ids = [row.player_id for row in gone[start : start + _CHUNK]]
        await tx.execute(delete(player_days).where(*within, d.player_id.in_(ids)))
    await touch(tx, account.team_id, [row.registered for row in gone])


async def _write(
    tx: AsyncConnection, account: Row[Any], report: PlayerReport, rows: Mapping[str, list[PlayerRow]], now: datetime
) -> tuple[int, int, int]:
    """Write some players and their days: how many were new, how many days differed, how many totals are outdated."""
    p = players.c
    query = select(players).where(p.account_id == account.id, p.key.in_(list(rows)))
    standing = {row.key: row for row in await tx.execute(query)}
    places = await _places(tx, account, [row for rows_of_player in rows.values() for row in rows_of_player])
    days = await _days_of(tx, [row.id for row in standing.values()])
    made, outdated = _Changes(), 0
    for key, reported in rows.items():
        before = standing.get(key)
        if before is not None and before.forgotten:
            continue
        stored = days.get(before.id, {}) if before is not None else {}
        figures = _figures(report, reported, stored)
        if figures is None:
            outdated += 1
            continue
        values = _player_values(account, report, before, reported, places)
        values["ftd_day"] = values["ftd_day"] or _first_paid({**stored, **figures})
        made.add(key, before, values, {day: value for day, value in figures.items() if stored.get(day) != value})
    await made.write(tx, account, now)
    return len(made.new), sum(map(len, made.days.values())), outdated


class _Changes:
    """What some players' rows become, and the days of theirs that differ, by key."""

    def __init__(self) -> None:
        self.new: dict[str, Values] = {}
        self.changed: list[dict[str, Any]] = []
        self.ids: dict[str, int] = {}
        self.days: dict[str, dict[date, Values]] = {}
        self.moved: set[date] = set()

    def add(self, key: str, before: Row[Any] | None, values: dict[str, Any], days: dict[date, Values]) -> None:
        if before is None:
            self.new[key] = values
        else:
            self.ids[key] = before.id
            if any(getattr(before, name) != value for name, value in values.items()):
                self.changed.append({"of": before.id, **values})
            elif not days:
                return
            self.moved.add(before.registered)
        self.days[key] = days
        self.moved.add(values["registered"])

    async def write(self, tx: AsyncConnection, account: Row[Any], now: datetime) -> None:
        """Write them, a statement for each kind of row, and mark the weeks that moved."""
        p = players.c
        if self.new:
            rows = [
                {"team_id": account.team_id, "account_id": account.id, "key": key, "recorded_at": now, **values}
                for key, values in self.new.items()
            ]
            await tx.execute(insert(players), rows)
            made = select(p.key, p.id).where(p.account_id == account.id, p.key.in_(list(self.new)))
            self.ids |= {row.key: row.id for row in await tx.execute(made)}
        if self.changed:
            names = [name for name in self.changed[0] if name != "of"]
            statement = update(players).where(p.id == bindparam("of"))
            await tx.execute(statement.values(recorded_at=now, **{name: bindparam(name) for name in names}),
                             self.changed)  # fmt: skip
        day_rows = [
            {"player_id": self.ids[key], "day": day, "account_id": account.id, "recorded_at": now, **values}
            for key, days in self.days.items()
            for day, values in days.items()
        ]
        if day_rows:
            upserted = upsert(player_days)
            set_ = {name: upserted.excluded[name] for name in (*PLAYER_MEASURES, "recorded_at")}
            await tx.execute(upserted.on_conflict_do_update(index_elements=["player_id", "day"], set_=set_), day_rows)
        await touch(tx, account.team_id, self.moved)


async def _days_of(tx: AsyncConnection, ids: Sequence[int]) -> dict[int, dict[date, Values]]:
    d = player_days.c
    days: dict[int, dict[date, Values]] = {}
    for row in await tx.execute(select(player_days).where(d.player_id.in_(ids))):
        days.setdefault(row.player_id, {})[row.day] = {name: getattr(row, name) for name in PLAYER_MEASURES}
    return days


def _figures(
    report: PlayerReport, reported: Sequence[PlayerRow], stored: Mapping[date, Values]
) -> dict[date, Values] | None:
    """What each day of the report holds by it; None for totals older than what is known."""
    if not report.totals:
        figures: dict[date, Values] = {
            day: dict.fromkeys(PLAYER_MEASURES, None) | {"deposits": 0}
            for day in stored
            if report.first <= day <= report.last
        }
        for day in {row.day for row in reported}:
            figures[day] = _summed(row for row in reported if row.day == day)
        return {day: value for day, value in figures.items() if day in stored or any(value.values())}
    if any(day > report.last for day in stored):
        return None
    totals = _summed(reported)
    earlier = [value for day, value in stored.items() if day < report.last]
    rise: Values = {}
    for name, total in totals.items():
        rise[name] = None if total is None else total - sum(value[name] or 0 for value in earlier)
    if not any(rise.values()) and report.last not in stored:
        return {}
    return {report.last: rise}


def _summed(rows: Iterable[PlayerRow]) -> Values:
    """Rows alike (one for each brand, say) as one; None only where none of them says anything."""
    made: Values = dict.fromkeys(PLAYER_MEASURES, None)
    for row in rows:
        for name in PLAYER_MEASURES:
            value = getattr(row, name)
            if value is not None:
                made[name] = (made[name] or 0) + value
    return made


def _player_values(
    account: Row[Any], report: PlayerReport, before: Row[Any] | None, reported: Sequence[PlayerRow], places: Places
) -> dict[str, Any]:
    """The columns of a player after these rows: what is stated replaces what was guessed."""
    stated = min((row.registered for row in reported if row.registered), default=None)
    ftd_day = min((row.ftd_day for row in reported if row.ftd_day), default=None)
    latest = max(reported, key=lambda row: row.day)
    sub = next((row.sub for row in reported if row.sub), before.sub if before is not None else "")
    tag = (latest.tag or (before.tag_key if before is not None else "")).lower()
    if before is None:
        first = min(row.day for row in reported)
        known_from = report.last if report.totals else None
        registered, is_stated = stated or first, stated is not None
    else:
        known_from, registered, is_stated = before.known_from, before.registered, before.registration_stated
        first = min(row.day for row in reported)
        if stated is not None:
            registered, is_stated = stated, True
        elif not is_stated:
            registered = min(registered, first)
        ftd_day = ftd_day or before.ftd_day
    if known_from is not None and known_from < registered:
        known_from = registered
    keeps_ids = bool((account.options or {}).get("player_ids"))
    return {
        "player_id": latest.player.strip() if keeps_ids else None, "sub": sub, "tag_key": tag,
        "currency": latest.currency, "registered": registered, "registration_stated": is_stated,
        "ftd_day": ftd_day, "known_from": known_from, **_place(before, sub, tag, places),
        "country": latest.country or (before.country if before is not None else "") or _country(sub, places),
    }  # fmt: skip


def _place(before: Row[Any] | None, sub: str, tag: str, places: Places) -> dict[str, int]:
    """Whose a player is: by click id, else by campaign code, and the offer by its tag; what was known stays."""
    click = places.clicks.get(sub)
    campaign = places.campaigns.get(sub.lower())
    offer_id = (click.offer_id if click else 0) or places.offers.get(tag) or places.offers.get("") or 0
    campaign_id = click.campaign_id if click else campaign.id if campaign is not None else 0
    source_id = click.source_id if click else campaign.source_id or 0 if campaign is not None else 0
    place = {"offer_id": offer_id, "campaign_id": campaign_id or 0, "source_id": source_id or 0}
    return {name: value or (getattr(before, name) if before is not None else 0) for name, value in place.items()}


def _first_paid(days: Mapping[date, Values]) -> date | None:
    """The first day with a deposit, where the platform does not say when the first one was."""
    paid = (day for day, value in days.items() if (value["deposits"] or 0) > 0 or (value["deposit_amount"] or 0) > 0)
    return min(paid, default=None)


def _country(sub: str, places: Places) -> str:
    click = places.clicks.get(sub)
    return click.country if click else ""


async def _places(tx: AsyncConnection, account: Row[Any], rows: Sequence[PlayerRow]) -> Places:
    subs = {row.sub for row in rows if row.sub}
    codec = await queries.codec(tx)
    numbers = {sub: number for sub in subs if (number := codec.decode(sub)) is not None}
    links = await queries.links(tx, numbers.values()) if numbers else {}
    clicks = {
        sub: links[number]
        for sub, number in numbers.items()
        if number in links and links[number].team_id == account.team_id
    }
    o, c = offers.c, campaigns.c
    by_tag = {
        row.tag_key or "": row.id
        for row in await tx.execute(select(o.id, o.tag_key).where(o.account_id == account.id).order_by(o.id.desc()))
    }
    codes = [sub.lower() for sub in subs - clicks.keys()]
    query = select(c.id, c.code, c.source_id).where(c.team_id == account.team_id, c.code.in_(codes))
    named: dict[str, Any] = {row.code: row for row in await tx.execute(query)} if codes else {}
    return Places(by_tag, named, clicks)


async def _extend_feed(tx: AsyncConnection, account: Row[Any], report: PlayerReport, now: datetime) -> None:
    """The days reported without a gap; with one they begin after it."""
    f = player_feeds.c
    before = (await tx.execute(select(player_feeds).where(f.account_id == account.id))).one_or_none()
    since, until = report.first, report.last
    if before is not None and not report.totals:
        day = timedelta(days=1)
        if report.first <= before.until + day and report.last >= before.since - day:
            since, until = min(before.since, report.first), max(before.until, report.last)
        elif report.last < before.since:
            return
    elif before is not None:
        since, until = before.since, max(before.until, report.last)
    values = {"team_id": account.team_id, "since": since, "until": until, "recorded_at": now}
    statement = upsert(player_feeds).values(account_id=account.id, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    if before is not None and before.since != since:
        p = players.c
        span = sorted((before.since, since))
        moved = select(p.registered).where(p.account_id == account.id, p.registered.between(*span)).distinct()
        await touch(tx, account.team_id, (await tx.execute(moved)).scalars())


async def first_reported(tx: AsyncConnection, account_id: int) -> date | None:
    """Since when an account's players are reported; None while they are not."""
    f = player_feeds.c
    since: date | None = (await tx.execute(select(f.since).where(f.account_id == account_id))).scalar_one_or_none()
    return since


async def touch(tx: AsyncConnection, team_id: int, registered: Iterable[date]) -> None:
    """Mark the weeks of these days of registration as moved; part of the transaction that moves them."""
    weeks = {monday_of(day) for day in registered}
    if weeks:
        await tx.execute(insert(touched_cohorts), [{"team_id": team_id, "week": week} for week in sorted(weeks)])


async def forget(tx: AsyncConnection, box: Box, account: Row[Any], player: str) -> bool:
    """Erase a player: figures, click id and readable id go, and later reports of them are not taken; False if there is
    none. The hash stays, so that the next report does not bring them back."""
    p, key = players.c, player_key(await ensure_key(tx, box, account.team_id), account.id, player)
    row = (await tx.execute(select(players).where(p.account_id == account.id, p.key == key))).one_or_none()
    if row is None or row.forgotten:
        return False
    await tx.execute(delete(player_days).where(player_days.c.player_id == row.id))
    blank: dict[str, Any] = {
        "player_id": None,
        "sub": "",
        "tag_key": "",
        "country": "",
        "ftd_day": None,
        "forgotten": True,
    }
    blank |= {"campaign_id": 0, "source_id": 0, "offer_id": 0}
    await tx.execute(update(players).where(p.id == row.id).values(**blank))
    await touch(tx, account.team_id, [row.registered])
    return True


async def drop_ids(database: Database, now: datetime, *, days: int) -> int:
    """Click ids and readable ids of players registered over `days` days ago; figures stay, under the hash alone."""
    p = players.c
    before = (now - timedelta(days=days)).date()
    old = select(p.id).where(p.registered < before, (p.sub != "") | p.player_id.is_not(None)).limit(_MOST_DAYS)
    dropped, chunk = 0, _MOST_DAYS
    while chunk == _MOST_DAYS:
        async with database.begin() as tx:
            blank = update(players).where(p.id.in_(old)).values(sub="", player_id=None)
            chunk = (await tx.execute(blank)).rowcount
        dropped += chunk
    return dropped
