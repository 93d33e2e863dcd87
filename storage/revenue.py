"""What platforms say, recorded: figures, a revision for each that differs, proof of it all; or held as suspect."""

import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.day_facts import span
from storage.ledger.errors import Refused
from storage.ledger.facts import Report, RevenueRow
from storage.ledger.sanity import Key, Values, check_size, distinct, suspicion, values_of
from storage.settle import touch
from storage.tables import MEASURES, accounts, revenue, revenue_reports, revenue_revisions, settled_days

_CHUNK = 5_000

_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(Report)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a report: rows in it, figures that were new or differed, rows that had said something else before.

    `suspect` says why the report is held back; nothing of it is merged then.
    """

    rows: int = 0
    revisions: int = 0
    restated: int = 0
    suspect: str | None = None
    reports: int = 1


class _Stood(msgspec.Struct):
    """A row as it stands."""

    id: int
    values: Values
    withdrawn: bool
    tag_name: str


async def record(
    tx: AsyncConnection,
    *,
    team_id: int,
    account_id: int,
    run_id: int | None,
    report: Report,
    now: datetime,
    zone: ZoneInfo,
) -> Recorded:
    """Record a fetched report, or hold it as suspect. `zone` is the platform's: days over in it are settled.

    The same report again writes nothing. A row that is no longer there keeps its history and becomes 0. Raises
    ConnectorError when a row comes twice with different figures.
    """
    rows = distinct(report)
    stood = await _standing(tx, account_id, report)
    figures = {key: row.values for key, row in stood.items() if not row.withdrawn}
    settled = await _settled(tx, account_id, report)
    why = suspicion(report, rows, figures, settled)
    of = _Origin(team_id, account_id, run_id, now)
    await _supersede(tx, account_id, report)
    if why is not None:
        await _keep(tx, of, report, state="suspect", reason=why)
        return Recorded(rows=len(rows), suspect=why)
    recorded = await _apply(tx, of, report, rows=rows, stood=stood)
    await _settle_days(tx, of, report, zone=zone, before=now, settled=settled)
    return recorded


async def confirm(tx: AsyncConnection, *, account_id: int, now: datetime, zone: ZoneInfo) -> Recorded:
    """Take over what is held as suspect, the oldest first. Raises Refused if nothing is."""
    done = []
    for held in await suspects(tx, account_id):
        report = _unpacker.decode(zlib.decompress(held.parsed))
        of = _Origin(held.team_id, account_id, held.run_id, now, held.id)
        stood = await _standing(tx, account_id, report)
        done.append(await _apply(tx, of, report, rows=distinct(report), stood=stood))
        settled = await _settled(tx, account_id, report)
        await _settle_days(tx, of, report, zone=zone, before=held.fetched_at, settled=settled)
        await _decide(tx, held.id, "confirmed")
    if not done:
        raise Refused("no report of this account is held as suspect", field="account")
    return Recorded(
        rows=sum(one.rows for one in done), revisions=sum(one.revisions for one in done),
        restated=sum(one.restated for one in done), reports=len(done),
    )  # fmt: skip


async def discard(tx: AsyncConnection, *, account_id: int) -> int:
    """Throw away what is held as suspect; returns how many reports. Raises Refused if nothing is."""
    held = await suspects(tx, account_id)
    for one in held:
        await _decide(tx, one.id, "discarded")
    if not held:
        raise Refused("no report of this account is held as suspect", field="account")
    return len(held)


async def suspects(tx: AsyncConnection, account_id: int) -> list[Any]:
    """Reports of the account that wait for a decision, the oldest first."""
    r = revenue_reports.c
    query = select(revenue_reports).where(r.account_id == account_id, r.state == "suspect").order_by(r.id)
    return list(await tx.execute(query))


class _Origin(msgspec.Struct, frozen=True):
    team_id: int
    account_id: int
    run_id: int | None
    now: datetime
    report_id: int | None = None


async def _standing(tx: AsyncConnection, account_id: int, report: Report) -> dict[Key, _Stood]:
    r = revenue.c
    query = select(
        r.day, r.tag_key, r.sub, r.part, r.currency, r.id, r.withdrawn, r.tag_name, *(r[name] for name in MEASURES)
    ).where(r.account_id == account_id, r.day.between(report.first, report.last))
    return {
        (row[0], row[1], row[2], row[3], row[4]): _Stood(row[5], tuple(row[8:]), row[6], row[7])
        for row in await tx.execute(query)
    }


async def _apply(
    tx: AsyncConnection, of: _Origin, report: Report, *, rows: Mapping[Key, RevenueRow], stood: Mapping[Key, _Stood]
) -> Recorded:
    """Write what differs; the report itself is kept as proof if anything does."""
    fresh, changed, renamed = _differences(rows, stood)
    gone = {key: row for key, row in stood.items() if key not in rows and not row.withdrawn and any(row.values)}
    if fresh or changed or gone:
        report_id = of.report_id or await _keep(tx, of, report, state="merged")
        stamp = {"recorded_at": of.now, "report_id": report_id}
        await _insert(tx, of, fresh, stamp)
        zeros = [(row.id, tuple(None if v is None else 0 for v in row.values)) for row in gone.values()]
        await _update(tx, [(stood[key].id, values) for key, values in changed.items()], stamp, withdrawn=False)
        await _update(tx, zeros, stamp, withdrawn=True)
        await _revise(tx, of, report, report_id)
    for key, name in renamed.items():
        await tx.execute(update(revenue).where(revenue.c.id == stood[key].id).values(tag_name=name))
    await touch(tx, of.team_id, {key[0] for moved in (fresh, changed, gone, renamed) for key in moved})
    restated = len(changed) + len(gone)
    return Recorded(rows=len(rows), revisions=len(fresh) + restated, restated=restated)


def _differences(
    rows: Mapping[Key, RevenueRow], stood: Mapping[Key, _Stood]
) -> tuple[dict[Key, RevenueRow], dict[Key, Values], dict[Key, str]]:
    """Rows that are new, figures that changed, tags that go by another name now."""
    fresh: dict[Key, RevenueRow] = {}
    changed: dict[Key, Values] = {}
    renamed: dict[Key, str] = {}
    for key, row in rows.items():
        before = stood.get(key)
        if before is None:
            check_size(row)
            fresh[key] = row
            continue
        values = values_of(row.figures)
        if values != before.values:
            check_size(row)
            changed[key] = values
        if row.tag_name != before.tag_name:
            renamed[key] = row.tag_name
    return fresh, changed, renamed


async def _insert(tx: AsyncConnection, of: _Origin, fresh: Mapping[Key, RevenueRow], stamp: dict[str, Any]) -> None:
    same = {"team_id": of.team_id, "account_id": of.account_id, "withdrawn": False, **stamp}
    made = [
        {
            "day": key[0], "tag": row.tag, "tag_key": key[1], "sub": key[2], "part": key[3], "currency": key[4],
            "tag_name": row.tag_name, **same, **dict(zip(MEASURES, values_of(row.figures), strict=True)),
        }
        for key, row in fresh.items()
    ]  # fmt: skip
    for start in range(0, len(made), _CHUNK):
        await tx.execute(insert(revenue), made[start : start + _CHUNK])


async def _update(
    tx: AsyncConnection, changes: list[tuple[int, Values]], stamp: dict[str, Any], *, withdrawn: bool
) -> None:
    if not changes:
        return
    statement = (
        update(revenue)
        .where(revenue.c.id == bindparam("key"))
        .values({name: bindparam(f"new_{name}") for name in MEASURES} | stamp | {"withdrawn": withdrawn})
    )
    new = [f"new_{name}" for name in MEASURES]
    await tx.execute(statement, [{"key": key, **dict(zip(new, values, strict=True))} for key, values in changes])


async def _revise(tx: AsyncConnection, of: _Origin, report: Report, report_id: int) -> None:
    """Copy what this report wrote to the revisions."""
    r = revenue.c
    names = ("team_id", "day", *MEASURES, "withdrawn", "recorded_at", "report_id")
    wrote = select(r.id, *(r[name] for name in names)).where(
        r.account_id == of.account_id, r.day.between(report.first, report.last), r.report_id == report_id
    )
    await tx.execute(insert(revenue_revisions).from_select(["revenue_id", *names], wrote.order_by(r.id)))


async def _keep(tx: AsyncConnection, of: _Origin, report: Report, *, state: str, reason: str | None = None) -> int:
    """Keep the answer as it came."""
    values = {
        "team_id": of.team_id, "account_id": of.account_id, "run_id": of.run_id, "fetched_at": of.now,
        "from_day": report.first, "to_day": report.last, "state": state, "reason": reason,
        "raw": zlib.compress(report.raw), "parsed": None,
    }  # fmt: skip
    if state == "suspect":
        values["parsed"] = zlib.compress(_packer.encode(report))
    made = await tx.execute(insert(revenue_reports).values(values).returning(revenue_reports.c.id))
    return int(made.scalar_one())


async def _supersede(tx: AsyncConnection, account_id: int, report: Report) -> None:
    """A newer report of the same days takes the place of one that waits for a decision."""
    r = revenue_reports.c
    overlaps = r.from_day <= report.last, r.to_day >= report.first
    held = update(revenue_reports).where(r.account_id == account_id, r.state == "suspect", *overlaps)
    await tx.execute(held.values(state="superseded", parsed=None))


async def _decide(tx: AsyncConnection, report_id: int, state: str) -> None:
    decided = update(revenue_reports).where(revenue_reports.c.id == report_id)
    await tx.execute(decided.values(state=state, parsed=None))


async def _settled(tx: AsyncConnection, account_id: int, report: Report) -> set[date]:
    s = settled_days.c
    query = select(s.day).where(s.account_id == account_id, s.day.between(report.first, report.last))
    return set((await tx.execute(query)).scalars())


async def _settle_days(
    tx: AsyncConnection, of: _Origin, report: Report, *, zone: ZoneInfo, before: datetime, settled: set[date]
) -> None:
    """Days of the window that were over in the platform's zone when it was asked are settled from now on."""
    days = (report.first + timedelta(days=n) for n in range((report.last - report.first).days + 1))
    over = [day for day in days if day not in settled and span(day, zone)[1].astimezone(UTC) <= before]
    rows = [{"account_id": of.account_id, "day": day, "team_id": of.team_id, "settled_at": of.now} for day in over]
    if rows:
        await tx.execute(upsert(settled_days).on_conflict_do_nothing(), rows)


async def zone_of(tx: AsyncConnection, account_id: int) -> ZoneInfo:
    """The platform's time zone of an account."""
    found = await tx.execute(select(accounts.c.timezone).where(accounts.c.id == account_id))
    return ZoneInfo(found.scalar_one())
