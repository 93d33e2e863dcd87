"""Asking another tracker's API: JSON out of answers, the reason in words where there is none, no secret in it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import date
from typing import Any, Protocol

import msgspec

from connectors.http import Answer, Http
from storage.ledger.credentials import hide_credentials
from storage.ledger.dates import days_between
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.imports.macros import translated
from storage.ledger.imports.tracker import Part, Problem
from storage.ledger.numbers import read_count, read_micro

TRIES = 4
#: Seconds that reading waits in all for an API that asks for more than Http waits (a quota of the hour).
PATIENCE = 3_600.0
_DECODER = msgspec.json.Decoder(Any, float_hook=str)
Login = Mapping[str, str]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted: history from `first` to `last` in the reporting zone, click ids of the last `click_days`."""

    first: date
    last: date
    timezone: str
    currency: str
    click_days: int = 30

    @property
    def days(self) -> list[date]:
        return days_between(self.first, self.last)


class Tracker(Protocol):
    """A module of this package with an API."""

    async def probe(self, http: Http, login: Login) -> None: ...

    def read(self, http: Http, login: Login, request: Request) -> AsyncIterator[Part]: ...


class Api:
    """One tracker's API: where it is, what it wants of headers, how fast it may be asked."""

    def __init__(
        self, http: Http, title: str, base: str, *, secrets: Iterable[str], headers: Mapping[str, str] | None = None,
        params: Iterable[tuple[str, str]] = (), per_second: float = 10.0, key: str = "key",
    ) -> None:  # fmt: skip
        self.title, self.base = title, base.rstrip("/")
        self._http, self._secrets, self._key = http, tuple(secrets), key
        self.headers = dict(headers or {})
        self._params = tuple(params)
        self._rate = (f"{title} {self.base}", per_second)
        self.patience = 0.0

    async def get(self, path: str, params: Iterable[tuple[str, str]] = ()) -> Any:
        """The JSON of an address. Raises ConnectorError."""
        return self.decoded(await self.answer("GET", path, params))

    async def post(self, path: str, content: Any) -> Any:
        return self.decoded(await self.answer("POST", path, (), content))

    async def answer(
        self, method: str, path: str, params: Iterable[tuple[str, str]] = (), content: Any = None
    ) -> Answer:
        """The answer whatever its status; 429 and 5xx are tried again after what `Retry-After` asks for, a long wait
        that a 429 asks for out of `patience`."""
        while True:
            answer = await self._answer(method, path, params, content)
            wait = answer.retry_after if answer.status == 429 else None
            if wait is None or not 0 < wait <= self.patience:
                return answer
            self.patience -= wait
            await asyncio.sleep(wait)

    async def _answer(self, method: str, path: str, params: Iterable[tuple[str, str]], content: Any) -> Answer:
        body = None if content is None else msgspec.json.encode(content)
        headers = {**self.headers, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._http.send(
            method, f"{self.base}{path}", params=[*self._params, *params], headers=headers, body=body,
            secrets=self._secrets, tries=TRIES, rate=self._rate,
        )  # fmt: skip

    def decoded(self, answer: Answer) -> Any:
        """Raises ConnectorError in words for anything but a JSON answer."""
        if answer.status in {401, 403}:
            raise Refused(f"{self.title} refuses the {self._key} ({answer.status}): copy it again, and see that it "
                          "may read and that its list of addresses has ours", field=self._key)  # fmt: skip
        if answer.status == 429:
            wait = f" for {answer.retry_after:g} s" if answer.retry_after else ""
            raise ConnectorError(f"{self.title} asks us to wait{wait} (429), and still did after {TRIES} tries: "
                                 "begin the import again later", raw=answer.body)  # fmt: skip
        if answer.status != 200:
            raise ConnectorError(f"{self.title} answered {answer.status} to {answer.url}", raw=answer.body)
        try:
            return _DECODER.decode(answer.body)
        except msgspec.DecodeError as error:
            raise ConnectorError(f"{self.title}: expected JSON from {answer.url}: {error}", raw=answer.body) from None

    def rows(self, content: Any, *names: str) -> list[dict[str, Any]]:
        """A list of objects: the answer itself, or its first member of such a name. Raises ConnectorError."""
        found = content
        if isinstance(content, dict):
            found = next((content[name] for name in names if name in content), None)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            got = sorted(content)[:6] if isinstance(content, dict) else type(content).__name__
            raise ConnectorError(f"{self.title}: expected a list {' or '.join(names) or 'of objects'}, got {got}")
        return found

    def object(self, content: Any, what: str = "") -> dict[str, Any]:
        """An object: the answer itself, or its member `what`, empty where there is none. Raises ConnectorError."""
        found = content.get(what) if what and isinstance(content, dict) else content
        if what and found in (None, ""):
            return {}
        if not isinstance(found, dict):
            raise ConnectorError(
                f"{self.title}: expected an object {what}, got {type(found).__name__}".replace("  ", " ")
            )
        return found

    def objects(self, row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        """A member that is a list of objects, empty where there is none. Raises ConnectorError."""
        return self.rows({name: row[name]}, name) if row.get(name) not in (None, "") else []

    def values(self, row: Mapping[str, Any], name: str) -> list[Any]:
        """A member that is a list, empty where there is none. Raises ConnectorError."""
        found = row.get(name)
        if found in (None, ""):
            return []
        if not isinstance(found, list):
            raise ConnectorError(f"{self.title}: expected a list {name}, got {type(found).__name__}")
        return found

    def micro(self, row: Mapping[str, Any], *names: str) -> int | None:
        """An amount in micro-units, None where the row has none. Raises ConnectorError."""
        value = first_of(row, *names)
        try:
            return read_micro(value, "." if isinstance(value, str) else "")[0]
        except ValueError as error:
            raise ConnectorError(f"{self.title}: {names[0]}: {error}") from None

    def count(self, row: Mapping[str, Any], *names: str) -> int | None:
        """A count, None where the row has none. Raises ConnectorError."""
        value = first_of(row, *names)
        try:
            return read_count(value)
        except ValueError as error:
            raise ConnectorError(f"{self.title}: {names[0]}: {error}") from None


class SetupReader:
    """Reads a tracker's entities and collects what does not come over, for the dry run."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._problems: list[Problem] = []

    def _warn(self, kind: str, name: str, why: str) -> None:
        self._problems.append(Problem(kind=kind, name=name, why=why))


def first_of(row: Mapping[str, Any], *names: str) -> Any:
    """The first member of those names that holds something."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def text_of(row: Mapping[str, Any], *names: str) -> str:
    value = first_of(row, *names)
    return "" if value is None else str(value).strip()


def postback_of(url: str, tokens: Mapping[str, str]) -> tuple[str, str]:
    """A source's postback with our macros, or an empty one and why it is left out: one with a credential is."""
    if hide_credentials(url) != url:
        return "", "its postback holds a credential, which is not taken over: source edit"
    ours, unknown = translated(url, tokens)
    return ("", f"its postback has {', '.join(unknown)}: left out, source edit") if unknown else (ours, "")


def led_on(names: Mapping[str, str], targets: Mapping[str, Iterable[str]]) -> list[Problem]:
    """What to say of campaigns that send on to other campaigns, which ours do not; `names` are those of campaigns."""
    problems = []
    for key, others in targets.items():
        for other in dict.fromkeys(others):
            why = (
                f"it sends visitors on to the campaign {names.get(other, other)!r}: left out, since ours send to offers"
            )
            if key in _reached(other, targets):
                why += "; that one leads back here, in a loop"
            problems.append(Problem(kind="campaign", name=names.get(key, key), why=why))
    return problems


def _reached(first: str, targets: Mapping[str, Iterable[str]]) -> set[str]:
    reached, next_ones = {first}, [first]
    while next_ones:
        new = set(targets.get(next_ones.pop(), ())) - reached
        reached |= new
        next_ones += new
    return reached


async def pages(
    ask: Callable[[int], Awaitable[list[dict[str, Any]]]], size: int, *, most: int = 20_000
) -> AsyncIterator[list[dict[str, Any]]]:
    """Page after page until one is not full. Raises ConnectorError for an answer that repeats without end."""
    before: list[dict[str, Any]] | None = None
    for number in range(most):
        rows = await ask(number)
        if rows and rows == before:
            raise ConnectorError("the same page came twice: the tracker does not page as its documentation says")
        if rows:
            yield rows
        if len(rows) < size:
            return
        before = rows
    raise ConnectorError(f"more than {most:,} pages came: ask for fewer days")


def base_url(text: str, *, field: str = "url") -> str:
    """The scheme and host of a tracker's address as people paste it. Raises Refused."""
    from urllib.parse import urlsplit

    parts = urlsplit(text.strip() if "://" in text else f"https://{text.strip()}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise Refused(f"{field}: write the address of its panel, e.g. https://tracker.example.com", field=field)
    return f"{parts.scheme}://{parts.netloc}"
