"""Evaluate an automation: whether its condition holds for each subject, and whether it is to act. Changes nothing."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from bot.automations.subjects import Subject, Subjects, applies, placement_subjects, subjects_of, subs_of
from storage.automations.automations import Armed
from storage.automations.history import Entities
from storage.ledger.automations.conditions import All, Unknown, Verdict, judge
from storage.ledger.automations.figures import Moment
from storage.ledger.automations.rules import Rule, describe_action
from storage.ledger.automations.steps import Step, SubjectState, step


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A subject that may be acted on: the verdict on it, the automation's state for it, and the next step."""

    subject: Subject
    verdict: Verdict
    before: SubjectState
    state: SubjectState
    step: Step | None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """An automation at one moment; `waits` says why subjects cannot be judged, with their names."""

    candidates: list[Candidate]
    waits: dict[Unknown, list[str]]
    subjects: Subjects


_NEW = SubjectState()


def evaluate(
    automation: Armed, rule: Rule, entities: Entities, moment: Moment, *,
    states: Mapping[str, SubjectState], acts_today: int, paused_by_automation: set[str], now: datetime,
    past: bool = False,
) -> Evaluation:  # fmt: skip
    """Judge every subject at a moment; at a `past` one, every act is taken to change something."""
    subjects = moment.kept(
        (automation.campaigns, automation.limits, describe_action(rule.action)),
        lambda: subjects_of(rule.action, automation.campaigns, entities, limits=automation.limits),
    )
    revenue = rule.condition.asks_revenue
    candidates: list[Candidate] = []
    waits: dict[Unknown, list[str]] = {}
    if rule.action.noun == "placement":
        placements = _placements(rule, entities, moment, subjects, waits)
        subjects = msgspec.structs.replace(subjects, subjects=placements)
    for name in subjects.unknown_names:
        waits.setdefault(Unknown("gone", f"{name} is not there any more"), [])
    condition = rule.condition
    whole = All((condition.holds, condition.evidence)) if condition.evidence is not None else condition.holds
    holds = moment.compiled(whole, subjects.scope, revenue)
    for subject in subjects.subjects:
        before = states.get(subject.ref, _NEW)
        if holds(subject.key) is False and not before.fired:
            continue
        verdict = judge(
            condition,
            lambda comparison, subject_=subject: moment.read(comparison, subjects.scope, subject_.key, revenue),  # type: ignore[misc]
        )
        if verdict.met is None:
            for unknown in verdict.unknown:
                waits.setdefault(unknown, []).append(subject.label)
        changes = verdict.met is True and (past or applies(rule, subject, entities, paused_by_automation))
        state, follows = step(before, verdict, applies=changes, acts_today=acts_today, terms=automation.terms, now=now)
        acts_today += follows == "act"
        if follows is not None or state != before or verdict.met is not False:
            candidates.append(Candidate(subject=subject, verdict=verdict, before=before, state=state, step=follows))
    return Evaluation(candidates=candidates, waits=waits, subjects=subjects)


def _placements(
    rule: Rule, entities: Entities, moment: Moment, subjects: Subjects, waits: dict[Unknown, list[str]]
) -> list[Subject]:
    """The placements there are figures of, once their clicks are counted."""
    subs = subs_of(rule.action, entities)
    if not subs:
        waits.setdefault(Unknown("unmeasured", "no source says which sub id names a placement: "
                                 "source edit … placement=sub1, or write block sub1"), [])  # fmt: skip
    if not subs <= moment.counted_subs:
        waits.setdefault(Unknown("pending", "clicks of placements are being counted"), [])
        return []
    windows = {comparison.window for comparison in rule.condition.comparisons if comparison.window}
    return placement_subjects(rule.action, entities, moment.subjects(subjects.scope, windows))
