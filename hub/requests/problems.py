"""Errors over HTTP: application/problem+json (RFC 9457) with the field at fault."""

import sqlite3
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException
from sqlalchemy.exc import DBAPIError

from bot.core.command import unknown
from hub.runtime.helper_process import HelperFailed
from storage.db import tasks
from storage.db.unavailable import (
    CommitUnknown,
    DatabaseUnavailable,
    is_full,
    is_locked,
    is_unavailable,
    plain_words,
)
from storage.ledger.errors import CasinoFluxError, ConnectorError, Forbidden, Missing, Refused, TooLong

log = structlog.get_logger()

API = "/api/v1/"

_TITLES = {
    400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 413: "Too large", 415: "Unsupported media type", 422: "Unprocessable content",
    429: "Too many requests", 500: "Internal error", 502: "Bad gateway", 503: "Unavailable",
}  # fmt: skip


class Problem(msgspec.Struct, omit_defaults=True):
    """`detail` says what to do; `field` names the argument at fault, if one is."""

    title: str
    status: int
    detail: str
    field: str | None = None


def problem(
    status: int, detail: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response[bytes]:
    body = msgspec.json.encode(Problem(_TITLES.get(status, "Error"), status, detail, field))
    return Response(body, status_code=status, media_type="application/problem+json", headers=headers)


def from_error(error: CasinoFluxError, *, subject: str | None = None) -> Response[bytes]:
    """The answer to an error meant for people. A missing `subject` (what the call is about) is a 404."""
    if isinstance(error, CommitUnknown):
        return problem(503, str(error))
    if isinstance(error, DatabaseUnavailable):
        return problem(503, str(error), headers={"retry-after": "5"})
    if isinstance(error, HelperFailed):
        return problem(503, str(error))
    if isinstance(error, Missing) and error.field == subject:
        return problem(404, str(error), error.field)
    if isinstance(error, Refused):
        return problem(400, str(error), error.field)
    if isinstance(error, TooLong):
        return problem(422, str(error))
    if isinstance(error, Forbidden):
        return problem(403, str(error))
    if isinstance(error, ConnectorError):
        return problem(400 if error.permanent else 502, str(error))
    return problem(400, str(error))


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, InternalServerException) and "disconnected" in error.detail:
        return problem(400, "the body broke off, came too slowly, or its chunks have no length: send it again")
    return problem(error.status_code, _detail(request, error), headers=error.headers)


def _detail(request: Request[Any, Any, Any], error: HTTPException) -> str:
    """Of a command that does not exist the nearest one; of one that changes something, that it is POSTed."""
    path = request.url.path
    if not path.startswith(API):
        return error.detail
    words = path.removeprefix(API).strip("/").lower().split("/")
    if error.status_code == 404:
        return unknown(" ".join(words), words if words[0] else [])
    if error.status_code == 405:
        return f"{' '.join(words)!r} changes something: send POST with JSON"
    return error.detail


def on_known_error(_request: Request[Any, Any, Any], error: CasinoFluxError) -> Response[bytes]:
    return from_error(error)


def is_database_fault(error: BaseException) -> bool:
    """Whether the database cannot be used: away, locked, full, out of connections, not to be read by this user."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.OperationalError):
        return is_locked(error) or is_full(error) or "disk I/O" in str(error.orig)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | FileNotFoundError | TimeoutError)
    return is_unavailable(error)


def on_any_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Nothing of the error itself is shown: it may hold secrets."""
    if is_database_fault(error):
        tasks.monitor.note("requests", error)
        why = plain_words(error) or "the database does not answer"
        return problem(503, f"{why}; try again in a moment", headers={"retry-after": "5"})
    log.error("request failed", path=request.url.path, error=type(error).__name__, exc_info=error)
    return problem(500, "something went wrong on our side; the log has the details")
