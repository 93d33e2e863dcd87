"""The one way out: time-outs, retries, rate limits, size limits; private addresses refused; no secret in any error."""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx
import msgspec
import stamina
from aiolimiter import AsyncLimiter

from connectors.guard import PrivateAddress, PublicOnly
from connectors.redaction import place, redact
from connectors.urls import retry_after, same_place, with_params, without_secrets
from storage.ledger.errors import ConnectorError

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they log whole URLs, tokens included

MAX_BYTES = 200_000_000
BURST = 8  # requests a connection may send at once before its rate limit applies
LONGEST_WAIT = 60.0  # seconds of Retry-After that are waited for; a longer one is left to the caller
_KEPT_ALIVE = 10  # connections kept for later
_REDIRECTS = {301, 302, 303, 307, 308}
_HARMLESS = {"accept", "accept-language", "user-agent"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Header names are lower case; `url` is the last one asked, without its query.

    `handed_on` is the other host a redirect led to, where our credentials were not sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    handed_on: str | None = None

    @property
    def retry_after(self) -> float | None:
        """Seconds, from either form of the header (RFC 9110, 10.2.3)."""
        return retry_after(self.headers.get("retry-after"), datetime.now(UTC))


class TooLarge(ConnectorError):
    """The answer was stopped at the size limit."""


class Unreachable(ConnectorError):
    """No answer: refused, timed out, broken off, or an address that may not be reached."""


class _RetryRequest(Exception):
    """Worth another try; its text holds no secret."""

    def __init__(self, text: str, *, answer: Answer | None = None, wait: float | None = None) -> None:
        super().__init__(text)
        self.answer = answer
        self.wait = wait


class Http:
    """An HTTP client for connectors and outgoing postbacks. Close it when done.

    `allow_private` lets it reach private and loopback addresses (tests, demo). `first_wait` is the pause in seconds
    before a second try, doubled for each further one; `connections` is the most there are at once.
    """

    def __init__(
        self, *, allow_private: bool = False, seconds: float = 30.0, first_wait: float = 1.0, connections: int = 50
    ) -> None:
        self.allow_private = allow_private
        self.connections = connections
        self.seconds = seconds
        self.first_wait = first_wait
        self._client: httpx.AsyncClient | None = None
        self._limiters: dict[str, AsyncLimiter] = {}

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Iterable[tuple[str, str]] = (),
        body: bytes | str | None = None,
        secrets: Iterable[str] = (),
        tries: int = 3,
        redirects: int = 5,
        max_bytes: int = MAX_BYTES,
        seconds: float | None = None,
        rate: tuple[str, float] | None = None,
    ) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        `params` are added to the URL's own query. Time-outs, broken connections, 429 and 5xx are tried `tries` times
        (`Retry-After` up to 60 s is waited for); the last answer is returned as it is. `secrets` are kept out of
        errors and are not sent on to another host. `rate` is a connection's name and its requests per second.
        Raises Unreachable or TooLarge.
        """
        hidden = tuple(secrets)
        content = body.encode() if isinstance(body, str) else body
        request = _Request(method.upper(), with_params(url, params), dict(headers or {}), content, hidden)
        attempts = stamina.retry_context(
            on=_backoff, attempts=tries, timeout=None, wait_initial=self.first_wait, wait_max=15.0,
            wait_jitter=self.first_wait / 4,
        )  # fmt: skip
        try:
            async for attempt in attempts:
                with attempt:
                    await self._wait_for_rate(rate)
                    return await self._once(request, redirects, max_bytes, seconds or self.seconds, tries)
        except _RetryRequest as again:
            if again.answer is not None:
                return again.answer
            raise Unreachable(str(again)) from None
        raise Unreachable(f"{place(request.url)} was not tried")  # unreachable: attempts >= 1

    async def get(self, url: str, **options: Any) -> Answer:
        return await self.send("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Answer:
        return await self.send("POST", url, **options)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def _wait_for_rate(self, rate: tuple[str, float] | None) -> None:
        if rate is None:
            return
        name, per_second = rate
        limiter = self._limiters.setdefault(name, AsyncLimiter(BURST, BURST / per_second))
        await limiter.acquire()

    async def _once(self, request: "_Request", redirects: int, max_bytes: int, seconds: float, tries: int) -> Answer:
        where = redact(place(request.url), request.secrets)
        try:
            async with asyncio.timeout(seconds * 5):  # a drip of bytes keeps no sync busy for ever
                answer = await self._follow(request, redirects, max_bytes, seconds)
        except PrivateAddress as error:
            raise Unreachable(
                f"{error.host} is a private or loopback address, which we do not connect to "
                "(CASINOFLUX_ALLOW_PRIVATE_HOSTS=1 allows it)",
                permanent=True,
            ) from None
        except (httpx.TimeoutException, TimeoutError):
            raise _RetryRequest(f"{where} did not answer in time") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise Unreachable(f"{where} is not a web address: write https://…", permanent=True) from None
        except httpx.DecodingError:
            raise _RetryRequest(f"{where} sent a compressed answer that cannot be read") from None
        except httpx.TransportError as error:
            raise _RetryRequest(redact(f"{where}: {_what(error)}", request.secrets)) from None
        if tries > 1 and (answer.status == 429 or answer.status >= 500):
            raise _RetryRequest(f"{where} answered {answer.status}", answer=answer, wait=answer.retry_after)
        return answer

    async def _follow(self, request: "_Request", redirects: int, max_bytes: int, seconds: float) -> Answer:
        handed_on: str | None = None
        for _ in range(redirects + 1):
            answer = await self._exchange(request, max_bytes, seconds)
            target = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not target or redirects == 0:
                return msgspec.structs.replace(answer, handed_on=handed_on)
            further = request.redirected(answer.status, urljoin(request.url, target))
            if not same_place(request.url, further.url):
                handed_on = urlsplit(further.url).hostname
            request = further
        raise Unreachable(f"{place(request.url)} redirects in a circle", permanent=True)

    async def _exchange(self, request: "_Request", max_bytes: int, seconds: float) -> Answer:
        client = self._opened()
        async with client.stream(
            request.method, request.url, headers=request.headers, content=request.body, timeout=seconds
        ) as response:
            body = await _limited(response, max_bytes, place(request.url))
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, headers=headers, body=body, url=place(request.url))

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=_Transport(allow_private=self.allow_private, connections=self.connections),
                headers={"User-Agent": "CasinoFlux/0.1"},
                follow_redirects=False,
                trust_env=False,  # a proxy of the environment's would resolve names past our guard
            )
        return self._client


class _Request(msgspec.Struct, frozen=True):
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    secrets: tuple[str, ...]

    def redirected(self, status: int, url: str) -> "_Request":
        """The request a redirect asks for; another host gets neither our headers, our body nor our secrets."""
        keeps_body = status in {307, 308} or self.method in {"GET", "HEAD"}
        method, body = (self.method, self.body) if keeps_body else ("GET", None)
        headers = self.headers
        if not keeps_body:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
        if not same_place(self.url, url):
            if body is not None:
                raise Unreachable(
                    f"{place(self.url)} redirects to {urlsplit(url).hostname}, where our credentials are not sent",
                    permanent=True,
                )
            headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
            url = without_secrets(url, self.secrets)
        return _Request(method, url, headers, body, self.secrets)


@cache
def _trusted() -> ssl.SSLContext:
    """Whom we trust. Reading it takes 50 ms, in which nothing else is done."""
    return httpx.create_ssl_context(trust_env=False)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own transport, its connections made by our guard unless private addresses are allowed."""

    def __init__(self, *, allow_private: bool, connections: int) -> None:
        context = _trusted()
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=min(connections, _KEPT_ALIVE),
            keepalive_expiry=15.0,
            network_backend=None if allow_private else PublicOnly(),
        )


def _backoff(error: Exception) -> bool | float:
    if not isinstance(error, _RetryRequest):
        return False
    if error.wait is None:
        return True
    return error.wait if error.wait <= LONGEST_WAIT else False


async def _limited(response: httpx.Response, max_bytes: int, where: str) -> bytes:
    """The decoded body, stopped once it is larger than allowed."""
    chunks = bytearray()
    announced = response.headers.get("content-length", "")
    async for chunk in response.aiter_bytes():
        chunks += chunk
        if len(chunks) > max_bytes or (announced.isdecimal() and int(announced) > max_bytes):
            raise TooLarge(
                f"{where} sent more than {max_bytes:,} bytes and was stopped: ask for fewer days or columns",
                permanent=True,
            )
    return bytes(chunks)


def _what(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "cannot be reached (no such host, connection refused, or a bad certificate)"
    if isinstance(error, httpx.RemoteProtocolError):
        return "broke the answer off half way"
    return f"the connection failed ({type(error).__name__})"
