"""What every list command takes and gives: `limit` and `after` in, `items` and `next` out."""

from typing import Annotated, Generic, TypeVar

import msgspec

from bot.core.arguments import Arguments
from storage.catalogue.entities import MAX_PAGE

Item = TypeVar("Item")


#: Items of a page where nothing else is asked for.
LIMIT = 50


class Listing(Arguments):
    """A page of a list."""

    limit: Annotated[int, msgspec.Meta(description="how many at most", ge=1, le=MAX_PAGE)] = LIMIT
    after: Annotated[str | None, msgspec.Meta(description="`next` of the page before")] = None


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Items of one page; `next` is null on the last one."""

    items: list[Item]
    next: str | None = None
