"""`casinoflux doctor`: settings, database, clock, disk, address and chats are checked, each fault with its fix."""

import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from hub.runtime import boot
from hub.runtime.settings import SettingError, Settings, read_settings, unknown_settings
from storage.db import pool_size
from storage.db.database_url import sqlite_file
from storage.db.engine import Database, behind_pooler
from storage.db.pool_size import Allowance
from storage.db.schema import HEAD, current, is_older
from storage.db.secrets import Box, secret_keys
from storage.db.unavailable import plain_words
from storage.ledger.errors import CasinoFluxError

TIMEOUT = 10.0  # seconds for one request
LEAST_DISK = 1_000_000_000  # bytes free; below it the disk is a fault
SHORTEST_KEY = 12  # characters
MOST_SKEW = 30.0  # seconds the clock may be apart: signed requests of Slack are refused at 300


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, what was seen, and for a fault the fix. Holds no secret."""

    name: str
    ok: bool
    finding: str
    fix: str | None = None


async def run() -> list[Check]:
    """All checks; without readable settings only the first."""
    try:
        settings = read_settings()
    except SettingError as error:
        return [Check(name="settings", ok=False, finding=str(error), fix="set it right in the environment or in .env")]
    return [check async for check in checks(settings)]


async def checks(settings: Settings) -> AsyncIterator[Check]:
    """Each check in turn; nothing is made or changed, no secret key either."""
    unknown = unknown_settings()
    yield (
        Check(name="settings", ok=False, finding="; ".join(unknown), fix="rename or remove them")
        if unknown
        else Check(name="settings", ok=True, finding="all can be read")
    )
    if settings.secret_key and len(secret_keys(settings.secret_key)[0]) < SHORTEST_KEY:
        yield Check(
            name="secret key", ok=False, finding=f"CASINOFLUX_SECRET_KEY has fewer than {SHORTEST_KEY} characters: "
            "whoever has a click id can try out what it may be",
            fix="put a long random one before it, with a comma between, and run casinoflux keys rotate",
        )  # fmt: skip
    database = await _database(settings)
    yield database
    if database.ok and (fault := await _contradiction(settings)):
        yield Check(name="start", ok=False, finding=fault, fix="casinoflux serve refuses to start until then")
    if not settings.secret_key:
        settings = msgspec.structs.replace(settings, secret_key=secrets.token_hex())
    if database.ok and (unreadable := await _unreadable(settings)):
        yield Check(
            name="stored credentials", ok=False,
            finding=f"CASINOFLUX_SECRET_KEY opens none of: {', '.join(unreadable[:5])}"
            + (f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""),
            fix="set the key they were saved with, or give them again (account edit, source edit, …)",
        )  # fmt: skip
    if database.ok and settings.database_url.startswith("postgresql"):
        async for check in _postgres(settings):
            yield check
    yield _disk(settings)
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
        async for check in _address(client, settings):
            yield check
        if settings.slack_bot_token:
            yield await _slack(client, settings)
        if settings.telegram_bot_token:
            async for check in _telegram(client, settings):
                yield check


async def _database(settings: Settings) -> Check:
    name = "database"
    if (path := sqlite_file(settings.database_url)) is not None and not path.exists():
        return Check(
            name=name, ok=False, finding=f"there is no file {path}",
            fix="run this in the hub's folder, or set CASINOFLUX_DATABASE_URL; casinoflux db upgrade makes a new one",
        )  # fmt: skip
    try:
        await boot.reach(settings.database_url)
    except SettingError as error:
        return Check(name=name, ok=False, finding=str(error), fix="fix CASINOFLUX_DATABASE_URL, or start the database")
    database = Database(settings.database_url)
    try:
        revision = await current(database)
    except (SQLAlchemyError, OSError) as error:
        finding = plain_words(error) or f"cannot be read ({type(error).__name__})"
        return Check(name=name, ok=False, finding=finding, fix="see the database's log")
    finally:
        await database.close()
    if revision != HEAD:
        return Check(
            name=name, ok=False, finding=f"schema {revision or 'none'}, this version needs {HEAD}",
            fix="run casinoflux db upgrade" if is_older(revision) else "it is a newer version's: install that one",
        )  # fmt: skip
    return Check(name=name, ok=True, finding=f"can be written, schema {revision}")


async def _contradiction(settings: Settings) -> str:
    """Why a start is refused: settings and what the database holds contradict each other; empty if they do not."""
    try:
        await boot.check_stored(settings)
    except CasinoFluxError as error:
        return str(error)
    return ""


async def _unreadable(settings: Settings) -> list[str]:
    database = Database(settings.database_url)
    try:
        async with database.read() as tx:
            return (await boot.stored_credentials(tx, Box(settings.secret_key))).unreadable
    finally:
        await database.close()


async def _postgres(settings: Settings) -> AsyncIterator[Check]:
    """Connections, a pooler that the URL does not name, and the standby that reports are read from."""
    runtime = boot.new_runtime(settings)
    database = runtime.database
    try:
        if not database.pooled:
            yield _connections(await pool_size.allowance(database))
        yield _pooler(await behind_pooler(database), named=database.pooled)
        if runtime.reports is not None:
            used = await runtime.reports.choose() is not None
            yield Check(
                name="report database", ok=used,
                finding=f"{runtime.reports.lag:.0f} s behind" if used else runtime.reports.fault,
                fix=None if used else "fix CASINOFLUX_REPORT_DATABASE_URL or the replication; the primary is read",
            )  # fmt: skip
    finally:
        await runtime.close()


def _connections(allowance: Allowance) -> Check:
    finding = (
        f"{allowance.allowed} allowed, {allowance.others} of others, {allowance.processes} processes of casinoflux: "
        f"at most {allowance.pool} in the pool of each"
    )
    fix = None if allowance.suffices else "raise max_connections, run fewer workers, or put PgBouncer before the server"
    return Check(name="connections", ok=allowance.suffices, finding=finding, fix=fix)


def _pooler(found: bool, *, named: bool) -> Check:
    finding = "connections go through a pooler" if found else "connections go to the server itself"
    ok = named or not found
    fix = None if ok else "write ?pgbouncer=1 at the end of CASINOFLUX_DATABASE_URL"
    return Check(name="pooler", ok=ok, finding=finding, fix=fix)


def _disk(settings: Settings) -> Check:
    """Where SQLite's file and the spool of clicks are."""
    url = make_url(settings.database_url)
    file = url.database if url.get_backend_name() == "sqlite" and url.database != ":memory:" else None
    folder = Path(file).resolve().parent if file else Path.cwd()
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            name="disk", ok=False, finding=f"{folder}: {error.strerror}", fix="make the folder, or set another"
        )
    finding = f"{free / 1e9:.1f} GB free in {folder}"
    if free < LEAST_DISK:
        return Check(
            name="disk", ok=False, finding=finding, fix="make room: the database and the spool of clicks need it"
        )
    return Check(name="disk", ok=True, finding=finding)


