"""Lists and pages of campaigns, offers, casinos, sites, sources, domains and accounts, with their latest figures."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.core.command import COMMANDS
from bot.core.permissions import visible
from bot.digests.message import chart_days
from hub.cockpit.charts import commission_chart
from hub.cockpit.entity_table import EntityTable, state_of
from hub.cockpit.figures import NONE, Show
from hub.cockpit.page import Cockpit, Visit, each
from hub.cockpit.parts import joined
from storage.catalogue.groups import ARCHIVED, SORTED, tags_of
from storage.ledger.clicks.rotation_rules import node_of
from storage.ledger.clicks.rules_in_words import condition_in_words
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import UPLOADED, WITHOUT_API
from storage.ledger.reports.report_rows import DIMENSIONS, MergedReport, ReportRow

LIST_LIMIT = 100
DAYS = 7
MOST_TAGS_OFFERED = 200


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How one noun is listed: what it is called, its columns beside the name, what can be done with one of it."""

    noun: str
    plural: str
    create: str
    columns: tuple[tuple[str, str], ...]
    actions: tuple[tuple[str, str], ...] = ()  # command, label
    empty: str = ""
    links: tuple[tuple[str, str], ...] = ()
    searched: tuple[str, ...] = ("name", "code")


def archiving(noun: str) -> tuple[tuple[str, str], ...]:
    """The actions that put one away and take it back."""
    return (f"{noun} archive", "Archive"), (f"{noun} restore", "Restore")


KINDS = (
    Kind(
        noun="campaign",
        plural="Campaigns",
        create="campaign create",
        columns=(("source", "Source"), ("site", "Site")),
        actions=(
            ("campaign copy", "Copy"),
            ("campaign pause", "Pause"),
            ("campaign resume", "Resume"),
            *archiving("campaign"),
        ),
        empty="A campaign ties offers, a site and a traffic source together under one tracking link.",
    ),
    Kind(
        noun="offer",
        plural="Offers",
        create="offer add",
        columns=(("casino", "Casino"), ("account", "Account"), ("tag", "Tag")),
        actions=(
            ("offer copy", "Copy"),
            ("offer pause", "Pause"),
            ("offer resume", "Resume"),
            *archiving("offer"),
        ),
        empty="An offer is one deal at one platform account. Its casino entry is made with it.",
    ),
    Kind(
        noun="casino",
        plural="Casinos",
        create="offer add",
        columns=(("licence", "Licence"), ("bonus", "Bonus")),
        actions=(("casino review", "Mark as reviewed"), *archiving("casino")),
        empty="A casino entry is made with its first offer.",
    ),
    Kind(
        noun="site",
        plural="Sites",
        create="site create",
        columns=(("market", "Market"), ("locale", "Language"), ("domains", "Domains")),
        actions=(("site publish", "Publish"), ("site pause", "Pause"), *archiving("site")),
        empty="A site is a landing page or offer wall.",
    ),
    Kind(
        noun="domain",
        plural="Domains",
        create="domain add",
        columns=(("site", "Site"), ("registered_until", "Registered until")),
        actions=(("domain verify", "Check now"),),
        empty="Point a name at the hub, or buy one.",
    ),
    Kind(
        noun="source",
        plural="Traffic sources",
        create="source add",
        columns=(("preset", "Preset"), ("missing", "Lacks")),
        actions=archiving("source"),
        empty="A traffic source says how its click id and cost come, and which postbacks it wants.",
    ),
    Kind(
        noun="account",
        plural="Platform accounts",
        create="account add",
        columns=(("platform", "Platform"), ("currency", "Currency"), ("last_success_at", "Last sync")),
        actions=(
            ("account test", "Test the login"),
            ("sync now", "Sync now"),
            ("account pause", "Pause"),
            ("account resume", "Resume"),
            *archiving("account"),
        ),
        empty="Your login at an affiliate platform: its delayed revenue is fetched by itself.",
    ),
)
FETCHING = frozenset({"account test", "sync now"})
"""What is asked of a platform's API."""
UPLOAD = "sync upload"
BY_NOUN = {kind.noun: kind for kind in KINDS}
#: Actions that fit a state only.
FITTING: dict[str, Callable[[str], bool]] = {
    "pause": lambda status: status in {"active", "published", "idle", "live"},
    "resume": lambda status: status == "paused",
    "publish": lambda status: status in {"draft", "paused", "published"},
    "review": lambda status: status == "draft",
    "archive": lambda status: status != ARCHIVED,
    "restore": lambda status: status == ARCHIVED,
}


def entity_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    return [route for kind in KINDS for route in _routes(cockpit, kind)]


