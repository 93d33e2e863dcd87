"""Pages of a site: rendered once per variant, kept as bytes, filled with the visitor's click id when sent."""

import gzip
import hashlib
import secrets
from base64 import b64encode
from datetime import date
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from hub.sites import texts
from storage.catalogue import site_files
from storage.catalogue.markets import market
from storage.catalogue.site_snapshot import Served, Variant
from storage.ledger.addresses import web_address
from storage.ledger.errors import Refused

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
LEGAL = ("terms", "privacy", "responsible-gambling")
#: Stands in links where the query with the visitor's click id begins; random, so that no team's text can hold it.
_MARK = f"mark{secrets.token_hex(12)}"

#: Kinds of files that become smaller by gzip.
_PACKED_WELL = ("text/", "application/json", "image/svg", "font/ttf")

Header = tuple[bytes, bytes]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page ready to be sent. `parts` are joined by what outgoing links need where their query begins."""

    status: int
    headers: tuple[Header, ...]
    parts: tuple[bytes, ...]
    plain: bytes
    zipped: bytes
    varied: bool = False  # outgoing links name their variant

    def body(self, click: str) -> bytes:
        """The page for a visitor who came with a click id, or without one."""
        if not click:
            return self.plain
        return f"?click={click}{'&amp;' if self.varied else ''}".encode().join(self.parts)


def variant_page(site: Served, variant: Variant, *, base: str, preview: bool, today: date) -> Page:
    """The site's own page. `base` stands before its links: empty on its domain, `/s/{code}` as preview."""
    values = _values(site, variant, base=base, preview=preview, today=today)
    script = "" if site.status == "draft" else _script()
    return _render(f"{variant.theme}.html", values, robots=not preview, images=_origins(variant), script=script)


def own_page(site: Served, text: str, *, base: str, today: date) -> Page:
    """A page of the team's own files: macros filled, the compliance footer and the beacon at its end.

    Under our own address it has an origin of its own, so that its scripts see nothing of the cockpit.
    """
    variant = site.variants[0]
    values = _values(site, variant, base=base, preview=bool(base), today=today)
    names = {name: escape(str(values["names"][name])) for name in ("site", "age", "country", "month", "contact")}
    names["operator"] = escape(str(values["names"]["operator"]))
    links = {card.offer_code: values["href"](card, 0) for card in variant.cards}
    footer = (
        _environment()
        .get_template("own_footer.html")
        .render(**values, script="" if site.status == "draft" else _script())
    )
    html = site_files.fill(text, links, names)
    body = html.lower().rfind("</body")
    before, end = (html[:body], html[body:]) if body >= 0 else (html, "")
    policy = (
        "default-src 'self' data: 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors " + ("'self'" if base else "'none'")
    )
    if base:
        policy += "; sandbox allow-scripts allow-popups allow-top-navigation-by-user-activation"
    return _page(before + footer + end, status=200, robots=not base, sources=policy, lang=values["lang"])


