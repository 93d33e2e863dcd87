"""The conversion outbox to traffic sources: claimed, sent side by side per host, tried again, given up."""

import asyncio
import random
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.http import Http
from connectors.redaction import redact
from connectors.sources import WITH_TOKEN, build, read_token, token_request
from hub.postbacks import handler
from hub.runtime.runtime import Runtime
from storage.db import tasks
from storage.db.engine import T, Work
from storage.ledger.errors import CasinoFluxError, ConnectorError, Refused
from storage.ledger.outbound.answers import next_try, taken
from storage.ledger.outbound.templates import Outgoing, Success, placeholders, reveal
from storage.ledger.outbound.webhooks import signed
from storage.outbound import claims
from storage.outbound.claims import Attempt, Claimed

log = structlog.get_logger()

CLAIMED = 4  # times as many as may be under way: taken ahead, so that none waits for the database
SECONDS = 10.0  # of waiting for a source's answer
PATIENCE = 300.0  # seconds of one tick; what is left waits for the next
MOST_CONNECTIONS = 1000  # to one host; the rate limit is what bounds them
_LAST_ANSWERS = 3.0  # seconds that those under way get at the end: a stop waits for five
_FLUSH = 0.25
_LOOK = 1.0
_BODY = 64_000
CONCURRENCY = 10  # requests at once of one source to one host
_LONGEST_GAP = 0.02  # seconds between two that are begun, so that they do not all come back at the same moment
_AVERAGING = 0.1  # what the latest answer counts for in the average


async def tick(runtime: Runtime) -> None:
    """Deliver what is due for some seconds; also place postbacks whose click has appeared."""
    await handler.retry_waiting(runtime)
    now = runtime.clock()
    if await runtime.database.look(lambda tx: claims.due_hosts(tx, now)):
        await DeliveryRun(runtime).run()


class SourceLimiter:
    """Limits requests to one source at one host: so many at once, evenly spread, no faster than the source allows."""

    def __init__(self, concurrency: int = CONCURRENCY) -> None:
        self.concurrency = concurrency
        self.semaphore = asyncio.Semaphore(concurrency)
        self._next = 0.0
        self._answers = 0.0  # seconds, on average

    async def acquire(self, per_second: float | None) -> None:
        """Wait, inside the semaphore, until a request may begin: `per_second` at most; None: as fast as it answers.

        Answers that come together would be handled together, and clicks wait meanwhile: so begins are spread over half
        the time an answer takes.
        """
        gap = min(_LONGEST_GAP, self._answers / self.concurrency / 2)
        if per_second:
            gap = max(gap, 1 / per_second)
        now = asyncio.get_running_loop().time()
        mine = max(now, self._next)
        self._next = mine + gap
        if mine > now:
            await asyncio.sleep(mine - now)

    def answered(self, seconds: float) -> None:
        """An answer came after so long."""
        self._answers += (seconds - self._answers) * (_AVERAGING if self._answers else 1.0)