def _routes(cockpit: Cockpit, kind: Kind) -> list[HTTPRouteHandler]:
    @cockpit.get(f"/cockpit/{kind.noun}")
    async def listing(visit: Visit) -> Response[Any]:
        (items, following), figures = await visit.together(_items(visit, kind), _figures(visit, kind))
        names = await visit.labels("group", *(key for key, _ in kind.columns if key in _NAMED))
        narrowed = bool(visit.filled("find", "status", "group", "tag"))
        grouped = any(getattr(item, "group", None) for item in items)
        columns = [key for key, _ in kind.columns]
        table = EntityTable(visit, kind.noun, columns, names, figures, grouped=grouped)
        return await visit.html(
            "list.html", section=kind.noun, title=kind.plural, kind=kind, rows=joined(await each(items, table.row)),
            next=following, has_figures=figures is not None, days=DAYS, grouped=grouped, groups=names["group"],
            tags=await _tags(visit, kind), narrowed=narrowed,
        )  # fmt: skip

    @cockpit.get(f"/cockpit/{kind.noun}/{{code:str}}")
    async def single(visit: Visit) -> Response[Any]:
        return await _single(visit, kind, visit.place["code"])

    return [listing, single]


async def _items(visit: Visit, kind: Kind) -> tuple[list[Any], str | None]:
    """A page of the list; a search or a status goes through all of it."""
    search, status = visit.query.get("find", "").strip().lower(), visit.query.get("status", "")
    listed = f"{kind.noun} list"
    filters = visit.filled("group", "tag")
    if status == ARCHIVED and kind.noun != "domain":
        filters["status"], status = ARCHIVED, ""
    if not search and not status:
        page = await visit.ask(listed, limit=LIST_LIMIT, **filters, **visit.filled("after"))
        return page.items, page.next
    matches: list[Any] = []
    after: dict[str, str] = {}
    while len(matches) < LIST_LIMIT:
        page = await visit.ask(listed, limit=500, **filters, **after)
        matches += [item for item in page.items if _matches(item, kind, search, status)]
        if not page.next:
            break
        after = {"after": page.next}
    return matches[:LIST_LIMIT], None


async def _tags(visit: Visit, kind: Kind) -> list[str]:
    """The tags that a filter offers: the most frequent of what the person may see."""

    async def read() -> list[str]:
        async with visit.cockpit.runtime.database.read() as tx:
            tags = await tags_of(tx, SORTED[kind.noun], visit.actor.team_id, visible(visit.actor, kind.noun))
        return tags[:MOST_TAGS_OFFERED]

    return await visit.cockpit.cache.read(("tags", visit.actor.team_id, kind.noun, visit.actor.campaigns), read)


def _matches(item: Any, kind: Kind, search: str, status: str) -> bool:
    texts = [getattr(item, name, "") for name in (*kind.searched, *(key for key, _ in kind.columns))]
    return (not search or any(search in str(text).lower() for text in texts)) and (
        not status or state_of(item) == status
    )


async def _figures(visit: Visit, kind: Kind) -> dict[str, ReportRow] | None:
    """The last days' figures by code; None of a kind that has none."""
    if kind.noun not in DIMENSIONS:
        return None
    report = await _report(visit, [kind.noun], DAYS)
    return {row.group[kind.noun] or "": row for row in report.rows}


async def _report(visit: Visit, by: list[str], days: int, **filters: Any) -> MergedReport:
    today = visit.context().today
    first = today - timedelta(days=days - 1)
    report: MergedReport = await visit.ask(
        "report merged", to=today.isoformat(), by=by, **filters, **{"from": first.isoformat()}
    )
    return report


async def _single(visit: Visit, kind: Kind, code: str) -> Response[Any]:
    entity = await visit.ask(f"{kind.noun} show", **{kind.noun if kind.noun != "domain" else "domain": code})
    report = chart = None
    if kind.noun in DIMENSIONS:
        report = await _report(visit, ["day"], 30, **{kind.noun: entity.code})
        chart = commission_chart(chart_days(report, visit.context().today), report.currency) if report.rows else None
    names = (await visit.labels("offer"))["offer"] if kind.noun == "campaign" else {}
    syncs = await visit.ask_if_allowed("sync status", account=entity.code) if kind.noun == "account" else None
    return await visit.html(
        "entity.html", section=kind.noun, title=entity.name, kind=kind, entity=entity, state=state_of(entity),
        fields=await _fields(visit, entity), report=report, chart=chart, actions=_actions(visit, kind, entity),
        links=await _links(visit, kind, entity), audit=await _audit(visit, kind, entity),
        group=(await visit.labels("group"))["group"].get(entity.group or "", entity.group),
        editable=visit.may(f"{kind.noun} edit"), warnings=list(getattr(entity, "warnings", []) or []),
        rules=list(getattr(entity, "rules", [])), offers=_weights(entity, names), in_words=_in_words, names=names,
        held=[sync.error for sync in syncs.items if sync.state == "suspect"] if syncs else [],
    )  # fmt: skip


_NAMED = ("site", "source", "offer", "casino", "account")
_HIDDEN = {"id", "name", "code", "warnings", "missing", "status", "rules", "texts", "url", "preview_url", "sample",
           "options", "has_report_url", "group", "tags", "note"}  # fmt: skip


