"""What an import makes, what it leaves as it is and why: the same answer for the dry run and for the import itself."""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain, count
from typing import Any

import msgspec

from storage.ledger.imports.tracker import (
    KINDS,
    Problem,
    Setup,
    TrackerAccount,
    TrackerCampaign,
    TrackerOffer,
    TrackerSource,
    Weighted,
)

LONGEST_NAME = 190
NO_NETWORK = "-"
"""Key of the account for offers of no network."""

Entity = TrackerAccount | TrackerSource | TrackerOffer | TrackerCampaign


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is here already: ids by `kind:key` of earlier imports, and ids by name (folded), by kind."""

    imported: Mapping[str, int]
    named: Mapping[str, Mapping[str, int]]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An entity to make, under its name here."""

    kind: str
    entity: Entity
    name: str


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """In order: what is made, ids of what is meant here by name, names that clashed, problems."""

    made: list[Made]
    meant: dict[str, int]
    renamed: list[str]
    problems: list[Problem]
    known: dict[str, int]  # already here, by kind

    def count(self, kind: str) -> int:
        return sum(made.kind == kind for made in self.made)


def decide(setup: Setup, standing: Standing, title: str) -> Decisions:
    """`title` is the tracker's name, which clashing names get behind them."""
    decisions = Decisions(made=[], meant={}, renamed=[], problems=list(setup.problems), known=dict.fromkeys(KINDS, 0))
    for kind, entities in _entities(setup, title):
        taken = dict.fromkeys(standing.named.get(kind, {}), 0)
        seen: set[str] = set()
        for entity in entities:
            key = f"{kind}:{entity.key}"
            if key in seen:
                decisions.problems.append(Problem(kind=kind, name=entity.name, why=f"its id {entity.key} comes twice"))
                continue
            seen.add(key)
            if key in standing.imported:
                decisions.known[kind] += 1
            elif setup.by_name and (here := standing.named.get(kind, {}).get(entity.name.casefold())) is not None:
                decisions.known[kind] += 1
                decisions.meant[key] = here
            else:
                name = _free_name(entity, taken, title)
                if name != entity.name:
                    decisions.renamed.append(f"{kind} {entity.name!r} becomes {name!r}")
                taken[name.casefold()] = 0
                decisions.made.append(Made(kind=kind, entity=entity, name=name))
    _check_references(setup, standing, decisions)
    return decisions


def _entities(setup: Setup, title: str) -> Iterable[tuple[str, Iterable[Entity]]]:
    accounts: tuple[TrackerAccount, ...] = setup.accounts
    account_keys = {account.key for account in accounts}
    if any(offer.account not in account_keys for offer in setup.offers):
        note = f"Offers that belonged to no network at {title}."
        accounts = (*accounts, TrackerAccount(key=NO_NETWORK, name=f"{title}: no network", note=note))
    return (
        ("account", accounts), ("source", setup.sources), ("offer", _without_loops(setup.offers)),
        ("campaign", setup.campaigns),
    )  # fmt: skip


def _without_loops(offers: tuple[TrackerOffer, ...]) -> list[TrackerOffer]:
    """Offers after the alternative they name; one that leads back to itself has none."""
    by_key = {offer.key: offer for offer in offers}
    ordered: list[TrackerOffer] = []
    placed: set[str] = set()
    for first in offers:
        chain: list[TrackerOffer] = []
        offer: TrackerOffer | None = first
        while offer is not None and offer.key not in placed and offer not in chain:
            chain.append(offer)
            offer = by_key.get(offer.alternative)
        loops = offer is not None and offer in chain
        for link in reversed(chain):
            placed.add(link.key)
            ends = loops and link is chain[-1]
            ordered.append(msgspec.structs.replace(link, alternative="") if ends else link)
    return ordered


def _free_name(entity: Entity, taken: Mapping[str, int], title: str) -> str:
    name = " ".join(entity.name.split())[:LONGEST_NAME].strip() or f"{title} {entity.key}"
    numbered = (f"{name[:150]} ({title} {n})" for n in count(2))
    candidates = chain((name, f"{name[:150]} ({title})"), numbered)
    return next(candidate for candidate in candidates if candidate.casefold() not in taken)


def _check_references(setup: Setup, standing: Standing, decisions: Decisions) -> None:
    """Name what refers to something that is not there: deleted at the tracker, or cut off."""
    keys = {kind: {entity.key for entity in entities} for kind, entities in _entities(setup, "")}
    loops = {offer.key for offer in _without_loops(setup.offers) if not offer.alternative}
    for offer in setup.offers:
        if offer.alternative and offer.key in loops:
            decisions.problems.append(Problem(
                kind="offer", name=offer.name, why="its alternatives lead in a loop: it has none here"))  # fmt: skip
        _check(setup, decisions, ("offer", offer.name), "offer", [offer.alternative], keys["offer"], standing)
        _check(setup, decisions, ("offer", offer.name), "account", [offer.account], keys["account"], standing)
        if offer.unknown:
            named = ", ".join(f"{{{macro}}}" for macro in offer.unknown)
            why = f"it is made paused: its address has macros that are not known here ({named})"
            decisions.problems.append(Problem(kind="offer", name=offer.name, why=why))
    for campaign in setup.campaigns:
        owner = "campaign", campaign.name
        _check(setup, decisions, owner, "source", [campaign.source], keys["source"], standing)
        targets = [share.offer for share in campaign.offers] + [
            share.offer for rule in campaign.rules for share in rule.offers
        ]
        _check(setup, decisions, owner, "offer", targets, keys["offer"], standing)


def _check(
    setup: Setup, decisions: Decisions, owner: tuple[str, str], kind: str, keys: Iterable[str], known: Collection[str],
    standing: Standing,
) -> None:  # fmt: skip
    for key in dict.fromkeys(keys):
        if key and key not in known and f"{kind}:{key}" not in standing.imported:
            named = setup.deleted.get(f"{kind}:{key}")
            why = f"{kind} {named!r} was deleted there: left out" if named else f"there is no {kind} {key}: left out"
            decisions.problems.append(Problem(kind=owner[0], name=owner[1], why=why))


def resolved(shares: Iterable[Weighted], ids: Mapping[str, Any]) -> dict[Any, int]:
    """Weights by what stands here for each offer; several of one are added up, unknown ones left out."""
    weights: dict[Any, int] = {}
    for share in shares:
        here = ids.get(f"offer:{share.offer}")
        if here is not None:
            weights[here] = weights.get(here, 0) + share.weight
    return weights
