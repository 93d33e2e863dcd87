"""Automations: arm a rule that acts by itself, try it on the last 30 days, see what it did, stop it."""

from typing import Annotated, Any

import msgspec

from bot.automations.backtest import Backtest, Firing, run_backtest
from bot.automations.evaluation import evaluate
from bot.automations.messages import facts_in_words
from bot.automations.subjects import subs_of
from bot.commands.digests import room_with_title
from bot.core.arguments import Arguments, MissingArgument, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope, of_own_campaigns
from bot.forms.automation_rule import (
    AutomationEdit,
    Force,
    NewRule,
    Sentence,
    check_url,
    contradictions,
    edited_terms,
    named_template,
    resolve_entities,
    terms_of,
    written_rule,
)
from bot.render.figures import money, plural
from storage.automations import acts, automations, placement_counts
from storage.automations.acts import LoggedAct
from storage.automations.automations import Armed, Automation, NewAutomation
from storage.automations.history import Loading, load_entities, load_history
from storage.catalogue.entities import cursor, page
from storage.chat import channels
from storage.ledger.automations.figures import Figures, reach_of
from storage.ledger.automations.rules import Rule, describe_rule, read_rule
from storage.ledger.automations.steps import SubjectState, Terms
from storage.ledger.automations.templates import TEMPLATES, Template
from storage.ledger.facts import Role
from storage.ledger.outbound.webhooks import check_secret, new_secret
from storage.tables import automations as table


class OneAutomation(Arguments):
    automation: Annotated[str, refers("automation", "which automation, such as automation-7")]


class Resumed(OneAutomation):
    force: Force = False


class TestArguments(Arguments):
    automation: Annotated[str | None, refers("automation", "one that is armed; or a rule", changes=False)] = None
    rule: Sentence = None


class Log(Listing):
    automation: Annotated[str | None, refers("automation", "only this one's", changes=False)] = None


class SubjectVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a subject stands now: `met` is null while it cannot be said, for the reason in `why`."""

    subject: str
    met: bool | None
    why: str


class AutomationTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule would have done in the last 30 days, with what that would have saved, and how it stands now."""

    rule: str
    days: int
    firings: list[Firing]
    would_have_saved: int | None
    currency: str
    now: list[SubjectVerdict]


def automation_card(ctx: Context, automation: Automation) -> Message:
    fields = [
        ("Rule", automation.rule), ("Room", automation.room), ("Cooldown", automation.cooldown),
        ("Most a day", f"{automation.most:,}"),
    ]  # fmt: skip
    fields += [("Dry run", "only reports what it would do")] if automation.dry else []
    hours = (("Quiet hours", automation.quiet), ("Acts in", automation.schedule))
    fields += [(label, f"{text} {automation.timezone}") for label, text in hours if text]
    fields += [("Webhook", automation.url)] if automation.url else []
    fields += [("Signing secret", automation.webhook_secret)] if automation.webhook_secret else []
    fields += [("Acts so far", f"{automation.acts:,}")] if automation.acts is not None else []
    if automation.would_have_acted is not None:
        fields.append(("Last 30 days", _history(ctx, automation)))
    notices = [Notice("warning", text) for text in automation.warnings]
    notices += [Notice("warning", f"It has stopped: {automation.stopped_why}")] if automation.stopped_why else []
    notices += [Notice("info", f"It waits: {why}") for why in automation.waiting]
    other = "pause" if automation.status == "active" else "resume"
    buttons = Buttons((
        Button("Test", f"automation test {automation.code}"), Button("Log", f"automation log {automation.code}"),
        Button(other.capitalize(), f"automation {other} {automation.code}"),
        Button("Remove", f"automation remove {automation.code}", style="danger"),
    ))  # fmt: skip
    title = f"Automation {automation.name} ({automation.code}) · {automation.status}"
    return Message(title, (Fields(tuple(fields)), *notices, buttons))


def _history(ctx: Context, automation: Automation) -> str:
    times = automation.would_have_acted or 0
    text = f"would have acted {plural(times, 'time')} in 30 days"
    days = automation.would_have_acted_on or []
    text += f": {', '.join(days[:10])}" + (" …" if len(days) > 10 else "") if days else ""
    saved = automation.would_have_saved
    return text + (f"; saved {money(saved, ctx.deployment.currency)}" if saved is not None else "")


