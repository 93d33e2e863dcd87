"""Figures of automations: what is usual is compared with as much of an hour or day as has passed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from storage.ledger.automations.conditions import Known
from storage.ledger.automations.figures import BIT, EPOCH, PLACE, SUMS, FigureRow, Figures, History, Scope
from storage.ledger.automations.rules import read_rule

TODAY = date(2026, 3, 20)  # a Friday
EVERY_HOUR = 60


def row(clicks: int) -> FigureRow:
    values = tuple(clicks if PLACE["clicks"] == n else 0 for n in range(len(SUMS)))
    known = BIT["clicks"]
    return FigureRow(campaign=1, offer=0, source=0, account=0, values=values, known=known, open_values=values,
                     open_known=known)  # fmt: skip


def steady(now: datetime) -> History:
    """A click a minute up to now."""
    hour = (TODAY - EPOCH).days * 24 + now.hour
    hours = {hour - n: [row(EVERY_HOUR if n else now.minute)] for n in range(31 * 24)}
    days = {TODAY - timedelta(days=n): [row(24 * EVERY_HOUR)] for n in range(1, 70)}
    return History(zone=ZoneInfo("UTC"), hours=hours, days=days)


@pytest.mark.parametrize("window", ["over 1h", "over 6h", "today", "over 1d", "over 7d"])
@pytest.mark.parametrize("usual", ["usual", "7d avg", "weekday avg"])
@pytest.mark.parametrize(("hour", "minute"), [(0, 0), (0, 5), (10, 1), (10, 59)])
def test_steady_traffic_is_as_usual_at_every_minute(window: str, usual: str, hour: int, minute: int) -> None:
    now = datetime(2026, 3, 20, hour, minute, tzinfo=UTC)
    rule = read_rule(f"tell campaign when clicks < 50% of {usual} {window}")
    (comparison,) = rule.condition.comparisons
    figure = Figures(steady(now)).at(now).read(comparison, Scope("campaign"), 1, frozenset())
    assert isinstance(figure, Known)
    assert figure.limit == pytest.approx((figure.value or 0) / 2, abs=0.6)
