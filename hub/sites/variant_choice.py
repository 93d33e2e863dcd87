"""Which variant of a site a visitor sees: the one they saw before, else one by weight that stays theirs."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from litestar.types import Scope

from storage.catalogue.site_snapshot import Served, Variant

KEPT_SECONDS = 30 * 24 * 3600
_CODE = re.compile(r"[a-z0-9-]{1,20}")

Ident = Callable[[Scope], tuple[str, bool]]


def choose(
    scope: Scope, site: Served, click: str, *, forced: str, ident: Ident, secure: bool
) -> tuple[Variant, list[tuple[bytes, bytes]]]:
    """The look, and the cookie that keeps it; machines always see the site itself."""
    by_code = {look.code: look for look in site.variants}
    if forced in by_code:
        return by_code[forced], []
    if len(site.variants) == 1:
        return site.variants[0], []
    name = f"cf_look_{site.id}"
    if kept := by_code.get(cookie(scope, name)):
        return kept, []
    who, machine = ident(scope)
    if machine:
        return site.variants[0], []
    look = by_weight(site, click or who)
    value = f"{name}={look.code}; Path=/; Max-Age={KEPT_SECONDS}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    return look, [(b"set-cookie", value.encode())]


def by_weight(site: Served, who: str) -> Variant:
    """The same for the same visitor, shared out by weight over many."""
    total = sum(look.weight for look in site.variants)
    point = int.from_bytes(hashlib.sha256(f"{site.id} {who}".encode()).digest()[:8], "big") % max(total, 1)
    for look in site.variants:
        point -= look.weight
        if point < 0:
            return look
    return site.variants[0]


def cookie(scope: Any, name: str) -> str:
    """A cookie's value if it can be a variant's code, else empty."""
    for key, value in scope["headers"]:
        if key == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                given, _, word = pair.strip().partition("=")
                if given == name and _CODE.fullmatch(word):
                    return str(word)
    return ""
