"""Placements: the parts of a traffic source that are blocked, or alone allowed; by hand, by file, and copied out."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import or_, select

from bot.core.arguments import Arguments, MissingArgument, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import MAX_ROWS, limited
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, File, Message, Notice, Table, Text
from bot.core.permissions import Scope, visible
from bot.forms.imports import Sent, rows_of, where
from bot.render.figures import plural
from storage.catalogue import names, placements
from storage.catalogue.entities import page
from storage.catalogue.placements import MOST, ListKey, PlacementEntry
from storage.ledger.clicks.placements import KINDS, LONGEST, macro_name, placement_sub, sub_named, written_out
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.tables import TableError, decode_text
from storage.tables import campaigns, placement_lists, sources
from storage.tables import placements as table

_MOST_TYPED = 1_000  # of one command
_SHOWN = 20
_COLUMNS = ("placement", "note")


class _Owner(Arguments, kw_only=True):
    source: Annotated[str | None, refers("source", "whose visitors: of a traffic source")] = None
    campaign: Annotated[str | None, refers("campaign", "or of one campaign")] = None
    sub: Annotated[str | None, Meta(description="what names the placement, sub1 … sub10 or the source's macro "
                                    "(zoneid); default: as the source says")] = None  # fmt: skip


class PlacementChange(_Owner, kw_only=True):
    placement: Annotated[list[str], limited("which placements, separated by commas", items=_MOST_TYPED)]
    note: Annotated[str | None, Meta(description="why")] = None


class PlacementRemoval(_Owner, kw_only=True):
    placement: Annotated[list[str], limited("which placements, separated by commas", items=_MOST_TYPED)]


class PlacementImport(_Owner, kw_only=True):
    list_: Annotated[str, choices("which list", *KINDS)] = "block"
    rows: Annotated[list[dict[str, Any]], limited("rows with placement and note", items=MAX_ROWS, depth=3)] = []
    csv: Annotated[str | None, Meta(description="or placements, one a line or as a table: placement,note")] = None
    file: Sent = None
    replace: Annotated[bool, Meta(description="the list then holds these and no others")] = False


class PlacementListing(Listing, kw_only=True):
    source: Annotated[str | None, refers("source", "only this traffic source's", changes=False)] = None
    campaign: Annotated[str | None, refers("campaign", "only this campaign's", changes=False)] = None
    list_: Annotated[str | None, choices("only this list", *KINDS)] = None
    find: Annotated[str | None, Meta(description="only those that begin with this")] = None


class PlacementExport(_Owner, kw_only=True):
    list_: Annotated[str, choices("which list", *KINDS)] = "block"


class PlacementsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of a source or campaign now holds (`total`). `placements` are those that were not on it before,
    `moved` those among them that came from the other list."""

    list_: str = msgspec.field(name="list")
    source: str | None
    campaign: str | None
    sub: str
    placements: list[str]
    moved: list[str] = []
    removed: int = 0
    total: int
    warnings: list[str] = []


class PlacementsRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """Placements that were taken off, by the list they were on."""

    source: str | None
    campaign: str | None
    sub: str
    block: list[str] = []
    allow: list[str] = []


