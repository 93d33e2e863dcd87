"""What a registrar or DNS host can do for us. Amounts are micro-units of the quote's currency."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal, Protocol

import msgspec

from connectors.http import Answer, Http
from storage.ledger.dates import read_day
from storage.ledger.errors import ConnectorError
from storage.ledger.numbers import read_micro

#: How an order stands. `unknown`: we were cut off while paying, so it is looked up before anything else happens.
OrderState = Literal["registered", "pending", "failed", "unknown", "absent"]


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a name can be had and for how much. Prices are per year; None where the registrar does not say."""

    name: str
    available: bool
    price: int | None = None
    renewal: int | None = None
    currency: str = "USD"
    premium: bool = False
    reason: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an order."""

    state: OrderState
    detail: str = ""
    registered_until: date | None = None


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A DNS zone; `servers` are the name servers the registrar must set, none if it is its own."""

    id: str
    servers: tuple[str, ...] = ()
    active: bool = True


class Registrar(Protocol):
    """One registrar or DNS host. Credentials come decrypted, for the time of one call."""

    name: str  # module name
    title: str
    credentials: type[msgspec.Struct]
    base_url: str
    sells: bool
    hosts_dns: bool

    async def check(self, http: Http, login: "Login", names: Sequence[str]) -> list[Quote]:
        """Quotes for names. Raises ConnectorError."""

    async def register(self, http: Http, login: "Login", quote: Quote) -> Order:
        """Buy at the quoted price, asked once and never repeated: after a time-out the state is `unknown`."""

    async def order(self, http: Http, login: "Login", name: str) -> Order:
        """How an order stands; `absent` if there is none, so that it may be placed."""

    async def zone(self, http: Http, login: "Login", name: str) -> Zone:
        """The zone a name is in, made if need be."""

    async def put_records(self, http: Http, login: "Login", zone: Zone, records: Sequence[Any]) -> None:
        """Have these records in the zone (with `type`, `name`, `value`); others of the same name and type go."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Our login: the registrar's own fields, and its address (a sandbox or a stand-in has another)."""

    base_url: str
    credentials: dict[str, str]
    options: dict[str, Any] = {}

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(value for value in self.credentials.values() if len(value) > 5)


def micros(price: Any) -> int | None:
    """Micro-units of a price in USD as text or number; None for none. Raises ConnectorError."""
    try:
        price_read, currency = read_micro(price, own="USD")
    except ValueError as error:
        raise ConnectorError(f"a price cannot be read: {error}") from None
    if currency not in {"", "USD"}:
        raise ConnectorError(f"a price cannot be read: {price!r} is in {currency}, expected USD")
    return price_read


def registered_until(text: Any) -> date | None:
    """The day a registrar names; None where it names none that can be read, since the name is registered all the
    same. A day with slashes has the month first, as registrars write it."""
    try:
        return read_day(str(text or ""), "mdy")
    except ValueError:
        return None


def decoded(answer: Answer, who: str) -> Any:
    """The JSON of an answer. Raises ConnectorError, permanent where the login is refused."""
    if answer.status in {401, 403}:
        raise ConnectorError(f"{who} refuses the login ({answer.status}): check its key and rights", permanent=True)
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        raise ConnectorError(f"{who} answered {answer.status} with what is no JSON", raw=answer.body) from None