async def _fields(visit: Visit, entity: Any) -> list[tuple[str, str]]:
    """Its settings in words, with names for codes; those that are not set in one line at the end."""
    fields, lacking = [], []
    names = await visit.labels(*_NAMED)
    for field in msgspec.structs.fields(type(entity)):
        name, value = field.encode_name, getattr(entity, field.name)
        if name in _HIDDEN or (name in {"offers", "shares"} and hasattr(entity, "cost_model")):
            continue  # a campaign's rotation has a panel of its own
        label = name.replace("_", " ").capitalize().replace("url", "URL").replace("Url", "URL")
        of_noun = names.get(name, names.get(name.removesuffix("s"), {}))
        if isinstance(value, list):
            value = [of_noun.get(part, part) if isinstance(part, str) else part for part in value]
        rows = _rows(visit.show, label, of_noun.get(value, value) if isinstance(value, str) else value)
        if rows:
            fields += rows
        else:
            lacking.append(label if label.startswith("URL") else label[:1].lower() + label[1:])
    return [*fields, ("Not set", ", ".join(lacking))] if lacking else fields


def _rows(show: Show, label: str, value: Any) -> list[tuple[str, str]]:
    """A setting as lines of label and text; none where it is not set. One that has parts has a line for each."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return [(f"{label}: {name}", text) for name, part in value.items() if (text := _parts(show, part))]
    text = _parts(show, value)
    return [(label, text)] if text else []


def _parts(show: Show, value: Any) -> str:
    """What is set of a value, in one line; of one with parts what it switches off or on, then the others by name. Empty
    if nothing is. That something is enabled goes without saying."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, list | tuple | set):
        return ", ".join(text for part in value if (text := _parts(show, part)))
    if isinstance(value, dict):
        named = [(name.replace("_", " "), part) for name, part in value.items()]
        switches = [f"{'' if part else 'not '}{name}" for name, part in named if isinstance(part, bool)]
        others = [(name, text) for name, part in named if not isinstance(part, bool) and (text := _parts(show, part))]
        texts = [text if name in {"url", "method"} else f"{name} {text}" for name, text in others]
        return " · ".join([*(switch for switch in switches if switch != "enabled"), *texts])
    text = show.text(value)
    return "" if text == NONE else text


def _in_words(rule: dict[str, Any]) -> str:
    return condition_in_words(node_of(rule))


def _weights(entity: Any, names: dict[str, str]) -> list[tuple[str, str, int, float]]:
    """A campaign's offers with their weights, as shares of the traffic."""
    texts = entity.offers if names else []
    weights = [(code, int(weight or 1)) for code, _, weight in (text.partition(":") for text in texts)]
    total = sum(weight for _, weight in weights) or 1
    return [(code, names.get(code, code), weight, weight / total * 100) for code, weight in weights]


def _actions(visit: Visit, kind: Kind, entity: Any) -> list[tuple[str, str, dict[str, str]]]:
    status = state_of(entity)
    moves = []
    platform = getattr(entity, "platform", None)
    if platform == UPLOADED and visit.may(UPLOAD):
        moves.append((UPLOAD, "Upload a report", {"account": entity.code}))
    for name, label in kind.actions:
        if platform in WITHOUT_API and name in FETCHING:
            continue
        verb = name.partition(" ")[2]
        fits = FITTING.get(verb)
        if visit.may(name) and (fits is None or fits(status)):
            subject = COMMANDS[name].positional[0] if COMMANDS[name].positional else kind.noun
            moves.append((name, label, {subject: entity.code}))
    return moves


async def _links(visit: Visit, kind: Kind, entity: Any) -> list[tuple[str, str]]:
    """Addresses to copy: tracking link, postback address, preview."""
    named = (("url", "Tracking link" if kind.noun == "campaign" else "Address"), ("preview_url", "Preview"))
    links = [(label, getattr(entity, name)) for name, label in named if getattr(entity, name, None)]
    if len({url for _, url in links}) == 1:
        links = links[:1]
    if kind.noun == "account" and visit.may("postback url"):
        try:
            links.append(("Postback address", (await visit.ask("postback url", account=entity.code)).url))
        except CasinoFluxError:
            return links
    return links


async def _audit(visit: Visit, kind: Kind, entity: Any) -> list[Any]:
    """The latest changes of this entity, where the person may see the audit."""
    page = await visit.ask_if_allowed("audit", limit=200)
    if page is None:
        return []
    return [line for line in page.items if line.entity == kind.noun and _concerns(line, entity.id)][:12]


def _concerns(line: Any, entity_id: int) -> bool:
    """Whether a change is of the entity, alone or among several."""
    several = line.after if isinstance(line.after, list) else []
    return line.entity_id == entity_id or any(state.get("id") == entity_id for state in several)
