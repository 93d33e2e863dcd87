"""Traffic sources: the names of their parameters, and the postbacks they receive."""

import difflib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import EMPTIES, NONE, Arguments, choices, holds_credentials, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Button, Buttons, Fields, Message, Notice, Table
from bot.core.permissions import Scope
from bot.forms.bulk_change import MOST, BulkChange, edit_each, edit_question, render_change
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import Sorting, read_sorting, sorting_fields
from bot.forms.source_forms import read_parameters, read_postbacks, read_settings, separate_credentials
from storage.catalogue import names, sources
from storage.catalogue.groups import ARCHIVED
from storage.catalogue.sources import Source
from storage.db.json_column import change_keys
from storage.ledger.clicks.placements import SEPARATORS, sub_named
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.ledger.numbers import read_float
from storage.tables import sources as table

Setting = Annotated[
    list[str] | dict[str, str],
    Meta(description="your own values at the source: aid=123,tid=45", extra={"secret": True}),
]
Parameters = Annotated[dict[str, str], Meta(description='all names at once, as JSON: {"click_id": "subid"}')]
Postbacks = Annotated[
    dict[str, str | dict[str, Any]],
    holds_credentials("templates by event, as JSON; an event's own field wins"),
]
Theirs = Annotated[str | None, Meta(description="what the source calls it on our link")]
Url = Annotated[
    str | None, holds_credentials("address to call for this event; {click_id} is the source's own, {payout}")
]


class _SourceFields(Sorting, kw_only=True):
    click_id: Theirs = None
    cost: Theirs = None
    currency: Theirs = None
    sub1: Theirs = None
    sub2: Theirs = None
    sub3: Theirs = None
    sub4: Theirs = None
    sub5: Theirs = None
    sub6: Theirs = None
    sub7: Theirs = None
    sub8: Theirs = None
    sub9: Theirs = None
    sub10: Theirs = None
    registration: Url = None
    first_deposit: Url = None
    deposit: Url = None
    qualified: Url = None
    reversal: Url = None
    parameters: Parameters = {}
    postbacks: Postbacks = {}
    settings: Setting = []
    payout_share: Annotated[Decimal | None, Meta(description="percent of the amount that is sent to the source")] = None
    delay: Annotated[int | None, Meta(description="seconds to wait before sending")] = None
    only_approved: Annotated[bool | None, Meta(description="do not send pending conversions")] = None
    only_unique: Annotated[bool | None, Meta(description="send one conversion of an event per click")] = None
    per_second: Annotated[Decimal | None, Meta(description="most postbacks a second")] = None
    concurrency: Annotated[int | None, Meta(description="most postbacks at once (10 by default)")] = None
    placement: Annotated[
        str | None,
        Meta(description="what names a placement (zone, site, widget): a sub id such as sub1, or its macro"),
        EMPTIES,
    ] = None
    placement_format: Annotated[
        str | None, Meta(description="how the source takes a placement in a list: {placement}, or *:{placement}:*")
    ] = None
    placement_separator: Annotated[str | None, choices("what separates placements in such a list", *SEPARATORS)] = None


class NewSource(_SourceFields, kw_only=True):
    name: Annotated[str, Meta(description="what the team calls it")]
    preset: Annotated[str, Meta(description="a known source, or custom", extra={"port": "presets"})] = "custom"


class SourceEdit(_SourceFields, kw_only=True):
    source: Annotated[list[str], refers("source", "which source; several separated by commas", most=MOST)]
    name: str | None = None


class OneSource(Arguments):
    source: Annotated[str, refers("source", "which source")]


class SourceList(SortedList):
    status: Annotated[str | None, choices("only these", "active", ARCHIVED)] = None


