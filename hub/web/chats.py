"""The chats' endpoints: /slack/events and /telegram/webhook handed to the bot, messages delivered from the outbox.

Slack and Telegram are imported only where they are configured: their SDKs cost tens of megabytes.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.types import ControllerRouterHandler

from bot.chat.session import ChatSessions
from bot.delivery import Delivery, Sender
from hub.runtime.runtime import Runtime
from storage.catalogue import teams
from storage.chat import dialogues, messages, processed_events
from storage.ledger.errors import Refused

if TYPE_CHECKING:
    from bot.slack.adapter import SlackChat
    from bot.slack.install import Install
    from bot.telegram.adapter import TelegramChat

log = structlog.get_logger()

STATE = "casinoflux_slack_state"
MOST_BYTES = 1_000_000
TIDY_SECONDS = 3600
STOP_WITHIN = 5  # seconds; a message cut off here may have arrived, and is not sent again


class Chats:
    """Both chats of one process. `polling`: it may also ask for updates (Telegram) or open a socket (Slack)."""

    def __init__(self, runtime: Runtime, *, polling: bool = True) -> None:
        self.runtime, self.polling = runtime, polling
        self.sessions = ChatSessions(
            database=runtime.database, deployment=lambda: runtime.deployment, ports=runtime.ports, box=runtime.box,
            clock=runtime.clock, reports=runtime.reports,
        )  # fmt: skip
        self.slack: SlackChat | None = None
        self.telegram: TelegramChat | None = None
        self.delivery = Delivery(runtime.database, runtime.clock, self.senders)
        self.handlers: list[ControllerRouterHandler] = _routes(self)
        self._tidied_at = 0.0

    async def start(self) -> None:
        settings = self.runtime.settings
        if settings.slack_signing_secret or settings.slack_app_token:
            self.slack = self._new_slack()
            await self.slack.start(listen=self.polling)
        if settings.telegram_bot_token:
            self.telegram = self._new_telegram(settings.telegram_bot_token)
            await self.telegram.start(listen=self.polling)

    async def stop(self) -> None:
        """Finish what is being sent and answered, side by side, within seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.delivery.drain(), STOP_WITHIN)
        await asyncio.gather(*(chat.stop() for chat in (self.slack, self.telegram) if chat is not None))

    async def deliver(self) -> None:
        """Send what is due; the timetable calls it each second, in one process at a time."""
        await self.delivery.tick()
        now = self.runtime.clock()
        if now.timestamp() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = now.timestamp()
            async with self.runtime.database.begin() as tx:
                await processed_events.forget(tx, now)
                await dialogues.forget(tx, now)
                await messages.expire_unreachable(tx, now, self.senders())
                await messages.forget(tx, now)

    def senders(self) -> dict[str, Sender]:
        """The platforms that can be written to now."""
        senders: dict[str, Sender] = {}
        if self.slack is not None:
            senders["slack"] = self.slack.sender
        if self.telegram is not None and self.telegram.ready:
            senders["telegram"] = self.telegram.sender
        return senders

    def _new_slack(self) -> "SlackChat":
        from bot.slack.adapter import SlackChat, SlackSettings

        settings = self.runtime.settings
        return SlackChat(self.sessions, SlackSettings(
            bot_token=settings.slack_bot_token, signing_secret=settings.slack_signing_secret,
            app_token=settings.slack_app_token, api_url=settings.slack_api_url,
        ))  # fmt: skip

    def _new_telegram(self, token: str) -> "TelegramChat":
        from bot.telegram.adapter import TelegramChat, TelegramSettings

        settings = self.runtime.settings
        return TelegramChat(self.sessions, TelegramSettings(
            token=token, webhook_secret=settings.telegram_webhook_secret,
            webhook_url=f"{settings.public_url}/telegram/webhook", api_url=settings.telegram_api_url,
            file_url=settings.telegram_file_url,
        ), named=self._named)  # fmt: skip

    async def _named(self, name: str) -> None:
        """The bot's user name is known: invitations carry a link from now on, also those made in the shell."""
        self.runtime.telegram_name = name
        async with self.runtime.database.begin() as tx:
            await teams.store_fact(tx, "telegram_name", name)

    def install(self) -> "Install | None":
        """Slack's installation for further workspaces; None where it is not set up."""
        from bot.slack.install import Install

        settings = self.runtime.settings
        if self.slack is None or not settings.slack_client_id or not settings.slack_client_secret:
            return None
        return Install(
            self.slack.installs, client_id=settings.slack_client_id, client_secret=settings.slack_client_secret,
            api_url=settings.slack_api_url, authorize_url=settings.slack_authorize_url,
        )  # fmt: skip