class PlacementText(msgspec.Struct, frozen=True, kw_only=True):
    """A list as the source takes it: paste `text` there."""

    list_: str = msgspec.field(name="list")
    source: str | None
    campaign: str | None
    sub: str
    count: int
    text: str


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whose list it is, and what names its placements."""

    key: ListKey
    source: str | None
    campaign: str | None
    options: dict[str, Any]
    fallback: bool

    @property
    def label(self) -> str:
        called = macro_name(self.options, self.key.sub)
        return f"{self.key.sub} ({called})" if called else self.key.sub


def changed_card(ctx: Context, done: PlacementsChanged) -> Message:
    owner = _owner_in_words(ctx, done)
    count = plural(len(done.placements), "placement")
    title = f"{count} put on the {done.list_} list of {owner}: {done.total:,} on it now"
    shown = ", ".join(done.placements[:_SHOWN]) + (" …" if len(done.placements) > _SHOWN else "")
    notes = tuple(Notice("warning", text) for text in done.warnings)
    return Message(title, ((Text(f"{done.sub}: {shown}"),) if shown else ()) + notes)


def removed_card(ctx: Context, done: PlacementsRemoved) -> Message:
    lines = [
        Text(f"{kind} list: {', '.join(values[:_SHOWN])}") for kind in KINDS if (values := getattr(done, kind))
    ]  # fmt: skip
    count = plural(len(done.block) + len(done.allow), "placement")
    return Message(f"{count} taken off the lists of {_owner_in_words(ctx, done)}", tuple(lines))


def _owner_in_words(ctx: Context, done: Any) -> str:
    if done.campaign:
        return f"campaign {ctx.name('campaign', done.campaign)}"
    return f"source {ctx.name('source', done.source)}"


def placement_table(ctx: Context, entries: Page[PlacementEntry]) -> Message:
    if not entries.items:
        return Message("No placement is on a list: placement block 12345 source=…", private=True)
    rows = tuple(
        (e.placement, e.list_, ctx.name("campaign", e.campaign) if e.campaign else ctx.name("source", e.source), e.sub,
         e.note or "–", e.added_by, f"{e.added_at.astimezone(ctx.deployment.zone):%Y-%m-%d}")
        for e in entries.items
    )  # fmt: skip
    columns = ("Placement", "List", "Of", "Sub id", "Note", "By", "Since")
    blocks: list[Block] = [Table(columns, rows, phone=(0, 1, 2))]
    if entries.next:
        blocks.append(Buttons((Button("More", f"{ctx.notes['line']} after={entries.next}"),)))
    return Message("Placement lists", tuple(blocks), private=True)


def text_card(ctx: Context, done: PlacementText) -> Message:
    title = f"{done.list_.capitalize()} list of {_owner_in_words(ctx, done)}: {plural(done.count, 'placement')}"
    return Message(
        title, (File(f"{done.list_}-list.txt", done.text, "text/plain"),) if done.count else (), private=True
    )


@command("placement block", role=Role.BUYER, scope=Scope.OWN, render=changed_card, positional=("placement",))
async def block_placement(ctx: Context, new: PlacementChange) -> PlacementsChanged:
    """Block placements of a source or campaign: their visitors go to the fallback, and their clicks are kept."""
    return await _put(ctx, await _target(ctx, new), "block", values=_read(new.placement), note=new.note)


@command("placement allow", role=Role.BUYER, scope=Scope.OWN, render=changed_card, positional=("placement",))
async def allow_placement(ctx: Context, new: PlacementChange) -> PlacementsChanged:
    """Allow placements of a source or campaign: all others are then blocked."""
    return await _put(ctx, await _target(ctx, new), "allow", values=_read(new.placement), note=new.note)


@command("placement remove", role=Role.BUYER, scope=Scope.OWN, render=removed_card, positional=("placement",))
async def remove_placement(ctx: Context, new: PlacementRemoval) -> PlacementsRemoved:
    """Take placements off the block and allow list of a source or campaign."""
    target = await _target(ctx, new)
    taken = await placements.take_off(ctx.tx, ctx.team_id, target.key, _read(new.placement))
    ctx.unchanged = not taken
    kinds = [kind for kind, values in taken.items() if values]
    done = PlacementsRemoved(
        source=target.source, campaign=target.campaign, sub=target.key.sub, block=taken.get("block", []),
        allow=taken.get("allow", []),
    )  # fmt: skip
    ctx.notes |= {"after": done, "before": {"list": kinds[0]} if len(kinds) == 1 else None}
    return done


@command(
    "placement list", role=Role.VIEWER, scope=Scope.OWN, render=placement_table, reads=True, positional=("find",),
    aliases=("placement find",),
)  # fmt: skip
async def list_placements(ctx: Context, new: PlacementListing) -> Page[PlacementEntry]:
    """Placements on block and allow lists."""
    listed, query = placement_lists.c, placements.entries_query(ctx.team_id)
    for noun, owners, column in (("source", sources, listed.source_id), ("campaign", campaigns, listed.campaign_id)):
        if word := getattr(new, noun):
            query = query.where(column == (await names.find(ctx.tx, owners, ctx.team_id, word, field=noun)).id)
    if new.list_:
        query = query.where(listed.kind == _kind(new.list_))
    if new.find:
        query = query.where(table.c.placement.startswith(new.find, autoescape=True))
    if ctx.actor.campaigns is not None:
        seen = [select(owner.c.id).where(visible(ctx.actor, noun)) for noun, owner in _OWNERS.items()]
        query = query.where(or_(listed.source_id.in_(seen[0]), listed.campaign_id.in_(seen[1])))
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after, latest=True)
    words = {name: value for name in ("source", "campaign", "list_", "find") if (value := getattr(new, name))}
    ctx.notes["line"] = "placement list" + "".join(f' {name.rstrip("_")}="{value}"' for name, value in words.items())
    return Page([placements.entry_of(row) for row in rows], following)


_OWNERS = {"source": sources, "campaign": campaigns}


async def _taken_off(ctx: Context, new: PlacementImport) -> str | None:
    """What a list loses that is replaced."""
    if not new.replace:
        return None
    target, kind = await _target(ctx, new), _kind(new.list_)
    before = await placements.values_of(ctx.tx, ctx.team_id, target.key, kind)
    lost = len(set(before) - {placement for placement, _ in _imported(new)})
    owner = f"source {target.source}" if target.source else f"campaign {target.campaign}"
    return f"{plural(lost, 'placement')} are taken off the {kind} list of {owner} for good." if lost else None


@command("placement import", role=Role.BUYER, scope=Scope.OWN, render=changed_card, confirm=_taken_off)
async def import_placements(ctx: Context, new: PlacementImport) -> PlacementsChanged:
    """Put many placements on a list: from a file or text, one a line, or a table with a column `placement`."""
    target, kind = await _target(ctx, new), _kind(new.list_)
    by_note: dict[str | None, list[str]] = {}
    for placement, note in _imported(new):
        by_note.setdefault(note, []).append(placement)
    removed = await placements.clear(ctx.tx, ctx.team_id, target.key, kind) if new.replace else 0
    done = [await _put(ctx, target, kind, values=_read(values), note=note) for note, values in by_note.items()]
    return msgspec.structs.replace(
        done[-1], placements=[value for part in done for value in part.placements],
        moved=[value for part in done for value in part.moved], removed=removed,
    )  # fmt: skip


@command("placement export", role=Role.VIEWER, scope=Scope.OWN, render=text_card, reads=True)
async def export_placements(ctx: Context, new: PlacementExport) -> PlacementText:
    """Copy a list out in the form its traffic source takes it."""
    target, kind = await _target(ctx, new), _kind(new.list_)
    values = await placements.values_of(ctx.tx, ctx.team_id, target.key, kind)
    return PlacementText(
        list_=kind, source=target.source, campaign=target.campaign, sub=target.key.sub, count=len(values),
        text=written_out(values, target.options),
    )  # fmt: skip


async def _target(ctx: Context, new: _Owner) -> _Target:
    """Raises Refused where it is not said whose list, or nothing says which sub id names a placement."""
    if bool(new.source) == bool(new.campaign):
        raise MissingArgument("source: say whose list: either source=… or campaign=…", field="source")
    noun, word = ("source", new.source) if new.source else ("campaign", new.campaign)
    row = await names.find(ctx.tx, _OWNERS[noun], ctx.team_id, str(word), field=noun)
    of_campaign = noun == "campaign"
    source_id = row.source_id if of_campaign else row.id
    source = await names.by_id(ctx.tx, sources, source_id) if source_id else None
    options = source.options if source else {}
    sub = sub_named(options, new.sub) if new.sub else placement_sub(options)
    if sub is None:
        called = ", ".join(filter(None, (macro_name(options, name) for name in options.get("macros") or {})))
        known = f"sub1 … sub10{', ' + called if called else ''}"
        fault = f"no sub id {new.sub!r}: there is {known}" if new.sub else (
            "say which sub id names a placement, e.g. sub=sub1; or once: source edit … placement=sub1"
        )  # fmt: skip
        raise Refused(f"sub: {fault}", field="sub")
    fallback = bool(row.fallback_url) if of_campaign else not await _without_fallback(ctx, row.id)
    key = ListKey(campaign_id=row.id, sub=sub) if of_campaign else ListKey(source_id=row.id, sub=sub)
    return _Target(
        key=key, source=None if of_campaign else row.code, campaign=row.code if of_campaign else None,
        options=options, fallback=fallback,
    )  # fmt: skip


async def _without_fallback(ctx: Context, source_id: int) -> bool:
    c = campaigns.c
    query = select(c.id).where(c.team_id == ctx.team_id, c.source_id == source_id, c.fallback_url.is_(None))
    return (await ctx.tx.execute(query.limit(1))).first() is not None


async def _put(ctx: Context, target: _Target, kind: str, *, values: list[str], note: str | None) -> PlacementsChanged:
    done = await placements.put(
        ctx.tx, ctx.team_id, target.key, kind, values=values, note=note, by=ctx.actor.name, now=ctx.now
    )
    if done.total > MOST:
        raise Refused(f"placement: a list holds {MOST:,} placements at most; this would be {done.total:,}",
                      field="placement")  # fmt: skip
    ctx.unchanged = not done.added
    warnings = [] if target.fallback or not done.added else [_NEUTRAL]
    if kind == "allow" and done.total == len(done.added):
        warnings.append("this is the first on the allow list: all other placements are blocked from now on")
    changed = PlacementsChanged(
        list_=kind, source=target.source, campaign=target.campaign, sub=target.key.sub, placements=done.added,
        moved=done.moved, total=done.total, warnings=warnings,
    )  # fmt: skip
    # Undone by the opposite, where there is one: all of them were on the other list, or none of them was.
    uniform = not done.moved or len(done.moved) == len(done.added)
    before = {"list": _other(kind) if done.moved else None} if uniform and len(done.added) <= _MOST_TYPED else None
    ctx.notes |= {"entity": "placement", "entity_id": done.first_id, "before": before, "after": changed}
    return changed


_NEUTRAL = "a campaign of it has no fallback_url: visitors of blocked placements see a neutral page there"


def _other(kind: str) -> str:
    return "allow" if kind == "block" else "block"


def _kind(word: str) -> str:
    kind = word.strip().lower()
    if kind not in KINDS:
        raise Refused(f"list: one of {', '.join(KINDS)}", field="list")
    return kind


def _read(words: Sequence[str], field: str = "placement") -> list[str]:
    """Placements as they are held against clicks: as the source sends them, without spaces around."""
    values = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not values:
        raise MissingArgument("placement: name one, e.g. 12345", field=field)
    if long := next((value for value in values if len(value) > LONGEST or "\x00" in value), None):
        raise Refused(f"{field}: {long[:40]!r} … is no placement: at most {LONGEST} characters", field=field)
    return values


def _imported(new: PlacementImport) -> list[tuple[str, str | None]]:
    """Placements and notes out of rows, a table with a header, or lines (commas or semicolons do as well)."""
    try:
        text = new.csv or (decode_text(new.file) if new.file else "")
    except TableError as error:
        raise Refused(f"{where(new)}: {error}", field=where(new)) from None
    header = next((line.lower() for line in text.splitlines() if line.strip()), "")
    if new.rows or "placement" in re.split(r"[^a-z]+", header):
        columns = _COLUMNS if new.rows or "note" in header else _COLUMNS[:1]
        return [(row.text("placement"), row.text("note") or None) for row in rows_of(new, columns)]
    values = [part.strip().strip("\"'") for part in re.split(r"[\n\r,;\t]+", text)]
    if not any(values):
        raise MissingArgument("csv: nothing to import: attach placements, one a line", field="csv")
    return [(value, None) for value in values if value]