def automation_table(ctx: Context, listing: Page[Automation]) -> Message:
    if not listing.items:
        start = Buttons((Button("Templates", "automation templates"),))
        return Message('No automations yet: automation add "pause offer when epc < 0.20 over 3d with clicks > 500"',
                       (start,), private=True)  # fmt: skip
    rows = tuple(
        (
            automation.code,
            automation.name,
            automation.rule,
            automation.room,
            automation.status + (" (dry)" if automation.dry else ""),
        )
        for automation in listing.items
    )
    more = (Buttons((Button("More", f"automation list after={listing.next}"),)),) if listing.next else ()
    columns = ("Automation", "Name", "Rule", "Room", "Status")
    return Message("Automations", (Table(columns, rows, phone=(0, 1, 4)), *more), private=True)


def removed_card(_ctx: Context, automation: Automation) -> Message:
    return Message(f"Automation {automation.name} ({automation.code}) removed: {automation.rule}")


def test_card(ctx: Context, test: AutomationTest) -> Message:
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{firing.at.astimezone(zone):%d %b %H:%M}", firing.subject, firing.why, money(firing.saved, test.currency))
        for firing in test.firings[-40:]
    )
    title = f"Would have acted {plural(len(test.firings), 'time')} in {test.days} days"
    title += f", saving {money(test.would_have_saved, test.currency)}" if test.would_have_saved is not None else ""
    blocks: list[Any] = [Text(test.rule, code=True)]
    if rows:
        blocks.append(Table(("When", "What", "Why", "Saved"), rows, numeric=(3,), more=len(test.firings) - len(rows)))
    standing = [firing for firing in test.now if firing.met is not False]
    lines = [
        f"{firing.subject}: {'holds now' if firing.met else 'cannot be judged'} ({firing.why})"
        for firing in standing[:15]
    ]
    if lines:
        blocks.append(Text("\n".join(lines)))
    return Message(title, tuple(blocks), private=True)


def log_table(ctx: Context, listing: Page[LoggedAct]) -> Message:
    if not listing.items:
        return Message("No automation has done anything yet", private=True)
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{act.at.astimezone(zone):%d %b %H:%M}", act.automation_name, _outcome(act), act.label, act.why)
        for act in listing.items
    )
    more = (Buttons((Button("More", f"automation log after={listing.next}"),)),) if listing.next else ()
    columns = ("When", "Automation", "What", "On", "Why")
    return Message("What automations did", (Table(columns, rows, phone=(0, 2, 3)), *more), private=True)


def _outcome(act: LoggedAct) -> str:
    if act.outcome == "done":
        return act.action
    if act.outcome == "told" and act.delivery:
        return f"webhook, {act.delivery}"
    return {"dry": f"would {act.action}", "ended": "pause ended"}.get(act.outcome, act.outcome)


def template_table(_ctx: Context, listing: Page[Template]) -> Message:
    rows = tuple(
        (str(n), template.name, template.title, template.rule, template.why)
        for n, template in enumerate(listing.items, 1)
    )
    use = Text('Use one: automation add template=3 campaign=… · change its numbers: automation edit … rule="…"')
    table_ = Table(("No", "Name", "For", "Rule", "Why these numbers"), rows, phone=(0, 1, 2))
    return Message("Templates of automations", (table_, use), private=True)