def _routes(chats: Chats) -> list[ControllerRouterHandler]:
    @post("/slack/events", status_code=200, include_in_schema=False, request_max_body_size=MOST_BYTES)
    async def slack_events(request: Request[Any, Any, Any]) -> Response[str]:
        if chats.slack is None or not chats.runtime.settings.slack_signing_secret:
            # In Socket Mode nothing comes this way, and nothing could be checked.
            return _absent("Slack over HTTP", "CASINOFLUX_SLACK_BOT_TOKEN and CASINOFLUX_SLACK_SIGNING_SECRET")
        query = request.scope["query_string"].decode("latin-1")
        status, headers, body = await chats.slack.dispatch(await request.body(), query, dict(request.headers))
        kind = headers.pop("content-type", "text/plain").partition(";")[0]
        return Response(body, status_code=status, headers=headers, media_type=kind)

    @post("/telegram/webhook", status_code=200, include_in_schema=False, request_max_body_size=MOST_BYTES)
    async def telegram_webhook(request: Request[Any, Any, Any]) -> Response[str]:
        if chats.telegram is None or not chats.runtime.settings.telegram_webhook_secret:
            return _absent("Telegram's webhook", "CASINOFLUX_TELEGRAM_BOT_TOKEN and CASINOFLUX_TELEGRAM_WEBHOOK_SECRET")
        secret = request.headers.get("x-telegram-bot-api-secret-token", "")
        return Response("", status_code=await chats.telegram.receive(await request.body(), secret))

    @get("/slack/install", include_in_schema=False, sync_to_thread=False)
    def slack_install() -> Response[str]:
        install = chats.install()
        if install is None:
            return _absent("Slack for several workspaces", "CASINOFLUX_SLACK_CLIENT_ID and _CLIENT_SECRET")
        url, state = install.begin(chats.runtime.clock())
        secure = chats.runtime.settings.public_url.startswith("https://")
        cookie = Cookie(
            _state_cookie(chats), value=state, max_age=600, httponly=True, samesite="lax", secure=secure, path="/"
        )
        return Response("", status_code=302, headers={"location": url, "cache-control": "no-store"}, cookies=[cookie])

    @get("/slack/oauth_redirect", include_in_schema=False)
    async def slack_oauth_redirect(request: Request[Any, Any, Any]) -> Response[str]:
        install = chats.install()
        if install is None or chats.slack is None:
            return _absent("Slack for several workspaces", "CASINOFLUX_SLACK_CLIENT_ID and _CLIENT_SECRET")
        query = request.query_params
        if query.get("error"):
            return Response(
                "The installation was cancelled. Nothing was kept.", status_code=400, media_type="text/plain"
            )
        try:
            name = await install.finish(
                chats.slack.session, chats.runtime.clock(), code=query.get("code", ""), state=query.get("state", ""),
                cookie=request.cookies.get(_state_cookie(chats), ""),
            )  # fmt: skip
        except Refused as fault:
            return Response(str(fault), status_code=400, media_type="text/plain")
        return Response(f"CasinoFlux is installed in {name}. Say /flux help there.", media_type="text/plain")

    return [slack_events, telegram_webhook, slack_install, slack_oauth_redirect]


def _state_cookie(chats: Chats) -> str:
    """Browsers take a cookie with the prefix `__Host-` from this host alone."""
    return f"__Host-{STATE}" if chats.runtime.settings.public_url.startswith("https://") else STATE


def _absent(what: str, settings: str) -> Response[str]:
    return Response(f"{what} is not set up here: set {settings}.", status_code=404, media_type="text/plain")
