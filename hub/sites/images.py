"""Logos and pictures over HTTP, under their content's name on the hub and on every site's domain."""

from collections import OrderedDict

from hub.runtime.runtime import Runtime
from hub.sites.pages import Page
from storage.catalogue import images

MOST_BYTES = 16_000_000  # kept in memory; whatever was asked for longest ago goes first
_HEADERS = (
    (b"content-type", b"image/webp"),
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)


class Images:
    """Pictures by name; those that were asked for lately stay in memory."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def page(self, path: str) -> Page | None:
        """The picture at an address; None if there is none."""
        match = images.ADDRESS.fullmatch(path)
        content = await self._content(match[1]) if match else None
        if match is None or content is None:
            return None
        headers = (*_HEADERS, (b"etag", f'"{match[1]}"'.encode()))
        return Page(status=200, headers=headers, parts=(content,), plain=content, zipped=b"")

    async def _content(self, digest: str) -> bytes | None:
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        async with self.runtime.configuration.read() as tx:
            content = await images.content(tx, digest)
        if content is not None and digest not in self._kept:
            self._kept[digest] = content
            self._size += len(content)
            while self._size > MOST_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])
        return content