@command(
    "automation add", role=Role.BUYER, scope=Scope.OWN, render=automation_card, positional=("rule",), sentence="rule",
    prepare=room_with_title,
)  # fmt: skip
async def add_automation(ctx: Context, new: NewRule) -> Automation:
    """Arm an automation, and say what it would have done in the last 30 days."""
    template = named_template(new.template) if new.template else None
    rule = await resolve_entities(ctx, written_rule(new, template, ctx.deployment.currency), new)
    terms = terms_of(ctx, new, rule, template)
    warnings = await contradictions(ctx, rule, force=new.force)
    channel: channels.Channel = ctx.prepared
    opened = check_secret(new.webhook_secret) if new.webhook_secret else new_secret() if terms.url else None
    made = await automations.add(ctx.tx, ctx.now, NewAutomation(
        team_id=ctx.team_id, name=(new.name or (template.title if template else describe_rule(rule)))[:100],
        room_id=await channels.room_of(ctx.tx, ctx.team_id, channel, ctx.now), thread=channel.thread, terms=terms,
        campaigns=_campaigns_of(ctx, rule), **_creator(ctx),
        webhook_secret=ctx.box.seal({"webhook_secret": opened}) if opened else None,
    ))  # fmt: skip
    row = await automations.find(ctx.tx, ctx.team_id, str(made))
    past = await _backtest(ctx, automations.read_armed(row).within(ctx.actor.campaigns), rule)
    if past is None:
        warnings.append("clicks of placements are counted from now on: automation test tells in some minutes")
    if rule.action.kind == "allow":
        warnings.append("the first placement on an allow list blocks all others of the same source or campaign")
    automation = _with_past(ctx, msgspec.structs.replace(_shown(row), warnings=warnings), past)
    ctx.notes |= {"entity": "automation", "entity_id": automation.id, "after": automation}
    return msgspec.structs.replace(automation, webhook_secret=opened) if not new.webhook_secret else automation


@command("automation list", role=Role.VIEWER, scope=Scope.OWN, render=automation_table, reads=True)
async def list_automations(ctx: Context, new: Listing) -> Page[Automation]:
    """The automations armed, and how each stands."""
    rows, following = await page(ctx.tx, automations.of_team(ctx.team_id), table.c.id, limit=new.limit, after=new.after)
    return Page([_shown(row) for row in rows if of_own_campaigns(ctx.actor, row.campaigns)], following)


@command("automation show", role=Role.VIEWER, render=automation_card, reads=True, positional=("automation",))
async def show_automation(ctx: Context, new: OneAutomation) -> Automation:
    """One automation: its rule, its guard rails, what it waits for, how often it acted."""
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    return msgspec.structs.replace(_shown(row), acts=await acts.count_of(ctx.tx, row.id))


@command("automation edit", role=Role.BUYER, render=automation_card, positional=("automation",))
async def edit_automation(ctx: Context, new: AutomationEdit) -> Automation:
    """Change an automation; what is not named stays."""
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    before, current = _shown(row), automations.read_armed(row)
    rule = (
        await resolve_entities(ctx, read_rule(new.rule, ctx.deployment.currency), None)
        if new.rule
        else read_rule(current.terms.rule)
    )
    warnings = await contradictions(ctx, rule, force=new.force, but=row.id) if new.rule else []
    values = {"rule": describe_rule(rule), **edited_terms(new)}
    terms = msgspec.structs.replace(current.terms, **values)
    check_url(rule, terms.url)
    if terms == current.terms and not new.name:
        raise MissingArgument("nothing to change: name a field, e.g. cooldown=2d", field="automation")
    creator = _creator(ctx)  # it acts with the rights of whoever changed it last
    columns: dict[str, Any] = {
        **creator, "role": creator["role"].value, "terms": msgspec.to_builtins(terms), "name": new.name or row.name
    }  # fmt: skip
    if new.rule:
        codes = _campaigns_of(ctx, rule)
        columns["campaigns"] = None if codes is None else list(codes)
    if terms.rule != current.terms.rule or terms.dry != current.terms.dry:
        kept = {
            ref: SubjectState(episode=state.episode, acted_at=state.acted_at) for ref, state in current.subjects.items()
        }
        columns["subjects"] = msgspec.to_builtins(kept)
    if terms.url and not row.webhook_secret:
        columns["webhook_secret"] = ctx.box.seal({"webhook_secret": (opened := new_secret())})
    else:
        opened = None
    await automations.change(ctx.tx, row.id, **columns)
    automation = await _noted(ctx, row.id, before)
    return msgspec.structs.replace(automation, warnings=warnings, webhook_secret=opened)


