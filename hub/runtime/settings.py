"""Settings from the environment or a `.env`; a wrong value stops the start with its name, its fault and the fix."""

import difflib
import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from babel.numbers import is_currency
from sqlalchemy.exc import ArgumentError

from storage.db.database_url import QUERY, read_url, shown_url, sqlite_file
from storage.db.postgres_connection import connect_arguments
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.schedule import read_zone

PREFIX = "CASINOFLUX_"


class SettingError(CasinoFluxError):
    """A setting cannot be used; the text names it, its fault and the fix."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment's settings, checked. Secrets are never printed: see __repr__."""

    database_url: str = "sqlite+aiosqlite:///casinoflux.db"
    report_database_url: str | None = None  # a standby that reports are read from
    report_database_lag: float = 60.0  # seconds it may be behind; then the primary is read
    secret_key: str = ""  # empty: there is none yet; `with_key` makes it
    public_url: str = "http://127.0.0.1:8000"
    report_timezone: str = "UTC"
    report_currency: str = "EUR"
    allow_private_hosts: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    store_ip_prefix: bool = False
    casino_hub: bool = False  # facts of reviewed casinos are offered to the other teams
    retention_days: int = 0  # raw click detail; 0: kept for ever
    geoip_file: str | None = None
    limit_token: int = 3000  # API requests a minute of one token; 0: no limit, as for those below
    limit_address: int = 6000  # requests a minute of one address, clicks and postbacks apart
    limit_sign_in: int = 30  # sign-ins, and requests without a valid token, a minute of one address
    limit_beacon: int = 300  # page reports a minute of one address
    limit_seconds: float = 30.0  # of one request, after which it is given up; what writes is let finish
    clock_offset: int = 0  # seconds added to the clock: demo and tests
    slack_bot_token: str | None = None
    slack_signing_secret: str | None = None
    slack_app_token: str | None = None
    slack_client_id: str | None = None
    slack_client_secret: str | None = None
    slack_api_url: str = "https://slack.com/api/"
    slack_authorize_url: str = "https://slack.com/oauth/v2/authorize"
    telegram_bot_token: str | None = None
    telegram_webhook_secret: str | None = None
    telegram_api_url: str = "https://api.telegram.org/bot"
    telegram_file_url: str = "https://api.telegram.org/file/bot"

    def __repr__(self) -> str:
        shown = shown_url(self.database_url)
        return f"Settings(database_url={shown!r}, public_url={self.public_url!r})"


def read_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Settings from the environment, over those of `.env` in `folder`; nothing is written. Raises SettingError."""
    values: dict[str, Any] = {}
    for name, text in _named(_raw(environment, folder)).items():
        values[name] = _READERS.get(name, _text)(PREFIX + name.upper(), text)
    url = str(values.get("database_url", "sqlite+aiosqlite:///casinoflux.db"))
    if "secret_key" not in values and (path := key_path(url)).is_file():
        values["secret_key"] = _read_key(path)
    settings = Settings(**values)
    _check_pairs(settings)
    return settings


def dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a file; quotes around a value and `#` lines are left out."""
    if not path.is_file():
        return {}
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise SettingError(f"{path.name} line {number} is not NAME=value: correct or remove it")
        values[name.strip()] = value.strip().strip("\"'")
    return values


def unknown_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> list[str]:
    """What to say of names that look like a setting of ours misspelt; the program runs without them."""
    names = [PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)]
    names += [f"{name}_FILE" for name in names]
    warnings = []
    for name in sorted(_raw(environment, folder)):
        if name.startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            warnings.append(f"{name} is no setting, and is left out" + (f": did you mean {near[0]}?" if near else ""))
    return warnings


def _raw(environment: Mapping[str, str] | None, folder: Path | None) -> dict[str, str]:
    return {**dotenv((folder or Path.cwd()) / ".env"), **(os.environ if environment is None else environment)}


