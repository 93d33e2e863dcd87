"""Who asks, on which face, at what time, with which transaction and ports."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.message import Chart
from storage.db.engine import Database
from storage.db.report_database import ReportDatabase
from storage.db.secrets import Box
from storage.ledger.facts import PlayerReport, Report, Role
from storage.ledger.revenue.report_parts import ReportParts as UploadParts
from storage.people.audits import Recorded
from storage.reports.report_in_helper import ReportParts
from storage.reports.report_view import ReportQuery
from storage.reports.settle import Merged, MergeRequest
from storage.reports.usual_pages import DayPages, PagesRequest
from storage.revenue.comparison import Comparison
from storage.revenue.held_reports import HeldComparison, HeldReports

Face = Literal["slack", "telegram", "terminal", "shell", "api", "web", "automation", "mcp"]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What every command may rely on of the deployment's settings."""

    public_url: str
    timezone: str = "UTC"
    currency: str = "EUR"
    telegram_name: str = ""  # the bot's user name, for deep links
    knows_places: bool = False  # the GeoIP file has cities and regions
    casino_hub: bool = False  # facts of reviewed casinos are offered to the other teams
    limit_seconds: float = 30.0  # of a command that only reads

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a member on a chat, a token over HTTP, or the shell (always owner)."""

    team_id: int
    name: str
    role: Role
    member_id: int | None = None
    token_id: int | None = None  # the API token that speaks, or that a session of the cockpit was opened with
    campaigns: tuple[str, ...] | None = None  # codes a buyer or viewer is limited to; None: all


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was asked: `room` is the channel or chat id, `thread` a topic or thread in it."""

    face: Face
    room: str
    workspace: str = ""
    thread: str = ""
    user: str = ""  # the platform's id of the person
    title: str = ""
    private: bool = False


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a test login showed: rows of the last seven days, columns found, segments seen."""

    rows: int
    columns: tuple[str, ...]
    segments: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    names: dict[str, str] = {}  # what the platform calls a segment, where it has a name beside its id


class Ports(Protocol):
    """What commands need from outside storage; hub supplies it, since bot knows neither connectors nor HTTP."""

    def platforms(self) -> dict[str, type[msgspec.Struct]]:
        """Account struct (its credentials and settings) of each platform, by module name."""

    def platform_options(self, platform: str) -> dict[str, Any]:
        """A platform's defaults: tag_from choices, click_id_from, whether it has an API …"""

    async def probe(self, platform: str, account: dict[str, Any]) -> Sample:
        """Log in and fetch the last seven days. Raises ConnectorError with the reason."""

    async def draw(self, chart: Chart) -> bytes | None:
        """A chart as a PNG; None where it cannot be drawn now: then its text stands alone."""

    async def run_in_helper(self, job: Callable[..., Any], *arguments: Any, advice: str) -> Any:
        """Run an importable function, or coroutine function, beside the event loop and return what it returns.

        For work that would hold the interpreter for more than 20 ms. Arguments and result are pickled: bytes and small
        structs. Raises what the job raises; TooLong, with `advice` how to narrow the request, after 30 s.
        """

    async def run_background(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """The same for work that no person waits for: in a thread where the helper process is missing or too slow."""

    async def report_in_helper(self, query: ReportQuery) -> ReportParts | None:
        """A merged report made beside the event loop; None where there is no helper process. Raises TooLong."""

    def reading(self, url: str) -> "Ports":
        """The same, whose `report_in_helper` reads the database of that URL."""

    async def held_in_helper(self, account_id: int, start: int, limit: int) -> HeldReports | None:
        """What is held of an account, read beside the event loop; None where there is no helper process.

        Raises TooLong, and Refused if nothing is held.
        """

    async def compare_held_in_helper(self, report_id: int) -> HeldComparison | None:
        """A held report compared so with what stands. Raises TooLong, and Refused if it is held no more."""

    async def compare_in_helper(self, account_id: int, parts: UploadParts) -> Comparison | None:
        """A platform's report compared beside the event loop with what stands; None where that cannot be done."""

    async def merge_in_helper(self, request: MergeRequest) -> list[Merged] | None:
        """Touched days merged beside the event loop; None where that cannot be done."""

    async def pages_in_helper(self, request: PagesRequest) -> list[DayPages] | None:
        """Pages of usual reports made beside the event loop; None where that cannot be done."""

    def span(self, name: str, **attributes: str | int | None) -> AbstractContextManager[None]:
        """What happens inside, as a span of a trace where traces are made. Attributes hold no secret and no address."""

    async def probe_tracker(self, system: str, login: dict[str, str]) -> str:
        """Ask another tracker's API whether the login works; whose ids it has. Raises ConnectorError or Refused."""

    async def read_tracker_file(self, system: str, raw: bytes, options: dict[str, Any]) -> list[tuple[str, bytes]]:
        """The parts in a file of another tracker (storage.imports.imports.packed). Raises Refused at `file`."""

    async def read_upload(self, platform: str, account: dict[str, Any], raw: bytes, today: date) -> Report:
        """The report in an uploaded file, no day of it after `today`. Raises ConnectorError or Refused for a fault."""

    async def read_players(self, platform: str, account: dict[str, Any], raw: bytes, today: date) -> PlayerReport:
        """The players in an uploaded file, no day of it after `today`. Raises ConnectorError naming the line."""

    def presets(self) -> dict[str, dict[str, Any]]:
        """Traffic source presets by name: parameters, postbacks, options."""

    def registrar_credentials(self, kind: str, values: dict[str, Any]) -> dict[str, str]:
        """The login fields a registrar needs, out of those given. Raises Refused at the one that is missing."""

    async def quotes(self, login: dict[str, Any] | None, names: list[str]) -> list[dict[str, Any]]:
        """What a registrar asks for names; without a login only whether they are taken. Raises ConnectorError."""

    async def room_title(self, face: str, room: str, *, token: str | None = None) -> str:
        """What the chat calls a room; empty where it does not say, or is not set up. `token` is that of the Slack
        workspace, where it has one of its own."""

    async def changed(self) -> None:
        """Something configured has just been committed: this process takes it in at once, others within a second."""


@dataclass(slots=True)
class Context:
    """One call of one command."""

    database: Database
    deployment: Deployment
    actor: Actor
    face: Face
    ports: Ports
    box: Box
    clock: Callable[[], datetime]
    room: Room | None = None
    reports: ReportDatabase | None = None  # where commands that are reports read, while it can be used
    unread: bool = False  # only the result is wanted: the message is not made
    encodes: bool = False  # only JSON is wanted of the result: it may come encoded, and its message is not read
    asks: bool = False  # every change is asked about first, as agents must
    prepared: Any = None  # what the command's `prepare` returned, got before the transaction began
    notes: dict[str, Any] = field(default_factory=dict)  # audit: entity, before, after
    unchanged: bool = False  # everything was as the command wants it already: nothing is recorded
    names: dict[str, dict[str, str]] = field(default_factory=dict)  # of the entities in the result, by noun and code
    recorded: Callable[[AsyncConnection, Recorded], Awaitable[None]] | None = None  # in the transaction of the change
    _connection: AsyncConnection | None = None

    @property
    def tx(self) -> AsyncConnection:
        """The command's transaction; commands without one (prepare) must not ask for it."""
        if self._connection is None:
            raise RuntimeError("this command runs outside a transaction")
        return self._connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A read transaction as `tx`, for what is prepared before the command's own."""
        async with self.database.read() as tx:
            self._connection = tx
            try:
                yield
            finally:
                self._connection = None

    @property
    def now(self) -> datetime:
        return self.clock()

    @property
    def today(self) -> date:
        """Today's report day."""
        return self.clock().astimezone(self.deployment.zone).date()

    @property
    def team_id(self) -> int:
        return self.actor.team_id

    def name(self, noun: str, code: str | None) -> str:
        """The name, as typed, of an entity that the result refers to; "–" for none."""
        return self.names.get(noun, {}).get(code, code) if code else "–"

    def names_of(self, noun: str, words: Iterable[str]) -> str:
        """Names of several, without weights: `Lucky Star, Wild Win`; empty for none."""
        return ", ".join(self.name(noun, word.partition(":")[0]) for word in words)

    def label(self, noun: str, word: str | None) -> str:
        """The same with the code beside it where that differs: `Spring push (spring-push)`.

        `word` may end in a weight, which stays with the code: `Lucky Star (lucky-star:3)`.
        """
        code = word.partition(":")[0] if word else None
        name = self.name(noun, code)
        return (word or name) if name == code or not word else f"{name} ({word})"
