"""Sites: landing pages with offers in order, from draft to published, and back to any version."""

import asyncio
import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import EMPTIES, NONE, Arguments, MissingArgument, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Block, Button, Buttons, Fields, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.forms.archiving import refuse_archived
from bot.forms.bulk_change import MOST, BulkChange, edit_each, edit_question, render_change
from bot.forms.entity_list import SortedList, list_message, listed, of_team
from bot.forms.sorting import Sorting, read_sorting, sorting_fields
from bot.render.figures import plural
from storage.catalogue import names, site_files, sites
from storage.catalogue.groups import ARCHIVED, SORTING_COLUMNS
from storage.catalogue.markets import market, read_locale, read_market
from storage.catalogue.sites import Site, Version
from storage.clicks.queries import clicks_of_a_week
from storage.ledger.addresses import web_address
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.tables import click_rollup, offers
from storage.tables import sites as table

_THEME_WORDS = {
    "wall": "offer-wall", "offerwall": "offer-wall", "offers": "offer-wall", "default": "offer-wall",
    "single": "single-offer", "singleoffer": "single-offer", "hero": "single-offer", "comparison-table": "comparison",
    "compare": "comparison", "table": "comparison", "toplist": "comparison", "article": "review",
}  # fmt: skip
TEXTS = ("headline", "intro", "about", "operator", "contact")

Which = Annotated[str, refers("site", "which site")]
Theme = Annotated[str, choices("how it looks", *sites.THEMES)]
Country = Annotated[str, Meta(description="country it is for: DE")]
Language = Annotated[str | None, Meta(description="language of its texts: de; default: the market's")]
Offers = Annotated[list[str], refers("offer", "offers, the first on top: lucky-star,wild-win", changes=False, most=100)]
OwnPage = Annotated[
    str | None,
    Meta(description="address of the page, where it is hosted elsewhere: it is tracked by the snippet"),
    EMPTIES,
]
Headline = Annotated[str | None, Meta(description="headline; default: the locale's own"), EMPTIES]
Intro = Annotated[str | None, Meta(description="the lines below the headline"), EMPTIES]
About = Annotated[str | None, Meta(description="a paragraph about the page or the team behind it"), EMPTIES]
Faq = Annotated[
    list[str] | None, Meta(description='questions: ["Question? | Answer", …] instead of the ready ones'), EMPTIES
]
Operator = Annotated[str | None, Meta(description="who runs the page, for its legal texts: name and address"), EMPTIES]
Contact = Annotated[str | None, Meta(description="e-mail address for its legal texts"), EMPTIES]


class NewSite(Sorting):
    name: Annotated[str, Meta(description="what the team calls it; also its title")]
    market: Country
    locale: Language = None
    theme: Theme = "offer-wall"
    page: OwnPage = None
    offers: Offers = msgspec.field(default_factory=list)
    headline: Headline = None
    intro: Intro = None
    about: About = None
    faq: Faq = None
    operator: Operator = None
    contact: Contact = None


class SiteEdit(Sorting):
    site: Annotated[list[str], refers("site", "which site; several separated by commas", most=MOST)]
    name: str | None = None
    market: Country | None = None
    locale: Language = None
    theme: Theme | None = None
    page: OwnPage = None
    offers: Offers | None = None
    headline: Headline = None
    intro: Intro = None
    about: About = None
    faq: Faq = None
    operator: Operator = None
    contact: Contact = None


Archive = Annotated[
    bytes | None, Meta(description="a ZIP with index.html: comes with the message, or as base64 over HTTP")
]


class SiteFiles(Arguments):
    site: Which
    file: Archive = None
    remove: Annotated[bool, Meta(description="show the theme again")] = False


class StoredFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A site's own page: how many files, and bytes in all; none: its theme is shown."""

    site: str
    files: int
    size: int
    url: str


class OneSite(Arguments):
    site: Which


class Rollback(Arguments):
    site: Which
    version: Annotated[int, Meta(description="number of the version to go back to")]


class SiteList(SortedList):
    market: Annotated[str | None, Meta(description="only this country's")] = None
    status: Annotated[str | None, choices("only these", sites.DRAFT, sites.PUBLISHED, sites.PAUSED, ARCHIVED)] = None


class VersionLine(msgspec.Struct, frozen=True):
    version: int
    at: datetime
    actor: str
    theme: str
    offers: int


