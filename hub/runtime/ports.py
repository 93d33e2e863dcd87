"""What commands need from outside storage: platforms, test logins, traffic source presets."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from inspect import isawaitable
from typing import Any, TypeVar

import msgspec
import structlog

from bot.core.context import Sample
from bot.core.message import Chart
from bot.render.chart_image import draw
from connectors.base import SHORT, Connection, Platform, Window
from connectors.http import Http, Unreachable
from connectors.platforms.csv_upload import TITLES, CsvUpload
from connectors.players import read_player_file
from connectors.redaction import redact
from connectors.registry import PLATFORMS, platform, platform_name, preset_name
from hub.runtime import registrars
from hub.runtime.helper_process import HelperFailed, HelperProcess
from hub.runtime.room_titles import title_of
from hub.runtime.settings import Settings
from hub.runtime.tracing import tracer
from storage.imports.imports import packed
from storage.ledger.bounded_cache import BoundedCache
from storage.ledger.errors import CasinoFluxError, ConnectorError, Refused, TooLong
from storage.ledger.facts import PlayerReport, Report
from storage.ledger.revenue.report_parts import ReportParts as UploadParts
from storage.ledger.revenue.report_parts import parts_of
from storage.reports.report_in_helper import ReportParts, report_parts
from storage.reports.report_view import ReportQuery
from storage.reports.settle import Merged, MergeRequest, merge_read_only
from storage.reports.usual_pages import DayPages, PagesRequest, make_read_only
from storage.revenue.comparison import Comparison, compare_parts
from storage.revenue.held_reports import (
    HeldComparison,
    HeldReports,
    compare_held_read_only,
    held_reports_read_only,
)

log = structlog.get_logger()

T = TypeVar("T")

SAMPLE_DAYS = 7
MOST_CHARTS = 32  # in memory; most digests of one moment hold the same
_FETCH_FEWER_DAYS = "discard the report and fetch fewer days at once: sync now from=… to=…"
_SHORT = {"requests_per_second": 20.0}  # a person is waiting for the answer


class HubPorts:
    """bot.core.context.Ports over the real connectors."""

    def __init__(self, settings: Settings, helper: HelperProcess | None = None) -> None:
        self._settings = settings
        self._helper = helper
        self._report_url = settings.database_url
        self._charts: BoundedCache[Chart, bytes] = BoundedCache(MOST_CHARTS, lambda _: 1)
        self.listeners: list[Callable[[], Awaitable[None]]] = []

    def registrar_credentials(self, kind: str, fields: dict[str, Any]) -> dict[str, str]:
        return registrars.read_credentials(kind, fields)

    async def quotes(self, login: dict[str, Any] | None, names: list[str]) -> list[dict[str, Any]]:
        return await registrars.quotes(self._settings, login, names)

    def span(self, name: str, **attributes: str | int | None) -> AbstractContextManager[None]:
        return tracer.span(name, **attributes)

    async def run_in_helper(self, job: Callable[..., Any], *arguments: Any, advice: str = "ask for less") -> Any:
        """In the helper process; right here where there is none, as in a shell."""
        if self._helper is not None:
            return await self._helper.run(job, *arguments, advice=advice)
        result = job(*arguments)
        return await result if isawaitable(result) else result

    async def run_background(self, job: Callable[..., T], *arguments: Any) -> T:
        """What no person waits for: in the helper process, or in a thread where that is missing or too slow."""
        if self._helper is not None:
            try:
                return await self._helper.run(job, *arguments)
            except (HelperFailed, TooLong) as error:
                log.warning("work of the helper process goes on in a thread", work=job.__name__, why=str(error))
        return await asyncio.to_thread(job, *arguments)

    def reading(self, url: str) -> "HubPorts":
        ports = copy.copy(self)
        ports._report_url = url
        return ports

    async def report_in_helper(self, query: ReportQuery) -> ReportParts | None:
        advice = "ask for fewer days, or for coarser groups (without sub ids, as_of and clock=visit)"
        if self._helper is None:
            return None
        return await self._helper.run(report_parts, self._report_url, query, advice=advice)

    async def held_in_helper(self, account_id: int, start: int, limit: int) -> HeldReports | None:
        return await self._ask_in_helper(held_reports_read_only, account_id, start, limit, advice=_FETCH_FEWER_DAYS)

    async def compare_held_in_helper(self, report_id: int) -> HeldComparison | None:
        return await self._ask_in_helper(compare_held_read_only, report_id, advice=_FETCH_FEWER_DAYS)

    async def _ask_in_helper(self, job: Callable[..., Awaitable[T]], *arguments: Any, advice: str) -> T | None:
        """A job that reads our database for a person, in the helper process; None where there is none."""
        if self._helper is None:
            return None
        return await self._helper.run(job, self._settings.database_url, *arguments, advice=advice)

    async def compare_in_helper(self, account_id: int, parts: UploadParts) -> Comparison | None:
        return await self._read_in_helper(compare_parts, account_id, parts)

    async def merge_in_helper(self, request: MergeRequest) -> list[Merged] | None:
        """Touched days merged in the helper process; None where it is missing or too slow."""
        return await self._read_in_helper(merge_read_only, request)

    async def pages_in_helper(self, request: PagesRequest) -> list[DayPages] | None:
        """Pages made in the helper process; None where it is missing or too slow."""
        return await self._read_in_helper(make_read_only, request)

    async def _read_in_helper(self, job: Callable[..., Awaitable[T]], *arguments: Any) -> T | None:
        """The same; None where that is too slow, too: the caller does it then."""
        try:
            return await self._ask_in_helper(job, *arguments, advice="")
        except (HelperFailed, TooLong) as error:
            log.warning("work of the helper process is done here", work=job.__name__, why=str(error))
            return None

    async def draw(self, chart: Chart) -> bytes | None:
        if (drawn := self._charts.get(chart)) is not None:
            return drawn
        try:
            drawn = bytes(await self.run_in_helper(draw, chart))
        except CasinoFluxError as error:
            log.warning("a chart was not drawn", error=str(error))
            return None
        self._charts.put(chart, drawn)
        return drawn

    async def room_title(self, face: str, room: str, *, token: str | None = None) -> str:
        return await title_of(self._settings, face, room, token=token)

    async def changed(self) -> None:
        for listener in self.listeners:
            await listener()

    def platforms(self) -> dict[str, type[msgspec.Struct]]:
        return {name: platform(name).credentials for name in PLATFORMS}

    def platform_options(self, platform_named: str) -> dict[str, Any]:
        name = platform_name(platform_named)
        described, preset = platform(name), preset_name(platform_named)
        return {
            "name": name,
            "preset": preset,
            "title": TITLES.get(preset, described.title),
            "has_api": described.has_api,
            "needs_base_url": described.needs_base_url,
            "base_url": described.base_url,
            "takes_report_url": described.takes_report_url,
            "url_dates": [date for date in described.url_dates if date],
            "tag_from": list(described.tag_from),
            "click_id_from": list(described.click_id_from),
            "settings": dict(described.settings),
            "credentials": described.credentials,
            "words": msgspec.to_builtins(described.words),
        }

    async def probe(self, platform_named: str, account: dict[str, Any]) -> Sample:
        """Log in and fetch the last seven days. Raises ConnectorError or Refused, no secret in it."""
        connector = platform(platform_named)
        account = account | {"options": _SHORT | dict(account.get("options") or {})}
        connection = connection_of(connector, account)
        today = self._now().astimezone(connection.zone).date()
        window = Window(first=today - timedelta(days=min(SAMPLE_DAYS, connector.max_days) - 1), last=today)
        async with Http(allow_private=self._settings.allow_private_hosts, seconds=20.0) as http:
            try:
                report = await connector.fetch(http, connection, window)
            except Unreachable as error:
                field = "report_url" if connection.report_url else "base_url"
                raise Refused(redact(str(error), connection.secrets), field=field) from None
            except ConnectorError as error:
                raise described_error(error, connection) from None
        return sample_of(report)

    async def read_upload(self, platform_named: str, account: dict[str, Any], raw: bytes, today: date) -> Report:
        if len(raw) < SHORT:
            return read_upload(platform_named, account, raw, today)
        advice = "upload the file in several parts, of fewer days each"
        parts: UploadParts = await self.run_in_helper(_upload_parts, platform_named, account, raw, today, advice=advice)
        return parts.report(raw)

    async def probe_tracker(self, system: str, login: dict[str, str]) -> str:
        from connectors.trackers import registry  # few hubs ever import: 0.5 MB less without

        # A person waits: tries follow each other quickly.
        async with Http(allow_private=self._settings.allow_private_hosts, seconds=20.0, first_wait=0.1) as http:
            try:
                return await registry.probe(http, system, login)
            except Unreachable as error:
                raise Refused(redact(str(error), list(login.values())), field="url") from None
            except ConnectorError as error:
                raise ConnectorError(redact(str(error), list(login.values())), permanent=error.permanent) from None

    async def read_tracker_file(self, system: str, raw: bytes, options: dict[str, Any]) -> list[tuple[str, bytes]]:
        advice = "import the file in several parts"
        packed_parts: list[tuple[str, bytes]] = await self.run_in_helper(
            _tracker_parts, system, raw, options, advice=advice
        )
        return packed_parts

    async def read_players(self, platform_named: str, account: dict[str, Any], raw: bytes, today: date) -> PlayerReport:
        if len(raw) < SHORT:
            return read_players(platform_named, account, raw, today)
        advice = "upload the file in several parts"
        report: PlayerReport = await self.run_in_helper(
            read_players, platform_named, account, raw, today, advice=advice
        )
        return report

    def presets(self) -> dict[str, dict[str, Any]]:
        from connectors.sources import presets

        return {name: dict(preset) for name, preset in presets().items()}

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._settings.clock_offset)


def read_upload(platform_named: str, account: dict[str, Any], raw: bytes, today: date) -> Report:
    """The report in an uploaded file, over the days it speaks of, none of them after the account's `today`."""
    connector = platform(platform_named)
    if not isinstance(connector, CsvUpload):
        raise Refused(f"{connector.title} is fetched by itself: uploads go to a csv_upload account", field="account")
    connection = connection_of(connector, account)
    return connector.read_upload(raw, connection, today)


