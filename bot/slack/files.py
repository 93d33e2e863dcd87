"""Files that come with a message on Slack, fetched only when a command takes one.

https://docs.slack.dev/reference/objects/file-object: `url_private_download` wants the bot's token and the
scope files:read; without the scope Slack answers 200 with the page of its login.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot.chat.session import Attached
from bot.forms.uploaded_image import MOST_BYTES, refuse_large
from storage.ledger.errors import Refused

CHUNK = 65_536


def attached(
    event: dict[str, Any], session: aiohttp.ClientSession, token: Callable[[], Awaitable[str | None]], *, api_url: str
) -> Attached | None:
    """The file of a message; None without one."""
    sent = event.get("files") or []
    if not sent:
        return None

    async def load(field: str) -> bytes:
        if len(sent) > 1:
            raise Refused(f"{field}: several were attached: send one at a time", field=field)
        if (sent[0].get("size") or 0) > MOST_BYTES:
            raise refuse_large(sent[0]["size"], field)
        url = str(sent[0].get("url_private_download") or sent[0].get("url_private") or "")
        if not _is_slack(url, api_url):
            raise _withheld(field, "Slack gave no address for it")
        try:
            return await _fetched(session, url, await token(), field=field)
        except (aiohttp.ClientError, TimeoutError):
            raise _withheld(field, "Slack did not answer") from None

    return load


def _is_slack(url: str, api_url: str) -> bool:
    """The token goes to Slack only: its own hosts, or the one the settings name."""
    parts, own = urlsplit(url), urlsplit(api_url)
    host = parts.hostname or ""
    return (parts.scheme == "https" and (host == "slack.com" or host.endswith(".slack.com"))) or (
        (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    )


async def _fetched(session: aiohttp.ClientSession, url: str, token: str | None, *, field: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        if answer.status != 200 or answer.content_type == "text/html":
            raise _withheld(field, "the app may lack the scope files:read (slack-manifest.yaml), install it again")
        content = b""
        async for chunk in answer.content.iter_chunked(CHUNK):
            content += chunk
            if len(content) > MOST_BYTES:
                raise refuse_large(len(content), field)
        return content


def _withheld(field: str, why: str) -> Refused:
    return Refused(f"{field}: Slack did not provide the file: {why}", field=field)
