"""Automations: arm a rule that acts by itself, try it on the last 30 days, see what it did, stop it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.automations.backtest import Backtest, Firing, run_backtest
from bot.automations.evaluation import evaluate
from bot.automations.messages import facts_in_words
from bot.automations.subjects import subs_of
from bot.commands.alerts import quiet_hours
from bot.commands.digests import room_with_title
from bot.core import permissions
from bot.core.arguments import EMPTIES, NONE, Arguments, MissingArgument, choices, refers, secret
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope, of_own_campaigns
from bot.render.figures import money, plural
from storage.automations import acts, automations, placement_counts
from storage.automations.acts import LoggedAct
from storage.automations.automations import Armed, Automation, NewAutomation
from storage.automations.history import Loading, load_entities, load_history
from storage.catalogue.entities import cursor, page
from storage.chat import channels
from storage.ledger.addresses import web_address
from storage.ledger.alerts.comparisons import Comparison, read_minutes
from storage.ledger.automations.conditions import Condition, Node, Not, overlap
from storage.ledger.automations.figures import Figures, reach_of
from storage.ledger.automations.placements import check_placement_rule
from storage.ledger.automations.rules import FILTERS, OPPOSITE, Action, Rule, describe_rule, read_rule
from storage.ledger.automations.steps import SubjectState, Terms, read_schedule
from storage.ledger.automations.templates import TEMPLATES, Template
from storage.ledger.automations.webhooks import check_secret, new_secret
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.ledger.schedule import read_zone
from storage.tables import automations as table

ACTIONS = ("pause", "resume", "weight", "cap", "block", "allow", "tell", "webhook")
ON = ("offer", "campaign", "source", "placement", "team")
MOST_A_DAY = 1_000

Sentence = Annotated[
    str | None, Meta(description='"pause offer when epc < 0.20 over 3d with clicks > 500"; or action, on and when')
]
Name = Annotated[str, Meta(description="what the team calls it", max_length=100)]
When = Annotated[str | None, Meta(description="the condition: epc < 0.20 over 3d and clicks > 500 today")]
With = Annotated[str | None, Meta(description="the least evidence: clicks > 500")]
To = Annotated[str | None, Meta(description="the new weight or cap, or a step of the weight: 5, +20%")]
Until = Annotated[str | None, Meta(description="when a pause ends by itself: midnight, 07:00, 4h")]
Dry = Annotated[bool, Meta(description="only tell what it would do")]
Cooldown = Annotated[str, Meta(description="least time between two acts on the same: 1d")]
Most = Annotated[int, Meta(description="most acts a day", ge=1, le=MOST_A_DAY)]
Quiet = Annotated[str | None, Meta(description="hours in which it does not act: 22:00-07:00")]
Hours = Annotated[str | None, Meta(description="the only hours in which it acts: mon-fri 09:00-18:00; sat 10:00-14:00")]
Zone = Annotated[str | None, Meta(description="zone of those hours; default: the reports'")]
Repeat = Annotated[bool, Meta(description="act again after the cooldown while the condition still holds")]
Url = Annotated[str | None, Meta(description="address that a webhook calls")]
Force = Annotated[bool, Meta(description="arm it although another automation does the opposite")]


class NewRule(Arguments):
    rule: Sentence = None
    action: Annotated[str | None, choices("what it does", *ACTIONS)] = None
    on: Annotated[str | None, choices("what it acts on", *ON)] = None
    when: When = None
    with_: With = None
    to: To = None
    until: Until = None
    template: Annotated[str | None, Meta(description="one of 'automation templates', by number or name")] = None
    campaign: Annotated[list[str], refers("campaign", "only these campaigns", changes=False, most=200)] = []
    offer: Annotated[list[str], refers("offer", "only these offers", changes=False, most=200)] = []
    source: Annotated[list[str], refers("source", "only these traffic sources", changes=False, most=200)] = []
    account: Annotated[list[str], refers("account", "only offers of these accounts", changes=False, most=200)] = []
    casino: Annotated[list[str], refers("casino", "only offers of these brands", changes=False, most=200)] = []
    name: Name | None = None
    dry: Dry = False
    cooldown: Cooldown | None = None
    most: Most | None = None
    quiet: Quiet = None
    schedule: Hours = None
    timezone: Zone = None
    repeat: Repeat = False
    url: Url = None
    webhook_secret: Annotated[str | None, secret("signs the webhook's calls; made and shown once if absent")] = None
    channel: Annotated[str | None, Meta(description="where it tells: slack:C…, telegram:-100… or terminal")] = None
    force: Force = False


class AutomationEdit(Arguments):
    automation: Annotated[str, refers("automation", "which automation, such as automation-7")]
    rule: Sentence = None
    name: Name | None = None
    dry: Dry | None = None
    cooldown: Cooldown | None = None
    most: Most | None = None
    quiet: Annotated[str | None, Meta(description="hours in which it does not act: 22:00-07:00"), EMPTIES] = None
    schedule: Annotated[
        str | None, Meta(description="the only hours in which it acts: mon-fri 09:00-18:00"), EMPTIES
    ] = None
    timezone: Zone = None
    repeat: Repeat | None = None
    url: Url = None
    force: Force = False


class OneAutomation(Arguments):
    automation: Annotated[str, refers("automation", "which automation, such as automation-7")]


class Resumed(OneAutomation):
    force: Force = False


class Tried(Arguments):
    automation: Annotated[str | None, refers("automation", "one that is armed; or a rule", changes=False)] = None
    rule: Sentence = None


class Log(Listing):
    automation: Annotated[str | None, refers("automation", "only this one's", changes=False)] = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
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
    now: list[Standing]


def automation_card(ctx: Context, automation: Automation) -> Message:
    fields = [
        ("Rule", automation.rule), ("Room", automation.room), ("Cooldown", automation.cooldown),
        ("Most a day", f"{automation.most:,}"),
    ]  # fmt: skip
    fields += [("Dry run", "only tells what it would do")] if automation.dry else []
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
    rows = tuple((of.code, of.name, of.rule, of.room, of.status + (" (dry)" if of.dry else "")) for of in listing.items)
    more = (Buttons((Button("More", f"automation list after={listing.next}"),)),) if listing.next else ()
    columns = ("Automation", "Name", "Rule", "Room", "Status")
    return Message("Automations", (Table(columns, rows, phone=(0, 1, 4)), *more), private=True)


def removed_card(_ctx: Context, automation: Automation) -> Message:
    return Message(f"Automation {automation.name} ({automation.code}) removed: {automation.rule}")


def test_card(ctx: Context, test: AutomationTest) -> Message:
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{of.at.astimezone(zone):%d %b %H:%M}", of.subject, of.why, money(of.saved, test.currency))
        for of in test.firings[-40:]
    )
    title = f"Would have acted {plural(len(test.firings), 'time')} in {test.days} days"
    title += f", saving {money(test.would_have_saved, test.currency)}" if test.would_have_saved is not None else ""
    blocks: list[Any] = [Text(test.rule, code=True)]
    if rows:
        blocks.append(Table(("When", "What", "Why", "Saved"), rows, numeric=(3,), more=len(test.firings) - len(rows)))
    standing = [of for of in test.now if of.met is not False]
    lines = [f"{of.subject}: {'holds now' if of.met else 'cannot be judged'} ({of.why})" for of in standing[:15]]
    if lines:
        blocks.append(Text("\n".join(lines)))
    return Message(title, tuple(blocks), private=True)


def log_table(ctx: Context, listing: Page[LoggedAct]) -> Message:
    if not listing.items:
        return Message("No automation has done anything yet", private=True)
    zone = ctx.deployment.zone
    rows = tuple(
        (f"{of.at.astimezone(zone):%d %b %H:%M}", of.automation_name, _outcome(of), of.label, of.why)
        for of in listing.items
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
    rows = tuple((str(n), of.name, of.title, of.rule, of.why) for n, of in enumerate(listing.items, 1))
    use = Text('Use one: automation add template=3 campaign=… · change its numbers: automation edit … rule="…"')
    table_ = Table(("No", "Name", "For", "Rule", "Why these numbers"), rows, phone=(0, 1, 2))
    return Message("Templates of automations", (table_, use), private=True)


@command(
    "automation add", role=Role.BUYER, scope=Scope.OWN, render=automation_card, positional=("rule",), sentence="rule",
    prepare=room_with_title,
)  # fmt: skip
async def add_automation(ctx: Context, new: NewRule) -> Automation:
    """Arm an automation, and say what it would have done in the last 30 days."""
    template = _template(new.template) if new.template else None
    rule = await _resolved(ctx, _written(new, template, ctx.deployment.currency), new)
    terms = _terms(ctx, new, rule, template)
    warnings = await _contradictions(ctx, rule, force=new.force)
    channel: channels.Channel = ctx.prepared
    opened = check_secret(new.webhook_secret) if new.webhook_secret else new_secret() if terms.url else None
    made = await automations.add(ctx.tx, ctx.now, NewAutomation(
        team_id=ctx.team_id, name=(new.name or (template.title if template else describe_rule(rule)))[:100],
        room_id=await channels.room_of(ctx.tx, ctx.team_id, channel, ctx.now), thread=channel.thread, terms=terms,
        campaigns=_campaigns_of(ctx, rule), role=ctx.actor.role, member_id=ctx.actor.member_id,
        token_id=ctx.actor.token_id, made_by=ctx.actor.name,
        webhook_secret=ctx.box.seal({"webhook_secret": opened}) if opened else None,
    ))  # fmt: skip
    row = await automations.find(ctx.tx, ctx.team_id, str(made))
    past = await _backtest(ctx, automations.read_armed(row), rule)
    if past is None:
        warnings.append("clicks of placements are counted from now on: automation test tells in some minutes")
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
        await _resolved(ctx, read_rule(new.rule, ctx.deployment.currency), None)
        if new.rule
        else read_rule(current.terms.rule)
    )
    warnings = await _contradictions(ctx, rule, force=new.force, but=row.id) if new.rule else []
    values = {"rule": describe_rule(rule), **_edited(ctx, new)}
    terms = msgspec.structs.replace(current.terms, **values)
    _check_url(rule, terms.url)
    if terms == current.terms and not new.name:
        raise MissingArgument("nothing to change: name a field, e.g. cooldown=2d", field="automation")
    columns: dict[str, Any] = {"terms": msgspec.to_builtins(terms), "name": new.name or row.name}
    if new.rule:
        codes = _campaigns_of(ctx, rule)
        columns["campaigns"] = None if codes is None else list(codes)
    if terms.rule != current.terms.rule or terms.dry != current.terms.dry:
        kept = {ref: SubjectState(episode=of.episode, acted_at=of.acted_at) for ref, of in current.subjects.items()}
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
    ctx.unchanged = row.status == "active"
    if not ctx.unchanged:
        rule = read_rule(automations.read_armed(row).terms.rule)
        await _contradictions(ctx, rule, force=new.force or row.status == "stopped", but=row.id)
    await automations.change(ctx.tx, row.id, status="active", stopped_why=None)
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
async def test_automation(ctx: Context, new: Tried) -> AutomationTest:
    """Try an automation, or a rule, on the last 30 days: every act with its moment, its reason and what it saves."""
    if bool(new.automation) == bool(new.rule):
        raise MissingArgument("automation: which one, or rule=… to try one", field="automation")
    if new.automation:
        automation = automations.read_armed(await automations.find(ctx.tx, ctx.team_id, new.automation))
        rule = read_rule(automation.terms.rule)
    else:
        rule = await _resolved(ctx, read_rule(new.rule or "", ctx.deployment.currency), None)
        automation = _unsaved(ctx, rule)
    loading = await _loading(ctx, rule)
    past = await run_backtest(ctx.tx, automation, rule, loading)
    history = await load_history(ctx.tx, loading, reach_of(rule.condition.comparisons))
    evaluation = evaluate(
        automation, rule, loading.entities, Figures(history).at(ctx.now), states={}, acts_today=0,
        paused_by_automation=set(), now=ctx.now, past=True,
    )  # fmt: skip
    now = [
        Standing(
            subject=of.subject.label, met=of.verdict.met,
            why="; ".join(unknown.why for unknown in of.verdict.unknown) if of.verdict.met is None
            else facts_in_words(of.verdict.facts, ctx.deployment.currency),
        )
        for of in evaluation.candidates
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
    following = str(shown[-1][0].id) if len(rows) > new.limit else None
    return Page([act for act, campaigns in shown if of_own_campaigns(ctx.actor, campaigns)], following)


@command("automation templates", role=Role.VIEWER, scope=Scope.OPEN, render=template_table, reads=True)
async def list_templates(ctx: Context, new: Listing) -> Page[Template]:
    """The ten usual automations, with their numbers and the reason for each."""
    return Page(list(TEMPLATES[: new.limit]), None)


def _template(word: str) -> Template:
    text = word.strip().lower()
    for number, template in enumerate(TEMPLATES, 1):
        if text in {str(number), template.name}:
            return template
    raise Missing(f"template: there is no template {word!r}: 'automation templates' lists them", field="template")


def _written(new: NewRule, template: Template | None, currency: str) -> Rule:
    """The rule as it is written: a sentence, a template, or its parts."""
    if sum(map(bool, (new.rule, template, new.action))) != 1:
        raise (Refused if new.rule else MissingArgument)(
            'rule: write a rule such as "pause offer when epc < 0.20 over 3d with clicks > 500", or name a template, '
            "or give action, on and when", field="rule",
        )  # fmt: skip
    if new.rule or template:
        return read_rule(new.rule or (template.rule if template else ""), currency)
    if not new.when:
        raise MissingArgument('when: missing; say the condition, e.g. when="epc < 0.20 over 3d"', field="when")
    usual = {"tell": "team", "webhook": "team", "block": "placement", "allow": "placement"}
    words = [new.action or "", new.on or usual.get(new.action or "", "offer")]
    words += [new.to if new.to.startswith(("+", "-")) else f"to {new.to}"] if new.to else []
    words += [f"until {new.until}"] if new.until else []
    evidence = f" with {new.with_}" if new.with_ else ""
    return read_rule(f"{' '.join(words)} when {new.when}{evidence}", currency, field="when")


async def _resolved(ctx: Context, rule: Rule, new: NewRule | None) -> Rule:
    """The rule with every entity by its code. Raises Missing, Forbidden and Refused at the field."""
    action = rule.action
    check_placement_rule(action, rule.condition)
    given = {name: tuple(getattr(new, name)) for name in FILTERS if getattr(new, name)} if new else {}
    filters = {**action.filters, **{name: words for name, words in given.items() if name != action.noun}}
    names = action.names or given.get(action.noun, ())
    if action.noun == "placement" and filters.keys() - {"campaign", "source"}:
        raise Refused("rule: placements are of sources and campaigns: name those", field="rule")
    if action.noun == "team" and (given or filters):
        raise Refused("rule: the team as a whole has no names: tell of offers, campaigns or sources", field="rule")
    words_of = dict(filters)
    if names and action.noun != "placement":
        words_of[action.noun] = names
    codes = {
        name: tuple([
            (await permissions.find(ctx, name, word, field=name if name in given else "rule")).code for word in words
        ])
        for name, words in words_of.items()
    }  # fmt: skip
    resolved = msgspec.structs.replace(
        action, names=names if action.noun == "placement" else codes.pop(action.noun, ()), filters=codes
    )
    holds = await _entities_of(ctx, rule.condition.holds)
    evidence = rule.condition.evidence
    least = None if evidence is None else await _entities_of(ctx, evidence)
    return Rule(action=resolved, condition=Condition(holds=holds, evidence=least))


async def _entities_of(ctx: Context, node: Node) -> Node:
    """The condition with the entities it compares with by their codes."""
    if isinstance(node, Comparison):
        noun, colon, word = node.baseline.partition(":")
        code = (await permissions.find(ctx, noun, word, field="rule")).code if colon else ""
        return msgspec.structs.replace(node, baseline=f"{noun}:{code}" if colon else node.baseline)
    if isinstance(node, Not):
        return Not(await _entities_of(ctx, node.part))
    return type(node)(tuple([await _entities_of(ctx, part) for part in node.parts]))


def _terms(ctx: Context, new: NewRule, rule: Rule, template: Template | None) -> Terms:
    cooldown = new.cooldown or (template.cooldown if template else "1d")
    url = web_address(new.url, field="url") if new.url else ""
    _check_url(rule, url)
    return Terms(
        rule=describe_rule(rule), dry=new.dry, cooldown=read_minutes(cooldown, "cooldown"),
        most=new.most or (template.most if template else 10), quiet=quiet_hours(new.quiet),
        schedule=read_schedule(new.schedule) if new.schedule else "", repeat=new.repeat, url=url,
        timezone=read_zone(new.timezone or ctx.deployment.timezone),
    )  # fmt: skip


def _check_url(rule: Rule, url: str) -> None:
    if rule.action.kind == "webhook" and not url:
        raise MissingArgument("url: missing; say which address the webhook calls, url=https://…", field="url")


def _edited(ctx: Context, new: AutomationEdit) -> dict[str, Any]:
    """The terms that an edit names."""
    values: dict[str, Any] = {
        name: getattr(new, name) for name in ("dry", "most", "repeat") if getattr(new, name) is not None
    }
    if new.cooldown:
        values["cooldown"] = read_minutes(new.cooldown, "cooldown")
    if new.quiet:
        values["quiet"] = None if new.quiet == NONE else quiet_hours(new.quiet)
    if new.schedule:
        values["schedule"] = "" if new.schedule == NONE else read_schedule(new.schedule)
    if new.timezone:
        values["timezone"] = read_zone(new.timezone)
    if new.url:
        values["url"] = web_address(new.url, field="url")
    return values


def _campaigns_of(ctx: Context, rule: Rule) -> tuple[str, ...] | None:
    """The campaigns that an automation is about: those it names, else those its maker is limited to."""
    action = rule.action
    named = action.names if action.noun == "campaign" else action.filters.get("campaign", ())
    return named or ctx.actor.campaigns


async def _contradictions(ctx: Context, rule: Rule, *, force: bool, but: int = 0) -> list[str]:
    """Warnings about automations that do the opposite. Raises Refused where both may hold by the same figure."""
    warnings = []
    for row in await ctx.tx.execute(automations.of_team(ctx.team_id).order_by(table.c.id)):
        other = automations.read_armed(row)
        if other.id == but or other.status != "active":
            continue
        theirs = read_rule(other.terms.rule)
        if OPPOSITE.get(theirs.action.kind) != rule.action.kind or not _same_subjects(rule.action, theirs.action):
            continue
        may, shared = overlap(rule.condition, theirs.condition)
        if may and shared and not force:
            raise Refused(
                f"rule: {other.name} ({other.code}) does the opposite while both conditions hold: "
                f"{other.terms.rule}. Change one, or say force=true", field="rule",
            )  # fmt: skip
        if may:
            warnings.append(f"{other.name} ({other.code}) does the opposite under another condition: "
                            "if they undo each other three times, both are stopped")  # fmt: skip
    return warnings


def _same_subjects(mine: Action, theirs: Action) -> bool:
    if mine.noun != theirs.noun:
        return False
    if mine.names and theirs.names and not set(mine.names) & set(theirs.names):
        return False
    return all(set(codes) & set(theirs.filters[name]) for name, codes in mine.filters.items() if name in theirs.filters)


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
        entities=entities, apart=ctx.ports.report_apart, subs=subs_of(rule.action, entities),
    )  # fmt: skip


def _with_past(ctx: Context, automation: Automation, past: Backtest | None) -> Automation:
    """The automation with what it would have done; without, where that is not counted yet."""
    if past is None:
        return automation
    days = {of.at.astimezone(ctx.deployment.zone).date().isoformat() for of in past.firings}
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
        id=0, team_id=ctx.team_id, name="", room_id=0, thread="", campaigns=ctx.actor.campaigns, status="active",
        terms=Terms(rule=describe_rule(rule), timezone=ctx.deployment.timezone), role=ctx.actor.role, member_id=None,
        token_id=None, subjects={}, waiting=(), created_at=ctx.now,
    )  # fmt: skip