def site_card(ctx: Context, site: Site) -> Message:
    fields = (
        ("Market", f"{site.market} · {site.locale} · {market(site.market).age}+"), ("Theme", site.theme),
        ("Offers", ", ".join(ctx.label("offer", code) for code in site.offers) or "–"),
        ("Domains", ", ".join(site.domains) or "–"),
        ("Version", str(site.version or "–")), ("Address", site.url), *sorting_fields(ctx, site),
    )  # fmt: skip
    snippet = (Text("The snippet for the page, before </body>:"), Text(site.snippet, code=True)) if site.snippet else ()
    missing = tuple(Notice("warning", f"Missing: {text}") for text in site.missing)
    warnings = tuple(Notice("info", text) for text in site.warnings)
    blocks: tuple[Block, ...] = (Fields(fields), *snippet, *missing, *warnings, Buttons(_buttons(site)))
    return Message(f"Site {site.name} ({site.code}) · {site.status}", blocks)


def _buttons(site: Site) -> tuple[Button, ...]:
    preview = Button("Look at it", url=site.preview_url)
    if site.status == ARCHIVED:
        return preview, Button("Restore", f"site restore {site.code}")
    if site.status == sites.PUBLISHED:
        return preview, Button("Pause", f"site pause {site.code}"), Button("Versions", f"site versions {site.code}")
    return (preview,) if site.missing else (preview, Button("Publish", f"site publish {site.code}", style="primary"))


def site_table(ctx: Context, page: Page[Site]) -> Message:
    rows = tuple(
        (s.name, s.code, s.status, s.market, s.locale, s.theme, ", ".join(s.domains) or "–") for s in page.items
    )
    columns = ("Site", "Code", "Status", "Market", "Locale", "Theme", "Domains")
    return list_message(
        ctx, "site", page, Table(columns, rows, phone=(0, 1, 2)), add="site create name=… market=DE offers=…"
    )


def version_table(ctx: Context, page: Page[VersionLine]) -> Message:
    if not page.items:
        return Message("Never published so far", private=True)
    zone = ctx.deployment.zone
    rows = tuple(
        (str(v.version), f"{v.at.astimezone(zone):%Y-%m-%d %H:%M}", v.actor, v.theme, str(v.offers)) for v in page.items
    )
    columns = ("Version", "Published", "By", "Theme", "Offers")
    return Message("Versions, latest first", (Table(columns, rows, numeric=(0, 4)),), private=True)


@command("site create", role=Role.BUYER, scope=Scope.OWN, render=site_card, positional=("name",), aliases=("site add",))
async def create_site(ctx: Context, new: NewSite) -> Site:
    """Draft a landing page; its preview address shows it at once."""
    country = read_market(new.market)
    values = {
        "name": new.name, "code": await names.code_for(ctx.tx, table, ctx.team_id, new.name), "market": country,
        "locale": read_locale(new.locale or market(country).locale), "theme": chosen_theme(new.theme),
        "texts": {name: text for name, text in _texts(new).items() if text is not None}, "page": _page(new),
        **await read_sorting(ctx, new),
    }  # fmt: skip
    chosen = await chosen_offers(ctx, new.offers)
    made = await sites.add(ctx.tx, team_id=ctx.team_id, now=ctx.now, values=values, offer_ids=chosen)
    return await _noted(ctx, made)


async def _edits(ctx: Context, new: SiteEdit) -> str | None:
    return await edit_question(ctx, "site", new)


@command("site edit", role=Role.BUYER, render=render_change("site", site_card), positional=("site",), confirm=_edits)
async def edit_site(ctx: Context, new: SiteEdit) -> Site | BulkChange[Site]:
    """Change sites; a published one changes everywhere within a second, and its last version is kept."""
    return await edit_each(ctx, "site", new, lambda row: _changed(ctx, row, new), of_one=("name",))


async def _changed(ctx: Context, row: Row[Any], new: SiteEdit) -> Site:
    before = await shown_site(ctx, row)
    values = await _edited(ctx, row, new)
    if not values and new.offers is None:
        raise MissingArgument("nothing to change: name a field, e.g. offers=…", field="site")
    await sites.change(ctx.tx, row.id, values)
    if new.offers is not None:
        await sites.set_offers(ctx.tx, row.id, await chosen_offers(ctx, new.offers))
    if row.status == sites.PUBLISHED and (values.keys() - SORTING_COLUMNS or new.offers is not None):
        await publish_again(ctx, row.id)
    return await _noted(ctx, row.id, before=before)


