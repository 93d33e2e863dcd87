"""What is done at a registrar or DNS host before a domain can be verified: buying, zone, records."""

from typing import Any

from sqlalchemy import Row

from connectors.http import Http
from hub.runtime import Runtime


async def advance(runtime: Runtime, http: Http, row: Row[Any]) -> dict[str, Any] | None:
    """The columns that the next step changes; None when there is nothing left to do there."""
    return None
