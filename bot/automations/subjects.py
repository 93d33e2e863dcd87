"""The subjects of an automation by scope, whether its act would change one, and the command of the act."""

from collections.abc import Iterable
from typing import Any

import msgspec

from storage.automations.history import Entities, Entity
from storage.ledger.automations.figures import Scope, SubjectKey
from storage.ledger.automations.rules import Action, Rule
from storage.ledger.clicks.placements import placement_sub
from storage.ledger.clicks.rotation_rules import MAX_WEIGHT

MOST_PLACEMENTS = 5_000  # of one automation


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an automation may act on. `ref` is what its acts are kept under, `label` what people call it."""

    key: SubjectKey
    ref: str
    label: str
    code: str
    noun: str


class Subjects(msgspec.Struct, frozen=True, kw_only=True):
    """The subjects of a rule, the scope of their figures, and names in the rule that no longer exist."""

    scope: Scope
    subjects: list[Subject]
    unknown_names: tuple[str, ...] = ()


_SORTED_AS = {"placement": "source"}
"""Whose group a subject without one of its own is in."""


def subjects_of(
    action: Action, limited_to: Iterable[str] | None, entities: Entities, *, limits: Iterable[str] | None = None
) -> Subjects:
    """Everything the action is about now, within the campaigns `limited_to`; what it is compared with is within the
    campaigns `limits`, those of its creator."""
    unknown_names: list[str] = []
    filters = _filters(action, limited_to, entities, unknown_names)
    noun = "weight" if action.kind == "weight" else action.noun
    within = None if limits is None else frozenset(_ids("campaign", tuple(limits), entities, []))
    scope = Scope(action.sub or noun, tuple(sorted((name, ids) for name, ids in filters.items())), within)
    if noun == "team":
        return Subjects(scope=scope, unknown_names=tuple(unknown_names), subjects=[
            Subject(key=0, ref="team", label="the team", code="", noun="team")
        ])  # fmt: skip
    if noun == "placement":  # those there are figures of
        return Subjects(scope=scope, unknown_names=tuple(unknown_names), subjects=[])
    named = _ids(action.noun, action.names, entities, unknown_names) if action.names else None
    if noun == "weight":
        subjects = _weights(named, filters, entities)
    else:
        subjects = [
            Subject(key=entity.id, ref=f"{noun}:{entity.id}", label=entity.name, code=entity.code, noun=noun)
            for entity in entities.by_noun[noun].values()
            if (named is None or entity.id in named) and _within(noun, entity, filters, entities)
        ]
    return Subjects(scope=scope, subjects=subjects, unknown_names=tuple(unknown_names))


def _filters(
    action: Action, limited_to: Iterable[str] | None, entities: Entities, unknown_names: list[str]
) -> dict[str, frozenset[int]]:
    """Ids to keep by campaign, offer and source; accounts and brands are what their offers are, groups what is in them
    of the kind that is acted on."""
    filters: dict[str, frozenset[int]] = {}
    for noun, codes in action.filters.items():
        ids = _ids(noun, codes, entities, unknown_names)
        if noun == "group":
            noun = _SORTED_AS.get(action.noun, action.noun)
            named = {entities.by_noun["group"][group].code for group in ids}
            ids = {entity.id for entity in entities.by_noun[noun].values() if entity.group_code in named}
        if noun in {"account", "casino"}:
            offers = entities.by_noun["offer"].values()
            ids = {offer.id for offer in offers if getattr(offer, f"{noun}_id") in ids}
            noun = "offer"
        filters[noun] = filters[noun] & frozenset(ids) if noun in filters else frozenset(ids)
    if limited_to is not None:
        own = frozenset(_ids("campaign", tuple(limited_to), entities, []))
        filters["campaign"] = filters["campaign"] & own if "campaign" in filters else own
    return filters


def _ids(noun: str, codes: Iterable[str], entities: Entities, unknown_names: list[str]) -> set[int]:
    ids = set()
    for code in codes:
        entity = entities.named(noun, code)
        if entity is None:
            unknown_names.append(f"{noun} {code}")
        else:
            ids.add(entity.id)
    return ids


def _within(noun: str, entity: Entity, filters: dict[str, frozenset[int]], entities: Entities) -> bool:
    """Whether an entity has to do with what the filters name."""
    for name, ids in filters.items():
        if name == noun:
            if entity.id not in ids:
                return False
        elif not _touches(noun, entity, name, ids, entities):
            return False
    return True


def _touches(noun: str, entity: Entity, name: str, ids: frozenset[int], entities: Entities) -> bool:
    campaigns = entities.by_noun["campaign"]
    if {noun, name} == {"offer", "campaign"}:
        mine, theirs = (0, 1) if noun == "campaign" else (1, 0)
        return any(weight[mine] == entity.id and weight[theirs] in ids for weight in entities.weights)
    if noun == "campaign":
        return entity.source_id in ids
    if noun == "source":
        campaign_ids = {campaign.id for campaign in campaigns.values() if campaign.source_id == entity.id}
        if name == "campaign":
            return bool(campaign_ids & ids)
        return any(weight[0] in campaign_ids and weight[1] in ids for weight in entities.weights)
    from_source = {campaign.id for campaign in campaigns.values() if campaign.source_id in ids}
    return any(weight[1] == entity.id and weight[0] in from_source for weight in entities.weights)


def _weights(offers: set[int] | None, filters: dict[str, frozenset[int]], entities: Entities) -> list[Subject]:
    """Each offer in each campaign: weights are of the two together."""
    subjects = []
    for campaign_id, offer_id, _ in entities.weights:
        campaign, offer = entities.by_noun["campaign"][campaign_id], entities.by_noun["offer"].get(offer_id)
        if offer is None or (offers is not None and offer_id not in offers):
            continue
        ids = {"campaign": campaign_id, "offer": offer_id, "source": campaign.source_id}
        if all(ids[name] in kept for name, kept in filters.items()):
            subjects.append(Subject(
                key=(campaign_id, offer_id), ref=f"weight:{campaign_id}:{offer_id}", noun="weight", code=offer.code,
                label=f"{offer.name} in {campaign.name}",
            ))  # fmt: skip
    return subjects


def new_weight(action: Action, weight: int) -> int:
    """The weight after a step; a step moves it by one at least, and stops at its bound."""
    amount = action.amount or 0
    if not action.relative:
        return int(amount)
    moved = round(weight * (1 + amount / 100))
    if moved == weight and weight:
        moved += 1 if amount > 0 else -1
    if action.bound is not None:
        moved = min(moved, max(action.bound, weight)) if amount > 0 else max(moved, min(action.bound, weight))
    return max(0, min(moved, MAX_WEIGHT))


def applies(rule: Rule, subject: Subject, entities: Entities, paused_by_automation: set[str]) -> bool:
    """Whether the act would change something now."""
    action = rule.action
    if action.kind in {"tell", "webhook"}:
        return True
    if action.kind == "weight":
        weight = _weight_of(subject, entities)
        return weight is not None and new_weight(action, weight) != weight
    if action.noun == "placement":
        return not _is_listed(rule, subject, entities)
    if action.kind == "cap":
        offer = entities.by_noun["offer"].get(_id_of(subject))
        return offer is not None and offer.cap != int(action.amount or 0)
    status = "active" if action.kind == "pause" else "paused"
    if not any(entity.status == status for entity in _acted_on(subject, entities)):
        return False
    if action.kind == "resume" and (action.by_automation or not action.names):
        return subject.ref in paused_by_automation
    return True


def placement_subjects(action: Action, entities: Entities, keys: Iterable[SubjectKey]) -> list[Subject]:
    """Placements with figures, as subjects."""
    found = []
    placements = sorted(key for key in keys if isinstance(key, tuple) and isinstance(key[1], str) and key[1])
    for key in placements[:MOST_PLACEMENTS]:
        source = entities.by_noun["source"].get(int(key[0]))
        if source is None or (action.names and key[1] not in action.names):
            continue
        sub = action.sub or placement_sub(source.options) or ""
        found.append(Subject(
            key=key, ref=f"{sub}:{source.id}:{key[1]}", label=f"{key[1]} of {source.name}", code=str(key[1]),
            noun="placement",
        ))  # fmt: skip
    return found


def subs_of(action: Action, entities: Entities) -> frozenset[str]:
    """The sub ids that the action's placements are named by: its own, or those of the sources."""
    if action.noun != "placement":
        return frozenset()
    if action.sub:
        return frozenset({action.sub})
    return frozenset(sub for source in entities.by_noun["source"].values() if (sub := placement_sub(source.options)))