def source_card(ctx: Context, source: Source) -> Message:
    names_ = ", ".join(f"{ours}={theirs}" for ours, theirs in source.parameters.items())
    postbacks = tuple(
        (event, f"{postback.url or f'API {postback.api}'}{'' if postback.enabled else ' · off'}")
        for event, postback in source.postbacks.items()
    )
    named = f"{source.placement} {source.placement_macro}".strip() if source.placement else "–"
    fields = Fields((
        ("Preset", source.preset), ("Names on our link", names_ or "ours"), ("Placement", named), *postbacks,
        *sorting_fields(ctx, source),
    ))  # fmt: skip
    notes = tuple(Notice("warning", text) for text in source.warnings)
    if source.unreplaced_macros:
        where = ", ".join(f"{name} {n:,}" for name, n in sorted(source.unreplaced.items()))
        notes += (Notice("warning", f"{source.unreplaced_macros:,} values came as unreplaced macros: {where}"),)
    archived = (Buttons((Button("Restore", f"source restore {source.code}"),)),) if source.status == ARCHIVED else ()
    state = f" · {source.status}" if archived else ""
    return Message(f"Source {source.name} ({source.code}){state}", (fields, *notes, *archived))


def source_table(ctx: Context, page: Page[Source]) -> Message:
    rows = tuple(
        (s.name, s.code, s.preset, ", ".join(s.postbacks) or "–", ", ".join(s.missing) or "–") for s in page.items
    )
    table = Table(("Source", "Code", "Preset", "Sends", "Missing"), rows, phone=(0, 1, 2))
    return list_message(ctx, "source", page, table, add="source add name=… preset=…")


@command("source add", role=Role.BUYER, scope=Scope.OWN, render=source_card, positional=("name",))
async def add_source(ctx: Context, new: NewSource) -> Source:
    """Add a traffic source, from a preset or your own parameter names and postback templates."""
    preset = _preset(ctx, new.preset)
    needs = list(preset.get("settings", ()))
    templates, credentials = separate_credentials(read_postbacks(new, {}))
    settings = {**credentials, **read_settings(new.settings)}
    postbacks = {**preset.get("postbacks", {}), **templates}
    source_id = await sources.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values={
        "name": new.name, "code": await names.code_for(ctx.tx, table, ctx.team_id, new.name),
        "preset": new.preset.lower(),
        "parameters": {**preset.get("parameters", {}), **read_parameters(new)},
        "postbacks": sources.enabled(postbacks, sources.missing(postbacks, needs, settings)),
        "options": {**preset.get("options", {}), **_options(new, preset.get("options", {})), "needs": needs},
        "credentials_secret": sources.sealed(ctx.box, settings), **await read_sorting(ctx, new),
    })  # fmt: skip
    return await _noted(ctx, source_id)


async def _edits(ctx: Context, new: SourceEdit) -> str | None:
    return await edit_question(ctx, "source", new)


@command("source edit", role=Role.BUYER, render=render_change("source", source_card), positional=("source",),
         confirm=_edits)  # fmt: skip
async def edit_source(ctx: Context, new: SourceEdit) -> Source | BulkChange[Source]:
    """Change sources; what is not named stays, a name or template of `-` is taken away."""
    return await edit_each(ctx, "source", new, lambda row: _edited(ctx, row, new), of_one=("name", "settings"))


async def _edited(ctx: Context, row: Row[Any], new: SourceEdit) -> Source:
    before = (await sources.shown(ctx.tx, ctx.box, [row]))[0]
    templates, credentials = separate_credentials({**row.postbacks, **read_postbacks(new, row.postbacks)})
    given = read_settings(new.settings)
    replaced = given or credentials
    stored = ctx.box.open_or(row.credentials_secret, {}) if replaced else sources.settings_of(ctx.box, row)
    settings = {**stored, **credentials, **given}
    postbacks = {event: template for event, template in templates.items() if template.get("url") != "-"}
    lacking = sources.missing(postbacks, row.options.get("needs", ()), settings)
    values: dict[str, Any] = {
        "parameters": {
            ours: theirs for ours, theirs in {**row.parameters, **read_parameters(new)}.items() if theirs != "-"
        },
        "postbacks": sources.enabled(postbacks, lacking),
        "credentials_secret": sources.sealed(ctx.box, settings),
        **await read_sorting(ctx, new, row),
    }
    emptied = {"placement": row.options.get("placement")} if new.placement == NONE else {}
    await change_keys(ctx.tx, table.c.options, row.id, before=emptied, after=_options(new, row.options))
    if new.name and new.name != row.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=row.id)
        values["name"] = new.name
    await sources.change(ctx.tx, row.id, values)
    return await _noted(ctx, row.id, before=before)


