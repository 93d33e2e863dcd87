"""Files of pages that teams send as a ZIP, prepared in a thread; those asked for lately are cached."""

import asyncio

from hub.runtime.runtime import Runtime
from hub.sites import pages
from hub.sites.pages import Page
from storage.catalogue import site_files
from storage.catalogue.site_snapshot import Served
from storage.ledger.bounded_cache import BoundedCache

MOST_BYTES = 16_000_000  # of files in memory


class OwnFiles:
    """Answers to requests for files, by site and path."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._one_at_a_time = asyncio.Lock()  # they may have megabytes
        self.forget()

    def forget(self) -> None:
        """Something configured has changed: make them again."""
        self._cache: BoundedCache[tuple[object, ...], Page] = BoundedCache(MOST_BYTES, _size)

    async def page(self, site: Served, base: str, path: str) -> Page | None:
        """The answer for a file of the site; None if it has none of that path."""
        today = self._runtime.clock().astimezone(self._runtime.deployment.zone).date()
        key = (site.id, path, base, today.month)
        if (page := self._cache.get(key)) is not None:
            return page
        async with self._one_at_a_time:
            if (page := self._cache.get(key)) is not None:
                return page
            cache = self._cache
            async with self._runtime.configuration.read() as tx:
                content = await site_files.content(tx, site.id, path)
            if content is None:
                return None
            if site_files.is_page(path):
                page = await asyncio.to_thread(pages.own_page, site, content.decode(), base=base, today=today)
            else:
                page = await asyncio.to_thread(pages.file_page, path, content, base=base)
            cache.put(key, page)  # nothing to those who ask later, if something was configured meanwhile
            return page


def _size(page: Page) -> int:
    return 2 * len(page.plain) + len(page.zipped)