async def _address(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Check]:
    """The hub answers at its public address, over TLS, and the clock agrees with the answer's date."""
    parts = urlsplit(settings.public_url)
    local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    tls = parts.scheme == "https" or local
    yield Check(
        name="tls", ok=tls,
        finding=f"{settings.public_url} is {'encrypted' if parts.scheme == 'https' else 'plain HTTP'}",
        fix=None if tls else "put Caddy before the hub and write https:// in CASINOFLUX_PUBLIC_URL",
    )  # fmt: skip
    try:
        response = await client.get(f"{settings.public_url}/healthz")
        answers = response.status_code == 200 and response.json() == {"status": "ok"}
        finding = "the hub answers" if answers else f"something else answers there (status {response.status_code})"
    except httpx.HTTPError as error:
        response, answers = None, False
        finding = f"no answer ({str(error) or type(error).__name__})"
    except ValueError:
        answers, finding = False, "something else answers there (no JSON)"
    yield Check(
        name="public address", ok=answers, finding=f"{settings.public_url}: {finding}",
        fix=None if answers else "start the hub; check DNS, certificate, firewall and the proxy's upstream",
    )  # fmt: skip
    yield _clock(settings, response)


def _clock(settings: Settings, response: httpx.Response | None) -> Check:
    """The clock against the Date of the public address: tells two machines apart, not one machine's own fault."""
    if settings.clock_offset:
        return Check(
            name="clock",
            ok=False,
            finding=f"shifted by {settings.clock_offset} s",
            fix="remove CASINOFLUX_CLOCK_OFFSET",
        )
    if response is None or "date" not in response.headers:
        return Check(
            name="clock", ok=True, finding=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, compared with no other"
        )
    seconds_apart = abs((datetime.now(UTC) - parsedate_to_datetime(response.headers["date"])).total_seconds())
    ok = seconds_apart <= MOST_SKEW
    return Check(
        name="clock",
        ok=ok,
        finding=f"{seconds_apart:.0f} s from the public address",
        fix=None if ok else "keep the time by NTP",
    )


async def _slack(client: httpx.AsyncClient, settings: Settings) -> Check:
    headers = {"Authorization": f"Bearer {settings.slack_bot_token}"}
    answer = await _json(lambda: client.post(f"{settings.slack_api_url}auth.test", headers=headers))
    if answer.get("ok"):
        return Check(name="slack", ok=True, finding=f"the token is of {answer.get('team') or 'a workspace'}")
    return Check(
        name="slack", ok=False, finding=f"the token is refused ({answer.get('error', 'no reason given')})",
        fix="copy the Bot User OAuth Token into CASINOFLUX_SLACK_BOT_TOKEN, and reach CASINOFLUX_SLACK_API_URL",
    )  # fmt: skip


async def _telegram(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[Check]:
    base = f"{settings.telegram_api_url}{settings.telegram_bot_token}"
    answer = await _json(lambda: client.post(f"{base}/getMe"))
    if not answer.get("ok"):
        yield Check(
            name="telegram", ok=False, finding=f"the token is refused ({answer.get('description', 'no reason given')})",
            fix="copy @BotFather's token into CASINOFLUX_TELEGRAM_BOT_TOKEN, and reach CASINOFLUX_TELEGRAM_API_URL",
        )  # fmt: skip
        return
    yield Check(name="telegram", ok=True, finding=f"the token is of @{answer['result'].get('username')}")
    if settings.telegram_webhook_secret:
        info = (await _json(lambda: client.post(f"{base}/getWebhookInfo"))).get("result", {})
        ok = info.get("url") == f"{settings.public_url}/telegram/webhook" and not info.get("last_error_message")
        finding = info.get("last_error_message") or (f"set to {info['url']}" if info.get("url") else "not set")
        yield Check(
            name="telegram webhook", ok=ok, finding=finding,
            fix=None if ok else "restart the hub: it sets the webhook at CASINOFLUX_PUBLIC_URL, which needs HTTPS",
        )  # fmt: skip


async def _json(request: Callable[[], Any]) -> dict[str, Any]:
    """The JSON object of an answer. What failed is named by its kind alone: an address may hold a token."""
    try:
        body = (await request()).json()
    except httpx.HTTPError as error:
        return {"error": type(error).__name__, "description": type(error).__name__}
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"error": "no JSON", "description": "no JSON"}
