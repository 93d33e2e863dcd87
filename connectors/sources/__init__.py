"""Traffic sources: how each names things on our link, and how it wants to be told of conversions.

Plain click-id postbacks are data (`presets.json` beside this file); JSON conversion APIs are one module each.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.sending import Outgoing, Sending

#: JSON conversion APIs, by module name.
APIS = ("google", "kwai", "meta", "microsoft", "snap", "tiktok", "x")

Build = Callable[[Sending, Mapping[str, str]], Outgoing]


@cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """All presets by name: `parameters` (ours -> theirs), `postbacks` (event -> template), `settings` they need."""
    found: dict[str, Mapping[str, Any]] = msgspec.json.decode((Path(__file__).parent / "presets.json").read_bytes())
    return found


def build(api: str, sending: Sending, settings: Mapping[str, str]) -> Outgoing:
    """The request that tells a JSON API of a conversion. Raises Refused if a setting lacks."""
    if api not in APIS:
        raise Refused(f"no conversion API {api!r}: there is {', '.join(APIS)}")
    module: Any = import_module(f"connectors.sources.{api}")
    made: Outgoing = module.request(sending, settings)
    return made