@command("automation pause", role=Role.BUYER, render=automation_card, positional=("automation",))
async def pause_automation(ctx: Context, new: OneAutomation) -> Automation:
    """Keep an automation from acting; what it paused stays paused, or until its time is over."""
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    ctx.unchanged = row.status == "paused"
    await automations.change(ctx.tx, row.id, status="paused", stopped_why=None)
    return await _noted(ctx, row.id, _shown(row))


@command("automation resume", role=Role.BUYER, render=automation_card, positional=("automation",))
async def resume_automation(ctx: Context, new: Resumed) -> Automation:
    """Let a paused or stopped automation act again."""
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    armed = automations.read_armed(row)
    ctx.unchanged = row.status == "active"
    columns: dict[str, Any] = {"status": "active", "stopped_why": None}
    if not ctx.unchanged:
        rule = read_rule(armed.terms.rule)
        await contradictions(ctx, rule, force=new.force or row.status == "stopped", but=row.id)
        # With the rights of whoever starts it, where its creator has none any more, or a limited member starts it.
        if ctx.actor.campaigns is not None or await automations.creator_rights(ctx.tx, armed, ctx.now) is None:
            creator = _creator(ctx)
            columns |= {**creator, "role": creator["role"].value}
    await automations.change(ctx.tx, row.id, **columns)
    return await _noted(ctx, row.id, _shown(row))


async def _lost(ctx: Context, new: OneAutomation) -> str:
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    return f"{row.name} acts no more; what it paused stays paused, or until its time is over."


@command("automation remove", role=Role.BUYER, render=removed_card, positional=("automation",), confirm=_lost)
async def remove_automation(ctx: Context, new: OneAutomation) -> Automation:
    """Disarm an automation for good."""
    row = await automations.find(ctx.tx, ctx.team_id, new.automation)
    automation = _shown(row)
    await automations.change(ctx.tx, row.id, status="paused", removed_at=ctx.now)
    ctx.notes |= {"entity": "automation", "entity_id": automation.id, "before": automation}
    return automation


@command(
    "automation test", role=Role.VIEWER, scope=Scope.OWN, render=test_card, reads=True, positional=("automation",),
    sentence="automation",
)  # fmt: skip
async def test_automation(ctx: Context, new: TestArguments) -> AutomationTest:
    """Try an automation, or a rule, on the last 30 days: every act with its moment, its reason and what it saves."""
    if bool(new.automation) == bool(new.rule):
        raise MissingArgument("automation: which one, or rule=… to try one", field="automation")
    if new.automation:
        armed = automations.read_armed(await automations.find(ctx.tx, ctx.team_id, new.automation))
        automation, rule = armed.within(ctx.actor.campaigns), read_rule(armed.terms.rule)
    else:
        rule = await resolve_entities(ctx, read_rule(new.rule or "", ctx.deployment.currency), None)
        automation = _unsaved(ctx, rule)
    loading = await _loading(ctx, rule)
    past = await run_backtest(ctx.tx, automation, rule, loading)
    history = await load_history(ctx.tx, loading, reach_of(rule.condition.comparisons))
    evaluation = evaluate(
        automation, rule, loading.entities, Figures(history).at(ctx.now), states={}, acts_today=0,
        paused_by_automation=set(), now=ctx.now, past=True,
    )  # fmt: skip
    now = [
        SubjectVerdict(
            subject=candidate.subject.label, met=candidate.verdict.met,
            why="; ".join(unknown.why for unknown in candidate.verdict.unknown) if candidate.verdict.met is None
            else facts_in_words(candidate.verdict.facts, ctx.deployment.currency),
        )
        for candidate in evaluation.candidates
    ]  # fmt: skip
    return AutomationTest(
        rule=describe_rule(rule), days=30, firings=past.firings, would_have_saved=past.saved,
        currency=ctx.deployment.currency, now=now,
    )  # fmt: skip