class DeliveryRun:
    """One stretch of delivering: hosts side by side, each at its own rate, results stored many at a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._limiters: dict[tuple[str, int], SourceLimiter] = runtime.state.setdefault("outbound_limiters", {})
        self._clients: dict[str, Http] = {}
        self._busy: dict[str, int] = {}
        self._done: list[Attempt] = []
        self._unsent: list[int] = []
        self._waiting: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._chance = random.Random()
        self._hosts: Collection[str] = ()
        self._look_again = 0.0

    async def run(self) -> None:
        """Until nothing is due, for some minutes at most."""
        end = asyncio.get_running_loop().time() + PATIENCE
        try:
            while asyncio.get_running_loop().time() < end and not self._runtime.state.get("stopping"):
                for postback in await self._record_and_claim():
                    self._begin(postback)
                if not self._tasks:
                    break
                await asyncio.wait(self._tasks, timeout=_FLUSH)
        finally:
            await self._finish()

    async def _record_and_claim(self) -> list[Claimed]:
        """Store the results of those that are through, and take others: in one transaction, if there is need of one."""
        now = self._runtime.clock()
        room = {host: n for host in await self._due_hosts(now) if (n := self._room(host)) > 0}
        done, self._done = self._done, []
        if not room and not done:
            return []

        async def work(tx: AsyncConnection) -> list[Claimed]:
            if done:
                await claims.record(tx, done)
            return await claims.claim(tx, now, by_host=room) if room else []

        try:
            return await self._write(work)
        except BaseException:
            self._done = done + self._done
            raise

    async def _write(self, work: Work[T]) -> T:
        """As postbacks are written where they are: clicks wait for no transaction that hops between threads."""
        part = self._runtime.state.get("postbacks")
        if isinstance(part, handler.Postbacks) and part.open:
            return await part.run(work)
        async with self._runtime.database.begin() as tx:
            return await work(tx)

    def _room(self, host: str) -> int:
        """How many to take: in whole handfuls, and never so many that the last of them would wait for long."""
        concurrency = (
            sum(limiter.concurrency for (limited_host, _), limiter in self._limiters.items() if limited_host == host)
            or CONCURRENCY
        )
        room = concurrency * CLAIMED - self._busy.get(host, 0)
        return room if room >= concurrency else 0

    async def _due_hosts(self, now: datetime) -> Collection[str]:
        """Hosts with something due, looked up once in a while."""
        moment = asyncio.get_running_loop().time()
        if moment >= self._look_again or not self._tasks:
            async with self._runtime.database.read() as tx:
                self._hosts = await claims.due_hosts(tx, now)
            self._look_again = moment + _LOOK
        return self._hosts

    def _begin(self, postback: Claimed) -> None:
        self._busy[postback.host] = self._busy.get(postback.host, 0) + 1
        task = asyncio.create_task(self._send(self._limiter(postback), postback))
        self._tasks.add(task)
        self._waiting.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._waiting.discard)

    def _limiter(self, postback: Claimed) -> SourceLimiter:
        concurrency = max(1, int(postback.options.get("concurrency") or CONCURRENCY))
        limiter = self._limiters.get((postback.host, postback.source_id))
        if limiter is None or limiter.concurrency != concurrency:
            limiter = self._limiters[postback.host, postback.source_id] = SourceLimiter(concurrency)
        return limiter

    def _client(self, host: str) -> Http:
        """A host's own connections: one that is slow keeps none from the others."""
        if host not in self._clients:
            private = self._runtime.settings.allow_private_hosts
            self._clients[host] = Http(allow_private=private, seconds=SECONDS, connections=MOST_CONNECTIONS)
        return self._clients[host]

    async def _finish(self) -> None:
        for task in set(self._waiting):
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST_ANSWERS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        done, unsent, self._done = self._done, self._unsent, []

        async def work(tx: AsyncConnection) -> None:
            if done:
                await claims.record(tx, done)
            await claims.release(tx, unsent)

        if done or unsent:
            await self._write(work)
        for client in self._clients.values():
            await client.close()

    async def _send(self, limiter: SourceLimiter, postback: Claimed) -> None:
        task = asyncio.current_task()
        try:
            async with limiter.semaphore:
                await limiter.acquire(_per_second(postback))
                if task is not None:
                    self._waiting.discard(task)
                began = asyncio.get_running_loop().time()
                attempt = await self._try(self._client(postback.host), postback)
                limiter.answered(asyncio.get_running_loop().time() - began)
            self._done.append(attempt)
        except asyncio.CancelledError:
            self._unsent.append(postback.id)
            raise
        finally:
            self._busy[postback.host] -= 1

    async def _try(self, http: Http, postback: Claimed) -> Attempt:
        try:
            settings = await self._with_token(http, postback, self._settings(postback))
            request, secrets = ready(postback, settings, self._runtime.clock())
        except CasinoFluxError as error:  # it was surely not sent: a setting corrected within a day still sends it
            return self._failed(postback, str(error))
        except Exception as error:
            tasks.monitor.failed("outbound preparation", error)
            return self._failed(postback, "could not be prepared: the log has the details")
        try:
            answer = await http.send(
                request.method, request.url, headers=request.headers, body=request.body or None, secrets=secrets,
                tries=1, redirects=3, max_bytes=_BODY, seconds=SECONDS,
            )  # fmt: skip
        except ConnectorError as error:
            return self._failed(postback, str(error), permanent=error.permanent)
        except Exception as error:
            log.error("postback to a source could not be sent", id=postback.id, error=type(error).__name__)
            return self._failed(postback, f"could not be sent: {type(error).__name__}")
        fault = taken(answer.status, answer.body, request.success)
        text = redact(answer.body.decode("utf-8", errors="replace"), secrets)
        if fault is None:
            return Attempt(outbound_id=postback.id, at=self._runtime.clock(), status=answer.status, answer=text)
        return self._failed(
            postback, redact(fault, secrets), status=answer.status, answer=text, wait=answer.retry_after
        )

    def _settings(self, postback: Claimed) -> Mapping[str, str]:
        if postback.credentials_secret is None:
            return {}
        opened: dict[str, str] = self._runtime.box.open(postback.credentials_secret)
        return opened

    async def _with_token(self, http: Http, postback: Claimed, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Settings with a fresh access token, for the APIs that want one; kept until it nearly ends."""
        if postback.payload.api not in WITH_TOKEN or postback.payload.api is None:
            return settings
        tokens: dict[int, tuple[str, datetime, Mapping[str, str]]] = self._runtime.state.setdefault("source_tokens", {})
        now = self._runtime.clock()
        entry = tokens.get(postback.source_id)
        if entry is None or entry[1] <= now or entry[2] != settings:
            request = token_request(postback.payload.api, settings)
            answer = await http.send(
                request.method, request.url, headers=request.headers, body=request.body, secrets=settings.values(),
                tries=1, seconds=SECONDS, max_bytes=_BODY,
            )  # fmt: skip
            if answer.status >= 500 or answer.status == 429:
                raise ConnectorError(f"{request.url} answered {answer.status}")
            token, good_for = read_token(postback.payload.api, answer.body)
            entry = tokens[postback.source_id] = (token, now + timedelta(seconds=good_for * 0.9), settings)
        return {**settings, "access_token": entry[0]}

    def _failed(
        self, postback: Claimed, error: str, *, permanent: bool = False, status: int | None = None, answer: str = "",
        wait: float | None = None,
    ) -> Attempt:  # fmt: skip
        now = self._runtime.clock()
        later = None if permanent else next_try(postback.attempts + 1, now, retry_after=wait, chance=self._chance)
        if later is None:
            log.warning("postback to a source given up", id=postback.id, host=postback.host, error=error[:200])
        return Attempt(outbound_id=postback.id, at=now, status=status, answer=answer, error=error, next_at=later)


def ready(postback: Claimed, settings: Mapping[str, str], now: datetime) -> tuple[Outgoing, list[str]]:
    """The request with the account's own values in it, and which of its parts are secret. Raises Refused."""
    if postback.payload.webhook is not None:
        secret = settings.get("webhook_secret", "")
        return signed(postback.payload.webhook, key=postback.key, secret=secret, now=now), [secret]
    if postback.payload.request is None:
        if postback.payload.api is None or postback.payload.sending is None:
            raise Refused("the message holds neither a request nor what an API needs")
        built = build(postback.payload.api, postback.payload.sending, settings, now)
        return built, [value for value in settings.values() if value]
    request = postback.payload.request
    lacking = sorted(placeholders(request.url, request.body, *request.headers.values()) - {n.upper() for n in settings})
    if lacking:
        raise Refused(f"the source lacks {', '.join(lacking).lower()}: give it with 'source edit … settings='")
    filled = Outgoing(
        method=request.method,
        url=reveal(request.url, settings, encode=True),
        headers={name: reveal(value, settings, encode=False) for name, value in request.headers.items()},
        body=reveal(request.body, settings, encode=False),
        success=request.success or Success(),
    )
    return filled, [value for value in settings.values() if value]


def _per_second(postback: Claimed) -> float | None:
    rate: float | None = postback.options.get("per_second")
    return rate or None
