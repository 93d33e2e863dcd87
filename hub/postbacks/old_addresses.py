"""Postback addresses of trackers a team has moved from, on its own domains: led to the account of their click.

Keitaro's `/{key}/postback?subid=`, Binom's `/click?cnv_id=`, Voluum's `/postback?cid=`, RedTrack's with `clickid`.
"""

from urllib.parse import parse_qs

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import imported_clicks, queries
from storage.tables import accounts, offers

_NAMES = ("subid", "sub_id", "cnv_id", "cid", "clickid")
_BINOM_PATHS = frozenset({"click", "click.php"})


def click_of(path: str, query: bytes) -> str:
    """The click id in a request to an old postback address; empty for any other request."""
    parts = path.strip("/").split("/")
    if parts[-1] not in {"postback", *_BINOM_PATHS} or len(parts) > 2:
        return ""
    parameters = parse_qs(query[:4000].decode("utf-8", "replace"), errors="replace")
    names = ("cnv_id",) if parts[-1] in _BINOM_PATHS else _NAMES
    return next((parameters[name][0] for name in names if parameters.get(name)), "")


async def postback_key(tx: AsyncConnection, team_id: int, word: str) -> str | None:
    """The key of the account of the offer that the click went to; None for a click that is not known."""
    number = (await queries.codec(tx)).decode(word)
    links = await queries.links(tx, [] if number is None else [number])
    if not links:
        known = await imported_clicks.find(tx, [(team_id, word)])
        links = await queries.links(tx, known.values())
    link = next(iter(links.values()), None)
    if link is None or link.team_id != team_id:
        return None
    query = select(accounts.c.postback_key).join(offers, offers.c.account_id == accounts.c.id)
    key: str | None = (await tx.execute(query.where(offers.c.id == link.offer_id))).scalar()
    return key
