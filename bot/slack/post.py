"""Posting to Slack: in a channel, for one person's eyes, to a response URL, or from the outbox."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.message import Chart, Message
from bot.delivery import Lost, RetryLater, Unsendable
from bot.render.chart_spec import legend
from bot.slack.blocks import fallback, files, pictures, render
from storage.chat.messages import Queued
from storage.db import tasks
from storage.ledger.numbers import read_float

log = logging.getLogger(__name__)

TIMEOUT = 20

#: https://docs.slack.dev/reference/methods/chat.postMessage#errors: the room is closed to us for good.
CLOSED = {
    "not_in_channel", "channel_not_found", "is_archived", "account_inactive", "token_revoked", "token_expired",
    "invalid_auth", "not_authed", "user_not_found", "user_disabled", "cannot_dm_bot", "restricted_action",
    "messages_tab_disabled", "no_permission", "ekm_access_denied", "org_login_required", "team_access_not_granted",
}  # fmt: skip
PASSING = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited"}
BLOCKS = {"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "invalid_arguments"}

Draw = Callable[[Chart], Awaitable[bytes | None]]
ClientFor = Callable[[str], Awaitable[AsyncWebClient]]


def client(token: str | None, api_url: str, session: aiohttp.ClientSession | None, *, patient: bool) -> AsyncWebClient:
    """A Web API client; a patient one waits out rate limits, others raise. No other retries: a post
    whose answer was lost may have been posted."""
    handlers = [AsyncRateLimitErrorRetryHandler(max_retry_count=3)] if patient else []
    made = AsyncWebClient(token=token, base_url=api_url, timeout=TIMEOUT, session=session)
    made.retry_handlers = list(handlers)
    return made


async def post(
    web: AsyncWebClient, channel: str, message: Message, *, draw: Draw, thread: str = "", user: str = ""
) -> str:
    """Post in a channel, or (with `user`) for that person's eyes only. Returns the message's ts."""
    where: dict[str, Any] = {"channel": channel} | ({"thread_ts": thread} if thread else {})
    method = "chat.postMessage"
    if user and not channel.startswith(("D", "U", "W")):
        method, where = "chat.postEphemeral", where | {"user": user}
    else:
        where |= {"unfurl_links": False, "unfurl_media": False}
    try:
        answer = await web.api_call(method, json=where | render(message))
    except SlackApiError as fault:
        if reason(fault) not in BLOCKS:
            raise
        answer = await web.api_call(method, json=where | fallback(message))
    posted = str(answer.get("ts") or answer.get("message_ts") or "")
    if user and method == "chat.postEphemeral":
        await upload_privately(web, channel, user, message, draw=draw)
    else:
        await _upload(web, str(answer.get("channel") or channel), message, thread=thread or posted, draw=draw)
    return posted


async def _upload(web: AsyncWebClient, channel: str, message: Message, *, thread: str, draw: Draw) -> None:
    """Files and pictures go into the message's thread; one that fails does not undo the message."""
    sent: list[dict[str, Any]] = [
        {"filename": file.name, "title": file.name, "content": file.binary or file.content} for file in files(message)
    ]
    for chart in pictures(message):
        if image := await draw(chart):
            text = legend(chart)
            sent.append({"filename": "chart.png", "content": image, "title": text, "alt_txt": text})
    for file in sent:
        try:
            await web.files_upload_v2(channel=channel, thread_ts=thread or None, **file)
        except (SlackClientError, aiohttp.ClientError, TimeoutError) as fault:
            where = {"channel": channel} | ({"thread_ts": thread} if thread else {})
            await _report_failed_upload(web, "chat.postMessage", where, file["filename"], fault)


async def _report_failed_upload(
    web: AsyncWebClient, method: str, where: dict[str, Any], name: str, fault: Exception
) -> None:
    log.warning("the file %s was not uploaded: %s", name, reason(fault))
    why = f"Slack says {reason(fault)}" if isinstance(fault, SlackApiError) else "Slack did not answer"
    lost = Message(f"⚠️ {name} could not be uploaded: {why}.")
    with suppress(SlackClientError, aiohttp.ClientError, TimeoutError):  # the log has it in any case
        await web.api_call(method, json=where | render(lost))