def files_card(ctx: Context, stored: StoredFiles) -> Message:
    name, look = ctx.name("site", stored.site), Buttons((Button("Look at it", url=stored.url),))
    if not stored.files:
        return Message(f"{name} shows its theme again", (look,))
    text = Text(f"{plural(stored.files, 'file')}, {stored.size / 1_000_000:.1f} MB; the compliance footer is added")
    return Message(f"{name} shows its own page", (text, look))


async def _unpack(_ctx: Context, new: SiteFiles) -> dict[str, bytes]:
    """Beside the event loop. Raises Refused at `file`."""
    if new.remove:
        return {}
    if new.file is None:
        raise Refused("file: missing: attach the ZIP to the message 'site files <site>'", field="file")
    return await asyncio.to_thread(site_files.read_archive, new.file)


@command("site files", role=Role.BUYER, render=files_card, positional=("site",), prepare=_unpack)
async def set_files(ctx: Context, new: SiteFiles) -> StoredFiles:
    """Show a page of one's own, sent as a ZIP, in the place of the theme; with our footer, links filled."""
    row = await find_site(ctx, new.site)
    refuse_archived("site", [row])
    files: dict[str, bytes] = ctx.prepared
    site = await shown_site(ctx, row)
    if unknown := sorted(site_files.offers_named(files) - set(site.offers)):
        raise Refused(
            f"file: {{offer:{unknown[0]}}} is no offer of the site: site edit {row.code} offers=…", field="file"
        )
    await site_files.replace(ctx.tx, row.id, files)
    ctx.notes |= {"entity": "site", "entity_id": row.id}
    size = sum(map(len, files.values()))
    return StoredFiles(site=row.code, files=len(files), size=size, url=site.preview_url)


@command(
    "site list", role=Role.VIEWER, scope=Scope.OWN, render=site_table, reads=True, positional=("find",),
    sentence="find", aliases=("site find",),
)  # fmt: skip
async def list_sites(ctx: Context, new: SiteList) -> Page[Site]:
    """The team's sites."""
    query = of_team(ctx, "site")
    if new.market:
        query = query.where(table.c.market == read_market(new.market))
    rows, following = await listed(ctx, "site", new, query)
    return Page(await shown_sites(ctx, rows), following)


@command("site show", role=Role.VIEWER, render=site_card, reads=True, positional=("site",))
async def show_site(ctx: Context, new: OneSite) -> Site:
    """A site, its address, and what is missing before it can be published."""
    return await shown_site(ctx, await find_site(ctx, new.site))


@command("site publish", role=Role.BUYER, render=site_card, positional=("site",))
async def publish_site(ctx: Context, new: OneSite) -> Site:
    """Put a site live; refused with the list of what is missing."""
    row = await find_site(ctx, new.site)
    refuse_archived("site", [row])
    before = await shown_site(ctx, row)
    await publish_again(ctx, row.id)
    return await _noted(ctx, row.id, before=before)


async def _visitors_lost(ctx: Context, new: OneSite) -> str | None:
    row = await find_site(ctx, new.site)
    site = await shown_site(ctx, row)
    if site.status != sites.PUBLISHED:
        return None
    clicks = await clicks_of_a_week(ctx.tx, ctx.team_id, click_rollup.c.site_id, [row.id], ctx.today)
    where = f"{', '.join(site.domains)} shows nothing" if site.domains else "it is on no domain"
    return f"{where}; {plural(clicks, 'click')} in the last 7 days"


@command(
    "site pause",
    role=Role.BUYER,
    render=render_change("site", site_card, "paused"),
    positional=("site",),
    loss=_visitors_lost,
)
async def pause_site(ctx: Context, new: OneSite) -> Site:
    """Take a site off its domains; campaigns that lead to it still find its preview address."""
    row = await find_site(ctx, new.site)
    refuse_archived("site", [row])
    before = await shown_site(ctx, row)
    ctx.unchanged = row.status == sites.PAUSED
    await sites.change(ctx.tx, row.id, {"status": sites.PAUSED})
    return await _noted(ctx, row.id, before=before)


@command("site versions", role=Role.VIEWER, render=version_table, reads=True, positional=("site",))
async def list_versions(ctx: Context, new: OneSite) -> Page[VersionLine]:
    """Every state of a site that was published."""
    row = await find_site(ctx, new.site)
    return Page([_line(version) for version in await sites.versions(ctx.tx, row.id)])


