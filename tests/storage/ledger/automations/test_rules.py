"""Rules of automations in words: read as people write them, refused with what is wrong, compared with each other."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.automations.conditions import Known, Unknown, judge, overlap, read_condition
from storage.ledger.automations.rules import describe_rule, read_rule
from storage.ledger.automations.steps import SubjectState, Terms, in_schedule, lift_at, read_schedule, step
from storage.ledger.automations.templates import TEMPLATES
from storage.ledger.errors import Refused

READ = [
    (
        "pause offer when epc < 0.20 over 3d with clicks > 500",
        "pause offer when epc < 0.2 over 3d with clicks > 500 over 3d",
    ),
    (
        "Pause offers lucky-star, 'Wild Win' when EPC below €0,20 in the last 3 days with at least clicks > 500",
        'pause offer lucky-star,"Wild Win" when epc < 0.2 over 3d with clicks > 500 over 3d',
    ),
    (
        "stop all offers of campaign spring when regs = 0 and clicks > 1,000",
        "pause offer of campaign spring when registrations = 0 today and clicks > 1000 today",
    ),
    ("pause campaign when budget 100 a day is reached", "pause campaign until midnight when spend >= 100 today"),
    ("pause campaign spring when budget of 5000 in all", "pause campaign spring when spend >= 5000 since start"),
    (
        "set the weight of offer lucky in campaign spring to 0 when cr < 50% of usual over 24h",
        "weight offer lucky of campaign spring to 0 when cr < 50% of 30d avg over 24h",
    ),
    (
        "weight offer +20% up to 50 when roi > 30% over 7d with ftd >= 5",
        "weight offer +20% up to 50 when roi > 30% over 7d with ftd >= 5 over 7d",
    ),
    ("cap offer to 50 ftds a day when ftd > 20", "cap offer to 50 first_deposits a day when ftd > 20 today"),
    ("tell when profit < 0 yesterday", "tell everything when profit < 0 yesterday"),
    ("call campaign when clicks > 3x 7d avg over 2h", "webhook campaign when clicks > 300% of 7d avg over 2h"),
    ("pause campaign for the day when spend > 20 eur", "pause campaign until midnight when spend > 20 today"),
    (
        "pause offer when epc < 50% of offer 'wild win' over 7d and not (clicks < 100 or weekday = sunday)",
        'pause offer when epc < 50% of offer "wild win" over 7d and not (clicks < 100 over 7d or weekday = 7)',
    ),
    (
        "pause offer when (ftd = 0 or epc < 0.1) and clicks > 100 over 2 weeks",
        "pause offer when (ftd = 0 over 14d or epc < 0.1 over 14d) and clicks > 100 over 14d",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said"), [*READ, *((template.rule, "") for template in TEMPLATES)])
def test_rules_are_read_as_people_write_them(typed: str, said: str) -> None:
    described = describe_rule(read_rule(typed, "EUR"))
    assert described == said or not said
    assert describe_rule(read_rule(described)) == described


@pytest.mark.parametrize(
    "typed",
    [
        "cap offer to 1234567 first_deposits a day when ftd > 20 today",
        "weight offer +12.3456789% when epc > 0.0000123 over 3d",
        "pause offer when spend > 123456789012 over 3d",
        "pause offer when profit < -12345678.123456 over 3d",
    ],
)
def test_no_digit_of_a_rule_is_lost(typed: str) -> None:
    assert describe_rule(read_rule(typed)) == typed


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("pause offer", "has no condition"),
        ("puase offer when clicks > 1", "did you mean 'pause'"),
        ("pause offr when clicks > 1", "did you mean 'offer'"),
        ("pause team when clicks > 1", "pause acts on offer"),
        ("pause offer when epcx < 1 over 3d", "did you mean 'epc'"),
        ("pause offer when epc < 1 today", "never settled"),
        ("pause offer when epc < 1 over 6h", "never settled"),
        ("pause offer when clicks < 1 over 5m", "at least an hour"),
        ("pause offer when clicks > 5 and clicks < 3 today", "can never hold"),
        ("pause offer when not (clicks > 3 or clicks <= 3)", "can never hold"),
        ("pause offer when (clicks > 5 today", "never closed"),
        ("pause offer when clicks > 5) today", "never opened"),
        ("pause offer when clicks > 5 and", "comparison is missing"),
        ("pause offer when spend > 5 USD", "reports are in EUR"),
        ("pause offer when clicks > 50% today", "percent of what"),
        ("pause offer when hour > 30", "hour 0 to 23"),
        ("cap offer when clicks > 5", "say the cap"),
        ("weight offer +5 when clicks > 5", "write a weight"),
        ("weight offer -100% when clicks > 5", "-99%"),
        ("tell offer until midnight when clicks > 1", "end by itself"),
        ("pause offer when " + " and ".join(f"clicks > {n}" for n in range(30)), "at most 20"),
    ],
)
def test_a_rule_that_cannot_be_says_what_is_wrong(typed: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        read_rule(typed, "EUR")
    assert caught.value.field == "rule"


@given(st.text(max_size=80))
def test_no_words_break_the_reader(text: str) -> None:
    for typed in (text, f"pause offer when {text}", f"weight {text} when clicks > 1 with {text}"):
        with suppress(Refused):
            said = describe_rule(read_rule(typed))
            assert describe_rule(read_rule(said)) == said


@pytest.mark.parametrize(
    ("one", "other", "both", "shared"),
    [
        ("epc < 0.20 over 3d", "epc < 0.30 over 3d", True, True),
        ("epc < 0.20 over 3d", "epc >= 0.20 over 3d", False, True),
        ("epc < 0.20 over 3d", "epc > 0.10 over 7d", True, False),
        ("clicks > 5 or ftd > 5", "clicks < 5 and ftd = 6", True, True),
        ("clicks > 5 and ftd > 5", "clicks <= 5 or ftd < 5", False, True),
        ("hour >= 22 or hour < 7", "hour >= 7 and hour < 22", False, True),
        ("not (clicks > 5)", "clicks = 5", True, True),
    ],
)
def test_conditions_that_may_hold_at_once_are_known(one: str, other: str, both: bool, shared: bool) -> None:
    assert overlap(read_condition(one), read_condition(other)) == (both, shared)
    assert overlap(read_condition(other), read_condition(one)) == (both, shared)


def test_what_is_certain_is_judged_without_the_unknown() -> None:
    figures: dict[str, Known | Unknown] = {
        "clicks": Known(10, 5),
        "epc": Unknown("pending", "figures are pending"),
        "ftd": Known(0, 1),
    }

    def met(text: str) -> bool | None:
        condition = read_condition(text)
        return judge(condition, lambda of: figures["ftd" if of.measure == "first_deposits" else of.measure]).met

    assert met("clicks > 5 over 1d and ftd < 1") is True
    assert met("clicks < 5 and epc < 1 over 1d") is False
    assert met("clicks > 5 and epc < 1 over 1d") is None
    assert met("clicks > 5 or epc < 1 over 1d") is True
    assert met("not (epc < 1 over 1d)") is None


AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MET = judge(read_condition("clicks > 5"), lambda _: Known(10, 5))
OVER = judge(read_condition("clicks > 5"), lambda _: Known(1, 5))
UNKNOWN = judge(read_condition("clicks > 5"), lambda _: Unknown("pending", "pending"))


def test_an_automation_acts_once_while_its_condition_holds_and_again_after_its_cooldown() -> None:
    terms, state = Terms(rule="", cooldown=120), SubjectState()
    did: list[str | None] = []
    for minutes, verdict in enumerate([MET, MET, UNKNOWN, MET, OVER, MET, MET]):
        state, follows = step(
            state, verdict, applies=True, acts_today=0, terms=terms, now=AT + timedelta(hours=minutes / 2)
        )
        did.append(follows)
    assert did == ["act", None, None, None, None, "act", None]
    assert state.episode == 2


def test_a_clock_set_back_repeats_nothing() -> None:
    state, follows = step(SubjectState(), MET, applies=True, acts_today=0, terms=Terms(rule=""), now=AT)
    assert follows == "act"
    earlier = AT - timedelta(hours=3)
    state, _ = step(state, OVER, applies=True, acts_today=1, terms=Terms(rule=""), now=earlier)
    _, follows = step(state, MET, applies=True, acts_today=1, terms=Terms(rule=""), now=earlier)
    assert follows == "cooldown"


def test_a_day_has_so_many_acts_and_repeating_waits_for_the_cooldown() -> None:
    terms = Terms(rule="", most=1, repeat=True, cooldown=60)
    assert step(SubjectState(), MET, applies=True, acts_today=1, terms=terms, now=AT)[1] == "most"
    fired = SubjectState(fired=True, episode=1, acted_at=AT)
    assert step(fired, MET, applies=True, acts_today=0, terms=terms, now=AT + timedelta(minutes=59))[1] is None
    assert step(fired, MET, applies=True, acts_today=0, terms=terms, now=AT + timedelta(minutes=60))[1] == "act"
    assert step(fired, MET, applies=False, acts_today=0, terms=terms, now=AT + timedelta(minutes=60))[1] is None


def test_hours_of_a_week_are_read_and_kept() -> None:
    schedule = read_schedule("mon-fri 9-18; sat 22:00-02:00")
    assert schedule == "mon,tue,wed,thu,fri 09:00-18:00; sat 22:00-02:00"
    assert read_schedule(schedule) == schedule
    monday = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert in_schedule(schedule, monday)
    assert not in_schedule(schedule, monday.replace(hour=18))
    assert in_schedule(schedule, datetime(2026, 11, 22, 1, 59, tzinfo=UTC))  # sunday, of saturday's night
    assert in_schedule(read_schedule("weekends"), datetime(2026, 11, 22, 0, tzinfo=UTC))
    for wrong in ("someday", "mon 9", "mon 25-26", ""):
        with pytest.raises(Refused, match="are no hours"):
            read_schedule(wrong)


def test_a_pause_ends_at_its_time() -> None:
    zone = ZoneInfo("Europe/Berlin")  # one hour ahead
    assert lift_at("midnight", AT, zone) == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert lift_at("07:00", AT, zone) == datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert lift_at("18:00", AT, zone) == datetime(2026, 11, 22, 17, tzinfo=UTC)
    assert lift_at("4h", AT, zone) == AT + timedelta(hours=4)
    assert lift_at("", AT, zone) is None
