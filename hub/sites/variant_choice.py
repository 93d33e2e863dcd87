"""Which variant of a site a visitor sees: the one they saw before, else one by weight that stays theirs."""

import re
from collections.abc import Callable
from typing import Any

from litestar.types import Scope

from storage.catalogue.site_snapshot import Served, Variant
from storage.ledger.distribution.holdout import draw, held_out

KEPT_SECONDS = 30 * 24 * 3600
_CODE = re.compile(r"[a-z0-9-]{1,20}")

Ident = Callable[[Scope], tuple[str, bool]]


def choose(
    scope: Scope, site: Served, click: str, *, forced: str, ident: Ident, secure: bool
) -> tuple[Variant, list[tuple[bytes, bytes]]]:
    """The look, and the cookie that keeps it; machines always see the site itself."""
    by_code = {variant.code: variant for variant in site.variants}
    if forced in by_code:
        return by_code[forced], []
    if len(site.variants) == 1:
        return site.variants[0], []
    name = f"cf_look_{site.id}"
    if remembered := by_code.get(cookie(scope, name)):
        return remembered, []
    who, machine = ident(scope)
    if machine:
        return site.variants[0], []
    variant = by_weight(site, click or who)
    value = (
        f"{name}={variant.code}; Path=/; Max-Age={KEPT_SECONDS}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    )
    return variant, [(b"set-cookie", value.encode())]


def by_weight(site: Served, who: str) -> Variant:
    """The same for the same visitor, shared out over many by weight, or by the shares that earnings set."""
    by_earnings = any(site.shares.values()) and not held_out(site.id, who, site.holdout)
    weights = [site.shares.get(variant.code, 0) if by_earnings else variant.weight for variant in site.variants]
    point = draw(str(site.id), who, sum(weights))
    for variant, weight in zip(site.variants, weights, strict=True):
        point -= weight
        if point < 0:
            return variant
    return site.variants[0]


def cookie(scope: Any, name: str) -> str:
    """A cookie's value if it can be a variant's code, else empty."""
    for key, value in scope["headers"]:
        if key == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                cookie_name, _, word = pair.strip().partition("=")
                if cookie_name == name and _CODE.fullmatch(word):
                    return str(word)
    return ""
