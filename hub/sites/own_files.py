"""Files of pages that teams send as a ZIP, made ready beside the event loop; those asked for lately stay in memory."""

import asyncio
from collections import OrderedDict

from hub.runtime.runtime import Runtime
from hub.sites import pages
from hub.sites.pages import Page
from storage.catalogue import site_files
from storage.catalogue.site_snapshot import Served

MOST_BYTES = 16_000_000  # kept in memory; whatever was asked for longest ago goes first


class OwnFiles:
    """Answers to requests for files, by site and path."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()  # one at a time: they may have megabytes
        self.forget()

    def forget(self) -> None:
        """Something configured has changed: make them again."""
        self._kept: OrderedDict[tuple[object, ...], Page] = OrderedDict()
        self._size = 0

    async def page(self, site: Served, base: str, path: str) -> Page | None:
        """The answer for a file of the site; None if it has none of that path."""
        today = self._runtime.clock().astimezone(self._runtime.deployment.zone).date()
        key = (site.id, path, base, today.month)
        if (page := self._lately(key)) is not None:
            return page
        async with self._turn:
            if (page := self._lately(key)) is not None:
                return page
            kept = self._kept
            async with self._runtime.configuration.read() as tx:
                content = await site_files.content(tx, site.id, path)
            if content is None:
                return None
            if site_files.is_page(path):
                page = await asyncio.to_thread(pages.own_page, site, content.decode(), base=base, today=today)
            else:
                page = await asyncio.to_thread(pages.file_page, path, content, base=base)
            if kept is self._kept:
                self._keep(key, page)
            return page

    def _lately(self, key: tuple[object, ...]) -> Page | None:
        if (page := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return page

    def _keep(self, key: tuple[object, ...], page: Page) -> None:
        self._kept[key] = page
        self._size += _size(page)
        while self._size > MOST_BYTES:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(page: Page) -> int:
    return 2 * len(page.plain) + len(page.zipped)
