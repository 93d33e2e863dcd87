"""An example of every kind of message, for looking at each on every channel; tests render them all."""

from datetime import UTC, date, datetime, timedelta

import msgspec

from bot.alerts.context import AlertEvent, Reading
from bot.alerts.messages import Fired, events_message, firing_message, resolved_message, storm_message
from bot.core.message import Button, Buttons, Chart, Fields, File, Message, Notice, Series, Table, Text, error
from bot.digests import message as digest
from bot.digests.message import Attention, ChangedFigure, DayFigures, DigestFacts, Movement, Pending, Usual
from storage.alerts.alert_states import History, Terms, Watch
from storage.ledger.alerts.thresholds import read_rule
from storage.ledger.reports.forecast import Accuracy, Estimate
from storage.ledger.reports.report_rows import Layers, MergedReport, ReportRow
from storage.reports.forecast import Forecast

_DAY = date(2026, 11, 21)


def _row(name: str, clicks: int, regs: int, ftds: int, euros: int | None, spend: int, **more: object) -> ReportRow:
    micros = None if euros is None else euros * 10**6
    return ReportRow(
        group={"campaign": name} if name else {}, clicks=clicks, registrations=Layers(regs, regs, regs),
        first_deposits=Layers(ftds, ftds, ftds), deposits=Layers(ftds * 2, ftds * 2, ftds * 2), commission=micros,
        spend=spend * 10**6, profit=(micros or 0) - spend * 10**6, **more,  # type: ignore[arg-type]
    )  # fmt: skip


REPORT = MergedReport(
    timezone="Europe/Berlin", currency="EUR", from_=_DAY, to=_DAY,
    names={"campaign": {"spring-fb": "Spring on Facebook", "tiktok-de": "TikTok Germany"},
           "account": {"affilka-main": "Affilka Main"}},
    rows=[
        _row("spring-fb", 1200, 60, 20, 1520, 300, settlement="settled"),
        _row("tiktok-de", 840, 31, 7, 480, 210, settlement="partial", allocated=True),
        _row("push-<b>night</b>", 310, 4, 0, None, 80),
    ],
    unassigned=[
        ReportRow(group={"account": "affilka-main", "tag": "old banner"}, commission=35_000_000, settlement="settled")
    ],
    totals=_row("", 2350, 95, 27, 2035, 590, settlement="partial", allocated=True),
)  # fmt: skip

FORECAST = Forecast(
    currency="EUR", items=[], total=Estimate(1_240_000_000, 980_000_000, 1_530_000_000, 60), missing=0,
    accuracy=Accuracy(0, 0),
)  # fmt: skip

DIGEST = DigestFacts(
    name="Sat 21 Nov", range="2026-11-21..2026-11-21", by=("campaign",), report=REPORT,
    usual=Usual(clicks=2100.0, registrations=99.0, first_deposits=22.5),
    days=tuple(
        DayFigures(
            day=_DAY - timedelta(days=29 - n), first_deposits=18 + n * 7 % 11, spend=500.0 + n * 13 % 90,
            settled=1500.0 + n * 37 % 800 if n < 28 else None, pending=620.0 if n >= 28 else None,
        )
        for n in range(30)
    ),
    top=(Movement(name="Spring on Facebook", measure="FTDs", value=20, usual=14.2),),
    bottom=(Movement(name="push-<b>night</b>", measure="Regs", value=4, usual=9.6),),
    restated=(
        ChangedFigure(day=date(2026, 11, 18), account="Affilka Main", tag="spring", measure="NGR",
                      before="€1,240.00", now="-€310.50"),
    ),
    vanished=("18 Nov Affilka Main / spring: FTDs 20 → 18",),
    pending=(Pending(account="referon", text="referon: 21 Nov, next sync 22 Nov 10:00 UTC"),),
    expected=FORECAST,
    attention=(
        Attention(level="error", text="cellxpert: sync paused: the API key was refused"),
        Attention(level="warning", text="12 unmatched postbacks: their click is unknown"),
    ),
    unmatched=12, has_accounts=True, healthy="",
    full_command="digest preview every=day day=2026-11-21 since=2026-11-21T09:00:00Z full=true",
)  # fmt: skip

