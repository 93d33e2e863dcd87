"""The site editor: theme, texts, offers in order, casino facts, what the market still demands, previews, versions."""

from typing import Any

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.chat.questions import questions
from bot.commands.campaign_distribution import won_in_words
from bot.commands.variants import VariantDistributionShown
from bot.core.command import COMMANDS
from bot.render.figures import how_sure
from hub.cockpit.page import Cockpit, Visit
from storage.catalogue import sites
from storage.catalogue.sites import Version
from storage.ledger.errors import Refused

TEXTS = ("headline", "intro", "about", "faq", "operator", "contact")


class Offer(msgspec.Struct, frozen=True):
    """An offer that stands on the site or could."""

    code: str
    name: str


def site_editor_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/site/{code:str}/edit")
    async def editor(visit: Visit) -> Response[Any]:
        return await _editor(visit)

    @cockpit.post("/cockpit/site/{code:str}/edit")
    async def save(visit: Visit) -> Response[Any]:
        site = await visit.ask("site show", site=visit.place["code"])
        arguments = _changes(visit, site)
        try:
            done = await visit.answer("site edit", {"site": site.code, **arguments}) if arguments else None
        except Refused as fault:
            return await _editor(visit, fault)
        toast = done.message.title if done else "Nothing was changed"
        return visit.leave_for(f"/cockpit/site/{site.code}/edit", toast=toast, undo=done is not None)

    return [editor, save]


async def _editor(visit: Visit, fault: Refused | None = None) -> Response[Any]:
    site = await visit.ask("site show", site=visit.place["code"])
    listed = (await visit.ask("offer list", limit=500)).items
    names = {offer.code: offer.name for offer in listed}
    chosen = visit.form.get("offers", ",".join(site.offers)).split(",") if fault else site.offers
    async with visit.cockpit.runtime.database.read() as tx:
        published = await sites.versions(tx, site.id)
    by_id = {offer.id: offer.name for offer in listed}
    variants = await visit.ask_if_allowed("variant list", site=site.code)
    casinos = {casino.code: casino for casino in (await visit.ask("casino list", limit=500)).items}
    shown_casinos = {offer.casino for offer in listed if offer.code in site.offers}
    return await visit.html(
        "site_editor.html", section="site", title=f"Edit {site.name}", status=400 if fault else 200, site=site,
        fault=fault, themes=_choices("theme"), locales=_choices("locale"), texts=_texts(visit, site, fault),
        offers=[Offer(code, names.get(code, code)) for code in chosen if code],
        others=[Offer(code, name) for code, name in names.items() if code not in site.offers],
        variants=variants, won=_won(variants.distribution) if variants and variants.distribution else "",
        casinos=[casinos[code] for code in sorted(shown_casinos) if code in casinos],
        differences=_differences(published, by_id), how_sure=how_sure,
    )  # fmt: skip


def _won(shown: VariantDistributionShown) -> str:
    return won_in_words(shown.won, holdout=shown.holdout, since=shown.since, currency=shown.currency)


def _choices(name: str) -> tuple[str, ...]:
    return next((q.choices for q in questions(COMMANDS["site edit"]) if q.name == name), ())


def _texts(visit: Visit, site: Any, fault: Refused | None) -> list[tuple[str, str]]:
    texts = {name: _text(site.texts.get(name)) for name in TEXTS}
    return [(name, visit.form.get(name, texts[name]) if fault else texts[name]) for name in TEXTS]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _changes(visit: Visit, site: Any) -> dict[str, Any]:
    """What the form says otherwise than the site."""
    changed: dict[str, Any] = {}
    for name in ("theme", "locale", "market"):
        if visit.form.get(name) and visit.form[name] != getattr(site, name):
            changed[name] = visit.form[name]
    offers = [code for code in visit.form.get("offers", "").split(",") if code]
    offers = [code for code in offers if code not in visit.form_lists.get("drop", [])]
    offers += [code for code in visit.form_lists.get("add", []) if code and code not in offers]
    if "offers" in visit.form and offers != site.offers:
        changed["offers"] = offers
    for name in TEXTS:
        text, before = visit.form.get(name, "").replace("\r\n", "\n").strip(), _text(site.texts.get(name))
        if name in visit.form and text != before:
            changed[name] = text or "none"
    return changed


def _differences(versions: list[Version], offers: dict[int, str]) -> list[tuple[Version, list[tuple[str, str, str]]]]:
    """Each version with what it changed against the one before: field, before, after."""
    shown = []
    for n, version in enumerate(versions):
        after = _content(version, offers)
        before = _content(versions[n + 1], offers) if n + 1 < len(versions) else {}
        names = [name for name in {**after, **before} if after.get(name) != before.get(name)]
        shown.append((version, [(name, before.get(name, ""), after.get(name, "")) for name in names]))
    return shown


def _content(version: Version, offers: dict[int, str]) -> dict[str, str]:
    """A version's fields and texts as people read them."""
    content = {name: value for name, value in version.content.items() if name not in {"texts", "offers"}}
    content |= version.content.get("texts") or {}
    named = ", ".join(offers.get(offer_id, f"offer {offer_id}") for offer_id in version.content.get("offers") or [])
    return {**{name: _text(value) for name, value in content.items()}, "offers": named}
