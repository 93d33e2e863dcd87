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
        try:
            links_by_word = await self._links(clicks, {click for _, _, click in waiting if click})
        except Exception:
            self._waiting = [*waiting, *self._waiting][:MOST_WAITING]  # the database is unavailable: counted later
            raise
        for scope, site, click in waiting:
            link = links_by_word.get(click)
            arrival = _brought_by(link, site)
            clicks.visit(scope, team_id=site.team_id, site_id=site.id, **arrival)

    async def _links(self, clicks: Any, words: set[str]) -> dict[str, ClickLink]:
        ids = {word: clicks.state.codec.decode(word) for word in words}
        known_ids = [click_id for click_id in ids.values() if click_id is not None]
        if not known_ids:
            return {}
        async with self._runtime.database.read() as tx:
            links_by_id = await links(tx, known_ids)
        return {word: links_by_id[click_id] for word, click_id in ids.items() if click_id in links_by_id}


def _brought_by(link: ClickLink | None, site: Served) -> dict[str, int]:
    if link is None or link.site_id != site.id:
        return {}
    return {"campaign_id": link.campaign_id, "source_id": link.source_id}
