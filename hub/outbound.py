"""The conversion outbox to traffic sources: claimed, sent side by side per host, tried again, given up."""

import asyncio
import random
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from connectors.http import Http
from connectors.sources import WITH_TOKEN, build, read_token, token_request
from hub import postbacks
from hub.runtime import Runtime
from storage import outbound
from storage.ledger.errors import CasinoFluxError, ConnectorError, Refused
from storage.ledger.sending import Outgoing, Success, next_try, placeholders, reveal, taken
from storage.outbound import Attempt, Claimed

log = structlog.get_logger()

CONCURRENCY = 10  # requests at once to one host
CLAIMED_PER_HOST = 40
SECONDS = 10.0  # of waiting for a source's answer
PATIENCE = 12.0  # of one tick; what is left waits for the next
_FLUSH = 0.2
_LOOK = 1.0
_BODY = 64_000


async def tick(runtime: Runtime) -> None:
    """Deliver what is due for some seconds; also place postbacks whose click has appeared."""
    await postbacks.retry_waiting(runtime)
    now = runtime.clock()
    async with runtime.database.read() as tx:
        waiting = await outbound.due_hosts(tx, now)
    if waiting:
        await Round(runtime).run()


class Round:
    """One stretch of delivering: hosts side by side, each at its own pace, results stored many at a time."""

    def __init__(self, runtime: Runtime, *, concurrency: int = CONCURRENCY) -> None:
        self._runtime = runtime
        self._concurrency = concurrency
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._busy: dict[str, int] = {}
        self._done: list[Attempt] = []
        self._unsent: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._chance = random.Random()
        self._hosts: Collection[str] = ()
        self._look_again = 0.0

    async def run(self) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        async with Http(allow_private=self._runtime.settings.allow_private_hosts, seconds=SECONDS) as http:
            try:
                while asyncio.get_running_loop().time() < end:
                    claimed = await self._claim()
                    if not claimed and not self._tasks:
                        break
                    for one in claimed:
                        self._begin(http, one)
                    await self._wait()
            finally:
                await self._finish()

    async def _claim(self) -> list[Claimed]:
        now = self._runtime.clock()
        hosts = await self._due_hosts(now)
        room = {host: CLAIMED_PER_HOST - self._busy.get(host, 0) for host in hosts}
        room = {host: n for host, n in room.items() if n >= self._concurrency}
        if not room:
            return []
        async with self._runtime.database.begin() as tx:
            return await outbound.claim(tx, now, by_host=room)

    async def _due_hosts(self, now: datetime) -> Collection[str]:
        """Hosts with something due; counting a long outbox is not done at every turn."""
        moment = asyncio.get_running_loop().time()
        if moment >= self._look_again or not self._tasks:
            async with self._runtime.database.read() as tx:
                self._hosts = await outbound.due_hosts(tx, now)
            self._look_again = moment + _LOOK
        return self._hosts

    def _begin(self, http: Http, one: Claimed) -> None:
        self._busy[one.host] = self._busy.get(one.host, 0) + 1
        task = asyncio.create_task(self._send(http, one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_FLUSH)
        await self._store()

    async def _finish(self) -> None:
        for task in set(self._tasks):
            if self._waits_its_turn(task):
                task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=SECONDS * 2)
        await self._store()
        if self._unsent:
            async with self._runtime.database.begin() as tx:
                await outbound.give_back(tx, self._unsent)

    @staticmethod
    def _waits_its_turn(task: asyncio.Task[None]) -> bool:
        return task.get_name().startswith("waiting")

    async def _store(self) -> None:
        done, self._done = self._done, []
        if done:
            async with self._runtime.database.begin() as tx:
                await outbound.record(tx, done)

    async def _send(self, http: Http, one: Claimed) -> None:
        task = asyncio.current_task()
        gate = self._gates.setdefault(
            one.host, asyncio.Semaphore(int(one.options.get("concurrency", self._concurrency)))
        )
        if task is not None:
            task.set_name(f"waiting {one.id}")
        try:
            async with gate:
                if task is not None:
                    task.set_name(f"sending {one.id}")
                attempt = await self._try(http, one)
            self._done.append(attempt)
        except asyncio.CancelledError:
            self._unsent.append(one.id)
            raise
        finally:
            self._busy[one.host] -= 1

    async def _try(self, http: Http, one: Claimed) -> Attempt:
        try:
            settings = await self._with_token(http, one, self._settings(one))
            request, secrets = ready(one, settings, self._runtime.clock())
            answer = await http.send(
                request.method, request.url, headers=request.headers, body=request.body or None, secrets=secrets,
                tries=1, redirects=3, max_bytes=_BODY, seconds=SECONDS, pace=_pace(one),
            )  # fmt: skip
        except ConnectorError as error:
            return self._failed(one, str(error), permanent=error.permanent)
        except CasinoFluxError as error:
            return self._failed(one, str(error), permanent=True)
        except Exception as error:
            log.error("postback to a source could not be sent", id=one.id, error=type(error).__name__)
            return self._failed(one, f"could not be sent: {type(error).__name__}")
        fault = taken(answer.status, answer.body, request.success)
        text = _hidden(answer.body.decode("utf-8", errors="replace"), secrets)
        if fault is None:
            return Attempt(outbound_id=one.id, at=self._runtime.clock(), status=answer.status, answer=text)
        return self._failed(one, _hidden(fault, secrets), status=answer.status, answer=text, wait=answer.retry_after)

    def _settings(self, one: Claimed) -> Mapping[str, str]:
        if one.credentials_secret is None:
            return {}
        opened: dict[str, str] = self._runtime.box.open(one.credentials_secret)
        return opened

    async def _with_token(self, http: Http, one: Claimed, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Settings with a fresh access token, for the APIs that want one; kept until it nearly ends."""
        if one.told.api not in WITH_TOKEN or one.told.api is None:
            return settings
        tokens: dict[int, tuple[str, datetime, Mapping[str, str]]] = self._runtime.state.setdefault("source_tokens", {})
        now = self._runtime.clock()
        held = tokens.get(one.source_id)
        if held is None or held[1] <= now or held[2] != settings:
            asked = token_request(one.told.api, settings)
            answer = await http.send(
                asked.method, asked.url, headers=asked.headers, body=asked.body, secrets=settings.values(), tries=1,
                seconds=SECONDS, max_bytes=_BODY,
            )  # fmt: skip
            if answer.status >= 500 or answer.status == 429:
                raise ConnectorError(f"{asked.url} answered {answer.status}")
            token, good_for = read_token(one.told.api, answer.body)
            held = tokens[one.source_id] = (token, now + timedelta(seconds=good_for * 0.9), settings)
        return {**settings, "access_token": held[0]}

    def _failed(
        self, one: Claimed, error: str, *, permanent: bool = False, status: int | None = None, answer: str = "",
        wait: float | None = None,
    ) -> Attempt:  # fmt: skip
        now = self._runtime.clock()
        later = None if permanent else next_try(one.attempts + 1, now, retry_after=wait, chance=self._chance)
        if later is None:
            log.warning("postback to a source given up", id=one.id, host=one.host, error=error[:200])
        return Attempt(outbound_id=one.id, at=now, status=status, answer=answer, error=error, next_at=later)


def ready(one: Claimed, settings: Mapping[str, str], now: datetime) -> tuple[Outgoing, list[str]]:
    """The request with the account's own values in it, and which of its parts are secret. Raises Refused."""
    if one.told.request is None:
        if one.told.api is None or one.told.sending is None:
            raise Refused("the message holds neither a request nor what an API needs")
        built = build(one.told.api, one.told.sending, settings, now)
        return built, [value for value in settings.values() if value]
    request = one.told.request
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


def _pace(one: Claimed) -> tuple[str, float] | None:
    rate: Any = one.options.get("per_second")
    return (one.host, float(rate)) if rate else None


def _hidden(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "•••")
    return text
