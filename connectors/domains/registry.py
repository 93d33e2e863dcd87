"""Registrars and DNS hosts by name, imported when they are used."""

import difflib
from importlib import import_module
from typing import cast

from connectors.domains.base import Registrar
from storage.ledger.errors import Refused

REGISTRARS = ("cloudflare", "porkbun", "namecheap")


def registrar(kind: str) -> Registrar:
    """Raises Refused at `kind`, with the nearest."""
    word = kind.strip().lower()
    if word not in REGISTRARS:
        near = difflib.get_close_matches(word, REGISTRARS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(REGISTRARS)}; any other host by hand"
        raise Refused(f"kind: no registrar {kind!r}: {hint}", field="kind")
    return cast(Registrar, import_module(f"connectors.domains.{word}"))