@command("site rollback", role=Role.BUYER, render=site_card, positional=("site", "version"))
async def roll_back(ctx: Context, new: Rollback) -> Site:
    """Publish an earlier version again; it becomes the newest one."""
    row = await find_site(ctx, new.site)
    refuse_archived("site", [row])
    before = await shown_site(ctx, row)
    version = next((entry for entry in await sites.versions(ctx.tx, row.id) if entry.version == new.version), None)
    if version is None:
        raise Missing(f"site {row.code} has no version {new.version}: site versions {row.code}", field="version")
    content = dict(version.content)
    await sites.set_offers(ctx.tx, row.id, content.pop("offers"))
    await sites.change(ctx.tx, row.id, content)
    await publish_again(ctx, row.id)
    return await _noted(ctx, row.id, before=before)


async def publish_again(ctx: Context, site_id: int) -> None:
    """Publish a site as it is now, as its newest version. Raises Refused with what is missing."""
    row = await names.by_id(ctx.tx, table, site_id)
    missing = sites.missing(row, (await sites.cards(ctx.tx, [site_id]))[site_id])
    if missing:
        raise Refused(f"site {row.code} cannot be published yet: {'; '.join(missing)}", field="site")
    await sites.change(ctx.tx, site_id, {"status": sites.PUBLISHED})
    await sites.store_version(ctx.tx, row, now=ctx.now, actor=ctx.actor.name)


async def _edited(ctx: Context, row: Row[Any], new: SiteEdit) -> dict[str, Any]:
    values = await read_sorting(ctx, new, row)
    if new.name and new.name != row.name:
        await names.code_for(ctx.tx, table, ctx.team_id, new.name, entity_id=row.id)
        values["name"] = new.name
    if new.market:
        values["market"] = read_market(new.market)
    if new.locale:
        values["locale"] = read_locale(new.locale)
    if new.theme:
        values["theme"] = chosen_theme(new.theme)
    if new.page is not None:
        values["page"] = _page(new)
    if texts := _texts(new):
        values["texts"] = {name: text for name, text in {**row.texts, **texts}.items() if text is not None}
    return values


def _page(new: NewSite | SiteEdit) -> str | None:
    """The address of a page elsewhere, without a place within it, since our click id is added to its end."""
    if new.page is None or new.page == NONE:
        return None
    address = web_address(new.page, field="page")
    if "#" in address:
        raise Refused("page: leave out what follows #: the click id is added to the address", field="page")
    return address


def _texts(new: NewSite | SiteEdit) -> dict[str, Any]:
    texts: dict[str, Any] = {name: getattr(new, name) for name in TEXTS if getattr(new, name) is not None}
    texts = {name: None if text == NONE else text for name, text in texts.items()}
    if new.faq == [NONE]:
        texts["faq"] = None
    elif new.faq is not None:
        texts["faq"] = [_question(question) for question in new.faq]
    return texts


def _question(text: str) -> list[str]:
    question, bar, answer = text.partition("|")
    if not bar or not question.strip() or not answer.strip():
        raise Refused(f"faq: {text!r} is not “Question? | Answer”", field="faq")
    return [question.strip(), answer.strip()]


def chosen_theme(word: str) -> str:
    plain = names.slug(word)
    theme = _THEME_WORDS.get(plain, plain)
    if theme not in sites.THEMES:
        near = difflib.get_close_matches(theme, sites.THEMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sites.THEMES)}"
        raise Refused(f"theme: no theme {word!r}: {hint}", field="theme")
    return theme


async def chosen_offers(ctx: Context, words: list[str]) -> list[int]:
    ids = [(await names.find(ctx.tx, offers, ctx.team_id, word, field="offers")).id for word in words]
    if len(set(ids)) < len(ids):
        raise Refused("offers: one is named twice", field="offers")
    return ids


async def find_site(ctx: Context, word: str) -> Row[Any]:
    return await names.find(ctx.tx, table, ctx.team_id, word, field="site")


async def shown_site(ctx: Context, row: Row[Any]) -> Site:
    return (await shown_sites(ctx, [row]))[0]


async def shown_sites(ctx: Context, rows: Sequence[Row[Any]]) -> list[Site]:
    key = ctx.box.derive("previews")
    return await sites.shown(ctx.tx, rows, public_url=ctx.deployment.public_url, preview_key=key)


async def _noted(ctx: Context, site_id: int, *, before: Site | None = None) -> Site:
    site = await shown_site(ctx, await names.by_id(ctx.tx, table, site_id))
    ctx.notes |= {"entity": "site", "entity_id": site.id, "before": before, "after": site}
    return site


def _line(version: Version) -> VersionLine:
    return VersionLine(
        version.version, version.at, version.actor, version.content["theme"], len(version.content["offers"])
    )
