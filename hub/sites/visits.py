"""Page views of sites in the click roll-up, under the campaign whose click brought the visitor."""

import asyncio
from typing import Any

import structlog
from litestar.types import Scope

from hub.runtime.runtime import Runtime
from storage.catalogue.site_snapshot import Served
from storage.clicks.queries import links
from storage.db import tasks
from storage.ledger.facts import ClickLink

TOLD_EVERY = 0.5  # seconds; many visits are looked up together
MOST_WAITING = 50_000
_log = structlog.get_logger()


class Visits:
    """Gathers page views and counts them a moment later, so that no page waits for the database."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[tuple[Scope, Served, str]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = tasks.start_interval("site visits", TOLD_EVERY, self.count)

    async def stop(self) -> None:
        """Counts what is waiting."""
        await tasks.stop(self._task)
        await self.count()

    def add(self, scope: Scope, site: Served, click: str) -> None:
        """A page of a site was looked at; `click` is the click id it was opened with, or empty."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((scope, site, click))

    async def count(self) -> None:
        waiting, self._waiting = self._waiting, []
        clicks = self._runtime.state.get("clicks")
        if not waiting or clicks is None:
            return
        found = await self._links(clicks, {click for _, _, click in waiting if click})
        for scope, site, click in waiting:
            link = found.get(click)
            came = _brought_by(link, site)
            clicks.visit(scope, team_id=site.team_id, site_id=site.id, **came)

    async def _links(self, clicks: Any, words: set[str]) -> dict[str, ClickLink]:
        ids = {word: clicks.state.codec.decode(word) for word in words}
        known = [one for one in ids.values() if one is not None]
        if not known:
            return {}
        async with self._runtime.database.read() as tx:
            found = await links(tx, known)
        return {word: found[one] for word, one in ids.items() if one in found}


def _brought_by(link: ClickLink | None, site: Served) -> dict[str, int]:
    if link is None or link.site_id != site.id:
        return {}
    return {"campaign_id": link.campaign_id, "source_id": link.source_id}
