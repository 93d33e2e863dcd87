"""Automations: each is evaluated every minute, and acts; budgets twice a second."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby

import structlog

from bot.automations.evaluation import Evaluation, evaluate
from bot.automations.runner import LEFT, LIMITED, AutomationRunner
from bot.automations.subjects import subs_of
from hub.runtime.runtime import Runtime
from storage.automations import acts, automations, placement_counts
from storage.automations.automations import Armed
from storage.automations.history import CachedDays, Entities, Loading, load_entities, load_history
from storage.catalogue.placements import NO_PLACEMENTS
from storage.ledger.automations.figures import Figures, Reach, reach_of
from storage.ledger.automations.rules import Rule, read_rule
from storage.ledger.automations.steps import may_act
from storage.ledger.dates import day_bounds

log = structlog.get_logger()

_BREATH = 20  # automations evaluated before other work of the event loop has its turn


async def tick(runtime: Runtime) -> int:
    """Evaluate every automation that is on, and end pauses whose time is over; returns how many acts were done."""
    done = await end_pauses(runtime)
    async with runtime.database.read() as tx:
        armed = await automations.all_active(tx)
    for team_id, of_team in groupby(armed, key=lambda automation: automation.team_id):
        done += await run_team(runtime, team_id, list(of_team))
    return done


async def run_team(runtime: Runtime, team_id: int, armed: Sequence[Armed]) -> int:
    """Evaluate these automations of a team, and do what follows."""
    now = runtime.clock()
    due = [(automation, rule_of(automation.terms.rule)) for automation in armed if may_act(automation.terms, now)]
    if not due:
        return 0
    deployment = runtime.deployment
    runner = AutomationRunner(runtime.database, deployment, runtime.ports, runtime.box, now)
    if not (due := await _within_rights(runner, due)):
        return 0
    async with runtime.database.read() as tx:
        entities = await load_entities(tx, team_id, runtime.state.get("automation_placements", NO_PLACEMENTS))
    runtime.state["automation_placements"] = entities.listed
    rules = [rule for _, rule in due]
    cached = runtime.state.setdefault("automation_days", {}).setdefault(team_id, CachedDays())
    subs = frozenset(sub for rule in rules for sub in subs_of(rule.action, entities))
    if subs:
        await placement_counts.count_new(runtime.database, team_id, subs, now)
    async with runtime.database.read() as tx:
        history = await load_history(tx, Loading(
            team_id=team_id, timezone=deployment.timezone, currency=deployment.currency, now=now, entities=entities,
            in_helper=runtime.ports.report_in_helper, subs=subs,
        ), _reach(rules), cached)  # fmt: skip
        midnight = day_bounds(now.astimezone(deployment.zone).date(), deployment.zone)[0]
        today = await acts.count_since(tx, team_id, midnight)
        paused = await acts.paused_by_automation(tx, team_id, _refs(entities))
    moment, done = Figures(history).at(now), 0
    for n, (automation, rule) in enumerate(due):
        if n % _BREATH == 0:
            await asyncio.sleep(0)
        try:
            evaluation = evaluate(
                automation, rule, entities, moment, states=automation.subjects,
                acts_today=today.get(automation.id, 0), paused_by_automation=paused, now=now,
            )  # fmt: skip
            done += await _follow(runner, automation, rule, evaluation, entities)
        except Exception as error:
            log.error("automation failed", automation=automation.id, error=type(error).__name__, exc_info=error)
    return done


def _reach(rules: Iterable[Rule]) -> Reach:
    """How far back, and how finely, the rules look."""
    reach = Reach()
    for rule in rules:
        reach = reach.joined(reach_of(rule.condition.comparisons))
    return reach


async def _within_rights(runner: AutomationRunner, due: list[tuple[Armed, Rule]]) -> list[tuple[Armed, Rule]]:
    """The automations within what their creators may see now; one whose creator may see nothing of it is stopped."""
    several = [automation for automation, _ in due]
    rights = await runner.database.look(lambda tx: automations.rights_of_creators(tx, several, runner.now))
    allowed = []
    for automation, rule in due:
        creator = rights[automation.id]
        within = automation.within(creator.campaigns) if creator else automation
        if creator is None or within.campaigns == ():
            await runner.stop(automation.id, LEFT if creator is None else LIMITED)
        else:
            allowed.append((within, rule))
    return allowed


@lru_cache(maxsize=5_000)
def rule_of(text: str) -> Rule:
    """A stored rule, parsed once."""
    return read_rule(text)


def _refs(entities: Entities) -> list[str]:
    return [f"{noun}:{entity}" for noun in ("offer", "campaign", "source") for entity in entities.by_noun[noun]]


async def _follow(
    runner: AutomationRunner, automation: Armed, rule: Rule, evaluation: Evaluation, entities: Entities
) -> int:
    """Act where the evaluation says so, and store the states of the subjects."""
    done = 0
    for candidate in evaluation.candidates:
        if candidate.step == "act":
            done += await runner.act(automation, rule, candidate, entities)
    others = [
        candidate
        for candidate in evaluation.candidates
        if candidate.step != "act" and candidate.state != candidate.before
    ]
    if others:
        async with runner.database.begin() as tx:
            current = await automations.lock(tx, automation.id)
            if current is not None:
                changed = {candidate.subject.ref: candidate.state for candidate in others}
                await automations.store_subjects(tx, automation.id, current.subjects | changed)
    await runner.note_waiting(automation, evaluation.waits)
    if beyond := [item.subject.label for item in evaluation.candidates if item.step == "most"]:
        await runner.note_daily_limit(automation, beyond)
    return done


async def end_pauses(runtime: Runtime) -> int:
    """Resume what automations paused until now; what was changed by hand since stays as it is."""
    now, done = runtime.clock(), 0
    async with runtime.database.read() as tx:
        due = await acts.to_lift(tx, now)
        held = {act.id: await automations.held_pause(tx, act) for act in due}
    runner = AutomationRunner(runtime.database, runtime.deployment, runtime.ports, runtime.box, now)
    for act in due:
        pause = held[act.id]
        if pause is None or not pause.codes:
            async with runtime.database.begin() as tx:
                await acts.lifted(tx, act.id, now)
            continue
        done += await runner.end_pause(pause.automation, act, noun=pause.noun, codes=pause.codes)
    return done


async def watch_budgets(runtime: Runtime) -> int:
    """Run automations that only ask what campaigns spent or got today: one over its budget is stopped at once."""
    budgets: BudgetWatch = runtime.state.setdefault("automation_budgets", BudgetWatch())
    return await budgets.run(runtime)


class BudgetWatch:
    """The automations that are budgets, read again when the configuration has changed."""

    def __init__(self) -> None:
        self._version = -1
        self._read_at: datetime | None = None
        self._armed: list[Armed] = []

    async def run(self, runtime: Runtime) -> int:
        now = runtime.clock()
        version = await runtime.database.look(automations.version)
        if version != self._version or self._read_at is None or abs(now - self._read_at) > timedelta(minutes=1):
            async with runtime.database.read() as tx:
                self._armed = [
                    automation
                    for automation in await automations.all_active(tx)
                    if is_budget(rule_of(automation.terms.rule))
                ]
            self._version, self._read_at = version, now
        done = 0
        for team_id, of_team in groupby(self._armed, key=lambda automation: automation.team_id):
            done += await run_team(runtime, team_id, list(of_team))
        return done


def is_budget(rule: Rule) -> bool:
    """Whether the rule pauses campaigns by what they spent or got today alone."""
    comparisons = rule.condition.comparisons
    return (
        rule.action.kind == "pause" and rule.action.noun == "campaign"
        and all(each.window in {"today", "start"} and not each.baseline and each.measure in {"spend", "clicks"}
                for each in comparisons)
    )  # fmt: skip
