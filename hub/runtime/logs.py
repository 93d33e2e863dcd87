"""Logs: one line an event, whatever a stranger's text in it holds."""

import logging
import re
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import stamina.instrumentation
import structlog

from hub.runtime import error_reports

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BUT_LINE_BREAKS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def _escaped(text: str, characters: re.Pattern[str]) -> str:
    return characters.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class OneLine(logging.Formatter):
    """A library's message without characters that begin another line or steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _escaped(super().formatMessage(record), _CONTROL)


def _printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The same for our own events, whose line breaks the renderer escapes."""
    return {
        name: _escaped(value, _BUT_LINE_BREAKS) if isinstance(value, str) else value for name, value in event.items()
    }


class _OwnLines(structlog.PrintLogger):
    """Prints our own lines; a log whose disk is full or whose reader has gone must not stop what is logged."""

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def log_warnings() -> None:
    """Warnings of libraries, to standard error."""
    logging.raiseExceptions = False  # the same for theirs
    lines = logging.StreamHandler()
    lines.setFormatter(OneLine("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])


def quiet_logs(file: TextIO | None = None) -> None:
    """Warnings and our own lines only: httpx would log every URL at INFO, Telegram's with the bot token in it.

    `file`: where our own lines go; None: to standard output.
    """
    log_warnings()
    for name in (
        "httpx",
        "httpcore",
        "apscheduler",
        "aiosqlite",
        "slack_bolt",
        "slack_sdk",
        "telegram",
        "uvicorn.error",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Attempts within one sync or send are no events: the final result is logged.
    stamina.instrumentation.set_on_retry_hooks([])
    # A job that is still running when its next turn comes is how back-pressure looks here, not a fault.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            error_reports.processor,
            structlog.processors.format_exc_info,
            _printable,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        logger_factory=lambda *_names: _OwnLines(file),
        cache_logger_on_first_use=True,
    )