def _campaign_of(rule: Rule) -> str | None:
    """The one campaign whose own list is meant; else it is the source's."""
    codes = rule.action.filters.get("campaign", ())
    return codes[0] if len(codes) == 1 else None


def _is_listed(rule: Rule, subject: Subject, entities: Entities) -> bool:
    """Whether the placement is on the list already."""
    source_id, value = subject.key if isinstance(subject.key, tuple) else (0, "")
    sub = subject.ref.partition(":")[0]
    code = _campaign_of(rule)
    campaign = entities.named("campaign", code) if code else None
    lists = (entities.listed.by_campaign if campaign else entities.listed.by_source).get(
        campaign.id if campaign else source_id, {}
    )
    listed = lists.get(sub)
    return listed is not None and value in (listed.block if rule.action.kind == "block" else listed.allow)


def _acted_on(subject: Subject, entities: Entities) -> list[Entity]:
    """The entity itself; of a source its campaigns."""
    if subject.noun == "source":
        return [campaign for campaign in entities.by_noun["campaign"].values() if campaign.source_id == subject.key]
    entity = entities.by_noun[subject.noun].get(_id_of(subject))
    return [entity] if entity else []


def _id_of(subject: Subject) -> int:
    return subject.key if isinstance(subject.key, int) else 0


