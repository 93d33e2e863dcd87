"""What a platform connector is: a thin `fetch` (login, paging, limits) and a pure `read` (bytes to rows)."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from connectors.http import Http
from storage.ledger.facts import Report


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Our login at a platform, decrypted for the time of one call.

    `credentials` are the fields of the platform's own struct; `report_url` is one pasted from the panel, of which
    only the dates are replaced. `options` override the platform's defaults (`tag_from`, `click_id_from`, paths).
    """

    timezone: str
    currency: str
    base_url: str | None = None
    report_url: str | None = None
    credentials: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Days to fetch, both included, by the platform's own calendar."""

    first: date
    last: date


class PostbackWords(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's words in postbacks, on top of those everybody uses (storage.ledger.words)."""

    parameters: Mapping[str, str] = {}  # the platform's parameter name -> ours
    events: Mapping[str, str] = {}  # its event word -> ours
    statuses: Mapping[str, str] = {}
    has_ftd_event: bool = True


class Platform(Protocol):
    """One affiliate platform. Attributes are what forms, sync and postbacks need to know of it."""

    name: str  # module name
    title: str  # as people call it
    credentials: type[msgspec.Struct]
    has_api: bool
    takes_report_url: bool
    tag_from: tuple[str, ...]  # dimensions that may name the segment, the default first
    click_id_from: tuple[str, ...]  # where our click id may come back, the default first; empty: nowhere
    to_is_exclusive: bool
    max_days: int  # longest window of one request
    restated_days: int  # how far back its figures still move
    words: PostbackWords

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        """The report of a window. Raises ConnectorError; never returns zeros for an error."""

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        """Rows out of a raw answer kept earlier. Raises ConnectorError saying what was expected and what came."""
