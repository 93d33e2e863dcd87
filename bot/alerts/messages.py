"""Messages of alerts: one that fires, that is over, events, many at once, and a report held as suspect."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select

from bot.alerts.context import AlertEvent, Reading
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.render import terminal
from bot.render.figures import before_and_now, measure_name, plural
from storage.alerts import attention
from storage.alerts.alert_states import Watch
from storage.chat import messages
from storage.db.engine import Database
from storage.ledger.alerts.thresholds import describe
from storage.ledger.errors import CasinoFluxError
from storage.ledger.schedule import minutes_text
from storage.outbound import webhooks
from storage.outbound.webhooks import Announcement
from storage.revenue.held_reports import HeldInHelper, HeldReports, held_reports, suspects
from storage.tables import accounts

MOST_LINES = 15


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and the subject it fires for (or fired for): since when, and the moment of the message."""

    watch: Watch
    reading: Reading
    since: datetime | None
    now: datetime
    zone: ZoneInfo = ZoneInfo("UTC")

    @property
    def began(self) -> datetime:
        return self.reading.since or self.since or self.now


def firing_message(fired: Fired) -> Message:
    """The alert: what is watched, its value, the usual one, since when; its title is the push notification."""
    reading, rule = fired.reading, describe(fired.watch.rule)
    began = fired.began.astimezone(fired.zone)
    fields = _level_fields(reading)
    fields.append(("Since", f"{began:%d %b %H:%M} {began:%Z} ({duration(fired.now - fired.began)})"))
    lasting = f", lasting over {minutes_text(fired.watch.rule.for_minutes)}" if fired.watch.rule.for_minutes else ""
    fields.append(("Rule", rule + lasting))
    return Message(f"🔴 {reading.text}", (Fields(tuple(fields)), _buttons(fired.watch, reading.why, reading.buttons)))


def resolved_message(fired: Fired) -> Message:
    """That it is over: the value now, the usual one, how long it lasted."""
    fields = [*_level_fields(fired.reading), ("Lasted", duration(fired.now - (fired.since or fired.now)))]
    return Message(f"🟢 Over: {fired.reading.over}", (Fields(tuple(fields)),))


def _level_fields(reading: Reading) -> list[tuple[str, str]]:
    about = [(reading.noun, reading.about or "all campaigns")]
    value = [("Now", f"{reading.measure}: {reading.value}")] if reading.value else []
    return [*about, *value, *([("Usual", reading.usual)] if reading.usual else [])]


