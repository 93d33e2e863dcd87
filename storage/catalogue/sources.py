"""Traffic sources: what their parameters are called on our link, and which postback they want for which event."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.groups import ACTIVE, ARCHIVED, Sorted, sorting_of
from storage.db.secrets import UNREADABLE, Box
from storage.ledger.clicks.placements import placement_sub
from storage.ledger.credentials import hide_credentials
from storage.ledger.outbound.templates import placeholders
from storage.tables import faults, sources


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a source receives for one event, credentials masked. Not `enabled` while it lacks values of the account."""

    url: str | None = None
    method: str = "GET"
    body: str | None = None
    headers: dict[str, str] | None = None
    success: dict[str, Any] | None = None
    api: str | None = None
    name: str | None = None
    enabled: bool = True


class Source(Sorted, frozen=True, kw_only=True):
    """A traffic source as every face shows it; of its settings only the names of those given."""

    id: int
    name: str
    code: str
    status: str  # active | archived
    preset: str
    parameters: dict[str, str]
    postbacks: dict[str, Template]
    settings: list[str]
    missing: list[str]  # settings its postbacks still need
    options: dict[str, Any]
    placement: str | None  # the sub id that names a placement
    placement_macro: str  # the source's own macro for it
    unreplaced_macros: int = 0
    unreplaced: dict[str, int] = {}
    warnings: list[str] = []


async def add(tx: AsyncConnection, *, team_id: int, now: datetime, values: Mapping[str, Any]) -> int:
    """Store a source; `values` holds its columns."""
    made = await tx.execute(insert(sources).values(team_id=team_id, created_at=now, **values).returning(sources.c.id))
    return int(made.scalar_one())


async def change(tx: AsyncConnection, source_id: int, values: Mapping[str, Any]) -> None:
    await tx.execute(update(sources).where(sources.c.id == source_id).values(**values))


def sealed(box: Box, settings: Mapping[str, str]) -> str | None:
    return box.seal(dict(settings)) if settings else None


def settings_of(box: Box, row: Row[Any]) -> dict[str, str]:
    """The account's own values at the source. Raises CasinoFluxError when sealed under another key."""
    opened: dict[str, str] = box.open(row.credentials_secret) if row.credentials_secret else {}
    return opened


def missing(postbacks: Mapping[str, Any], needs: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Settings that are needed and not given: placeholders of the templates, and what a JSON API must have."""
    names = {name.lower() for name in needs}
    for postback in postbacks.values():
        headers = (postback.get("headers") or {}).values()
        names |= {n.lower() for n in placeholders(postback.get("url") or "", postback.get("body") or "", *headers)}
    return sorted(names - {name for name, value in settings.items() if value})


def enabled(postbacks: Mapping[str, Any], lacking: Sequence[str]) -> dict[str, Any]:
    """Templates with those switched off that still lack one of the account's values."""
    result = {}
    for event, postback in postbacks.items():
        texts = (postback.get("url") or "", postback.get("body") or "", *(postback.get("headers") or {}).values())
        needs = {name.lower() for name in placeholders(*texts)}
        lacks = bool(lacking) if postback.get("api") else bool(needs & set(lacking))
        result[event] = {**postback, "enabled": not lacks and not postback.get("off", False)}
    return result


async def shown(tx: AsyncConnection, box: Box, rows: Sequence[Row[Any]]) -> list[Source]:
    """Sources as they are shown, with how many unreplaced macros each has sent."""
    counted = await _faults(tx, rows)
    return [_shown(box, row, counted.get(row.code, {})) for row in rows]


def _shown(box: Box, row: Row[Any], unreplaced: dict[str, int]) -> Source:
    settings = box.open_or(row.credentials_secret, {})
    opens = box.opens(row.credentials_secret)
    lacking = missing(row.postbacks, row.options.get("needs", ()), settings) if opens else []
    placement = placement_sub(row.options)
    warnings = [f"postbacks are off until these are given: {', '.join(lacking)}"] if lacking else []
    if not opens:
        warnings.append(f"{UNREADABLE}: give them again with 'source edit {row.code} settings='")
    if not row.postbacks:
        warnings.append("no postback template: this source receives no conversions")
    costs = row.options.get("costs") or {}
    if costs.get("error"):
        warnings.append(f"its costs could not be read: {costs['error']}")
    if costs.get("unmatched"):
        more = f" and {len(costs['unmatched']) - 5} more" if len(costs["unmatched"]) > 5 else ""
        warnings.append(f"spend that matches no campaign of ours: {', '.join(costs['unmatched'][:5])}{more}")
    if costs.get("zone"):
        warnings.append(f"its costs are by days of {costs['zone']}, which are not those of the reports")
    return Source(
        id=row.id,
        name=row.name,
        code=row.code,
        status=ACTIVE if row.archived_from is None else ARCHIVED,
        preset=row.preset,
        parameters=row.parameters,
        postbacks={event: _template(postback) for event, postback in row.postbacks.items()},
        settings=sorted(settings),
        missing=lacking,
        options={name: value for name, value in row.options.items() if name not in {"needs", "costs"}},
        placement=placement,
        placement_macro=str((row.options.get("macros") or {}).get(placement, "")),
        unreplaced_macros=sum(unreplaced.values()),
        unreplaced=unreplaced,
        warnings=warnings,
        **sorting_of(row),
    )


def _template(postback: Mapping[str, Any]) -> Template:
    names = Template.__struct_fields__
    shown = {name: value for name, value in hide_credentials(postback).items() if name in names and value is not None}
    return Template(**shown)


async def _faults(tx: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[str, dict[str, int]]:
    """Unreplaced macros by source code and parameter, over all days."""
    if not rows:
        return {}
    query = (
        select(faults.c.subject, func.sum(faults.c.n).label("n"))
        .where(faults.c.team_id == rows[0].team_id, faults.c.kind == "macro")
        .group_by(faults.c.subject)
    )
    counts: dict[str, dict[str, int]] = {}
    for row in await tx.execute(query):
        code, _, parameter = row.subject.partition(":")
        counts.setdefault(code, {})[parameter] = int(row.n)
    return counts
