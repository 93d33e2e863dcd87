"""Pictures of the team, named by their content: a name never shows another picture."""

import re
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import images

ADDRESS = re.compile(r"/i/([0-9a-f]{32})\.webp")


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A WebP without metadata. `hash` is of its content, `width` and `height` are in pixels."""

    hash: str
    content: bytes
    width: int
    height: int

    @property
    def address(self) -> str:
        """Where the hub and every site's domain show it."""
        return f"/i/{self.hash}.webp"


async def store(tx: AsyncConnection, team_id: int, image: Image, *, now: datetime, alt: str = "") -> None:
    """Keep a picture; the same one again changes nothing."""
    row = {"team_id": team_id, "alt": alt, "created_at": now, **msgspec.structs.asdict(image)}
    await tx.execute(insert(images).values(row).on_conflict_do_nothing(index_elements=["team_id", "hash"]))


async def size(tx: AsyncConnection, team_id: int, address: str) -> tuple[int, int] | None:
    """Width and height of one of the team's pictures by its address; None if it has none of that name."""
    match = ADDRESS.fullmatch(address)
    mine = images.c.team_id == team_id, images.c.hash == (match[1] if match else "")
    size = (await tx.execute(select(images.c.width, images.c.height).where(*mine))).one_or_none()
    return None if size is None else (size.width, size.height)


async def content(tx: AsyncConnection, digest: str) -> bytes | None:
    """A picture's bytes; None if there is none of that name."""
    content = await tx.execute(select(images.c.content).where(images.c.hash == digest).limit(1))
    return content.scalar_one_or_none()
