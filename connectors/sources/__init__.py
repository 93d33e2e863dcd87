"""Traffic sources: how each names things on our link, and which requests it expects for conversions.

Plain click-id postbacks are data (`presets.json` beside this file); JSON conversion APIs are one module each, with a
pure `request(sending, settings, now)`.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.outbound.templates import Outgoing, Sending

#: JSON conversion APIs, by module name.
APIS = ("google", "kwai", "meta", "microsoft", "snap", "tiktok", "x")
#: Those whose access token is had from another request first.
WITH_TOKEN = ("google",)


@cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """All presets by name: `parameters` (ours -> theirs), `postbacks` (event -> template), `settings` they need."""
    content: dict[str, Mapping[str, Any]] = msgspec.json.decode((Path(__file__).parent / "presets.json").read_bytes())
    return content


def _module(api: str) -> Any:
    if api not in APIS:
        raise Refused(f"no conversion API {api!r}: there is {', '.join(APIS)}")
    return import_module(f"connectors.sources.{api}")


def build(api: str, sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """The request that tells a JSON API of a conversion. Raises Refused if a setting lacks or it takes no such one."""
    return cast(Outgoing, _module(api).request(sending, settings, now))


def token_request(api: str, settings: Mapping[str, str]) -> Outgoing:
    """How an access token is asked for, by those `WITH_TOKEN`."""
    return cast(Outgoing, _module(api).token_request(settings))


def read_token(api: str, body: bytes) -> tuple[str, float]:
    """The access token, and for how many seconds it is good. Raises Refused."""
    return cast(tuple[str, float], _module(api).read_token(body))
