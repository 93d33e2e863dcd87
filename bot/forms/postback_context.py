"""What commands need to place postbacks themselves: accounts with their platforms' words, the id codec."""

from collections.abc import Mapping
from typing import Any

from bot.core.context import Context
from storage.clicks.queries import codec
from storage.ledger.errors import Missing
from storage.outbound.queue import queue
from storage.postbacks.conversions import ConversionProcessor
from storage.postbacks.postback_accounts import load


async def processor(ctx: Context) -> ConversionProcessor:
    """A processor of this command's transaction."""

    def words(platform: str) -> Mapping[str, Any]:
        try:
            words: Mapping[str, Any] = ctx.ports.platform_options(platform).get("words") or {}
        except (Missing, ModuleNotFoundError):
            return {}
        return words

    return ConversionProcessor(
        book=await load(ctx.tx, words), codec=await codec(ctx.tx), zone=ctx.deployment.zone, now=ctx.now, onward=queue
    )
