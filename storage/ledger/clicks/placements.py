"""Placements: the parts of a traffic source (zone, site, widget) that a sub id names, blocked or allowed by lists."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from storage.ledger.facts import SUBS

KINDS = ("block", "allow")
LONGEST = 200  # characters of a placement
_NAMES = ("zone", "placement", "widget", "site", "target", "spot", "publisher", "source")
"""What sources call a placement in their macros, the likeliest first."""
SEPARATORS = {"line": "\n", "comma": ",", "semicolon": ";", "space": " "}


class Lists(msgspec.Struct, frozen=True):
    """The lists of one source or campaign for one sub id."""

    block: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()

    def verdict(self, placement: str) -> bool | None:
        """Whether the placement is let through; None where these lists say nothing of it.

        A placement is on one list at most. An allow list that holds anything lets through what is on it, nothing else.
        """
        if placement in self.block:
            return False
        return placement in self.allow if self.allow else None


_NONE = Lists()


class SubCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One sub id's lists: the campaign's first, then its source's."""

    place: int  # of the sub id
    campaign: Lists = _NONE
    source: Lists = _NONE

    def refusing(self, subs: Sequence[str | None]) -> str:
        """Whose list refuses the visitor: `campaign`, `source`, or empty."""
        placement = subs[self.place] or "" if len(subs) > self.place else ""
        verdict = self.campaign.verdict(placement)
        if verdict is None:
            return "source" if self.source.verdict(placement) is False else ""
        return "" if verdict else "campaign"


class PlacementGate(msgspec.Struct, frozen=True):
    """All lists that a campaign's visitors are held against: a look-up in a set for each sub id that has any."""

    checks: tuple[SubCheck, ...]

    def refuses(self, subs: Sequence[str | None]) -> bool:
        return any(check.refusing(subs) for check in self.checks)

    def explain(self, subs: Sequence[str | None]) -> str:
        """Which list refuses the visitor, in words; empty if none does."""
        for check in self.checks:
            if owner := check.refusing(subs):
                name, placement = SUBS[check.place], subs[check.place] if len(subs) > check.place else ""
                blocked = placement in (check.campaign if owner == "campaign" else check.source).block
                listed = "is on the block list" if blocked else "is not on the allow list"
                return f"placement {placement or 'unknown'} ({name}) {listed} of the {owner}"
        return ""


def gate(campaign: Mapping[str, Lists], source: Mapping[str, Lists]) -> PlacementGate | None:
    """The gate of a campaign out of its own lists and its source's, by sub id; None where there are none."""
    names = [name for name in SUBS if name in campaign or name in source]
    checks = tuple(
        SubCheck(place=SUBS.index(name), campaign=campaign.get(name, _NONE), source=source.get(name, _NONE))
        for name in names
    )
    return PlacementGate(checks) if checks else None


def placement_sub(options: Mapping[str, Any]) -> str | None:
    """The sub id that names a source's placements: as its options say, else by what its macros are called."""
    if options.get("placement"):
        return str(options["placement"])
    macros: Mapping[str, str] = options.get("macros") or {}
    for name in _NAMES:
        for sub, macro in macros.items():
            if sub in SUBS and name in macro.lower():
                return sub
    return None


def macro_name(options: Mapping[str, Any], sub: str) -> str:
    """What the source calls the value of a sub id (`zoneid` of `{zoneid}`); empty if it has no macro for it."""
    return re.sub(r"\W+", "", str((options.get("macros") or {}).get(sub, "")).strip("_"))


def sub_named(options: Mapping[str, Any], word: str) -> str | None:
    """The sub id of a word: `sub2`, or what the source calls it."""
    plain = word.strip().lower()
    if plain in SUBS:
        return plain
    return next((sub for sub in SUBS if plain and macro_name(options, sub).lower() == re.sub(r"\W+", "", plain)), None)


def written_out(placements: Iterable[str], options: Mapping[str, Any]) -> str:
    """Placements as the source takes a list of them: its form of each (`*:{placement}:*`), joined by its separator."""
    form = str(options.get("placement_format") or "{placement}")
    separator = SEPARATORS[str(options.get("placement_separator") or "line")]
    return separator.join(form.replace("{placement}", placement) for placement in placements)
