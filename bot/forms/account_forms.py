"""Fields of an account, checked one by one before its login is tried or saved."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from bot.core.arguments import MissingFields, currency_code, meta
from bot.core.context import Context
from storage.catalogue.accounts import Login
from storage.ledger.addresses import web_address
from storage.ledger.credentials import plain_credential
from storage.ledger.errors import Refused
from storage.ledger.schedule import read_zone

CREDENTIALS = (
    "token", "key", "client_id", "client_secret", "affiliate_id", "network_id", "username", "password", "api_key",
)  # fmt: skip
_COMMON_OPTIONS = ("columns", "requests_per_second", "tag_from", "click_id_from", "postback", "player_ids")
MAX_HISTORY = 1100
#: What forms offer; connectors.registry is the source, and a test holds the two together.
PLATFORMS = (
    "affilka", "referon", "myaffiliates", "income_access", "smartico", "cellxpert", "alanbase", "scaleo", "everflow",
    "affise", "tune", "netrefer", "trackbox", "csv_upload", "postback_only",
)  # fmt: skip
#: Platforms that are a preset of csv_upload.
PRESETS = ("ego", "mexos", "partnermatrix", "raventrack", "quintessence")


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A login that can be tried."""

    platform: str
    title: str
    has_api: bool
    url_dates: tuple[str, ...] = ()
    login: Login
    sync_hour: int = 6
    login_changed: bool = True

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.login.timezone)

    @property
    def login_field(self) -> str:
        """The field to point at when the login is refused."""
        if self.login.report_url:
            return "report_url"
        secrets = [name for name in ("token", "key", "api_key", "client_secret") if name in self.login.credentials]
        return secrets[0] if secrets else "base_url"

    def days_back(self, today: date, history: int) -> date:
        if not 0 <= history <= MAX_HISTORY:
            raise Refused(f"history: between 0 and {MAX_HISTORY} days", field="history")
        return today - timedelta(days=history)


def check_new(ctx: Context, new: Any) -> Checked:
    """A new account's fields. Raises Refused or MissingFields at the field."""
    about = ctx.ports.platform_options(new.platform)
    of_preset = {"preset": about["preset"]} if about["preset"] else {}
    options = _options(about, of_preset, new.options, new.tag_from, new.click_id_from)
    login = Login(
        timezone=read_zone(new.timezone),
        currency=currency_code(new.currency, ctx.deployment.currency),
        base_url=_web_address(new.base_url, "base_url"),
        report_url=_report_url(about, new.report_url),
        credentials=_credentials(new),
        options=options,
    )
    _complete(about, login)
    _hour(new.sync_hour)
    if not 0 <= new.history <= MAX_HISTORY:
        raise Refused(f"history: between 0 and {MAX_HISTORY} days", field="history")
    return _checked(about, login, sync_hour=new.sync_hour)


def check_edit(ctx: Context, new: Any, platform: str, old: Login) -> Checked:
    """An account's changed fields over what it has. Raises Refused or MissingFields at the field."""
    about = ctx.ports.platform_options(platform)
    login = Login(
        timezone=read_zone(new.timezone) if new.timezone else old.timezone,
        currency=currency_code(new.currency, old.currency),
        base_url=_web_address(new.base_url, "base_url") or old.base_url,
        report_url=_report_url(about, new.report_url) or old.report_url,
        credentials={**old.credentials, **_credentials(new)},
        options=_options(about, old.options, new.options or {}, new.tag_from, new.click_id_from),
    )
    _complete(about, login)
    if new.sync_hour is not None:
        _hour(new.sync_hour)
    parts = ("base_url", "report_url", "credentials", "options")
    changed = any(getattr(login, name) != getattr(old, name) for name in parts)
    return _checked(about, login, login_changed=changed)


def _checked(about: Any, login: Login, **more: Any) -> Checked:
    return Checked(
        platform=about["name"], title=about["title"], has_api=about["has_api"], login=login,
        url_dates=tuple(about["url_dates"]), **more,
    )  # fmt: skip


def _credentials(new: Any) -> dict[str, str]:
    return {name: plain_credential(getattr(new, name), field=name) for name in CREDENTIALS if getattr(new, name)}


def same_login(login: Login, other: Login, *, dates: Sequence[str]) -> bool:
    """Whether two accounts of a platform fetch the same figures: same place, same credentials, same pasted report.

    `dates` are the parameters of a pasted report that are replaced at each sync.
    """
    return _identity(dates, login) == _identity(dates, other)


def _identity(dates: Sequence[str], login: Login) -> tuple[Any, ...]:
    url = urlsplit(login.report_url or "")
    query = sorted((name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name not in dates)
    place = (login.base_url or "").rstrip("/").lower()
    return place, dict(login.credentials), url.netloc.lower(), url.path, query


def _complete(about: Mapping[str, Any], login: Login) -> None:
    """What the platform needs is there: a pasted report URL, or an address and its credentials."""
    if not about["has_api"] or login.report_url:
        return
    required = [f for f in msgspec.structs.fields(about["credentials"]) if f.required]
    lacking = {f.name: meta(f.type)[1] for f in required if f.name not in login.credentials}
    if about["needs_base_url"] and not login.base_url:
        lacking = {"base_url": "the programme's own address"} | lacking
    if not required:
        lacking = {"report_url": "a report URL copied from the panel"}
    if lacking:
        raise MissingFields(list(lacking), lacking)


def _web_address(word: str | None, field: str) -> str | None:
    if not word:
        return None
    text = web_address(word if "://" in word else f"https://{word.strip()}", field=field)
    return text.rstrip("/") if field == "base_url" else text


def _report_url(about: Mapping[str, Any], word: str | None) -> str | None:
    url = _web_address(word, "report_url")
    if url is None:
        return None
    if not about["takes_report_url"]:
        raise Refused(
            f"report_url: {about['title']} has no report URLs to paste: give its credentials", field="report_url"
        )
    parameters = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if missing := [name for name in about["url_dates"] if name not in parameters]:
        raise Refused(
            f"report_url: it has no {' and no '.join(missing)}: choose a custom date range before you copy it",
            field="report_url",
        )
    return url


def _options(
    about: Mapping[str, Any],
    old: Mapping[str, Any],
    values: Mapping[str, Any],
    tag_from: str | None,
    click_id_from: str | None,
) -> dict[str, Any]:
    """Options laid over those there were; a null takes one away."""
    allowed = [*about["settings"], *_COMMON_OPTIONS]
    for name in values:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            raise Refused(f"options: no setting {name!r}: " + (
                f"did you mean {near[0]}?" if near else f"there is {', '.join(allowed)}"
            ), field="options")  # fmt: skip
    over = {**values, **({"tag_from": tag_from} if tag_from else {})}
    over |= {"click_id_from": click_id_from} if click_id_from else {}
    _one_of(over.get("tag_from"), about["tag_from"], "tag_from")
    _one_of(over.get("click_id_from"), about["click_id_from"], "click_id_from")
    return {name: value for name, value in {**old, **over}.items() if value is not None}


def _one_of(word: Any, allowed: list[str], field: str) -> None:
    """A platform with dimensions of its own naming takes any (`*` among its choices)."""
    if word is None or "*" in allowed or word in allowed:
        return
    near = difflib.get_close_matches(str(word), allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(allowed) or 'none'}"
    raise Refused(f"{field}: {word!r} is not known here: {hint}", field=field)


def _hour(hour: int) -> None:
    if not 0 <= hour <= 23:
        raise Refused("sync_hour: between 0 and 23", field="sync_hour")
