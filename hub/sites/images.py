"""Logos and pictures over HTTP, under their content's name on the hub and on every site's domain."""

from hub.runtime.runtime import Runtime
from hub.sites.pages import Page
from storage.catalogue import images
from storage.ledger.bounded_cache import BoundedCache

MOST_BYTES = 16_000_000  # of pictures in memory

_HEADERS = (
    (b"content-type", b"image/webp"),
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)


class Images:
    """Pictures by name; those asked for lately are cached."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._cache: BoundedCache[str, bytes] = BoundedCache(MOST_BYTES, len)

    async def page(self, path: str) -> Page | None:
        """The picture at an address; None if there is none."""
        match = images.ADDRESS.fullmatch(path)
        content = await self._content(match[1]) if match else None
        if match is None or content is None:
            return None
        headers = (*_HEADERS, (b"etag", f'"{match[1]}"'.encode()))
        return Page(status=200, headers=headers, parts=(content,), plain=content, zipped=b"")

    async def _content(self, digest: str) -> bytes | None:
        if (content := self._cache.get(digest)) is not None:
            return content
        async with self.runtime.configuration.read() as tx:
            content = await images.content(tx, digest)
        if content is not None:
            self._cache.put(digest, content)
        return content
