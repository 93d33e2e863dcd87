"""Generated months of an account: what a platform states of its days, morning after morning, as it restates them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from storage.ledger.facts import Figures, Report, RevenueRow
from storage.ledger.revenue.sanity import Key, Values, key_of, values_of
from storage.ledger.revenue.suspect import Judge

FIRST = date(2026, 10, 1)
_CENTS = 10_000
MONEY = ("deposit_amount", "ngr", "commission_cpa", "commission_revshare")
COUNTS = ("visits", "registrations", "first_deposits", "deposits", "qualified")


@dataclass
class Grain:
    """How a platform cuts its rows and which measures it reports."""

    tags: int
    subs: int  # rows of a tag and day, one per click id or player
    measures: tuple[str, ...]


GRAINS = {
    "affilka": Grain(6, 1, ("visits", "registrations", "first_deposits", "deposits", "deposit_amount", "ngr",
                            "commission_cpa", "commission_revshare")),
    "smartico by click id": Grain(3, 12, (*COUNTS[:4], *MONEY)),
    "cellxpert": Grain(4, 1, (*COUNTS[:3], "qualified", "deposit_amount", "ngr", "commission_cpa")),
    "income_access by player": Grain(2, 20, ("registrations", "first_deposits", "deposits", "deposit_amount", "ngr",
                                             "commission_revshare")),
    "everflow": Grain(5, 1, ("visits", "first_deposits", "commission_cpa")),
    "tune": Grain(5, 1, ("visits", "qualified", "commission_cpa")),
    "one segment": Grain(1, 1, (*COUNTS, *MONEY)),
    "money alone": Grain(4, 1, ("ngr", "commission_revshare")),
}  # fmt: skip


@dataclass
class Stated:
    """A row as the platform states it at the moment."""

    values: dict[str, int]


@dataclass
class Month:
    """An account's days, restated every night; `scale` is FTDs a day."""

    chance: Random
    grain: Grain
    scale: float
    rows: dict[tuple[date, str, str], Stated] = field(default_factory=dict)

    def mornings(self) -> Iterator[tuple[date, list[RevenueRow]]]:
        """(today, what a default sync is answered) of each of thirty days."""
        for n in range(30):
            today = FIRST + timedelta(days=n)
            self._restate(today)
            self._live(today - timedelta(days=1), 1.0)
            self._live(today, self.chance.uniform(0.1, 0.6))
            yield today, self.answer(today - timedelta(days=7), today)

    def answer(self, first: date, last: date) -> list[RevenueRow]:
        return [
            RevenueRow(day=day, tag=tag, sub=sub, currency="EUR", figures=Figures(**row.values))
            for (day, tag, sub), row in self.rows.items()
            if first <= day <= last
        ]

    def _live(self, day: date, part: float) -> None:
        """What has happened by then on a day, drawn once and grown; a quiet day has little or nothing."""
        draw = Random(f"{self.chance.random() if (day, '', '') not in self.rows else 0}")
        mood = Random(f"{day}{self.scale}").choice([0.0, 0.5, 1.0, 1.0, 1.0, 2.0])
        for t in range(self.grain.tags):
            for s in range(self.grain.subs):
                share = self.scale * mood * part / (self.grain.tags * self.grain.subs)
                values = self._draw(draw, share)
                if any(values.values()):
                    self.rows[day, f"t{t}", f"s{s}" if self.grain.subs > 1 else ""] = Stated(values)

    def _draw(self, draw: Random, share: float) -> dict[str, int]:
        ftds = poisson(draw, share)
        regs = ftds + poisson(draw, share * 2)
        visits = regs + poisson(draw, share * 20)
        deposits = ftds + poisson(draw, share * 3)
        spent = sum(round(draw.lognormvariate(3.5, 1.0) * 100) for _ in range(deposits)) * _CENTS
        ngr = round(spent * draw.gauss(0.4, 0.6) / _CENTS) * _CENTS if deposits else 0
        every = {
            "visits": visits, "registrations": regs, "first_deposits": ftds, "deposits": deposits,
            "qualified": sum(draw.random() < 0.6 for _ in range(ftds)), "deposit_amount": spent, "ngr": ngr,
            "commission_revshare": round(ngr * 0.3 / _CENTS) * _CENTS,
        }  # fmt: skip
        every["commission_cpa"] = every["qualified"] * 100_000_000
        return {name: every[name] for name in self.grain.measures}

    def _restate(self, today: date) -> None:
        """A night's ordinary changes: CPA that qualifies late, fraud taken out, NGR corrected, fees at month's end."""
        fee = today.day == 3 and self.chance.random() < 0.3
        for key, row in list(self.rows.items()):
            values, age = row.values, (today - key[0]).days
            if (
                self.chance.random() < 0.25 / max(age, 1)
                and values.get("first_deposits", 1)
                and "commission_cpa" in values
            ):
                values["commission_cpa"] += 100_000_000
                if "qualified" in values:
                    values["qualified"] += 1
            if self.chance.random() < 0.02:
                self._correct(values)
            if fee:
                for name in ("ngr", "commission_revshare"):
                    if name in values:
                        values[name] = round(values[name] * 0.9 / _CENTS) * _CENTS
            if self.chance.random() < 0.002:
                del self.rows[key]

    def _correct(self, values: dict[str, int]) -> None:
        for name in ("ngr", "commission_revshare"):
            if name in values:
                values[name] += round(self.chance.gauss(0, 20)) * 1_000_000
        for name in ("registrations", "first_deposits"):
            if values.get(name) and self.chance.random() < 0.5:
                values[name] -= 1


def poisson(draw: Random, mean: float) -> int:
    """A Poisson number, by the gaps between arrivals."""
    n, at = 0, draw.expovariate(1)
    while at < mean:
        n, at = n + 1, at + draw.expovariate(1)
    return n


def judged(rows: list[RevenueRow], standing: dict[Key, Values], today: date, settled: set[date]) -> str | None:
    """Whether the morning's answer is held, given what stands."""
    first = today - timedelta(days=7)
    report = Report(first=first, last=today, rows=tuple(rows), raw=b"")
    judge = Judge(report, rows, settled)
    window = {key: values for key, values in standing.items() if first <= key[0] <= today}
    judge.add(window, {key_of(row): row for row in rows})
    return judge.suspicion()


def record(rows: list[RevenueRow], standing: dict[Key, Values], today: date) -> None:
    """Take the answer over as storage does: rows that are gone are withdrawn."""
    for key in [key for key in standing if today - timedelta(days=7) <= key[0] <= today]:
        del standing[key]
    standing |= {key_of(row): values_of(row.figures) for row in rows}