@command("automation log", role=Role.VIEWER, scope=Scope.OWN, render=log_table, reads=True, positional=("automation",))
async def log_automations(ctx: Context, new: Log) -> Page[LoggedAct]:
    """What automations did, would have done or could not do, latest first, and why."""
    number = (await automations.find(ctx.tx, ctx.team_id, new.automation)).id if new.automation else None
    rows = await acts.log(ctx.tx, ctx.team_id, automation_id=number, limit=new.limit + 1, after=cursor(new.after))
    shown = rows[: new.limit]
    following = str(shown[-1].act.id) if len(rows) > new.limit else None
    visible = [act for act in shown if of_own_campaigns(ctx.actor, act.campaigns)]
    return Page([_without_foreign_figures(ctx, act) for act in visible], following)


def _without_foreign_figures(ctx: Context, logged: acts.Logged) -> LoggedAct:
    """The act without its reason where that may hold figures of campaigns that the reader may not see: the automation
    of an unlimited member may compare with them."""
    if ctx.actor.campaigns is None or logged.creator_is_limited:
        return logged.act
    comparisons = read_rule(logged.rule).condition.comparisons
    if not any(comparison.baseline == "payout" or ":" in comparison.baseline for comparison in comparisons):
        return logged.act
    return msgspec.structs.replace(logged.act, why="it compares with figures of other campaigns")


@command("automation templates", role=Role.VIEWER, scope=Scope.OPEN, render=template_table, reads=True)
async def list_templates(ctx: Context, new: Listing) -> Page[Template]:
    """The ten usual automations, with their numbers and the reason for each."""
    return Page(list(TEMPLATES[: new.limit]), None)


def _creator(ctx: Context) -> dict[str, Any]:
    """The columns that say with whose rights an automation acts."""
    actor = ctx.actor
    return {
        "role": actor.role, "member_id": actor.member_id, "token_id": actor.token_id, "made_by": actor.name,
    }  # fmt: skip


def _campaigns_of(ctx: Context, rule: Rule) -> tuple[str, ...] | None:
    """The campaigns that an automation is about: those it names, else those its maker is limited to."""
    action = rule.action
    named = action.names if action.noun == "campaign" else action.filters.get("campaign", ())
    return named or ctx.actor.campaigns


def _shown(row: Any) -> Automation:
    action = read_rule(row.terms["rule"]).action
    return automations.read_automation(row, action=action.kind, on=action.noun)


async def _noted(ctx: Context, automation_id: int, before: Automation) -> Automation:
    automation = _shown(await automations.find(ctx.tx, ctx.team_id, str(automation_id)))
    ctx.notes |= {"entity": "automation", "entity_id": automation.id, "before": before, "after": automation}
    return automation


async def _loading(ctx: Context, rule: Rule) -> Loading:
    entities = await load_entities(ctx.tx, ctx.team_id)
    return Loading(
        team_id=ctx.team_id, timezone=ctx.deployment.timezone, currency=ctx.deployment.currency, now=ctx.now,
        entities=entities, in_helper=ctx.ports.report_in_helper, subs=subs_of(rule.action, entities),
    )  # fmt: skip


def _with_past(ctx: Context, automation: Automation, past: Backtest | None) -> Automation:
    """The automation with what it would have done; without, where that is not counted yet."""
    if past is None:
        return automation
    days = {firing.at.astimezone(ctx.deployment.zone).date().isoformat() for firing in past.firings}
    return msgspec.structs.replace(
        automation, would_have_acted=len(past.firings), would_have_saved=past.saved, would_have_acted_on=sorted(days)
    )


async def _backtest(ctx: Context, automation: Armed, rule: Rule) -> Backtest | None:
    """What it would have done; None for placements whose clicks are not counted yet."""
    loading = await _loading(ctx, rule)
    if not loading.subs <= await placement_counts.ready(ctx.tx, ctx.team_id, ctx.now):
        return None
    return await run_backtest(ctx.tx, automation, rule, loading)


def _unsaved(ctx: Context, rule: Rule) -> Armed:
    """An automation that is only tried."""
    return Armed(
        id=0, team_id=ctx.team_id, name="", room_id=0, thread="", campaigns=ctx.actor.campaigns,
        limits=ctx.actor.campaigns, status="active",
        terms=Terms(rule=describe_rule(rule), timezone=ctx.deployment.timezone), role=ctx.actor.role, member_id=None,
        token_id=None, subjects={}, waiting=(), created_at=ctx.now,
    )  # fmt: skip
