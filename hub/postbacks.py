"""/postback/{key}: keep raw, then read, then record — many requests to a commit, each answered after it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog
from litestar.types import Receive, Scope, Send
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.platform_words import platform_words
from hub.runtime import Runtime
from storage import changes, replays
from storage.clicks import ensure_codec
from storage.conversions import Desk, Received, receive
from storage.inbox import Arrival, Entry, arrival, keep, refused
from storage.ledger.click_id import Codec
from storage.ledger.facts import Outcome
from storage.ledger.postback import MAX_BODY, signed
from storage.outbound import queue
from storage.postback_accounts import Book, PostbackAccount, load
from storage.straight import Straight
from storage.tables import accounts

log = structlog.get_logger()

REFRESH_SECONDS = 0.3
MOST_TOGETHER = 128  # placed without a pause: clicks of this process wait meanwhile
FRESH, FRESH_EVERY = timedelta(minutes=15), timedelta(seconds=2)
OLD, OLD_EVERY = timedelta(hours=48), timedelta(minutes=10)
_FAILED = "could not be placed: kept, and can be replayed"


class _Waiting:
    """A request between its arrival and its commit."""

    __slots__ = ("answer", "arrival")

    def __init__(self, one: Arrival) -> None:
        self.arrival = one
        self.answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()


class Postbacks:
    """The postback route of one process. While one batch is committed the next gathers by itself."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._straight = Straight(runtime.database)
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._book = Book(by_key={}, by_id={}, capped={})
        self._codec: Codec | None = None
        self._seen = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._looked: dict[timedelta, datetime] = {}
        self.counts: dict[str, int] = {}

    async def start(self) -> None:
        """Read the accounts, then take requests."""
        async with self._runtime.database.begin() as tx:
            self._codec = await ensure_codec(tx)
        await self.refresh()
        await self._straight.open()
        self._tasks = [asyncio.create_task(self._record()), asyncio.create_task(self._follow())]

    async def stop(self) -> None:
        """Finish what has arrived, then stop."""
        self._stopping = True
        self._arrived.set()
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._straight.close()

    async def refresh(self) -> None:
        """Read all accounts anew if anything was configured since."""
        async with self._runtime.database.read() as tx:
            seen = await changes.seen(tx)
            if seen != self._seen:
                self._book = await load(tx, platform_words)
                self._seen = seen

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except Exception as error:
                log.warning("accounts could not be read", error=type(error).__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["path"].removeprefix("/postback/").strip("/")
        account = self._book.by_key.get(key) or await self._unseen(key)
        if account is None:
            return await _answer(send, 404, {"title": "Not Found", "status": 404, "detail": "no such postback key"})
        if scope["method"] not in {"GET", "POST", "HEAD", "PUT"}:  # type: ignore[typeddict-item]
            return await _answer(send, 405, {"title": "Method Not Allowed", "status": 405, "detail": "GET or POST"})
        body, whole = await _body(receive)
        one = self._arrival(scope, account, body, whole=whole)
        try:
            done = await self._keep(one)
        except Exception as error:
            log.error("postback not stored", account=account.code, error=type(error).__name__)
            problem = {"title": "Unavailable", "status": 503, "detail": "not stored: please send it again"}
            return await _answer(send, 503, problem)
        return await _reply(send, done, whole=whole, failed=done.reason == _FAILED)

    async def _unseen(self, key: str) -> PostbackAccount | None:
        """An account made this very moment is known before the next refresh."""
        if not key or len(key) > 100:
            return None
        async with self._runtime.database.read() as tx:
            found = (await tx.execute(select(accounts.c.id).where(accounts.c.postback_key == key))).first()
        if found is None:
            return None
        self._seen = -1
        await self.refresh()
        return self._book.by_key.get(key)

    def _arrival(self, scope: Scope, account: PostbackAccount, body: bytes, *, whole: bool) -> Arrival:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"]
        one = arrival(
            account, self._runtime.clock(), method=scope["method"], query=query,  # type: ignore[typeddict-item]
            content_type=headers.get(b"content-type", ""), body=body,
        )  # fmt: skip
        reason = "" if whole else f"body over {MAX_BODY:,} bytes"
        if not reason and account.allow and not self._allowed(scope, headers, account):
            reason = "the address is not on the account's allow-list"
        if not reason and account.hmac_sealed and not self._signed(query, body, headers, account):
            reason = "the signature is missing or wrong"
        return refused(one, reason) if reason else one

    def _allowed(self, scope: Scope, headers: dict[bytes, str], account: PostbackAccount) -> bool:
        hops = [part.strip() for part in headers.get(b"x-forwarded-for", "").split(",") if part.strip()]
        hops.append((scope.get("client") or ("",))[0])
        trusted = self._runtime.settings.trusted_proxies
        for hop in reversed(hops):
            try:
                address = ip_address(hop)
            except ValueError:
                return False
            if not any(address in network for network in trusted):
                return any(address in network for network in account.allow)
        return False

    def _signed(self, query: bytes, body: bytes, headers: dict[bytes, str], account: PostbackAccount) -> bool:
        secret = str(self._runtime.box.open(account.hmac_sealed or "")).encode()
        name = account.hmac_parameter
        header = headers.get(name.lower().encode()) or headers.get(b"x-signature")
        return signed(query, body, secret=secret, parameter=name, header=header)

    async def _keep(self, one: Arrival) -> Received:
        waiting = _Waiting(one)
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.answer

    async def _record(self) -> None:
        while not self._stopping or self._waiting:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            if not self._waiting and not self._stopping:
                self._arrived.clear()
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._write([one.arrival for one in batch])
        except Exception as error:
            log.warning("postbacks are placed one by one", count=len(batch), error=type(error).__name__)
            for one in batch:
                await self._commit_alone(one)
            return
        for one, answer in zip(batch, answers, strict=True):
            self._say(one, answer)

    async def _commit_alone(self, one: _Waiting) -> None:
        """What cannot be placed is at least kept; what cannot even be kept is not said to be."""
        try:
            self._say(one, (await self._write([one.arrival]))[0])
        except Exception as first:
            log.error("postback could not be placed", account=one.arrival.account.code, error=repr(first)[:300])
            try:
                self._say(one, await self._straight.run(lambda tx: _only_kept(tx, one.arrival)))
            except Exception as error:
                if not one.answer.done():
                    one.answer.set_exception(error)

    def _say(self, one: _Waiting, answer: Received) -> None:
        self.counts[answer.outcome] = self.counts.get(answer.outcome, 0) + 1
        if not one.answer.done():
            one.answer.set_result(answer)

    async def _write(self, arrivals: Sequence[Arrival]) -> list[Received]:
        desk = self.desk()
        return list(await self._straight.run(lambda tx: receive(tx, arrivals, desk)))

    def patience(self, now: datetime) -> timedelta | None:
        """How old a waiting request may be to be looked at now; None if it is too soon to look again."""
        for every, patience in ((OLD_EVERY, OLD), (FRESH_EVERY, FRESH)):
            if now - self._looked.get(patience, now - every) >= every:
                self._looked[patience] = now
                return patience
        return None

    def desk(self) -> Desk:
        """What placing requests needs, as it is known now."""
        assert self._codec is not None  # noqa: S101 - made by start()
        zone = ZoneInfo(self._runtime.settings.report_timezone)
        return Desk(book=self._book, codec=self._codec, zone=zone, now=self._runtime.clock(), onward=queue)


async def _only_kept(tx: AsyncConnection, one: Arrival) -> Received:
    entry = Entry(arrival=one)
    entry.settle(Outcome.REJECTED, _FAILED)
    entry.reason = _FAILED
    await keep(tx, [entry])
    return Received(id=entry.id or 0, outcome=Outcome.REJECTED, reason=_FAILED, conversion_id=None)


async def _body(receive: Receive) -> tuple[bytes, bool]:
    """The body, and whether it is whole; a body over the limit is read to its end but not kept."""
    parts: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), True
        size += len(message.get("body", b""))
        if size <= MAX_BODY:
            parts.append(message.get("body", b""))
        else:
            parts.clear()
        if not message.get("more_body") or size > 20 * MAX_BODY:
            return b"".join(parts), size <= MAX_BODY


async def _reply(send: Send, done: Received, *, whole: bool, failed: bool) -> None:
    content: dict[str, Any] = {"outcome": done.outcome}
    if done.outcome is Outcome.REJECTED or done.reason:
        content["reason"] = done.reason
    if not whole:
        return await _answer(send, 413, content)
    if failed:
        return await _answer(send, 500, content)
    return await _answer(send, 400 if done.outcome is Outcome.REJECTED else 200, content)


async def _answer(send: Send, status: int, content: dict[str, Any]) -> None:
    kind = b"application/problem+json" if "title" in content else b"application/json"
    body = msgspec.json.encode(content)
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    with suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def retry_waiting(runtime: Runtime) -> int:
    """Place requests whose click was not stored when they came and is now; how many there were.

    Late clicks come out of the spool within seconds, so the latest requests are looked at often and old ones seldom.
    """
    part = runtime.state.get("postbacks")
    if not isinstance(part, Postbacks):
        return 0
    now = runtime.clock()
    patience = part.patience(now)
    if patience is None:
        return 0
    async with runtime.database.read() as tx:
        if not await replays.any_to_retry(tx, now - patience):
            return 0
    async with runtime.database.begin() as tx:
        return await replays.retry_waiting(tx, part.desk(), since=now - patience)