def _tracker_parts(system: str, raw: bytes, options: dict[str, Any]) -> list[tuple[str, bytes]]:
    from connectors.trackers import registry

    return [packed(part) for part in registry.read_file(system, raw, registry.FileOptions(**options))]


def read_players(platform_named: str, account: dict[str, Any], raw: bytes, today: date) -> PlayerReport:
    """The players in an uploaded file, none of its days after the account's `today`."""
    connector = platform(platform_named)
    return read_player_file(connector, connection_of(connector, account), raw, today)


def _upload_parts(platform_named: str, account: dict[str, Any], raw: bytes, today: date) -> UploadParts:
    return parts_of(read_upload(platform_named, account, raw, today))


def connection_of(connector: Platform, account: Mapping[str, Any]) -> Connection:
    """A connection from an account's opened login; the platform's own address where it has one for all."""
    fields = {name: account[name] for name in Connection.__struct_fields__ if account.get(name) is not None}
    if not fields.get("report_url"):
        fields.setdefault("base_url", connector.base_url)
    return Connection(**fields)


def described_error(error: ConnectorError, connection: Connection) -> ConnectorError:
    """The error with every secret of the connection taken out of its text."""
    text = redact(str(error), connection.secrets)
    return ConnectorError(
        text, permanent=error.permanent, raw=error.raw, retry_after=error.retry_after, field=error.field
    )


def sample_of(report: Report) -> Sample:
    """What a report shows: how many rows, which figures it has, which segments."""
    figures = [msgspec.structs.asdict(row.figures) for row in report.rows]
    columns = [name for name in (figures[0] if figures else {}) if any(figure[name] is not None for figure in figures)]
    segments = sorted({row.tag for row in report.rows if row.tag})
    names = {row.tag: row.tag_name for row in report.rows if row.tag_name}
    return Sample(
        rows=len(report.rows), columns=tuple(columns), segments=tuple(segments), warnings=report.warnings, names=names
    )
