"""What Slack or Telegram calls a room, asked of them directly: also by a shell and a process without bots."""

import asyncio

import httpx

from hub.runtime.settings import Settings

WITHIN = 3  # seconds that a command waits for it


async def title_of(settings: Settings, face: str, room: str, *, token: str | None = None) -> str:
    """A channel's name or a chat's title; empty where no token is set or the platform does not say.

    `token` is that of the Slack workspace, where it has one of its own.
    """
    try:
        async with asyncio.timeout(WITHIN), httpx.AsyncClient() as http:
            if face == "slack" and (token := token or settings.slack_bot_token):
                return await _channel_name(http, settings.slack_api_url, room, token=token)
            if face == "telegram" and settings.telegram_bot_token:
                return await _chat_title(http, f"{settings.telegram_api_url}{settings.telegram_bot_token}", room)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, AttributeError):
        pass  # the room's id is shown instead; what the fault says may hold the token
    return ""


async def _channel_name(http: httpx.AsyncClient, api_url: str, channel: str, *, token: str) -> str:
    """https://docs.slack.dev/reference/methods/conversations.info"""
    answer = await http.post(
        f"{api_url.rstrip('/')}/conversations.info", data={"channel": channel},
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip
    return str((answer.json().get("channel") or {}).get("name") or "")


async def _chat_title(http: httpx.AsyncClient, bot_url: str, chat: str) -> str:
    """A group's title, or a person's name. https://core.telegram.org/bots/api#getchat"""
    chat_facts = (await http.post(f"{bot_url}/getChat", json={"chat_id": chat})).json().get("result") or {}
    name = " ".join(str(chat_facts[part]) for part in ("first_name", "last_name") if chat_facts.get(part))
    return str(chat_facts.get("title") or name)
