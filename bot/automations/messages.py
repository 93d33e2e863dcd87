"""What automations say: what they did and why, what they would do, why they could not, and that they stopped."""

from collections.abc import Sequence

from bot.alerts.figures import number
from bot.automations.subjects import Subject
from bot.core.message import Button, Buttons, Fields, Message, Notice, Text
from bot.render.figures import length_in_words
from storage.automations.automations import Armed
from storage.ledger.alerts.comparisons import title
from storage.ledger.automations.conditions import Fact, Unknown, Verdict
from storage.ledger.automations.rules import Rule

_DONE = {
    "pause": "paused", "resume": "resumed", "weight": "changed the weight of", "cap": "set the cap of",
    "block": "blocked", "allow": "allowed", "tell": "tells of", "webhook": "called its webhook for",
}  # fmt: skip
_WEEKDAYS = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def name_of(subject: Subject) -> str:
    """`offer Lucky Star`, `Lucky Star in Spring`, `the team`."""
    return subject.label if subject.noun in {"team", "weight"} else f"{subject.noun} {subject.label}"


def window_in_words(window: str) -> str:
    """today, over 3 days, over 1 hour, since the start."""
    if window in {"today", "yesterday"}:
        return window
    if window == "start":
        return "since the start"
    return f"over {length_in_words(window)}"


def facts_in_words(facts: Sequence[Fact], currency: str) -> str:
    """`EPC €0.12 over 3 days (< €0.20), clicks 812 over 3 days (> 500)`."""
    return ", ".join(dict.fromkeys(_fact(fact, currency) for fact in facts))


def _fact(fact: Fact, currency: str) -> str:
    comparison = fact.comparison
    if comparison.measure == "weekday":
        return f"it is {_WEEKDAYS[int(fact.value or 0)]}"
    if comparison.measure == "hour":
        return f"it is {int(fact.value or 0)} o'clock"
    against = number(comparison.measure, fact.limit, currency)
    base = f", {comparison.limit:g}% of {_base(comparison.baseline)}" if comparison.baseline else ""
    value = number(comparison.measure, fact.value, currency)
    return (
        f"{title(comparison.measure)} {value} {window_in_words(comparison.window)} ({comparison.sign} {against}{base})"
    )


def _base(baseline: str) -> str:
    names = {
        "7d": "the 7-day average", "30d": "the 30-day average", "weekday": "the same-weekday average",
        "payout": "what an FTD brings", "others": "the others",
    }  # fmt: skip
    return names.get(baseline) or baseline.replace(":", " ")


def act_message(
    automation: Armed,
    rule: Rule,
    subject: Subject,
    verdict: Verdict,
    *,
    currency: str,
    audit_id: int | None,
    until: str,
) -> Message:
    """What was done (with a button that takes it back), or told."""
    kind = rule.action.kind
    head = f"🤖 {automation.name}: " if kind == "tell" else f"🤖 {automation.name} "
    did = facts_in_words(verdict.facts, currency) if kind == "tell" else f"{_DONE[kind]} {name_of(subject)}"
    text = f"{head}{name_of(subject)}: {did}" if kind == "tell" else f"{head}{did}"
    fields = [("Why", facts_in_words(verdict.facts, currency)), ("Rule", automation.terms.rule)]
    fields += [("Until", until)] if until else []
    return Message(text, (Fields(tuple(fields)), _buttons(automation, audit_id)))


def dry_message(automation: Armed, rule: Rule, subject: Subject, verdict: Verdict, *, currency: str) -> Message:
    """What it would do: a dry run changes nothing."""
    verb = {"weight": "change the weight of", "cap": "set the cap of", "tell": "tell of",
            "webhook": "call its webhook for"}.get(rule.action.kind, rule.action.kind)  # fmt: skip
    fields = (("Why", facts_in_words(verdict.facts, currency)), ("Rule", automation.terms.rule))
    arm = Button("Arm it", f"automation edit {automation.code} dry=false", style="primary")
    text = f"🤖 {automation.name} would {verb} {name_of(subject)} (dry run)"
    return Message(text, (Fields(fields), _buttons(automation, None, arm)))


def ended_message(automation: Armed, label: str, audit_id: int | None) -> Message:
    """A pause is over."""
    fields = (("Rule", automation.terms.rule),)
    return Message(f"🤖 {automation.name} resumed {label}: its pause is over", (
        Fields(fields), _buttons(automation, audit_id),
    ))  # fmt: skip


def refused_message(automation: Armed, label: str, why: str) -> Message:
    """It may not, or could not, do what it was to do."""
    text = f"🤖 {automation.name} could not act on {label}: {why}"
    return Message(text, (Fields((("Rule", automation.terms.rule),)), _buttons(automation, None)))


def waits_message(automation: Armed, unknown: Unknown, labels: Sequence[str]) -> Message:
    """It does not act, and why."""
    about = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
    title_ = f"🤖 {automation.name} does not act{f' on {about}' if about else ''}: {unknown.why}"
    note = Text("It acts on figures that are settled or counted, and on nothing else.")
    return Message(title_, (note, Fields((("Rule", automation.terms.rule),)), _buttons(automation, None)))


def stopped_message(automation: Armed, why: str) -> Message:
    """It has stopped itself."""
    buttons = Buttons((
        Button("Start it again", f"automation resume {automation.code}"),
        Button("Log", f"automation log {automation.code}"),
    ))  # fmt: skip
    notice = Notice("warning", "It does nothing until a member starts it again.")
    return Message(f"🤖 {automation.name} has stopped: {why}", (
        notice, Fields((("Rule", automation.terms.rule),)), buttons,
    ))  # fmt: skip


def _buttons(automation: Armed, audit_id: int | None, *more: Button) -> Buttons:
    undo = (Button("Undo", f"undo {audit_id}", style="primary"),) if audit_id is not None else ()
    return Buttons((
        *undo, *more, Button("Log", f"automation log {automation.code}"),
        Button("Pause this automation", f"automation pause {automation.code}"),
    ))  # fmt: skip
