"""A campaign's rotation: rules in words with their offers and weights, the offers of all others, fallback, caps; and
what any visitor would get of it, before it is saved.

The form holds the whole draft: each of its buttons sends it, and the page comes back with one thing changed. Scripts
send it by themselves and put the answer in its place.
"""

import re
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.core.arguments import NONE
from bot.core.command import COMMANDS
from hub.cockpit.forms import Field, clash_of, edited, fields_named, form_arguments, stored_values
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.clicks.conditions import CONDITIONS, to_json
from storage.ledger.clicks.rotation_rules import node_of
from storage.ledger.clicks.rules_in_words import condition_in_words, in_words, read_condition
from storage.ledger.errors import Refused

EDIT, TRY = "campaign edit", "simulate click"
#: Fields of the campaign that belong to its rotation, beside offers and rules.
SETTINGS = ("fallback_url", "binding", "direct")
DISTRIBUTION = ("distribute", "distribute_by", "floor", "most_change", "holdout")
#: What is asked of a visitor at once, and what is unfolded.
VISITOR = ("country", "device", "language", "at", "sub1", "sub2")
SUBS = tuple(f"sub{n}" for n in range(3, 11))
MORE = ("os", "browser", "referrer", "ip", "city", "region", "returning", "bot", "chance", *SUBS)
MOST_LISTED = 60  # offers; more are typed and completed


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An offer of the draft; `share` in per cent, None where the weight is no number."""

    offer: str
    weight: str = "1"
    share: float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the draft: its condition as one writes it, its offers, and what is wrong with it."""

    condition: str
    offers: tuple[Entry, ...] = ()
    fault: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The rotation as it stands in the form."""

    rules: tuple[Rule, ...]
    offers: tuple[Entry, ...]
    fault: str = ""  # of the offers

    def values(self) -> dict[str, str]:
        """Offers and rules as the command takes them. Raises Refused at `rules` for a condition that cannot be read."""
        rules = [
            {"if": to_json(read_condition(rule.condition, number)), "offers": [
                {"offer": entry.offer, "weight": _weight(entry, number)} for entry in rule.offers
            ]}
            for number, rule in enumerate(self.rules, 1)
        ]  # fmt: skip
        for number, rule in enumerate(self.rules, 1):
            if not rule.offers:
                raise Refused(f"rule {number} names no offers", field="rules")
        offers = ",".join(f"{entry.offer}:{entry.weight.strip() or 1}" for entry in self.offers)
        return {"offers": offers or NONE, "rules": in_words(rules, "\n") or NONE}


def _weight(entry: Entry, number: int) -> int:
    if not re.fullmatch(r"\s*\d{1,7}\s*|", entry.weight):
        raise Refused(f"rule {number}: the weight {entry.weight!r} is not a whole number", field="rules")
    return int(entry.weight.strip() or 1)


def rotation_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/campaign/{code:str}/rotation")
    async def show(visit: Visit) -> Response[Any]:
        campaign = await visit.ask("campaign show", campaign=visit.place["code"])
        return await _page(visit, campaign, _stored(campaign))

    @cockpit.post("/cockpit/campaign/{code:str}/rotation")
    async def change(visit: Visit) -> Response[Any]:
        campaign = await visit.ask("campaign show", campaign=visit.place["code"])
        draft = _stored(campaign) if not visit.may(EDIT) else _drafted(visit)
        if visit.form.get("do") != "save":
            return await _page(visit, campaign, draft)
        try:
            return await _save(visit, campaign, draft)
        except Refused as fault:
            return await _page(visit, campaign, draft, fault=fault)

    return [show, change]


def _stored(campaign: Any) -> Draft:
    return Draft(
        offers=_entries(*zip(*(text.partition(":")[::2] for text in campaign.offers), strict=True))
        if campaign.offers else (),
        rules=tuple(
            Rule(
                condition=condition_in_words(node_of(rule)),
                offers=_entries(
                    [entry["offer"] for entry in rule["offers"]], [str(entry["weight"]) for entry in rule["offers"]]
                ),
            )
            for rule in campaign.rules
        ),
    )  # fmt: skip


def _entries(offers: Any, weights: Any) -> tuple[Entry, ...]:
    """Offers with their shares; places without an offer are left out."""
    pairs = [(offer.strip(), weight) for offer, weight in zip(offers, weights, strict=False) if offer.strip()]
    numbers = [int(weight.strip() or 1) if re.fullmatch(r"\s*[0-9]{0,9}\s*", weight) else None for _, weight in pairs]
    total = sum(number or 0 for number in numbers)
    return tuple(
        Entry(offer=offer, weight=weight.strip(), share=number / total * 100 if number is not None and total else None)
        for (offer, weight), number in zip(pairs, numbers, strict=True)
    )


def _drafted(visit: Visit) -> Draft:
    """What the form holds, with what its button does."""
    keys = [key for key in visit.form.get("order", "").split(",") if f"if.{key}" in visit.form]
    keys += sorted(name[3:] for name in visit.form if name.startswith("if.") and name[3:] not in keys)
    rules = [Rule(condition=visit.form[f"if.{key}"].strip(), offers=_sent_offers(visit, f".{key}")) for key in keys]
    offers = list(_sent_offers(visit, ""))
    action, _, rest = visit.form.get("do", "").partition(".")
    key, _, place = rest.partition(".")
    at = keys.index(key) if key in keys else -1
    if action == "add":
        rules.append(Rule(condition=""))
    elif action == "remove" and at >= 0:
        del rules[at]
    elif action == "copy" and at >= 0:
        rules.insert(at, rules[at])
    elif action in {"up", "down"} and at >= 0:
        other = min(max(at + (1 if action == "down" else -1), 0), len(rules) - 1)
        rules[at], rules[other] = rules[other], rules[at]
    elif action == "off" and at >= 0:
        rules[at] = msgspec.structs.replace(rules[at], offers=_without(rules[at].offers, place))
    elif action == "off":
        offers = list(_without(tuple(offers), place))
    return Draft(rules=tuple(rules), offers=_shared(offers))


def _sent_offers(visit: Visit, suffix: str) -> tuple[Entry, ...]:
    return _entries(visit.form_lists.get(f"offer{suffix}", []), visit.form_lists.get(f"weight{suffix}", []))


def _without(entries: tuple[Entry, ...], offer: str) -> tuple[Entry, ...]:
    return _shared([entry for entry in entries if entry.offer != offer])


def _shared(entries: list[Entry]) -> tuple[Entry, ...]:
    return _entries([entry.offer for entry in entries], [entry.weight for entry in entries])


async def _save(visit: Visit, campaign: Any, draft: Draft) -> Response[Any]:
    """By the command that every face has; only what was changed."""
    command = COMMANDS[EDIT]
    before = {name[7:]: value for name, value in visit.form.items() if name.startswith("before.")}
    sent = {name: value for name, value in form_arguments(visit, command).items() if name in (*SETTINGS, *DISTRIBUTION)}
    arguments = {"campaign": campaign.code, **sent, **draft.values()}
    if before and (clash := await clash_of(visit, command, arguments, before)):
        return clash
    changed = edited(command, {name: value for name, value in arguments.items() if value != NONE}, before)
    if not changed.keys() - {"campaign"}:
        return visit.leave_for(visit.path, toast="Nothing was changed")
    await visit.answer(EDIT, changed)
    return visit.leave_for(visit.path, toast=f"Saved the rotation of {campaign.name}", undo=visit.may("undo"))


async def _page(visit: Visit, campaign: Any, draft: Draft, *, fault: Refused | None = None) -> Response[Any]:
    draft = _at_their_place(draft, fault) if fault else _checked(draft)
    stored = await stored_values(visit, COMMANDS[EDIT], {"campaign": campaign.code})
    kept = {name: stored.get(name, "") for name in ("offers", "rules", *SETTINGS, *DISTRIBUTION)}
    before = {name[7:]: value for name, value in visit.form.items() if name.startswith("before.")} or kept
    standing = {**kept, **{name: visit.form[name] for name in (*SETTINGS, *DISTRIBUTION) if name in visit.form}}
    names = (await visit.labels("offer"))["offer"]
    at_no_field = fault is not None and fault.field not in {"rules", "offers", *SETTINGS, *DISTRIBUTION}
    return await visit.html(
        "rotation.html", section="campaign", title=f"Rotation of {campaign.name}", status=400 if fault else 200,
        campaign=campaign, draft=draft, names=names, listed=len(names) <= MOST_LISTED, before=before,
        editable=visit.may(EDIT), settings=await _fields(visit, EDIT, standing, SETTINGS, fault),
        distribution=await _fields(visit, EDIT, standing, DISTRIBUTION, fault), fault=str(fault) if at_no_field else "",
        visitor=await _fields(visit, TRY, _asked(visit), VISITOR), more=await _fields(visit, TRY, _asked(visit), MORE),
        answer=await _answer(visit, campaign, draft), caps=await _caps(visit, draft), conditions=CONDITIONS,
        changed=_is_changed(draft, before),
    )  # fmt: skip


async def _fields(
    visit: Visit, name: str, values: dict[str, str], names: tuple[str, ...], fault: Refused | None = None
) -> list[Field]:
    return await fields_named(visit, COMMANDS[name], values, names, fault=fault)


def _checked(draft: Draft) -> Draft:
    """The draft with what is wrong with each rule that has been begun."""
    rules = []
    for number, rule in enumerate(draft.rules, 1):
        text = ""
        try:
            if rule.condition:
                read_condition(rule.condition, number)
            for entry in rule.offers:
                _weight(entry, number)
        except Refused as fault:
            text = str(fault)
        rules.append(msgspec.structs.replace(rule, fault=text))
    return msgspec.structs.replace(draft, rules=tuple(rules))


def _at_their_place(draft: Draft, fault: Refused) -> Draft:
    """The draft with an error at the rule it is about, or at the offers."""
    if fault.field == "offers":
        return msgspec.structs.replace(_checked(draft), fault=str(fault))
    about = re.search(r"rule (\d+)", str(fault)) if fault.field == "rules" else None
    checked = _checked(draft)
    if fault.field != "rules" or not checked.rules:
        return checked
    at = min(int(about[1]) if about else 1, len(checked.rules)) - 1
    rules = [
        msgspec.structs.replace(rule, fault=str(fault)) if n == at else rule for n, rule in enumerate(checked.rules)
    ]
    return msgspec.structs.replace(checked, rules=tuple(rules))


def _is_changed(draft: Draft, before: dict[str, str]) -> bool:
    """Whether offers or rules differ from those that are stored."""
    try:
        values = draft.values()
    except Refused:
        return True
    return any((before[name] or NONE) != values[name] for name in ("offers", "rules"))


def _asked(visit: Visit) -> dict[str, str]:
    """The visitor to try; at first one with a telephone, of no country."""
    return {"device": "mobile"} | {name: visit.form[name] for name in (*VISITOR, *MORE) if name in visit.form}


async def _answer(visit: Visit, campaign: Any, draft: Draft) -> Any:
    """What the visitor would get of the draft; an error as text where it cannot be tried."""
    asked = {name: value for name, value in _asked(visit).items() if value.strip()}
    try:
        return await visit.ask(TRY, campaign=campaign.code, **asked, **draft.values())
    except Refused as fault:
        return str(fault)


async def _caps(visit: Visit, draft: Draft) -> list[Any]:
    """The offers of the draft, with their caps: those are the offers' own, in every campaign."""
    entries = [*draft.offers, *(entry for rule in draft.rules for entry in rule.offers)]
    codes = list(dict.fromkeys(entry.offer for entry in entries))
    listed = []
    for code in codes[:50]:
        try:
            listed.append(await visit.ask("offer show", offer=code))
        except Refused:
            continue  # the error stands at the rule
    return listed
