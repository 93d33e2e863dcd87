from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.errors import Refused
from storage.ledger.schedule import (
    Schedule,
    covers,
    due_after,
    latest_due,
    minutes_text,
    read_minutes,
    read_time,
    read_weekdays,
    read_zone,
)

BERLIN = ZoneInfo("Europe/Berlin")


def daily(at: time, zone: str = "Europe/Berlin") -> Schedule:
    return Schedule(every="day", at=at, timezone=zone)


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN)  # type: ignore[arg-type,misc]


def test_a_time_still_ahead_today_is_due_today() -> None:
    assert due_after(daily(time(9)), berlin(2026, 11, 22, 8, 59)) == berlin(2026, 11, 22, 9)
    assert due_after(daily(time(9)), berlin(2026, 11, 22, 9)) == berlin(2026, 11, 23, 9)


def test_the_hour_stays_the_hour_when_the_clocks_change() -> None:
    assert due_after(daily(time(9)), berlin(2026, 3, 28, 10)) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert due_after(daily(time(9)), berlin(2026, 10, 24, 10)) == datetime(2026, 10, 25, 8, tzinfo=UTC)


def test_a_time_the_clocks_skip_or_repeat_comes_once() -> None:
    skipped = due_after(daily(time(2, 30)), berlin(2026, 3, 28, 12))
    assert skipped.astimezone(BERLIN) == berlin(2026, 3, 29, 3, 30)
    doubled = due_after(daily(time(2, 30)), berlin(2026, 10, 24, 12))
    assert due_after(daily(time(2, 30)), doubled).astimezone(BERLIN).date() == date(2026, 10, 26)


@given(
    st.integers(0, 1461 * 24 * 60),
    st.times(),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
)
def test_there_is_one_each_calendar_day(start: int, at: time, zone: str) -> None:
    schedule = daily(at.replace(microsecond=0, second=0), zone)
    due = due_after(schedule, datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=start))
    days = []
    for _ in range(40):
        following = due_after(schedule, due)
        assert following > due
        days.append(due.astimezone(schedule.zone).date())
        due = following
    assert len(set(days)) == len(days) or at.hour == 23  # a skipped 23:30 lands after midnight


def test_weekly_comes_on_monday_and_monthly_on_the_first() -> None:
    weekly = Schedule(every="week", at=time(9), timezone="Europe/Berlin")
    assert due_after(weekly, berlin(2026, 11, 22, 12)) == berlin(2026, 11, 23, 9)
    monthly = Schedule(every="month", at=time(9), timezone="Europe/Berlin")
    assert due_after(monthly, berlin(2026, 11, 22, 12)) == berlin(2026, 12, 1, 9)
    workdays = Schedule(every="day", at=time(9), timezone="Europe/Berlin", weekdays=(1, 2, 3, 4, 5))
    assert due_after(workdays, berlin(2026, 11, 20, 12)) == berlin(2026, 11, 23, 9)


def test_digests_missed_while_down_are_counted() -> None:
    due, missed = latest_due(daily(time(9)), berlin(2026, 11, 19, 9), berlin(2026, 11, 22, 12))
    assert (due, missed) == (berlin(2026, 11, 22, 9), 3)
    assert latest_due(daily(time(9)), berlin(2026, 11, 22, 9), berlin(2026, 11, 22, 9, 1))[1] == 0


def test_what_a_digest_covers_is_the_report_zones() -> None:
    late = berlin(2026, 11, 22, 0, 30)
    assert covers(daily(time(0, 30)), late, ZoneInfo("UTC")) == (date(2026, 11, 20), date(2026, 11, 20))
    weekly = Schedule(every="week", at=time(9), timezone="UTC")
    monday = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert covers(weekly, monday, BERLIN) == (date(2026, 11, 16), date(2026, 11, 22))
    monthly = Schedule(every="month", at=time(9), timezone="UTC")
    assert covers(monthly, monday + timedelta(days=8), BERLIN) == (date(2026, 11, 1), date(2026, 11, 30))


def test_times_zones_and_weekdays_are_read_as_people_write_them() -> None:
    assert [read_time(word) for word in ("09:00", "9", "9am", "9:30pm", "21.30")] == [
        time(9), time(9), time(9), time(21, 30), time(21, 30),
    ]  # fmt: skip
    assert read_weekdays(["Mon", "friday", "7"]) == (1, 5, 7)
    for wrong in ("25:00", "nine", "13pm", ""):
        with pytest.raises(Refused, match="write 09:00"):
            read_time(wrong)
    with pytest.raises(Refused, match="zone: no time zone 'europe/berln': did you mean Europe/Berlin"):
        read_zone("europe/berln", "zone")
    with pytest.raises(Refused, match="such as Europe/Berlin or UTC"):
        read_zone("###")


def test_lengths_of_time_are_read_and_written_as_people_write_them() -> None:
    assert [read_minutes(word) for word in ("30m", "90 min", "2h", " 1 Day", "2 weeks")] == [30, 90, 120, 1440, 20_160]
    assert [minutes_text(minutes) for minutes in (30, 90, 120, 1440, 20_160)] == ["30m", "90m", "2h", "1d", "14d"]
    for wrong in ("", "0h", "367d", "1y", "soon"):
        with pytest.raises(Refused, match="write 30m, 2h or 1d"):
            read_minutes(wrong)
    assert read_minutes("367d", most_days=3660) == 367 * 1440
