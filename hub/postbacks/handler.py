"""/postback/{key}: keep raw, then read, then record — many requests to a commit, each answered after it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
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

from connectors.registry import platform_words
from hub.postbacks import responses as answers
from hub.postbacks.responses import Answer
from hub.postbacks.spooling import Spooling
from hub.requests.proxies import Proxies
from hub.runtime.runtime import Runtime
from hub.runtime.tracing import tracer
from storage.clicks.queries import codec, ensure_codec
from storage.db import config_version, tasks
from storage.db.bulk_sql import RowBatch
from storage.db.deferred_transaction import DeferredTransaction, StoredMeanwhile
from storage.db.engine import T, Work
from storage.db.spool_file import MOMENT, left_folders, spool_folder
from storage.db.unavailable import is_unavailable
from storage.ledger.clicks.click_id import Codec
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Outcome
from storage.ledger.postbacks.postback import signed
from storage.outbound.forwarding import forward
from storage.postbacks import replay
from storage.postbacks.conversions import ConversionProcessor, Received, lock_of, place, receive
from storage.postbacks.matching import prepare
from storage.postbacks.postback_accounts import AccountDirectory, PostbackAccount, load
from storage.postbacks.requests import Entry, PostbackRequest, postback_request, refused, store
from storage.postbacks.spool import not_stored
from storage.tables import accounts

log = structlog.get_logger()

REFRESH_SECONDS = 0.3
PATIENCE = 1.0  # seconds a platform waits for a locked database; then its request goes to the spool
MOST_TOGETHER = 128  # placed without a pause: clicks of this process wait meanwhile
LONGEST_GATHERING = 0.002  # seconds
ENOUGH_FOR_TWO = 48  # requests of which PostgreSQL gets one half while the senders of the other are answered
LONGEST_UNANSWERED = 0.005  # seconds
LOCKS_AFTER_CONFLICT = 100  # batches
FRESH, FRESH_EVERY = timedelta(minutes=15), timedelta(seconds=2)
OLD, OLD_EVERY = timedelta(hours=48), timedelta(minutes=10)
UNCHECKED_SIGNATURE = "the account's signing secret cannot be read: give it again, then 'postback replay'"
_METHODS = frozenset({"GET", "POST"})  # the others count nothing


class _WaitingRequest(msgspec.Struct, frozen=True):
    """A request between its arrival and its commit, and the callback that receives its answer."""

    entry: Entry
    answer: Callable[[Answer], None]
    began: int  # for the tracer

    @property
    def postback_request(self) -> PostbackRequest:
        return self.entry.postback_request


class Postbacks:
    """The postback route of one process. While one batch is committed the next gathers by itself."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._proxies = Proxies(runtime.settings.trusted_proxies)
        self._patience = PATIENCE
        self._spooling: Spooling
        self._waiting: list[_WaitingRequest] = []
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()  # as many wait as the last batch had
        self._book = AccountDirectory(by_key={}, by_id={}, capped={})
        self._codec: Codec | None = None
        self._seen = -1
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._last = 0, 0.0  # requests of the last batch, and the seconds it took
        self._unanswered: list[tuple[_WaitingRequest, Received]] = []  # stored, and not answered yet
        self._answer_timer: asyncio.TimerHandle | None = None
        self._unchecked: set[str] = set()  # what the monitor calls the signatures that cannot be checked
        self._batches_to_lock = 0  # the next so many are placed with their accounts locked
        self._size = 0  # bytes of the table of requests on PostgreSQL
        self._looked: dict[timedelta, datetime] = {}
        self.counts: dict[str, int] = {}

    async def start(self) -> None:
        """Read the accounts, then take requests."""
        if self._runtime.snapshot is not None:
            async with self._runtime.snapshot.read() as view:
                self._codec, left = await codec(view), await left_folders(view)
        else:
            async with self._runtime.database.begin() as tx:
                self._codec, left = await ensure_codec(tx), await left_folders(tx)
        await self.refresh()
        folders = [spool_folder(self._runtime.database.url), *left]
        self._spooling = Spooling(folders, self._codec.fingerprint, self._store_once, lambda: self._book)
        await self._spooling.open()
        self._tasks = [
            tasks.start_loop("postback recorder", self._record, serving=True),
            tasks.start_interval("postback spool", MOMENT, self._spooling.drain, serving=True),
            tasks.start_interval("accounts refresh", REFRESH_SECONDS, self.refresh),
        ]

    async def stop(self) -> None:
        """Finish what has arrived, then stop."""
        self._stopping = True
        self._arrived.set()
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._spooling.close()

    @property
    def spooled(self) -> int:
        """Requests that wait outside the database."""
        return self._spooling.waiting if self.open else 0

    async def refresh(self) -> None:
        """Read all accounts again if anything was configured since."""
        async with self._turn:
            if await self._runtime.configuration.look(config_version.current) == self._seen:
                return
            async with self._runtime.configuration.read() as tx:
                version = await config_version.current(tx)
                self._book = await load(tx, platform_words)
                self._seen = version
            for checking in self._unchecked:  # perhaps with another secret now, or none
                tasks.monitor.ended(checking)
            self._unchecked.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["path"].removeprefix("/postback/").strip("/")
        try:
            account = self._book.by_key.get(key) or await self._unseen(key)
        except Exception as error:
            if not is_unavailable(error):
                raise
            await answers.UNAVAILABLE.give(send)  # perhaps an account made a moment ago: it is sent again
            return
        if account is None:
            await answers.UNKNOWN.give(send)
            return
        if scope["method"] not in _METHODS:  # type: ignore[typeddict-item]
            await answers.NOT_ALLOWED.give(send)
            return
        body, fault = await answers.body_of(receive) if answers.may_have_body(scope) else (b"", "")
        answer_ready: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def respond(answer: Answer) -> None:
            if not answer_ready.done():  # it is when whoever asked has gone
                answer_ready.set_result(answer)

        self._submit(self._arrival(scope, account, body, fault), respond)
        await (await answer_ready).give(send)

    def try_fast_path(self, scope: Any, send: Callable[[Any], Any], rest: bytes = b"") -> bool:
        """A postback without a body, answered with `send` (hub.web.listener); False if it is anything else.

        `rest` are headers that every answer is to carry, as they are sent.
        """
        path = scope["path"]
        account = self._book.by_key.get(path[10:]) if path.startswith("/postback/") else None
        if account is None or scope["method"] != "GET" or answers.may_have_body(scope):
            return False

        def respond(answer: Answer) -> None:
            with suppress(Exception):  # who asked may be gone
                send(answer.at_once(rest))

        self._submit(self._arrival(scope, account, b"", ""), respond)
        return True

    def _prepared(self, request: PostbackRequest) -> Entry:
        """While PostgreSQL stores the requests before, the event loop has time for this."""
        assert self._codec is not None  # noqa: S101 - made by start()
        return prepare(request, self._codec)

    async def _unseen(self, key: str) -> PostbackAccount | None:
        """An account made this very moment is known before the next refresh."""
        if not key or len(key) > 100 or "\x00" in key:
            return None
        async with self._runtime.database.read() as tx:
            account = (await tx.execute(select(accounts.c.id).where(accounts.c.postback_key == key))).first()
        if account is None:
            return None
        self._seen = -1
        await self.refresh()
        return self._book.by_key.get(key)

    def _arrival(self, scope: Scope, account: PostbackAccount, body: bytes, fault: str) -> PostbackRequest:
        postback = postback_request(
            account, self._runtime.clock(), method=scope["method"],  # type: ignore[typeddict-item]
            query=scope["query_string"], content_type=answers.header(scope, b"content-type") if body else "", body=body,
        )  # fmt: skip
        if fault:
            return refused(postback, fault)
        if not account.allow and not account.hmac_sealed:
            return postback
        if account.allow and not self._allowed(scope, account):
            return refused(postback, "the address is not on the account's allow-list")
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        fault = self._signature_fault(scope["query_string"], body, headers, account) if account.hmac_sealed else ""
        return refused(postback, fault) if fault else postback

    def _allowed(self, scope: Scope, account: PostbackAccount) -> bool:
        try:
            address = ip_address(self._proxies.address(scope, dict(scope["headers"])))
        except ValueError:
            return False
        return any(address in network for network in account.allow)

    def _signature_fault(
        self, query: bytes, body: bytes, headers: dict[bytes, str], account: PostbackAccount
    ) -> str:  # fmt: skip
        """Why a request is refused of an account whose requests are signed; empty if its signature is right."""
        checking = f"signatures of postbacks to {account.code}"
        try:
            secret = str(self._runtime.box.open(account.hmac_sealed or "")).encode()
        except CasinoFluxError as error:
            tasks.monitor.failed(checking, error)
            self._unchecked.add(checking)
            return UNCHECKED_SIGNATURE
        tasks.monitor.succeeded(checking)
        name = account.hmac_parameter
        header = headers.get(name.lower().encode()) or headers.get(b"x-signature")
        right = signed(query, body, secret=secret, parameter=name, header=header)
        return "" if right else "the signature is missing or wrong"

    def _submit(self, request: PostbackRequest, answer: Callable[[Answer], None]) -> None:
        self._waiting.append(_WaitingRequest(self._prepared(request), answer, tracer.began()))
        self._arrived.set()
        if len(self._waiting) >= self._last[0]:
            self._enough.set()

    async def _record(self) -> None:
        while not self._stopping or self._waiting:
            await self._arrived.wait()
            batch = await self._next_batch()
            if not self._waiting and not self._stopping:
                self._arrived.clear()
            if batch:
                began = time.monotonic()
                try:
                    await self._commit(batch)
                except BaseException:
                    self._answer_stored()
                    for waiting in batch:
                        waiting.answer(answers.UNAVAILABLE)
                    raise
                self._last = len(batch), time.monotonic() - began
                if not self._unanswered:
                    await asyncio.sleep(0)  # first let those go that were just committed
        self._answer_stored()

    async def _next_batch(self) -> list[_WaitingRequest]:
        if self._in_halves(self._last[0]):
            most = min(MOST_TOGETHER, (len(self._waiting) + self._last[0] + 1) // 2)
        else:
            await self._gather()
            most = MOST_TOGETHER
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        return batch

    def _in_halves(self, stored: int) -> bool:
        """Whether those that wait and those that were `stored` last take turns: PostgreSQL's processor stores the ones
        while ours answers the others, whose senders send the next. On SQLite both is done on ours."""
        return not self._runtime.database.sqlite and len(self._waiting) + stored >= ENOUGH_FOR_TWO

    async def _gather(self) -> None:
        """After a large batch wait for as many again, an eighth of its time at most: those whom it answered send their
        next requests one by one, and a batch of the first of them would take nearly as long as one of all."""
        size, took = self._last
        if len(self._waiting) >= size or self._stopping:
            return
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(took / 8, LONGEST_GATHERING)):
                await self._enough.wait()

    async def _commit(self, batch: list[_WaitingRequest]) -> None:
        if self._spooling.away:
            await self._spool(batch)
            return
        try:
            done = await self._write([waiting.entry for waiting in batch])
        except Exception as error:
            if is_unavailable(error):
                tasks.monitor.failed("postbacks", error)  # one log line a minute, with their number
                self._spooling.away = True
                await self._spool(batch)
                return
            log.warning("postbacks are placed one by one", count=len(batch), error=type(error).__name__)
            for waiting in batch:
                await self._commit_alone(waiting)
            return
        tasks.monitor.succeeded("postbacks")
        self._answer_stored()
        self._unanswered = list(zip(batch, done, strict=True))
        if self._in_halves(len(batch)):
            self._answer_timer = asyncio.get_running_loop().call_later(LONGEST_UNANSWERED, self._answer_stored)
        else:
            self._answer_stored()

    def _answer_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._answer_stored)

    def _answer_stored(self) -> None:
        """Answer the requests that were stored last: best while PostgreSQL stores the next, for which the event loop
        would have nothing else to do."""
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        unanswered, self._unanswered = self._unanswered, []
        for waiting, received in unanswered:
            self._answer(waiting, received)

    async def _spool(self, batch: list[_WaitingRequest]) -> None:
        """Keep requests on disk until the database is back; who sent one that could not be kept sends it again."""
        try:
            await self._spooling.keep([waiting.postback_request for waiting in batch])
        except OSError as error:
            tasks.monitor.failed("postback spool", error, serving=True)
            self._spooling.away = False  # the next ones ask the database again
            for waiting in batch:
                waiting.answer(answers.UNAVAILABLE)
            return
        for waiting in batch:
            waiting.answer(answers.spooled_answer(waiting.postback_request.signal))

    async def _commit_alone(self, waiting: _WaitingRequest) -> None:
        """What cannot be placed is at least kept; what cannot even be kept is not said to be."""
        try:
            self._answer(waiting, (await self._write([self._prepared(waiting.postback_request)]))[0])
        except Exception as first:
            if is_unavailable(first):
                await self._spool([waiting])
                return
            log.error(
                "postback could not be placed", account=waiting.postback_request.account.code, error=repr(first)[:300]
            )
            try:
                self._answer(waiting, await self.run(lambda tx: _store_unread(tx, waiting.postback_request)))
            except Exception as error:
                log.error(
                    "postback not stored", account=waiting.postback_request.account.code, error=type(error).__name__
                )
                waiting.answer(answers.UNAVAILABLE)

    def _answer(self, waiting: _WaitingRequest, done: Received) -> None:
        self.counts[done.outcome] = self.counts.get(done.outcome, 0) + 1
        request = waiting.postback_request
        if waiting.began:
            tracer.record("postback", waiting.began, account=request.account.code, outcome=str(done.outcome))
        waiting.answer(answers.answer_for(done, too_long=request.signal.notes == answers.ONLY_TOO_LONG))

    async def _write(self, entries: Sequence[Entry]) -> list[Received]:
        processor = self.processor()
        try:
            return await self._place(entries, processor)
        finally:
            self._size = processor.size

    async def _place(self, entries: Sequence[Entry], processor: ConversionProcessor) -> list[Received]:
        """Place requests: without a lock, unless others of their accounts are, or lately were, placed meanwhile."""
        if self._runtime.database.defers and not self._batches_to_lock:
            try:
                return await self.run_deferred(lambda tx: place(tx.connection, entries, processor, tx))
            except StoredMeanwhile:
                self._batches_to_lock = LOCKS_AFTER_CONFLICT
                entries = [self._prepared(entry.postback_request) for entry in entries]
        self._batches_to_lock = max(0, self._batches_to_lock - 1)
        return await self.run(lambda tx: place(tx, entries, processor), lock_of(entries))

    async def _store_once(self, requests: list[PostbackRequest]) -> None:
        """Place requests out of a spool, those that are not stored yet."""
        processor = self.processor()

        async def place(tx: AsyncConnection) -> list[Received]:
            return list(await receive(tx, await not_stored(tx, requests), processor))

        received_now = await self.run(place)
        tasks.monitor.succeeded("postbacks")
        for received in received_now:
            self.counts[received.outcome] = self.counts.get(received.outcome, 0) + 1

    @property
    def open(self) -> bool:
        """Whether it has been started, and not stopped yet."""
        return bool(self._tasks)

    async def run(self, work: Work[T], lock: str = "") -> T:
        """Run `work(tx)` in a short write transaction, begun with `lock`; it may await nothing but the database."""
        return await self._runtime.database.run(work, patience=self._patience, lock=lock)

    async def run_deferred(self, work: Callable[[DeferredTransaction], Awaitable[T]]) -> T:
        """Run `work` as `Database.run_deferred` does."""
        return await self._runtime.database.run_deferred(work)

    def patience(self, now: datetime) -> timedelta | None:
        """How old a waiting request may be to be looked at now; None if it is too soon to look again."""
        for every, patience in ((OLD_EVERY, OLD), (FRESH_EVERY, FRESH)):
            if now - self._looked.get(patience, now - every) >= every:
                self._looked[patience] = now
                return patience
        return None

    def processor(self) -> ConversionProcessor:
        """What placing requests needs, as it is known now."""
        assert self._codec is not None  # noqa: S101 - made by start()
        zone = ZoneInfo(self._runtime.settings.report_timezone)
        return ConversionProcessor(
            book=self._book, codec=self._codec, zone=zone, now=self._runtime.clock(), forward=forward,
            meanwhile=self._answer_soon, size=self._size,
        )  # fmt: skip


async def _store_unread(tx: AsyncConnection, postback: PostbackRequest) -> Received:
    entry = Entry(postback_request=postback)
    entry.decide(Outcome.REJECTED, answers.FAILED)
    entry.reason = answers.FAILED
    await store(tx, [entry], RowBatch(tx, None))
    return Received(id=entry.id or 0, outcome=Outcome.REJECTED, reason=answers.FAILED, conversion_id=None)


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
    since = now - patience
    async with runtime.database.read() as tx:
        if not await replay.any_to_retry(tx, since):
            return 0
    async with runtime.database.begin() as tx:
        return await replay.retry_waiting(tx, part.processor(), since=since)
