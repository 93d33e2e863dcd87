"""What an alert says: that it fires, what happened, that it is over; many at once are one message."""

from collections.abc import Sequence

import msgspec

from bot.alerts.context import AlertEvent, Reading
from bot.core.message import Block, Button, Buttons, Fields, Message, Table, Text
from storage.alerts.alert_states import Watch
from storage.ledger.alerts.thresholds import describe, length

MOST_LINES = 15


class Fired(msgspec.Struct, frozen=True):
    """An alert and the subject it fires for."""

    watch: Watch
    reading: Reading


def firing_message(fired: Fired) -> Message:
    """The alert; its title is the push notification."""
    watch = fired.watch
    fields = [("Rule", describe(watch.rule))]
    if watch.campaigns:
        fields.append(("Campaigns", ", ".join(watch.campaigns)))
    if watch.rule.for_minutes:
        fields.append(("Lasting", f"over {length(watch.rule.for_minutes)}"))
    return Message(
        f"🔴 {fired.reading.text}", (Fields(tuple(fields)), _buttons(watch, fired.reading.why, fired.reading.buttons))
    )


def over_message(fired: Fired) -> Message:
    return Message(f"🟢 Over: {fired.reading.over}")


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
    rows = tuple((f"alert-{fired.watch.id}", fired.reading.text) for fired in shown)
    blocks: list[Block] = [Table(("Alert", "What"), rows)]
    if len(several) > len(shown):
        blocks.append(Text(f"and {len(several) - len(shown)} more: alert list"))
    blocks.append(Buttons((Button("All alerts", "alert list"), Button("Snooze all 1h", "alert mute 1h"))))
    return Message(f"🔴 {len(several)} alerts: {several[0].reading.text} …", tuple(blocks))


def _buttons(watch: Watch, why: str, decisions: tuple[Button, ...] = ()) -> Buttons:
    code = f"alert-{watch.id}"
    buttons = (*decisions, Button("Ack", f"alert ack {code}"), Button("Snooze 1h", f"alert snooze {code} 1h"))
    return Buttons((*buttons, Button("Why", why)) if why else buttons)
