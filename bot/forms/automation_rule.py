"""The rule and the terms of an automation: the fields of `automation add` and `automation edit`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.core import permissions
from bot.core.arguments import (
    EMPTIES,
    NONE,
    Arguments,
    MissingArgument,
    choices,
    holds_credentials,
    refers,
    secret,
)
from bot.core.context import Context
from storage.automations import automations
from storage.ledger.addresses import web_address
from storage.ledger.alerts.comparisons import Comparison
from storage.ledger.automations.conditions import Condition, Node, Not, overlap
from storage.ledger.automations.placements import check_placement_rule
from storage.ledger.automations.rules import FILTERS, OPPOSITE, Action, Rule, describe_rule, read_rule
from storage.ledger.automations.steps import Terms, read_schedule
from storage.ledger.automations.templates import TEMPLATES, Template
from storage.ledger.errors import Missing, Refused
from storage.ledger.schedule import read_minutes, read_quiet_hours, read_zone
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
Dry = Annotated[bool, Meta(description="only report what it would do")]
Cooldown = Annotated[str, Meta(description="least time between two acts on the same: 1d")]
Most = Annotated[int, Meta(description="most acts a day", ge=1, le=MOST_A_DAY)]
Quiet = Annotated[str | None, Meta(description="hours in which it does not act: 22:00-07:00")]
Hours = Annotated[str | None, Meta(description="the only hours in which it acts: mon-fri 09:00-18:00; sat 10:00-14:00")]
Zone = Annotated[str | None, Meta(description="zone of those hours; default: the reports'")]
Repeat = Annotated[bool, Meta(description="act again after the cooldown while the condition still holds")]
Url = Annotated[str | None, holds_credentials("address that a webhook calls")]
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
    group: Annotated[list[str], refers("group", "only what is in these groups", changes=False, most=50)] = []
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
    channel: Annotated[str | None, Meta(description="where it reports: slack:C…, telegram:-100… or terminal")] = None
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


def named_template(word: str) -> Template:
    """A template by its number or name. Raises Missing."""
    text = word.strip().lower()
    for number, template in enumerate(TEMPLATES, 1):
        if text in {str(number), template.name}:
            return template
    raise Missing(f"template: there is no template {word!r}: 'automation templates' lists them", field="template")


def written_rule(new: NewRule, template: Template | None, currency: str) -> Rule:
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


async def resolve_entities(ctx: Context, rule: Rule, new: NewRule | None) -> Rule:
    """The rule with every entity by its code. Raises Missing, Forbidden and Refused at the field."""
    action = rule.action
    check_placement_rule(action, rule.condition)
    filter_words = {name: tuple(getattr(new, name)) for name in FILTERS if getattr(new, name)} if new else {}
    filters = {**action.filters, **{name: words for name, words in filter_words.items() if name != action.noun}}
    names = action.names or filter_words.get(action.noun, ())
    if action.noun == "placement" and filters.keys() - {"campaign", "source", "group"}:
        raise Refused("rule: placements are of sources and campaigns: name those", field="rule")
    if action.noun == "team" and (filter_words or filters):
        raise Refused("rule: the team as a whole has no names: name offers, campaigns or sources", field="rule")
    words_of = dict(filters)
    if names and action.noun != "placement":
        words_of[action.noun] = names
    codes = {
        name: tuple([
            (await permissions.find(ctx, name, word, field=name if name in filter_words else "rule")).code
            for word in words
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


def terms_of(ctx: Context, new: NewRule, rule: Rule, template: Template | None) -> Terms:
    """The terms of a new automation: its own, else its template's. Raises Refused at the field."""
    cooldown = new.cooldown or (template.cooldown if template else "1d")
    url = web_address(new.url, field="url") if new.url else ""
    check_url(rule, url)
    return Terms(
        rule=describe_rule(rule), dry=new.dry, cooldown=read_minutes(cooldown, "cooldown"),
        most=new.most or (template.most if template else 10), quiet=read_quiet_hours(new.quiet),
        schedule=read_schedule(new.schedule) if new.schedule else "", repeat=new.repeat, url=url,
        timezone=read_zone(new.timezone or ctx.deployment.timezone),
    )  # fmt: skip


def check_url(rule: Rule, url: str) -> None:
    """Raises MissingArgument where a webhook has no address to call."""
    if rule.action.kind == "webhook" and not url:
        raise MissingArgument("url: missing; say which address the webhook calls, url=https://…", field="url")


def edited_terms(new: AutomationEdit) -> dict[str, Any]:
    """The terms that an edit names."""
    values: dict[str, Any] = {
        name: getattr(new, name) for name in ("dry", "most", "repeat") if getattr(new, name) is not None
    }
    if new.cooldown:
        values["cooldown"] = read_minutes(new.cooldown, "cooldown")
    if new.quiet:
        values["quiet"] = None if new.quiet == NONE else read_quiet_hours(new.quiet)
    if new.schedule:
        values["schedule"] = "" if new.schedule == NONE else read_schedule(new.schedule)
    if new.timezone:
        values["timezone"] = read_zone(new.timezone)
    if new.url:
        values["url"] = web_address(new.url, field="url")
    return values


async def contradictions(ctx: Context, rule: Rule, *, force: bool, but: int = 0) -> list[str]:
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
        if may and not permissions.of_own_campaigns(ctx.actor, other.campaigns):
            if shared and not force:
                raise Refused("rule: an automation that is not yours does the opposite while both conditions hold: "
                              "ask an owner, or say force=true", field="rule")  # fmt: skip
            warnings.append("an automation that is not yours does the opposite: if they undo each other three times, "
                            "both are stopped")  # fmt: skip
            continue
        if may and shared and not force:
            raise Refused(
                f"rule: {other.name} ({other.code}) does the opposite while both conditions hold: "
                f"{other.terms.rule}. Change one, or say force=true", field="rule",
            )  # fmt: skip
        if may:
            when = "while both conditions hold" if shared else "under another condition"
            warnings.append(f"{other.name} ({other.code}) does the opposite {when}: "
                            "if they undo each other three times, both are stopped")  # fmt: skip
    return warnings


def _same_subjects(mine: Action, theirs: Action) -> bool:
    if mine.noun != theirs.noun:
        return False
    if mine.names and theirs.names and not set(mine.names) & set(theirs.names):
        return False
    return all(set(codes) & set(theirs.filters[name]) for name, codes in mine.filters.items() if name in theirs.filters)