def file_page(path: str, content: bytes, *, base: str) -> Page:
    """A file beside the page: a picture, a style, a script. Pictures and films are packed already."""
    kind = site_files.kind_of(path) or "application/octet-stream"
    headers = [
        (b"content-type", kind.encode()),
        (b"cache-control", b"public, max-age=300"), (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        (b"vary", b"accept-encoding"),
    ]  # fmt: skip
    if base:
        headers.append((b"access-control-allow-origin", b"*"))  # the page there has an origin of its own
    zipped = gzip.compress(content, 6, mtime=0) if kind.startswith(_PACKED_WELL) else b""
    return Page(status=200, headers=tuple(headers), parts=(content,), plain=content, zipped=zipped)


def legal_page(site: Served, variant: Variant, name: str, *, base: str, preview: bool, today: date) -> Page:
    """Terms, privacy or responsible gambling."""
    values = _values(site, variant, base=base, preview=preview, today=today)
    return _render("legal.html", {**values, "page": name}, robots=not preview)


def missing_page(site: Served, variant: Variant, *, base: str, today: date) -> Page:
    values = _values(site, variant, base=base, preview=False, today=today)
    return _render("missing.html", values, robots=False, status=404)


@cache
def for_crawlers(name: str, host: str) -> Page:
    """robots.txt and sitemap.xml of a live domain: the page and its legal ones, not the links to offers."""
    if name == "robots.txt":
        text, kind = f"User-agent: *\nDisallow: /go/\nSitemap: https://{host}/sitemap.xml\n", b"text/plain"
    else:
        urls = "".join(f"<url><loc>https://{host}/{page}</loc></url>" for page in ("", *LEGAL))
        text = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'
        kind = b"application/xml"
    body = text.encode()
    headers = (b"content-type", kind + b"; charset=utf-8"), (b"cache-control", b"max-age=3600")
    return Page(status=200, headers=headers, parts=(body,), plain=body, zipped=gzip.compress(body, 9, mtime=0))


@cache
def nothing_page() -> Page:
    """The answer on a host that belongs to no team: it does not say whose server this is."""
    return _page(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Not found</title><p>Not found</p></html>",
        status=404, robots=False, sources="default-src 'none'",
    )  # fmt: skip


def _values(site: Served, variant: Variant, *, base: str, preview: bool, today: date) -> dict[str, Any]:
    words = texts.texts(texts.language_of(site.locale))
    rules, lang = market(site.market), texts.written_in(site.locale)
    names = {
        "site": site.name, "age": rules.age, "country": texts.country(site.market, site.locale),
        "month": texts.month(today, site.locale), "authority": rules.authority,
        "operator": variant.texts.get("operator", ""), "contact": variant.texts.get("contact", ""),
    }  # fmt: skip
    first = variant.cards[0] if variant.cards else None
    variant_query = f"v={variant.code}" if len(site.variants) > 1 else ""
    is_documented = all(card.licence and card.terms_url for card in variant.cards)
    names |= {"casino": first.casino if first else site.name, "bonus": (first and first.bonus) or words["bonus"]}
    return {
        "site": site, "variant": variant, "t": words, "names": names, "market": rules, "lang": lang, "base": base,
        "dir": "rtl" if lang in texts.RIGHT_TO_LEFT else "ltr", "preview": preview, "legal": LEGAL,
        "headline": variant.texts.get("headline") or words["headline"][variant.theme].format(**names),
        "intro": variant.texts.get("intro") or words["intro"][variant.theme],
        "faq": variant.texts.get("faq") or words["faq"],
        "ticks": words["ticks"] if is_documented else words["ticks"][2:],
        "href": lambda card, place: f"/go/{site.code}/{card.offer_code}{_MARK}{variant_query}",
    }  # fmt: skip


def _render(
    template: str,
    values: dict[str, Any],
    *,
    robots: bool,
    status: int = 200,
    images: tuple[str, ...] = (),
    script: str = "",
) -> Page:
    style = _style(values["variant"].theme)
    html = _environment().get_template(template).render(**values, style=style, script=script)
    sources = (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; img-src {' '.join(('data:', *images))}; "
        + (f"script-src 'sha256-{_digest(script)}'; connect-src 'self'; " if script else "")
        + "base-uri 'none'; form-action 'none'; frame-ancestors "
        + ("'self'" if values["preview"] else "'none'")  # the cockpit's editor shows previews in frames
    )
    varied = len(values["site"].variants) > 1
    return _page(html, status=status, robots=robots, sources=sources, lang=values["lang"], varied=varied)


def _page(html: str, *, status: int, robots: bool, sources: str, lang: str = "en", varied: bool = False) -> Page:
    parts = tuple(part.encode() for part in html.split(_MARK))
    plain = (b"?" if varied else b"").join(parts)
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-cache, private"),
        (b"content-security-policy", sources.encode("ascii", "ignore")),
        (b"content-language", lang.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"strict-origin-when-cross-origin"),
        (b"vary", b"accept-encoding"),
    ]
    if not robots:
        headers.append((b"x-robots-tag", b"noindex, nofollow"))
    return Page(
        status=status,
        headers=tuple(headers),
        parts=parts,
        plain=plain,
        varied=varied,
        zipped=gzip.compress(plain, 9, mtime=0),
    )


@cache
def _environment() -> "Environment":
    """The themes' templates; made with the first page, since Jinja takes 2 MB."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"initials": initials, "hue": hue, "telephone": telephone, "fill": _fill}
    return environment


@cache
def _style(theme: str) -> str:
    """Base and theme CSS in one, without needless whitespace."""
    lines = [(FOLDER / "css" / f"{name}.css").read_text(encoding="utf-8") for name in ("base", theme)]
    return "".join(line.strip() for text in lines for line in text.splitlines())


@cache
def _script() -> str:
    """The beacon: what a visitor did on the page, reported without cookies, and not at all if they object."""
    return "".join((FOLDER / "beacon.js").read_text(encoding="utf-8").splitlines())


def _digest(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _origins(variant: Variant) -> tuple[str, ...]:
    """Where pictures come from: ourselves, and the hosts of linked logos, the only other ones a page may touch."""
    logos = [card.logo for card in variant.cards if card.logo]
    own = any(logo.startswith("/") for logo in logos) or "image" in variant.texts
    origins = {_origin(logo) for logo in logos} - {""}
    return (*(("'self'",) if own else ()), *sorted(origins))


def _origin(address: str) -> str:
    """Scheme, host and port of a logo, as a policy names them; empty for what was stored before it was checked."""
    try:
        parts = urlsplit(web_address(address, field="logo", user_info=True))
    except Refused:
        return ""
    host = (parts.hostname or "").encode("idna").decode()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (f":{parts.port}" if parts.port else "")


def _fill(text: str, names: dict[str, Any], **more: Any) -> str:
    return text.format(**{**names, **more})


def initials(name: str) -> str:
    """Two letters for a casino without a logo."""
    words = [word for word in name.split() if word[:1].isalnum()]
    letters = words[0][:1] + words[1][:1] if len(words) > 1 else name.strip()[:2]
    return letters.upper() or "?"


def hue(name: str) -> int:
    """One of eight colours that stays with a name."""
    return hashlib.sha256(name.encode()).digest()[0] % 8


def telephone(number: str) -> str:
    """A number as `tel:` wants it."""
    return "".join(character for character in number if character.isdecimal() or character == "+")
