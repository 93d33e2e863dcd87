from datetime import UTC, datetime, time, timedelta

from storage.ledger.alerts.alarms import Alarm, Policy, Step, acknowledge, is_quiet, overall, snooze, step

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def played(renderers: str, policy: Policy, start: datetime = NOON) -> tuple[Alarm, list[tuple[int, Step]]]:
    """x broken, o recovered, - not broken yet not recovered, ? unknown; one look a minute."""
    alarm = Alarm()
    messages: list[tuple[int, Step]] = []
    for minute, render in enumerate(renderers):
        broken = None if render == "?" else render == "x"
        alarm, message = step(alarm, broken=broken, recovered=render == "o", now=start + minute * MINUTE, policy=policy)
        if message:
            messages.append((minute, message))
    return alarm, messages


def test_an_alert_fires_once_and_resolves_once() -> None:
    _, answer = played("oxxx?x-xooo", Policy())
    assert answer == [(1, "fire"), (8, "resolve")]


def test_it_waits_as_long_as_asked_and_starts_over_after_a_break() -> None:
    _, answer = played("xxoxxxx", Policy(lasting=3 * MINUTE))
    assert answer == [(6, "fire")]


def test_after_it_resolved_it_keeps_still_for_the_cool_down() -> None:
    _, answer = played("xoxxxxxx", Policy(cooldown=5 * MINUTE))
    assert answer == [(0, "fire"), (1, "resolve"), (6, "fire")]


def test_quiet_hours_hold_it_back_until_they_end() -> None:
    policy = Policy(quiet=(time(22), time(7)), timezone="Europe/Berlin")
    assert is_quiet(datetime(2026, 11, 22, 21, 30, tzinfo=UTC), policy)
    assert not is_quiet(NOON, policy)
    _, answer = played("xxxx", policy, start=datetime(2026, 11, 22, 5, 58, tzinfo=UTC))
    assert answer == [(2, "fire")]


def test_a_snoozed_alert_tells_again_if_it_is_still_broken_after() -> None:
    alarm, _ = played("x", Policy())
    snoozed = Policy(snoozed_until=NOON + 5 * MINUTE)
    alarm = snooze(alarm)
    alarm, message = step(alarm, broken=True, recovered=False, now=NOON + 2 * MINUTE, policy=snoozed)
    assert message is None
    alarm, message = step(alarm, broken=True, recovered=False, now=NOON + 5 * MINUTE, policy=snoozed)
    assert (message, alarm.round) == ("fire", 2)


def test_an_acknowledged_alert_still_says_when_it_is_over() -> None:
    alarm, _ = played("x", Policy())
    alarm = acknowledge(alarm)
    assert overall([Alarm(), alarm]) == "acknowledged"
    assert step(alarm, broken=True, recovered=False, now=NOON + MINUTE, policy=Policy())[1] is None
    assert step(alarm, broken=False, recovered=True, now=NOON + MINUTE, policy=Policy())[1] == "resolve"
