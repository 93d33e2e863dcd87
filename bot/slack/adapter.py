"""Slack: commands, lines and forms from people to the command core and back. Knows Bolt, but no HTTP server."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import aiohttp
import msgspec
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from bot.chat.session import Caller, ChatSessions, Reply, handle
from bot.core.context import Room
from bot.slack import actions, channels, post, views
from bot.slack import files as slack_files
from bot.slack import text as slack_text
from bot.slack.blocks import files, pictures
from bot.slack.deduplicate import Deduplicator
from bot.slack.install import Installs
from bot.slack.post import SlackSender
from storage.db import tasks

log = logging.getLogger(__name__)

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
STOP_WITHIN = 8  # seconds
MESSAGE_EVENTS = {None, "thread_broadcast", "file_share"}  # subtypes of what people write themselves
PATIENCE = 2.0  # seconds before a waiting person is notified that the command is running


class SlackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach Slack, and how it reaches us."""

    bot_token: str | None = None
    signing_secret: str | None = None
    app_token: str | None = None
    api_url: str = "https://slack.com/api/"

    @property
    def socket_mode(self) -> bool:
        return bool(self.app_token and not self.signing_secret)


class SlackChat:
    """The bot on Slack: `start`, `dispatch` what comes over HTTP, `stop`."""

    def __init__(self, sessions: ChatSessions, settings: SlackSettings) -> None:
        self.sessions, self.settings = sessions, settings
        self.installs = Installs(sessions)
        self.sender = SlackSender(lambda workspace: self.client(workspace, patient=False), sessions.ports.draw)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._socket: Any = None

    async def start(self, *, listen: bool = True) -> None:
        """Begin. `listen`: this process may open Slack's socket, if that is how Slack reaches us."""
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(post.TIMEOUT))
        self.app = AsyncApp(
            name="casinoflux", authorize=self._authorizer(), signing_secret=self.settings.signing_secret or "socket",
            request_verification_enabled=not self.settings.socket_mode,
            client=post.client(None, self.settings.api_url, self.session, patient=True),
        )  # fmt: skip
        self._listen()
        if self.settings.socket_mode and listen:
            from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

            self._socket = AsyncSocketModeHandler(self.app, self.settings.app_token)
            self._connecting = tasks.start_loop("slack socket", self._connect)

    async def stop(self) -> None:
        """Finish running work (for some seconds), then disconnect."""
        await tasks.stop(self._connecting)
        if self._socket is not None:
            await self._socket.close_async()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_WITHIN)
        for task in self._tasks:
            task.cancel()
        await self.session.close()

    async def dispatch(self, body: bytes, query: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        """One request of Slack's: answered within its three seconds, worked on after."""
        text = body.decode("utf-8", "replace")
        if not self._is_signed(text, headers):
            return 401, {}, "the signature is missing, wrong or older than five minutes"
        sequences: dict[str, Any] = {name: [value] for name, value in headers.items()}
        try:
            request = AsyncBoltRequest(body=text, query=query, headers=sequences)
            answer = await self.app.async_dispatch(request)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("a signed request of Slack's cannot be read: %s", type(error).__name__)
            return 400, {}, "this is no request of Slack's"
        return answer.status, {name: values[0] for name, values in answer.headers.items()}, answer.body

    def _is_signed(self, text: str, headers: Mapping[str, str]) -> bool:
        """Judged before anything is parsed, whatever a stranger sends as timestamp and signature."""
        timestamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        if self.settings.signing_secret is None or not _TIMESTAMP.fullmatch(timestamp) or not signature.isascii():
            return False
        verifier = SignatureVerifier(self.settings.signing_secret)
        return verifier.is_valid(text.encode("utf-8"), timestamp, signature)

    async def client(self, workspace: str, *, patient: bool = True) -> AsyncWebClient:
        """A Web API client with the workspace's token, or the one of the settings."""
        return post.client(await self.token(workspace), self.settings.api_url, self.session, patient=patient)

    async def token(self, workspace: str) -> str | None:
        return await self.installs.token(workspace) or self.settings.bot_token

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on after Slack has its answer; `stop` waits for it."""
        task = asyncio.create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SlackApiError as fault:
            log.warning("Slack refused an answer: %s", post.reason(fault))
        except Exception:
            log.exception("an answer to Slack failed")

    async def _connect(self) -> None:
        """Socket Mode: connect, trying again until Slack accepts; the hub runs meanwhile."""
        pause = 1.0
        while True:
            try:
                await self._socket.connect_async()
            except Exception as fault:
                log.warning("Slack's socket is not open yet: %s", post.reason(fault))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 60)
            else:
                return

    def _authorizer(self) -> Callable[..., Awaitable[Any]]:
        """Bolt passes arguments by the names of a plain function's parameters."""

        async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
            """Whose token answers a workspace; None (Slack gets an error) where the app is not installed."""
            token = await self.installs.token(team_id or "") or self.settings.bot_token
            if token is None:
                return None
            return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=token, bot_user_id="")

        return authorize

    def _listen(self) -> None:
        app = self.app
        app.middleware(Deduplicator(self.sessions).handle)
        app.error(self._fault)
        app.command(re.compile(r".*"))(self._command)
        app.event("app_mention")(self._mention)
        app.event("message")(self._direct)
        views.listen(self)
        actions.listen(self)
        channels.listen(self)
        for event_name in ("app_uninstalled", "tokens_revoked"):
            app.event(event_name)(self._uninstalled)
        app.event(re.compile(r".*"))(_acknowledge)

    async def _fault(self, error: Exception) -> None:
        log.error("a Slack listener failed", exc_info=error)

    async def _uninstalled(self, ack: Any, body: dict[str, Any]) -> None:
        await ack()
        await self.installs.forget(body.get("team_id", ""))

    async def _command(self, ack: Any, body: dict[str, Any]) -> None:
        """`/flux <command>`"""
        await ack()
        room = Room(
            face="slack", workspace=body.get("team_id", ""), room=body["channel_id"], user=body["user_id"],
            title=body.get("channel_name", ""), private=body["channel_id"].startswith("D"),
        )  # fmt: skip
        caller = Caller(room=room, name=body.get("user_name", ""))
        self.spawn(self._answer(caller, slack_text.typed(body.get("text") or ""), body))

    async def _answer(self, caller: Caller, text: str, body: dict[str, Any]) -> None:
        url = body.get("response_url", "")
        caller = msgspec.structs.replace(caller, room=await channels.with_title(self, caller.room))
        work = asyncio.create_task(handle(self.sessions, caller, text))
        slow = not (await asyncio.wait({work}, timeout=PATIENCE))[0]
        if slow and url:
            busy = slack_text.busy(text)
            await post.respond(self.session, url, busy)
        reply = await work
        if reply.form and reply.form.missing and not slow and await views.ask(self, caller.room, reply, body):
            return
        await self.tell(caller, slack_text.shareable(reply, text, caller.room), url, replace=slow)

    async def tell(self, caller: Caller, reply: Reply, url: str, *, replace: bool = False) -> None:
        """Show a reply where it was asked for: by the response URL, or else in the channel."""
        message, room = reply.message, caller.room
        web = await self.client(room.workspace)
        if url and not (reply.public and (files(message) or pictures(message))):
            shown = await post.respond(
                self.session, url, message, public=reply.public, replace=replace and not reply.public
            )
            if shown and replace and reply.public:
                await post.respond_raw(self.session, url, {"delete_original": True})
            if shown:
                await post.upload_privately(web, room.room, room.user, message, draw=self.sessions.ports.draw)
                return
        user = "" if reply.public else room.user
        draw = self.sessions.ports.draw
        await post.post(web, room.room, message, draw=draw, thread=room.thread, user=user)

    async def _mention(self, ack: Any, event: dict[str, Any], body: dict[str, Any]) -> None:
        """`@bot <command>`, in threads as well"""
        await ack()
        if not event.get("bot_id"):
            self.spawn(self._message_received(event, body, slack_text.without_mention(event.get("text", ""))))

    async def _direct(self, ack: Any, event: dict[str, Any], body: dict[str, Any]) -> None:
        """A line written to the bot in private"""
        await ack()
        own = event.get("bot_id") or event.get("subtype") not in MESSAGE_EVENTS or not event.get("user")
        if event.get("channel_type") == "im" and not own:
            self.spawn(self._message_received(event, body, slack_text.without_mention(event.get("text", ""))))

    async def _message_received(self, event: dict[str, Any], body: dict[str, Any], text: str) -> None:
        channel = event["channel"]
        room = Room(
            face="slack", workspace=body.get("team_id", ""), room=channel, user=event.get("user", ""),
            thread=event.get("thread_ts", ""), private=channel.startswith("D"),
        )  # fmt: skip
        room = await channels.with_title(self, room)
        caller = Caller(room=room, name=await self._name(room) if slack_text.joins(text) else "")
        file = slack_files.attached(
            event, self.session, lambda: self.token(room.workspace), api_url=self.settings.api_url
        )
        reply = await handle(self.sessions, caller, text, attached=file)
        if reply.form and reply.form.missing:
            reply = slack_text.with_form_button(reply, text)
        await self.tell(caller, reply, "")

    async def _name(self, room: Room) -> str:
        """What people call the person who joins; their id if Slack does not say."""
        try:
            web = await self.client(room.workspace)
            user = (await web.users_info(user=room.user)).get("user") or {}
        except (SlackApiError, aiohttp.ClientError, TimeoutError):
            return room.user
        return str(user.get("real_name") or user.get("name") or room.user)


async def _acknowledge(ack: Any) -> None:
    """Acknowledge events that need no work."""
    await ack()
