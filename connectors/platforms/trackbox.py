"""TrackBox (Tigloo): players of lead-type programmes, `POST /api/pull/customers` of the programme's own host.

https://intercom.help/tigloo/en/articles/9349579-trackbox-api-documentation documents the requests; the answer's
envelope and the names in its lines were seen in working public clients. Every failure comes with status 200. The
window filters by the day of registration, so that the players of `lookback` days before it are asked for too: whoever
deposits within that many days is counted on the day of the deposit, whatever window is asked for. It tells no money.
The answer's names, addresses and telephone numbers are dropped before anything of it is kept or shown.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar

import msgspec

from connectors.base import Connection, Platform, Window
from connectors.columns import Columns, PlayerColumns
from connectors.http import Http
from connectors.pages import bundle, unbundle
from connectors.platforms.windows import ask_pages
from connectors.players import player_report
from connectors.reading import ask, json_of, sound
from connectors.sheet import Sheet
from connectors.urls import joined
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.facts import PlayerReport, Report
from storage.ledger.numbers import read_count

LEADS_AND_DEPOSITS = "3"
PLAYERS = PlayerColumns(
    player=("uniqueid", "id"), registered=("registered",), ftd_day=("deposited",), tag=("tag",), sub=("sub",),
    country=("country",),
)  # fmt: skip
#: All that is kept of a player beside what the account's settings name.
_KEPT = ("uniqueid", "id", "country", "depositor")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    username: Annotated[str, msgspec.Meta(description="API user name")]
    password: Annotated[str, msgspec.Meta(description="API password")]
    api_key: Annotated[str, msgspec.Meta(description="API key for pulling; the key for pushing is another")]


class TrackBox(Platform):
    name = "trackbox"
    title = "TrackBox"
    credentials = Credentials
    every_measure = True
    rows = "detail"
    tag_from = ("so", "campaign", "ad", "*")
    click_id_from = (*(f"MPC_{n}" for n in range(1, 13)), "sub", "*")
    player_columns = PLAYERS
    settings: ClassVar[Mapping[str, str]] = {
        "lookback": "days between registration and first deposit that are followed, 60 by default",
        "registered": "the field that tells when a player registered, `created` by default",
        "deposited": "the field that tells when a player first deposited, `first_depositDate` by default",
        "players": "true: keep players too, for cohorts (asks for them again)",
    }

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        return await self.read_whole(await self._pulled(http, connection, window), connection, window)

    async def fetch_players(self, http: Http, connection: Connection, window: Window) -> PlayerReport:
        """Players who registered in the window or in the days before it that are followed, as they stand now."""
        raw = await self._pulled(http, connection, window)
        lines = [(0, dict(player)) for player in self._players(raw, connection)]
        return player_report(lines, connection, PLAYERS, window=window, raw=raw)

    async def _pulled(self, http: Http, connection: Connection, window: Window) -> bytes:
        first = window.first - timedelta(days=_lookback(connection))
        login = connection.credentials
        headers = {
            "x-trackbox-username": login.get("username", ""), "x-trackbox-password": login.get("password", ""),
            "x-api-key": login.get("api_key", ""), "Content-Type": "application/json",
        }  # fmt: skip

        async def page(number: int) -> tuple[bytes, bool]:
            body = msgspec.json.encode({
                "from": f"{first} 00:00:00", "to": f"{window.last} 23:59:59", "type": LEADS_AND_DEPOSITS,
                "page": str(number),
            })  # fmt: skip
            url = joined(connection.base_url, "/api/pull/customers")
            answer = await ask(
                http, connection, "POST", url, headers=headers, body=body, per_second=self.requests_per_second
            )
            content = _content(sound(answer, connection), connection)
            more = number < (read_count(_meta(content).get("lastPage")) or 1)
            return self._stripped(content, connection), more

        return bundle(await ask_pages(page))

    def _stripped(self, content: dict[str, Any], connection: Connection) -> bytes:
        """The answer without what names a person."""
        tracking = {self.tag_column(connection), self.sub_column(connection)}
        customer = {*_KEPT, *_days(connection)}
        rows = [
            {
                "tracking": {name: value for name, value in _part(row, "tracking").items() if name in tracking},
                "customerData": {name: v for name, v in _part(row, "customerData").items() if name in customer},
            }
            for row in content["data"]
        ]
        return msgspec.json.encode({"data": rows, "meta": _meta(content)})

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        sheet = Sheet(self, connection, window, raw)
        pages = [_content(page.body, connection) for page in unbundle(raw)]
        sheet.count(_meta(pages[-1]).get("total"), sum(len(page["data"]) for page in pages), "total")
        longest = timedelta(days=_lookback(connection))
        for player in self._players(raw, connection):
            fixed = {"tag": player["tag"], "sub": player["sub"]}
            registered, deposited = player["registered"], player["deposited"]
            if window.holds(registered):
                sheet.add({"registrations": 1, "first_deposits": 0}, fixed, day=registered)
            if deposited is not None and window.holds(deposited) and deposited - registered <= longest:
                sheet.add({"registrations": 0, "first_deposits": 1}, fixed, day=deposited)
        return sheet.report()

    def _players(self, raw: bytes, connection: Connection) -> Iterator[dict[str, Any]]:
        """Every player once, with the days of registration and first deposit. Raises ConnectorError naming a field."""
        seen: set[str] = set()
        for page in unbundle(raw):
            for row in _content(page.body, connection)["data"]:
                player = self._player(row, connection)
                if player["uniqueid"] not in seen or not player["uniqueid"]:
                    seen.add(player["uniqueid"])
                    yield player

    def _player(self, row: dict[str, Any], connection: Connection) -> dict[str, Any]:
        customer, tracking = _part(row, "customerData"), _part(row, "tracking")
        registered_at, deposited_at = _days(connection)
        registered, deposited = _day(customer, registered_at), _day(customer, deposited_at)
        if registered is None:
            raise ConnectorError(
                f"a player has no {registered_at!r}: name the field of the registration as options registered", raw=b""
            )
        if deposited is None and str(customer.get("depositor") or "").strip().lower() not in _NOT:
            raise ConnectorError(
                f"a depositor has no {deposited_at!r}: name the field of the first deposit as options deposited",
                raw=b"",
            )
        return {
            "uniqueid": str(customer.get("uniqueid") or customer.get("id") or ""), "registered": registered,
            "deposited": deposited, "tag": str(tracking.get(self.tag_column(connection)) or ""),
            "sub": str(tracking.get(self.sub_column(connection)) or ""), "country": customer.get("country") or "",
        }  # fmt: skip

    def columns(self, connection: Connection) -> Columns:
        return Columns(measures={"registrations": ("registrations",), "first_deposits": ("first_deposits",)})


#: What `depositor` says of who did not deposit.
_NOT = {"", "0", "false", "no"}


def _days(connection: Connection) -> tuple[str, str]:
    """The fields of registration and first deposit."""
    return (
        str(connection.option("registered", "created")),
        str(connection.option("deposited", "first_depositDate")),
    )


def _lookback(connection: Connection) -> int:
    try:
        days = read_count(connection.option("lookback", 60))
    except ValueError:
        days = None
    if days is None or not 0 <= days <= 366:
        raise Refused("options: lookback is a number of days between 0 and 366", field="options")
    return days


def _content(body: bytes, connection: Connection) -> dict[str, Any]:
    """The answer. Raises ConnectorError without an excerpt of it: it holds names and addresses of people."""
    try:
        content = json_of(body, connection)
    except ConnectorError as error:
        what = "an answer that is cut off" if error.cut_off else "something else than the list of players"
        raise ConnectorError(f"the platform sent {what}", permanent=error.permanent, cut_off=error.cut_off) from None
    if isinstance(content, dict) and not content.get("status", True):
        denied = str(content.get("code")) in {"401", "403"}
        hint = ": check api_key first, which it says of a wrong key too, then username and password" if denied else ""
        answer = str(content.get("message") or content.get("code") or "no")[:160]
        raise ConnectorError(f"the platform says {answer!r}{hint}", permanent=denied, field="api_key" if denied else "")
    rows = content.get("data") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConnectorError("the platform sent no list of players")
    return dict(content)


def _meta(content: Mapping[str, Any]) -> dict[str, Any]:
    meta = content.get("meta")
    return meta if isinstance(meta, dict) else {}


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = row.get(name)
    return part if isinstance(part, dict) else {}


def _day(customer: Mapping[str, Any], name: str) -> date | None:
    text = str(customer.get(name) or "").strip()
    if not text or text.startswith("0000"):
        return None
    try:
        return read_day(text)
    except ValueError as error:
        raise ConnectorError(f"field {name!r}: {error}", raw=b"") from None


PLATFORM = TrackBox()
