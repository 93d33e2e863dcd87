"""What a platform connector is: a thin `fetch` (login, paging, limits) and a pure `read` (bytes to rows)."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import msgspec

from connectors.columns import Columns, PlayerColumns
from connectors.http import Http
from connectors.redaction import query_secrets
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import PlayerReport, Report
from storage.ledger.revenue.report_parts import ReportParts, parts_of

#: Bytes of a report that are read on the spot; longer ones would keep clicks waiting.
SHORT = 100_000


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Our login at a platform, decrypted for the time of one call.

    `credentials` are the fields of the platform's own struct; `report_url` is one pasted from the panel, of which
    only the dates are replaced. `options` override the platform's defaults (`tag_from`, `click_id_from`, paths).
    Requests are rate-limited by `name`.
    """

    timezone: str
    currency: str
    name: str = ""
    base_url: str | None = None
    report_url: str | None = None
    credentials: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}
    last_digest: str = ""  # digest of the answer that is recorded for the window asked for: it need not be read again
    shape: tuple[str, ...] | None = None  # `Report.shape` of the account's last accepted answer; None without one
    run_in_helper: Callable[..., Awaitable[Any]] | None = None  # runs an importable function in another process

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen in errors: the credentials, and the token in a pasted URL."""
        values = [str(value) for value in self.credentials.values() if value]
        return (*values, *query_secrets(self.report_url or ""))

    def option(self, name: str, default: Any) -> Any:
        value = self.options.get(name)
        return default if value is None or value == "" else value


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Days to fetch, both included, by the platform's own calendar."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def holds(self, day: date) -> bool:
        return self.first <= day <= self.last

    def chunks(self, days: int) -> list["Window"]:
        """The window in pieces of at most so many days, the oldest first."""
        starts = range(0, self.days, days)
        begins = [self.first + timedelta(days=start) for start in starts]
        return [Window(first=b, last=min(self.last, b + timedelta(days=days - 1))) for b in begins]


class PostbackWords(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's words in postbacks, on top of those everybody uses (storage.ledger.postbacks.vocabulary)."""

    parameters: Mapping[str, str] = {}  # the platform's parameter name -> ours
    events: Mapping[str, str] = {}  # its event word -> ours
    statuses: Mapping[str, str] = {}
    has_ftd_event: bool = True
    #: The platform's macro for each of our parameters, for the URL a person pastes into its panel.
    macros: Mapping[str, str] = {}


class NoCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A platform that asks for none."""


@lru_cache(maxsize=1)
def _code() -> str:
    """A digest of the connectors' code: what another version of it might read otherwise is read again."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Platform(ABC):
    """One affiliate platform. Attributes are what forms, sync and postbacks need to know of it."""

    name: ClassVar[str]  # module name
    title: ClassVar[str]  # as people call it
    credentials: ClassVar[type[msgspec.Struct]] = NoCredentials
    has_api: ClassVar[bool] = True
    needs_base_url: ClassVar[bool] = True
    base_url: ClassVar[str | None] = None  # where every customer finds it, if there is one such place
    takes_report_url: ClassVar[bool] = False
    url_dates: ClassVar[tuple[str, str]] = ("", "")  # parameters of the two dates in a pasted report URL
    tag_from: ClassVar[tuple[str, ...]] = ()  # dimensions that may name the segment, the default first
    click_id_from: ClassVar[tuple[str, ...]] = ()  # where our click id may come back, the default first
    max_days: ClassVar[int] = 31  # longest window of one request
    requests_per_second: ClassVar[float] = 1.0  # requests per second of one account
    settings: ClassVar[Mapping[str, str]] = {}  # options of its own, with what they mean
    words: ClassVar[PostbackWords] = PostbackWords()
    #: Rows are grouped by what we ask, so that a repeat is damage; or lines of detail (one per player), to be summed.
    rows: ClassVar[Literal["grouped", "detail"]] = "grouped"
    #: Its reports have every column of `columns`, whatever the programme; else an answer's own header says which.
    every_measure: ClassVar[bool] = False
    #: What every answer of it has (words of `Report.shape`), where no earlier answer of the account says otherwise.
    always: ClassVar[tuple[str, ...]] = ()

    #: Its report of players, where it has one that affiliates may ask for.
    player_columns: ClassVar[PlayerColumns | None] = None

    @abstractmethod
    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        """The report of a window. Raises ConnectorError; never returns zeros for an error."""

    @abstractmethod
    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        """Rows out of a raw answer kept earlier. Raises ConnectorError saying what was expected and what came."""

    async def fetch_players(self, http: Http, connection: Connection, window: Window) -> PlayerReport:
        """What players did in a window. Raises ConnectorError, where the platform does not report it."""
        raise ConnectorError(f"{self.title} reports no single players to affiliates", permanent=True)

    def columns(self, connection: Connection) -> Columns:
        """Which column of its reports is which figure for this account."""
        return Columns(measures={})

    async def fetch_report(self, http: Http, connection: Connection, window: Window) -> Report:
        """`fetch`, once more if the answer is cut off or damaged; `Report.damage` says what the second one still lacks.

        Raises ConnectorError.
        """
        try:
            report = await self.fetch(http, connection, window)
            if not report.damage:
                return report
        except ConnectorError as error:
            if not error.cut_off:
                raise
        return await self.fetch(http, connection, window)

    async def read_whole(self, raw: bytes, connection: Connection, window: Window) -> Report:
        """`read`, beside the event loop if it takes long.

        Errors are about a whole report, worth reading again after a fix.
        """
        try:
            if len(raw) < SHORT:
                return self._read_once(raw, connection, window)
            if connection.run_in_helper is not None:
                alone = msgspec.structs.replace(connection, run_in_helper=None)
                parts: ReportParts = await connection.run_in_helper(_read_parts, self, raw, alone, window)
                return parts.report(raw)
            return await asyncio.to_thread(self._read_once, raw, connection, window)
        except ConnectorError as error:
            error.raw, error.whole = raw, True
            raise

    def _read_once(self, raw: bytes, connection: Connection, window: Window) -> Report:
        """The report; without its rows if it is the answer that is recorded already."""
        digest = self._digest(raw, connection, window)
        if digest == connection.last_digest:
            return Report(first=window.first, last=window.last, rows=(), raw=b"", digest=digest, same=True)
        report = self.read(raw, connection, window)
        return msgspec.structs.replace(report, digest=digest)

    def _digest(self, raw: bytes, connection: Connection, window: Window) -> str:
        """Of the answer and everything that decides what is read out of it: the account, the days, this very code."""
        c = connection
        identity = (
            self.name,
            c.timezone,
            c.currency,
            c.base_url,
            c.report_url,
            sorted(c.options.items()),
            window,
            _code(),
        )
        digest = hashlib.sha256(msgspec.json.encode(identity))  # which processors have instructions for
        digest.update(raw)
        return digest.hexdigest()

    def tag_column(self, connection: Connection) -> str:
        """The dimension that names the segment for this account."""
        return str(connection.option("tag_from", self.tag_from[0] if self.tag_from else ""))

    def sub_column(self, connection: Connection) -> str:
        """The dimension that gives our click id back for this account; empty if none does."""
        return str(connection.option("click_id_from", self.click_id_from[0] if self.click_id_from else ""))


def _read_parts(platform: Platform, raw: bytes, connection: Connection, window: Window) -> ReportParts:
    """In the other process. Raises ConnectorError."""
    return parts_of(platform._read_once(raw, connection, window))