def duration(span: timedelta) -> str:
    """2 days 3 h, 2 h 10 min, 45 min, under a minute."""
    minutes = max(int(span.total_seconds() // 60), 0)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return plural(days, "day") + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{minutes} min" if minutes else "under a minute"


def events_message(watch: Watch, news: Sequence[AlertEvent]) -> Message:
    """Happenings of one alert; a single one is its own title."""
    if len(news) == 1:
        return Message(f"🔔 {news[0].text}", (_buttons(watch, news[0].why),))
    lines = [f"• {event.text}" for event in news[:MOST_LINES]]
    lines += [f"• and {len(news) - MOST_LINES} more"] if len(news) > MOST_LINES else []
    title = f"🔔 {len(news)} × {describe(watch.rule)}"
    return Message(title, (Text("\n".join(lines)), _buttons(watch, news[0].why)))


def storm_message(several: Sequence[Fired]) -> Message:
    """Many alerts of one moment as one message."""
    shown = several[:MOST_LINES]
    rows = tuple(
        (
            fired.reading.about or "all campaigns", fired.reading.measure, fired.reading.value or fired.reading.text,
            fired.reading.usual.partition(",")[0] or "–", duration(fired.now - fired.began), f"alert-{fired.watch.id}",
        )
        for fired in shown
    )  # fmt: skip
    columns = ("Name", "What", "Now", "Usual", "For", "Alert")
    more = len(several) - len(shown)
    blocks: list[Block] = [Table(columns, rows, phone=(0, 1, 2, 3, 4), more=more, rest="alert list has them all")]
    blocks.append(Buttons((Button("All alerts", "alert list"), Button("Snooze all 1h", "alert mute 1h"))))
    return Message(f"🔴 {len(several)} alerts: {several[0].reading.text} …", tuple(blocks))


def _buttons(watch: Watch, why: str, decisions: tuple[Button, ...] = ()) -> Buttons:
    code = f"alert-{watch.id}"
    buttons = (*decisions, Button("Ack", f"alert ack {code}"), Button("Snooze 1h", f"alert snooze {code} 1h"))
    return Buttons((*buttons, Button("Why", why)) if why else buttons)


SHOWN = 20


async def queue_held_message(
    database: Database, team_id: int, account_id: int, *, now: datetime, in_helper: HeldInHelper
) -> None:
    """Queue the news for every room with a digest or a sync alert on the account, and for the team's webhooks.

    The sums are left out where comparing fails or takes too long.
    """
    async with database.read() as tx:
        rooms = await attention.rooms_with_sync_alerts(tx, team_id, account_id)
        account = (await tx.execute(select(accounts).where(accounts.c.id == account_id))).one()
        held = await suspects(tx, account_id)
        listening = await webhooks.listening_to(tx, team_id, "held_report", None, now)
        if not held or not (rooms or listening):
            return
        try:
            message = held_message(await held_reports(tx, account_id, in_helper), account.name)
        except CasinoFluxError:
            message = Message(f"🔴 A report of {account.name} is held", (decision_buttons(account.code),))
    data = {
        "account": {"code": account.code, "name": account.name}, "report": held[-1].id, "title": message.title,
        "text": terminal.render(message),
    }  # fmt: skip
    news = Announcement(team_id=team_id, event="held_report", type="report.held", key=f"held_{held[-1].id}", data=data)
    async with database.begin() as tx:
        await webhooks.notify(tx, listening, [news], now)
        for room_id, thread in rooms:
            key = f"held:{held[-1].id}:{room_id}:{thread}"
            await messages.queue(tx, team_id=team_id, room_id=room_id, thread=thread, key=key, message=message, now=now)


def held_message(held: HeldReports, account: str) -> Message:
    """The news of it, with buttons; `account` is the account's name."""
    reasons = "; ".join(dict.fromkeys(report.reason for report in held.reports))
    return Message(f"🔴 A report of {account} is held: {reasons}", (*summary(held), decision_buttons(held.account)))


def decision_buttons(account: str) -> Buttons:
    return Buttons((
        Button("Confirm", f"sync confirm {account}", style="primary"),
        Button("Discard", f"sync discard {account}", style="danger"),
        Button("Show rows", f"sync show {account}"),
    ))  # fmt: skip


def summary(held: HeldReports) -> tuple[Block, ...]:
    """Which days are held, how many rows would change, and the sums before and after."""
    lines = [
        f"{report.first} to {report.last}: {rows_in_words(report.changed, report.new, report.gone)}"
        for report in held.reports
    ]
    rows = tuple(
        (measure_name(total.measure), *before_and_now(total)) for total in held.totals if total.before != total.now
    )
    note = Text("\n".join((*lines, "Nothing of it is merged until a member confirms it.")))
    return (note, Table(("Measure", "Stands", "Held report"), rows, numeric=(1, 2))) if rows else (note,)


def rows_in_words(changed: int, new: int, withdrawn: int) -> str:
    """12 rows would change, 1 is new, 3 would be withdrawn."""
    parts = [
        f"{plural(number, 'row')} {what}"
        for number, what in ((changed, "would change"), (new, "would be added"), (withdrawn, "would be withdrawn"))
        if number
    ]
    return ", ".join(parts) or "no row would change"


def consequence(held: HeldReports) -> str:
    """What confirming changes, in a sentence."""
    count_of = (sum(getattr(report, name) for report in held.reports) for name in ("changed", "new", "gone"))
    sums = [
        f"{measure_name(total.measure)} {' → '.join(before_and_now(total))}"
        for total in held.totals
        if total.before != total.now
    ]
    rows = rows_in_words(*count_of)
    return f"{held.account}: {rows}" + (f"; {', '.join(sums)}" if sums else "")


def held_rows(held: HeldReports, account: str, *, more: bool) -> Message:
    """The rows of held reports, figure by figure; `account` is the account's name."""
    rows = tuple(
        (f"{figure.day}", figure.tag_name or figure.tag or "no tag", figure.sub or figure.part,
         measure_name(figure.measure), *before_and_now(figure))
        for figure in held.figures[:SHOWN]
    )  # fmt: skip
    blocks: list[Block] = [Notice("warning", report.reason) for report in held.reports]
    blocks += summary(held)
    blocks.append(
        Table(("Day", "Segment", "Sub id", "Measure", "Was", "Would be"), rows, numeric=(4, 5), phone=(0, 1, 3, 4, 5))
    )
    if more or len(held.figures) > SHOWN:
        blocks.append(Text("There are more: limit=… and after=… page through them over HTTP or in the shell."))
    blocks.append(decision_buttons(held.account))
    return Message(f"Held report of {account}", tuple(blocks), private=True)