def _named(raw: Mapping[str, str]) -> dict[str, str]:
    names = {field.name for field in msgspec.structs.fields(Settings)}
    values: dict[str, str] = {}
    for name, text in sorted(raw.items()):
        if not name.startswith(PREFIX):
            continue
        short = name.removeprefix(PREFIX).lower()
        if short.endswith("_file") and short not in names and short.removesuffix("_file") in names:
            values[short.removesuffix("_file")] = _secret_file(name, text)
        elif short in names and text != "":
            values.setdefault(short, text)
    return values


def _secret_file(name: str, path: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingError(f"{name}: cannot read {path} ({error.strerror}): name a readable file") from None
    if not secret:
        raise SettingError(f"{name}: {path} is empty: write the secret into it")
    return secret


def _text(_name: str, text: str) -> str:
    return text.strip()


def _url(name: str, text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, a bracket that is never closed
        whole = False
    if not whole:
        raise SettingError(f"{name}: {text!r} is not a web address: write https://track.example.com")
    return text.strip().rstrip("/") if name == "CASINOFLUX_PUBLIC_URL" else text.strip()


def database_url(name: str, text: str, session: str = "read-write") -> str:
    """The database URL with our drivers. Raises SettingError for any other database."""
    try:
        url = read_url(text.strip(), session)
        backend = url.get_backend_name()
        if backend == "postgresql":
            connect_arguments(url)
            if unknown := sorted(set(url.query) - QUERY):
                raise SettingError(f"{name}: {unknown[0]} is no parameter of a PostgreSQL URL here: leave it out")
        if url.query.get("pgbouncer", "0") not in {"0", "1"}:
            raise SettingError(f"{name}: pgbouncer in the URL is 1 where PgBouncer stands before the server, else 0")
    except (ArgumentError, ValueError):
        backend = ""
    if backend not in {"sqlite", "postgresql"}:
        raise SettingError(
            f"{name}: not a database URL: write sqlite+aiosqlite:///file.db or postgresql+asyncpg://user:password@host/name"
        )
    return url.render_as_string(hide_password=False)


def _standby_url(name: str, text: str) -> str:
    url = database_url(name, text, "standby")
    if not url.startswith("postgresql"):
        raise SettingError(f"{name}: not a PostgreSQL standby: write postgresql+asyncpg://user:password@host/name")
    return url


def _zone(name: str, text: str) -> str:
    try:
        return read_zone(text, name)
    except Refused as fault:
        raise SettingError(str(fault)) from None


def _currency(name: str, text: str) -> str:
    code = text.strip().upper()
    if not is_currency(code):
        raise SettingError(f"{name}: no currency {text!r}: write a three-letter code such as EUR")
    return code


def _switch(name: str, text: str) -> bool:
    if text.strip() not in {"0", "1"}:
        raise SettingError(f"{name}: {text!r} is neither 0 nor 1")
    return text.strip() == "1"


def _offset(name: str, text: str) -> int:
    if not text.strip().lstrip("-").isdecimal():
        raise SettingError(f"{name}: {text!r} is not a whole number of seconds")
    return int(text)


def _count(name: str, text: str) -> int:
    if not text.strip().isdecimal() or len(text.strip()) > 9:
        raise SettingError(f"{name}: {text!r} is not a whole number from 0 to 999999999")
    return int(text)


def _seconds(name: str, text: str) -> float:
    if not re.fullmatch(r"(0|[1-9]\d{0,3})(\.\d+)?", text.strip(), re.ASCII) or not text.strip("0. "):
        raise SettingError(f"{name}: {text!r} is no number of seconds above 0: write one such as 30")
    return msgspec.convert(text.strip(), float, strict=False)


def _webhook_secret(name: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", text.strip()):
        raise SettingError(f"{name}: Telegram takes 1 to 256 letters, digits, _ and - only")
    return text.strip()


def _networks(name: str, text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingError(f"{name}: {error}: list addresses or networks, e.g. 127.0.0.1, 10.0.0.0/8") from None


_READERS = {
    "database_url": database_url,
    "report_database_url": _standby_url,
    "report_database_lag": _seconds,
    "public_url": _url,
    "report_timezone": _zone,
    "report_currency": _currency,
    "allow_private_hosts": _switch,
    "store_ip_prefix": _switch,
    "casino_hub": _switch,
    "retention_days": _count,
    "limit_token": _count,
    "limit_address": _count,
    "limit_sign_in": _count,
    "limit_beacon": _count,
    "limit_seconds": _seconds,
    "trusted_proxies": _networks,
    "clock_offset": _offset,
    "slack_api_url": _url,
    "slack_authorize_url": _url,
    "telegram_api_url": _url,
    "telegram_file_url": _url,
    "telegram_webhook_secret": _webhook_secret,
}


def _check_pairs(settings: Settings) -> None:
    if settings.report_database_url and settings.database_url.startswith("sqlite"):
        raise SettingError(
            "CASINOFLUX_REPORT_DATABASE_URL names a standby of PostgreSQL, but CASINOFLUX_DATABASE_URL is SQLite: "
            "leave it out"
        )
    if settings.slack_bot_token and not (settings.slack_signing_secret or settings.slack_app_token):
        raise SettingError(
            "CASINOFLUX_SLACK_BOT_TOKEN is set alone: add CASINOFLUX_SLACK_SIGNING_SECRET (HTTP) or "
            "CASINOFLUX_SLACK_APP_TOKEN (socket mode)"
        )
    if settings.slack_app_token and not (settings.slack_bot_token or settings.slack_client_id):
        raise SettingError("CASINOFLUX_SLACK_APP_TOKEN is set alone: add CASINOFLUX_SLACK_BOT_TOKEN")
    if settings.slack_client_id and not (settings.slack_signing_secret or settings.slack_app_token):
        raise SettingError("CASINOFLUX_SLACK_CLIENT_ID is set without CASINOFLUX_SLACK_SIGNING_SECRET: add it")
    if bool(settings.slack_client_id) != bool(settings.slack_client_secret):
        raise SettingError("CASINOFLUX_SLACK_CLIENT_ID and CASINOFLUX_SLACK_CLIENT_SECRET belong together: set both")


def with_key(settings: Settings) -> Settings:
    """The settings with a secret key: where there is none yet one is made beside the database, with mode 600.

    Raises SettingError if it cannot be kept there.
    """
    if settings.secret_key:
        return settings
    return msgspec.structs.replace(settings, secret_key=_made_key(key_path(settings.database_url)))


def _made_key(path: Path) -> str:
    key = os.urandom(32).hex()
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key + "\n")
        path.hardlink_to(draft)  # appears whole, and once: another process may start at the same moment
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise SettingError(
            f"CASINOFLUX_SECRET_KEY: cannot be kept in {path} ({error.strerror}): set it, or make the folder writable"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return key


def _read_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingError(f"CASINOFLUX_SECRET_KEY: {path} cannot be read ({why}): let us read it, or set it") from None
    if not key:
        raise SettingError(f"CASINOFLUX_SECRET_KEY: {path} is empty: put the key back into it, or set it")
    return key


def key_is_set() -> bool:
    """Whether the secret key comes from the environment or `.env`, not from the file beside the database."""
    return "secret_key" in _named(_raw(None, None))


def keep_key(url: str, key: str) -> bool:
    """Replace the secret key beside the database; False if it comes from elsewhere, and is not ours to replace."""
    path = key_path(url)
    if not path.is_file():
        return False
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return True


def key_path(url: str) -> Path:
    """Where the secret key is kept if it is not set: beside an SQLite database, else in the working folder."""
    file = sqlite_file(url)
    return Path(f"{file}.key") if file else Path("casinoflux.key")
