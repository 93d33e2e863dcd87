"""Where postbacks wait while the database is unavailable, and how they get from there into it, beside new ones."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import uuid4

import structlog

from storage.db.spool_file import orphans
from storage.db.unavailable import is_unavailable
from storage.postbacks.postback_accounts import AccountDirectory
from storage.postbacks.requests import PostbackRequest
from storage.postbacks.spool import PostbackSpool, SpooledPostback

log = structlog.get_logger()

Store = Callable[[list[PostbackRequest]], Awaitable[None]]
_ORPHANS_EVERY = 10.0  # seconds


class Spooling:
    """The spool of this process, and those that dead processes left.

    `number` is the database's. `store` places requests in one transaction, those of them that are not stored yet; it
    raises what the database raises.
    """

    def __init__(
        self, folders: Sequence[Path], number: str, store: Store, accounts: Callable[[], AccountDirectory]
    ) -> None:  # fmt: skip
        """The first of the folders is this process's."""
        self._folders, self._number = folders, number
        self._own = PostbackSpool(folders[0], f"{number}-{os.getpid()}-{uuid4().hex[:8]}")
        self._left: list[PostbackSpool] = []
        self._piece: list[SpooledPostback] = []  # read, and not stored yet
        self._from: PostbackSpool | None = None
        self._store = store
        self._accounts = accounts
        self._looked_for_orphans = 0.0
        self._lock = asyncio.Lock()  # files are written by threads: one at a time
        self.away = False  # the database: requests go to the spool at once

    async def open(self) -> None:
        """Make the file and its reserve. Raises CasinoFluxError if the folder cannot be written."""
        await asyncio.to_thread(self._own.open_at_start)

    async def close(self) -> None:
        """Let go of the files; what waits is taken over by the next process."""
        for spool in (self._own, *self._left):
            await asyncio.to_thread(spool.close)

    @property
    def waiting(self) -> int:
        """Requests that wait outside the database."""
        return sum(spool.depth for spool in (self._own, *self._left))

    async def keep(self, requests: Sequence[PostbackRequest]) -> None:
        """Write requests to disk. Raises OSError if that cannot be done; then none of them is kept."""
        async with self._lock:
            await asyncio.to_thread(self._own.append, [SpooledPostback.of(request) for request in requests])

    async def drain(self) -> None:
        """Bring all that waits into the database, a piece at a time. Call it again and again."""
        if time.monotonic() - self._looked_for_orphans > _ORPHANS_EVERY:
            await self._adopt()
        while self._piece or await self._next():
            try:
                await self._place(self._piece)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                self.away = True
                return
            await self._placed()
            await asyncio.sleep(0)
        self.away = False

    async def _next(self) -> bool:
        """Read the next piece, if any waits."""
        async with self._lock:
            self._from = next((spool for spool in (self._own, *self._left) if spool.depth), None)
            if self._from is not None:
                self._piece = self._from.read()
        return bool(self._piece)

    async def _placed(self) -> None:
        spool = self._from
        assert spool is not None  # noqa: S101 - the piece was read from it
        async with self._lock:
            spool.depth -= len(self._piece)
            self._piece = []
            if spool.all_read:
                await asyncio.to_thread(spool.replace, [])
                if spool is not self._own:
                    self._left.remove(spool)
                    await asyncio.to_thread(spool.close)

    async def _place(self, piece: Sequence[SpooledPostback]) -> None:
        try:
            await self._store(self._requests(piece))
        except Exception as error:
            if is_unavailable(error):
                raise
            for record in piece:
                await self._place_alone(record)

    async def _place_alone(self, record: SpooledPostback) -> None:
        """One that its own contents keep out is set aside, and holds up no other."""
        try:
            await self._store(self._requests([record]))
        except Exception as error:
            if is_unavailable(error):
                raise
            log.error("a spooled postback cannot be stored; it is set aside", error=type(error).__name__)
            await asyncio.to_thread(self._own.set_aside, [record])

    def _requests(self, piece: Sequence[SpooledPostback]) -> list[PostbackRequest]:
        by_key = self._accounts().by_key
        return [record.request(by_key[record.key]) for record in piece]

    async def _adopt(self) -> None:
        """Take over the spools of processes that died."""
        self._looked_for_orphans = time.monotonic()
        open_names = {spool.name for spool in (self._own, *self._left)}
        for spool in await asyncio.to_thread(orphans, PostbackSpool, self._folders, self._number, open_names):
            if spool.depth:
                self._left.append(spool)
            else:
                spool.close()