def _weight_of(subject: Subject, entities: Entities) -> int | None:
    return next((weight for *place, weight in entities.weights if tuple(place) == subject.key), None)


def command_of(rule: Rule, subject: Subject, entities: Entities) -> tuple[str, dict[str, Any]]:
    """The command that does the act, with its arguments."""
    action = rule.action
    if action.kind == "weight":
        campaign_id = subject.key[0] if isinstance(subject.key, tuple) else 0
        weights = [
            f"{entities.by_noun['offer'][offer].code}:"
            f"{new_weight(action, weight) if (campaign, offer) == subject.key else weight}"
            for campaign, offer, weight in entities.weights
            if campaign == campaign_id
        ]
        return "campaign edit", {"campaign": entities.by_noun["campaign"][int(campaign_id)].code, "offers": weights}
    if action.noun == "placement":
        source_id, value = subject.key if isinstance(subject.key, tuple) else (0, "")
        campaign = _campaign_of(rule)
        owner = {"campaign": campaign} if campaign else {"source": entities.by_noun["source"][source_id].code}
        return f"placement {action.kind}", {"placement": [str(value)], "sub": subject.ref.partition(":")[0], **owner}
    if action.kind == "cap":
        size = {"cap": int(action.amount or 0), "cap_event": action.event, "cap_period": action.period}
        return "offer edit", {"offer": subject.code, **size}
    return status_command(action.kind, subject, entities)


def status_command(verb: str, subject: Subject, entities: Entities) -> tuple[str, dict[str, Any]]:
    """`offer pause`, `campaign resume` of what is not so already."""
    noun = "campaign" if subject.noun == "source" else subject.noun
    status = "active" if verb == "pause" else "paused"
    codes = [entity.code for entity in _acted_on(subject, entities) if entity.status == status]
    return f"{noun} {verb}", {noun: codes or [subject.code]}
