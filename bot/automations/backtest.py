"""What an automation would have done in the last 30 days: evaluated at the beginning and the end of each hour."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.automations.evaluation import Candidate, evaluate
from bot.automations.messages import facts_in_words, name_of
from bot.automations.subjects import subjects_of
from storage.automations.automations import Armed
from storage.automations.history import Loading, load_history
from storage.ledger.automations.figures import Figures, Moment, Reach, Scope, reach_of
from storage.ledger.automations.rules import Rule
from storage.ledger.automations.steps import SubjectState, lift_at, may_act

DAYS = 30
_MINUTE = timedelta(minutes=1)
_SAVING = {"pause", "block"}


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """When it would have acted, on what, why, and what that would have saved (micro-units; None: not known)."""

    at: datetime
    subject: str
    why: str
    saved: int | None


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """Every act of the last 30 days, in order, and what could not be judged at its end."""

    firings: list[Firing]
    waiting: list[str]

    @property
    def saved(self) -> int | None:
        savings = [firing.saved for firing in self.firings if firing.saved is not None]
        return sum(savings) if savings else None


class _Open(msgspec.Struct):
    """An act whose condition still holds, or whose pause still lasts."""

    candidate: Candidate
    moment: Moment
    until: datetime | None


async def run_backtest(tx: AsyncConnection, automation: Armed, rule: Rule, loading: Loading) -> Backtest:
    """The automation, tried on the last 30 days with the figures as they stand today, known once they were settled."""
    needs = reach_of(rule.condition.comparisons)
    reach = Reach(days=needs.days + DAYS + 1, hours=needs.hours + 24 * (DAYS + 1), start=needs.start)
    figures = Figures(await load_history(tx, loading, reach))
    return await replay(automation, rule, loading, figures)


async def replay(automation: Armed, rule: Rule, loading: Loading, figures: Figures) -> Backtest:
    """Evaluate the automation in the last minute of each hour of the 30 days before now, and at the full hour after."""
    states: dict[str, SubjectState] = {}
    pending: dict[str, _Open] = {}
    firings: list[tuple[_Open, datetime]] = []
    waiting: list[str] = []
    today, acts_today = None, 0
    for at, full in _moments(loading.now, loading.zone):
        await asyncio.sleep(0)
        if not may_act(automation.terms, at):
            continue
        if rule.action.noun == "placement" and (at + _MINUTE).astimezone(loading.zone).hour:
            continue  # placements are counted by the day
        day = at.astimezone(loading.zone).date()
        today, acts_today = (day, 0) if day != today else (today, acts_today)
        moment = figures.at(at, past=full)
        evaluation = evaluate(
            automation, rule, loading.entities, moment, states=states, acts_today=acts_today,
            paused_by_automation=set(), now=at, past=True,
        )  # fmt: skip
        waiting = sorted(unknown.why for unknown in evaluation.waits)
        for candidate in evaluation.candidates:
            ref = candidate.subject.ref
            if candidate.before.fired and not candidate.state.fired and ref in pending:
                firings.append((pending.pop(ref), at))
            states[ref] = candidate.state
            if candidate.step == "act":
                acts_today += 1
                if ref in pending:
                    firings.append((pending.pop(ref), at))
                pending[ref] = _Open(candidate, moment, lift_at(rule.action.until, at, loading.zone))
    firings += [(still, loading.now) for still in pending.values()]
    firings = sorted(firings, key=lambda firing: firing[0].moment.now)
    scope = subjects_of(rule.action, automation.campaigns, loading.entities, limits=automation.limits).scope
    return Backtest(
        firings=[_firing(opened, end, rule, scope, loading.currency) for opened, end in firings], waiting=waiting
    )


def _moments(now: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, bool]]:
    """The last minute of each hour of report time, in which all of the hour is known, and the full hour after it, which
    begins with nothing; what happens within an hour is thus seen at its end, before a day is over."""
    last = now.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    for n in range(DAYS * 24, -1, -1):
        full_hour = last - timedelta(hours=n)
        yield full_hour - _MINUTE, False
        yield full_hour, True


def _firing(opened: _Open, end: datetime, rule: Rule, scope: Scope, currency: str) -> Firing:
    saved = None
    stops = rule.action.kind in _SAVING or (rule.action.kind == "weight" and not rule.action.amount)
    if stops:
        until = min(end, opened.until) if opened.until else end
        spend, commission = opened.moment.spend_after(scope, opened.candidate.subject.key, until)
        saved = spend - (commission or 0)
    return Firing(
        at=opened.moment.now, subject=name_of(opened.candidate.subject), saved=saved,
        why=facts_in_words(opened.candidate.verdict.facts, currency),
    )  # fmt: skip