async def upload_privately(web: AsyncWebClient, channel: str, user: str, message: Message, *, draw: Draw) -> None:
    """Files and pictures of an answer for one person's eyes go to their own chat with the bot; where that cannot be
    opened, the person is notified in the channel they asked in."""
    if not files(message) and not pictures(message):
        return
    try:
        opened = await web.conversations_open(users=user)
    except (SlackClientError, aiohttp.ClientError, TimeoutError) as fault:
        name = ", ".join(file.name for file in files(message)) or "chart.png"
        await _report_failed_upload(web, "chat.postEphemeral", {"channel": channel, "user": user}, name, fault)
        return
    await _upload(web, str(opened["channel"]["id"]), message, thread="", draw=draw)


async def respond(
    session: aiohttp.ClientSession, url: str, message: Message, *, public: bool = False, replace: bool = False
) -> bool:
    """Answer at a response URL (five times within thirty minutes); False if Slack would not take it."""
    kind = {"response_type": "in_channel" if public else "ephemeral", "replace_original": replace}
    for shown in (render, fallback):
        answered = await _answer(session, url, kind | shown(message))
        if answered != 400:
            break
    return answered == 200


async def respond_raw(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bool:
    return await _answer(session, url, body) == 200


async def _answer(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> int:
    for _ in range(3):
        try:
            async with session.post(url, json=body, timeout=aiohttp.ClientTimeout(TIMEOUT)) as answer:
                if answer.status != 429:
                    return answer.status
                await asyncio.sleep(min(_seconds(answer.headers), 30))
        except (aiohttp.ClientError, TimeoutError) as fault:
            log.warning("a response URL did not answer: %s", type(fault).__name__)
            return 0
    return 429


def reason(fault: Exception) -> str:
    """What went wrong, without addresses or tokens."""
    if isinstance(fault, SlackApiError):
        answer = fault.response if hasattr(fault.response, "get") else {}
        return str(answer.get("error") or status(fault))
    return type(fault).__name__


def status(fault: SlackApiError) -> int:
    """The HTTP status of a refusal; an answer that was no JSON is still the transport's own object."""
    answer = fault.response
    return int(getattr(answer, "status_code", None) or getattr(answer, "status", 0) or 0)


class SlackSender:
    """The outbox's way to Slack."""

    def __init__(self, client_for: ClientFor, draw: Draw) -> None:
        self.client_for, self.draw = client_for, draw

    async def post(self, item: Queued, message: Message, *, under: str | None) -> str:
        try:
            web = await self.client_for(item.workspace)
        except Exception as fault:  # it surely was not posted
            raise RetryLater(f"the workspace's token could not be read ({tasks.short(fault)})") from fault
        try:
            return await post(web, item.room, message, draw=self.draw, thread=under or item.thread)
        except SlackApiError as fault:
            raise _delivery_fault(fault) from None
        except aiohttp.ClientConnectorError as fault:
            raise RetryLater(type(fault).__name__) from None
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise Unsendable(f"no answer ({type(fault).__name__}): it may have arrived") from None


def _seconds(headers: Mapping[str, str]) -> float:
    """How long to wait; a second where Slack does not say."""
    try:
        return read_float(headers.get("Retry-After", "1"))
    except ValueError:
        return 1.0


def _delivery_fault(fault: SlackApiError) -> Exception:
    why = reason(fault)
    if why in CLOSED:
        return Lost(f"Slack says {why}")
    if status(fault) == 429:
        return RetryLater("rate limited", _seconds(fault.response.headers))
    if why in PASSING or status(fault) >= 500:
        return RetryLater(f"Slack says {why}")
    return Unsendable(f"Slack says {why}")
