"""Campaigns that rise and fall: the last seven whole days against the seven before."""

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from storage.ledger.reports.report_rows import MergedReport
from storage.reports.merged_report import ReportQuery, paged_report, summed_report
from storage.reports.report_data import ReportData

DAYS = 7


class Mover(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign: FTDs and commission (micro-units, None: none is known) of the last seven days, and `series`, FTDs of
    each of the fourteen days, clicks where it has none."""

    code: str
    name: str
    first_deposits: int
    commission: int | None
    series: tuple[int, ...]


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """Those that moved most, the most first."""

    rising: tuple[Mover, ...]
    falling: tuple[Mover, ...]


class _Deposits(msgspec.Struct, frozen=True, gc=False):
    merged: int | None


class _Row(msgspec.Struct, frozen=True, gc=False):
    """Of a report's row what is looked at."""

    group: dict[str, str | None]
    clicks: int | None
    first_deposits: _Deposits
    commission: int | None


_rows = msgspec.json.Decoder(list[_Row])


async def movement(data: ReportData, query: ReportQuery, *, most: int) -> Movement:
    """What moved before the day after the query's last, of the campaigns the query keeps; so many of each kind."""
    days = msgspec.structs.replace(
        query, first=query.last - timedelta(days=2 * DAYS - 1), by=("day", "campaign")
    )  # fmt: skip
    if paged := await paged_report(data.tx, days, data):
        rows = [row for part in paged.parts()[0] for row in _rows.decode(part)]
        return _movement(paged.head, rows, days.first, most=most)
    report = await summed_report(data.tx, days, data)
    rows = [
        _Row(row.group, row.clicks, _Deposits(row.first_deposits.merged), row.commission) for row in report.rows
    ]  # fmt: skip
    return _movement(report, rows, days.first, most=most)


def _movement(report: MergedReport, rows: Sequence[_Row], first: date, *, most: int) -> Movement:
    places = {(first + timedelta(days=n)).isoformat(): n for n in range(2 * DAYS)}
    by_code: dict[str, list[_Row | None]] = {}
    for row in rows:
        if code := row.group["campaign"]:
            of_code = by_code.get(code)
            if of_code is None:
                of_code = by_code[code] = [None] * (2 * DAYS)
            of_code[places[row.group["day"] or ""]] = row
    series = {code: _series(of_code) for code, of_code in by_code.items()}
    changes = {code: sum(values[DAYS:]) - sum(values[:DAYS]) for code, values in series.items()}
    order = sorted(changes, key=lambda code: changes[code])
    names = report.names.get("campaign", {})

    def movers(codes: Sequence[str]) -> tuple[Mover, ...]:
        return tuple(_mover(code, names.get(code, code), by_code[code][DAYS:], series[code]) for code in codes)

    return Movement(
        rising=movers([code for code in reversed(order) if changes[code] > 0][:most]),
        falling=movers([code for code in order if changes[code] < 0][:most]),
    )


def _series(rows: Sequence[_Row | None]) -> tuple[int, ...]:
    deposits = tuple(row.first_deposits.merged or 0 if row else 0 for row in rows)
    return deposits if any(deposits) else tuple(row.clicks or 0 if row else 0 for row in rows)


def _mover(code: str, name: str, last_week: Sequence[_Row | None], series: tuple[int, ...]) -> Mover:
    rows = [row for row in last_week if row is not None]
    amounts = [row.commission for row in rows if row.commission is not None]
    return Mover(
        code=code, name=name, first_deposits=sum(row.first_deposits.merged or 0 for row in rows),
        commission=sum(amounts) if amounts else None, series=series,
    )  # fmt: skip
