"""Days as files and platforms write them."""

from datetime import date

import pytest

from storage.ledger.dates import DayOrder, day_order, read_day


@pytest.mark.parametrize(
    "text", ["2026-10-01", "2026/10/01", "2026.10.1", "20261001", "01.10.2026", "10/01/2026", "01-10-2026",
             "2026-10-01T00:00:00.000Z", "10/1/2026 11:59:59 PM", "2026-10-01 23:00", "1 Oct 2026", "01-Oct-2026",
             "October 1, 2026", "2026-10-01 00:00:00 +0000 UTC", "01.10.2026, 00:00", "1 Oct. 2026 12:00 am",
             "2026-10-01T00:00:00+02:00"],
)  # fmt: skip
def test_a_day_is_the_platforms_own_label(text: str) -> None:
    assert read_day(text) == date(2026, 10, 1)


@pytest.mark.parametrize(
    "text", ["2026-10", "13/13/2026", "31.02.2026", "01/10/26", "", "Total", "45931", "0000-01-01", "0026-10-01",
             "01/10/0026", "2026-10-01 - 2026-10-07", "2026-10-01 to 2026-10-07", "01.10.2026 - 07.10.2026",
             "2026-10-01 (7 days)", "2026-W40", "1 marraskuu 2026", "1 Octopus 2026", "Marble 3 2026", "3 März 2026",
             "1 oc 2026", "10000-01-01", "2026‑10‑01", "２０２６-１０-０１"],
)  # fmt: skip
def test_what_is_no_day_is_refused_with_what_stood_there(text: str) -> None:
    with pytest.raises(ValueError, match="is no day"):
        read_day(text)


def test_a_column_decides_the_order_of_day_and_month() -> None:
    assert day_order(["03/02/2026", "26/02/2026"]) == DayOrder("dmy", decided=True)
    assert day_order(["02/03/2026", "02/26/2026"]) == DayOrder("mdy", decided=True)
    assert day_order(["01/10/2026", "02/10/2026"]) == DayOrder("mdy", decided=False)
    assert day_order(["01/10/2026"], "dmy") == DayOrder("dmy", decided=False)
    assert day_order(["01.10.2026"]) == DayOrder("dmy", decided=True)
    assert day_order(["2026-10-01"]).decided
    with pytest.raises(ValueError, match="has the day first and"):
        day_order(["26/02/2026", "02/26/2026"])
    assert read_day("03/02/2026", "dmy") == date(2026, 2, 3)