FAST_LAUNCH = DigestFacts(
    name="Sat 21 Nov", range="2026-11-21..2026-11-21", by=("site",),
    report=MergedReport(
        timezone="UTC", currency="EUR", from_=_DAY, to=_DAY, unassigned=[],
        rows=[ReportRow(group={"site": "bonus-at"}, clicks=140)], totals=ReportRow(group={}, clicks=140),
    ),
    pending=(Pending(account="affilka-main", text="affilka-main: 21 Nov, next sync 22 Nov 10:00 UTC"),),
    has_accounts=True, healthy="1 account syncs well, last at 06:02 UTC",
    late="This digest was due Sun 22 Nov 09:00 (UTC) and comes late.",
)  # fmt: skip


def _watch(rule: str) -> Watch:
    return Watch(
        id=7, team_id=1, room_id=1, thread="", campaigns=("spring-fb",), history=History(), snoozed_until=None,
        terms=Terms(rule=read_rule(rule)), created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )  # fmt: skip


_WATCH = _watch("no clicks for 30m")
_SILENCE = Reading(
    subject="spring-fb", broken=True, recovered=False, text="no clicks on Spring on Facebook for 30m",
    over="clicks on Spring on Facebook again", why="stats today by source campaign=spring-fb",
    about="Spring on Facebook", measure="clicks in 30m", value="0", usual="41.3, 7-day average",
)  # fmt: skip
_NOW = datetime(2026, 11, 21, 18, 42, tzinfo=UTC)
_FIRED = Fired(watch=_WATCH, reading=_SILENCE, since=_NOW - timedelta(minutes=48), now=_NOW)
_OVER = Fired(
    watch=_WATCH, reading=msgspec.structs.replace(_SILENCE, value="", usual=""), since=_NOW - timedelta(hours=3),
    now=_NOW,
)  # fmt: skip

_LTV = ((8.25, 8.8, 8.99), (4.46, 4.87, None), (8.07, None, None))
_RETENTION = "Depositors who deposit again, by week of age"

EXAMPLES: dict[str, Message] = {
    "every block": Message(
        "Every block there is <!channel> @everyone & <i>markup</i>",
        (
            Text("A paragraph"), Text("A strong one", strong=True), Text("a code to copy", code=True),
            Fields((("Casino", "Lucky Star"), ("Account", "affilka-main"))),
            Table(("Offer", "Clicks"), (("lucky-star", "1,200"), ("spin-city", "–")), numeric=(1,)),
            Chart("Clicks", ("1 Nov", "2 Nov", "3 Nov"), (Series("Clicks", (3, None, 5)),)),
            Buttons((
                Button("Run", "stats 7d"), Button("Open", url="https://casinoflux.example.test/"),
                Button("Remove", "alert remove 7", style="danger"),
            )),
            Notice("ok", "Went well"), Notice("info", "Good to know"), Notice("warning", "Look at this"),
            Notice("error", "Failed"), File("report.csv", "day,clicks\n2026-11-21,1200\n"),
        ),
    ),
    "digest": digest.message(DIGEST),
    "digest in full": digest.message(msgspec.structs.replace(DIGEST, full_command="")),
    "digest in fast launch": digest.message(FAST_LAUNCH),
    "alert": firing_message(_FIRED),
    "alert over": resolved_message(_OVER),
    "alerts in a storm": storm_message([_FIRED] * 5),
    "first deposit": events_message(
        _watch("ftd"), [AlertEvent(key="1", text="FTD on lucky-star: €50.00", why="stats today by offer")]
    ),
    "restatements": events_message(
        _watch("restatement"),
        [AlertEvent(key=str(n), text=f"{n} Nov affilka-main / spring: FTDs restated, 20 → 18") for n in range(1, 4)],
    ),
    "cohorts": Message(
        "Cohorts by week, registered 02 Nov – 29 Nov 2026",
        (
            Chart("LTV by weeks since registration", ("1", "2", "3"),
                  tuple(Series(f"2026-W{45 + n}", values) for n, values in enumerate(_LTV)), "EUR", heat=True),
            Chart(_RETENTION, ("1", "2", "3"), (Series("Alpine <Native>", (100.0, 40.0, 0.0)),), "%", heat=True),
            Table(("Week", "Registrations", "FTDs", "LTV 30"), (("2026-W45", "54", "10", "€8.99"),), numeric=(1, 2, 3)),
        ),
    ),
    "error": error("no offer 'luky': did you mean lucky-star?", usage="offer show <offer>"),
}  # fmt: skip
