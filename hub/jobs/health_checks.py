"""Whether a live domain still is: its answer, its certificate, its registration, and what Google warns of."""

import asyncio
import ssl
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpcore
import msgspec
from sqlalchemy import Row, select

from connectors.domains import rdap
from connectors.guard import PrivateAddress, public_addresses
from connectors.http import Http
from hub.runtime.runtime import Runtime
from storage.ledger.errors import ConnectorError
from storage.tables import registrars

EVERY = timedelta(minutes=20)
REGISTRATION_EVERY = timedelta(hours=20)
SOON = timedelta(days=14)  # a certificate this close to its end was not renewed
EXPIRING = timedelta(days=30)
SAFE_BROWSING = "https://safebrowsing.googleapis.com/v4/threatMatches:find"
_THREATS = ["MALWARE", "SOCIAL_ENGINEERING", "UNWANTED_SOFTWARE", "POTENTIALLY_HARMFUL_APPLICATION"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `ok` is whether visitors get the site; `faults` are also what will become one."""

    ok: bool
    at: datetime
    error: str = ""
    faults: list[str] = []
    certificate_until: datetime | None = None
    registration_at: datetime | None = None


async def check(runtime: Runtime, http: Http, row: Row[Any], *, answers: bool, secure: bool) -> dict[str, Any]:
    """The columns that a check changes. `answers`: whether requests for the name arrive here."""
    now = runtime.clock()
    faults = [] if answers else [f"{row.name} does not answer: domain verify {row.name} looks why"]
    private = runtime.settings.allow_private_hosts
    until = await certificate_until(row.name, allow_private=private) if secure and answers else None
    if until is not None and until - now < SOON:
        faults.append(f"its certificate ends on {until:%d %b %Y} and was not renewed: look at Caddy")
    if warned := await _warned_of(runtime, http, row):
        faults.insert(0, warned)
    values = await _registration(http, row, now)
    registered_until = values.get("registered_until", row.registered_until)
    if registered_until is not None and registered_until - now.date() < EXPIRING:
        faults.append(f"its registration ends on {registered_until:%d %b %Y}: renew it at the registrar")
    down = not answers or bool(warned)
    previous = row.state.get("health", {})
    health = Health(
        ok=not down, at=now, error=faults[0] if down else "", faults=faults, certificate_until=until,
        registration_at=now if values else _when(previous.get("registration_at")),
    )  # fmt: skip
    state = {**row.state, "health": msgspec.to_builtins(health)}
    return {"state": state, "next_step_at": now + EVERY, **values}


async def certificate_until(name: str, port: int = 443, *, allow_private: bool = False) -> datetime | None:
    """When the certificate that a name shows ends; None if no trusted one is shown on a public address."""
    try:
        async with asyncio.timeout(8):
            address = (await public_addresses(name, port, allow_private=allow_private))[0]
            _, writer = await asyncio.open_connection(
                address, port, ssl=ssl.create_default_context(), server_hostname=name
            )
    except (OSError, TimeoutError, PrivateAddress, httpcore.ConnectError):
        return None
    shown: Any = writer.get_extra_info("peercert")
    writer.close()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC) if shown else None


async def _registration(http: Http, row: Row[Any], now: datetime) -> dict[str, date | None]:
    """The registration's end, asked about once a day; nothing when it was not time, or no answer came."""
    last = _when(row.state.get("health", {}).get("registration_at"))
    if last is not None and now - last < REGISTRATION_EVERY:
        return {}
    try:
        registration = await rdap.look_up(http, row.name)
    except ConnectorError:
        return {}
    return {"registered_until": registration.until or row.registered_until} if registration.registered else {}


async def _warned_of(runtime: Runtime, http: Http, row: Row[Any]) -> str:
    """What Google Safe Browsing says of the name, asked with the team's own key; empty if it says nothing."""
    r = registrars.c
    async with runtime.database.read() as tx:
        query = select(registrars).where(r.team_id == row.team_id, r.kind == "safe_browsing")
        login = (await tx.execute(query)).first()
    if login is None:
        return ""
    key = runtime.box.open_or(login.credentials_secret, {}).get("api_key")
    if key is None:  # sealed under another key: `domain list` is right all the same
        return ""
    try:
        answer = await http.post(
            str(login.options.get("base_url") or SAFE_BROWSING), params=[("key", key)], secrets=(key,), tries=2,
            headers={"Content-Type": "application/json"}, body=msgspec.json.encode(question(row.name)),
        )  # fmt: skip
        matches = msgspec.json.decode(answer.body).get("matches") or []
    except (ConnectorError, msgspec.DecodeError, AttributeError):
        return ""
    if not matches:
        return ""
    kinds = ", ".join(sorted({str(match.get("threatType", "")).lower().replace("_", " ") for match in matches}))
    return f"browsers warn of {row.name} ({kinds}): domain move {row.name} to=<spare domain>"


def question(name: str) -> dict[str, Any]:
    """The body of a Safe Browsing look-up (Lookup API v4, threatMatches.find)."""
    return {
        "client": {"clientId": "casinoflux", "clientVersion": "1"},
        "threatInfo": {
            "threatTypes": _THREATS, "platformTypes": ["ANY_PLATFORM"], "threatEntryTypes": ["URL"],
            "threatEntries": [{"url": f"http://{name}/"}, {"url": f"https://{name}/"}],
        },
    }  # fmt: skip


def _when(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