@command(
    "source list", role=Role.VIEWER, scope=Scope.OWN, render=source_table, reads=True, positional=("find",),
    sentence="find", aliases=("source find",),
)  # fmt: skip
async def list_sources(ctx: Context, new: SourceList) -> Page[Source]:
    """The team's traffic sources."""
    rows, following = await listed(ctx, "source", new, of_team(ctx, "source"))
    return Page(await sources.shown(ctx.tx, ctx.box, list(rows)), following)


@command("source show", role=Role.VIEWER, render=source_card, reads=True, positional=("source",))
async def show_source(ctx: Context, new: OneSource) -> Source:
    """One source, with how many unreplaced macros it has sent."""
    row = await names.find(ctx.tx, table, ctx.team_id, new.source, field="source")
    return (await sources.shown(ctx.tx, ctx.box, [row]))[0]


def _preset(ctx: Context, word: str) -> dict[str, Any]:
    name = word.strip().lower()
    if name in {"", "custom"}:
        return {}
    presets = ctx.ports.presets()
    spelled = {name.replace("-", "").replace("_", ""): name for name in presets}
    plain = "".join(letter for letter in name if letter.isalnum())
    if plain not in spelled:
        near = difflib.get_close_matches(plain, spelled, n=1, cutoff=0.5)
        hint = f"did you mean {spelled[near[0]]!r}?" if near else f"there is custom, {', '.join(sorted(presets))}"
        raise Missing(f"no preset {word!r}: {hint}", field="preset")
    return presets[spelled[plain]]


def _placement(new: _SourceFields, options: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the source's placements. Raises Refused at the field."""
    values = {}
    if new.placement not in (None, NONE):
        values["placement"] = sub_named(options, new.placement) or ""
        if not values["placement"]:
            raise Refused(f"placement: no sub id {new.placement!r}: there is sub1 … sub10, or a macro of the source",
                          field="placement")  # fmt: skip
    if new.placement_format is not None:
        values["placement_format"] = new.placement_format
        if new.placement_format.count("{placement}") != 1:
            raise Refused("placement_format: write {placement} once, e.g. *:{placement}:*", field="placement_format")
    if new.placement_separator is not None:
        values["placement_separator"] = new.placement_separator.lower()
        if values["placement_separator"] not in SEPARATORS:
            raise Refused(f"placement_separator: one of {', '.join(SEPARATORS)}", field="placement_separator")
    return values


def _options(new: _SourceFields, options: Mapping[str, Any]) -> dict[str, Any]:
    if new.payout_share is not None and not 0 <= new.payout_share <= 100:
        raise Refused("payout_share: a percentage between 0 and 100", field="payout_share")
    if new.delay is not None and not 0 <= new.delay <= 7 * 86_400:
        raise Refused("delay: seconds, a week at most", field="delay")
    if new.concurrency is not None and not 1 <= new.concurrency <= 100:
        raise Refused("concurrency: between 1 and 100", field="concurrency")
    if new.per_second is not None and new.per_second <= 0:
        raise Refused("per_second: above 0", field="per_second")
    values = {
        "payout_share": None if new.payout_share is None else str(new.payout_share),
        "per_second": None if new.per_second is None else read_float(new.per_second),
        "delay": new.delay, "only_approved": new.only_approved, "only_unique": new.only_unique,
        "concurrency": new.concurrency, **_placement(new, options),
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}


async def _noted(ctx: Context, source_id: int, *, before: Source | None = None) -> Source:
    row = await names.by_id(ctx.tx, table, source_id)
    source = (await sources.shown(ctx.tx, ctx.box, [row]))[0]
    ctx.notes |= {"entity": "source", "entity_id": source.id, "before": before, "after": source}
    return source
