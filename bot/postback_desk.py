"""What commands need to place postbacks themselves: accounts with their platforms' words, the id codec."""

from collections.abc import Mapping
from typing import Any

from bot.context import Context
from storage.clicks import codec
from storage.conversions import Desk
from storage.ledger.errors import Missing
from storage.outbound import queue
from storage.postback_accounts import load


async def desk(ctx: Context) -> Desk:
    """A desk of this command's transaction."""

    def words(platform: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = ctx.ports.platform_options(platform).get("words") or {}
        except (Missing, ModuleNotFoundError):
            return {}
        return found

    return Desk(
        book=await load(ctx.tx, words), codec=await codec(ctx.tx), zone=ctx.deployment.zone, now=ctx.now, onward=queue
    )
