"""Several workspaces: each installation's token, sealed; installed by OAuth, forgotten when Slack says so."""

import hashlib
import hmac
import secrets
from datetime import datetime
from time import monotonic
from urllib.parse import urlencode

import aiohttp
from slack_sdk.errors import SlackApiError

from bot.chat.session import ChatSessions
from bot.slack import post
from storage.chat import installations
from storage.ledger.errors import Refused

SCOPES = (
    "commands,chat:write,chat:write.public,app_mentions:read,im:history,im:write,users:read,files:read,files:write,"
    "channels:read,groups:read,team:read"
)
STATE_SECONDS = 600
WITHOUT_SECONDS = 5.0


class Installs:
    """Tokens by workspace. Kept in the deployment's facts, encrypted."""

    def __init__(self, sessions: ChatSessions) -> None:
        self.sessions = sessions
        self._without: dict[str, float] = {}

    async def token(self, workspace: str) -> str | None:
        """The workspace's own token; None if it did not install the app by itself. A token is read again each time,
        since any process may hear that the app was removed; that there is none holds for some seconds."""
        if not workspace or self._without.get(workspace, 0.0) > monotonic():
            return None
        async with self.sessions.database.read() as tx:
            token = await installations.token(tx, self.sessions.box, workspace)
        if token is None:
            self._without[workspace] = monotonic() + WITHOUT_SECONDS
        return token

    async def keep(self, workspace: str, token: str) -> None:
        self._without.pop(workspace, None)
        async with self.sessions.database.begin() as tx:
            await installations.keep(tx, self.sessions.box, workspace, token)

    async def forget(self, workspace: str) -> None:
        """The app was removed there."""
        async with self.sessions.database.begin() as tx:
            await installations.forget(tx, workspace)


class Install:
    """The two steps of OAuth: send the person to Slack, take what they come back with.

    The state is signed, lapses after ten minutes, and is bound to the browser by a cookie of the same value.
    """

    def __init__(
        self, installs: Installs, *, client_id: str, client_secret: str, api_url: str, authorize_url: str
    ) -> None:
        self.installs = installs
        self._client_id, self._client_secret = client_id, client_secret
        self._api_url, self._authorize_url = api_url, authorize_url
        self._key = installs.sessions.box.derive("slack-install")

    def begin(self, now: datetime) -> tuple[str, str]:
        """Where to send the browser, and the state for its cookie."""
        bare = f"{int(now.timestamp())}.{secrets.token_urlsafe(16)}"
        state = f"{bare}.{self._sign(bare)}"
        query = {"client_id": self._client_id, "scope": SCOPES, "state": state, "redirect_uri": self._redirect()}
        return f"{self._authorize_url}?{urlencode(query)}", state

    async def finish(self, session: aiohttp.ClientSession, now: datetime, *, code: str, state: str, cookie: str) -> str:
        """Exchange the code and keep the token; returns the workspace's name. Raises Refused."""
        self._check(now, state, cookie)
        web = post.client(None, self._api_url, session, patient=True)
        try:
            credentials = {"client_id": self._client_id, "client_secret": self._client_secret, "code": code}
            answer = await web.api_call("oauth.v2.access", data=credentials | {"redirect_uri": self._redirect()})
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as fault:
            raise Refused(f"Slack did not finish the installation ({post.reason(fault)}): begin again") from None
        team = answer.get("team") or {}
        if not team.get("id") or not answer.get("access_token"):
            raise Refused("Slack's answer holds no workspace or token: begin again")
        await self.installs.keep(team["id"], answer["access_token"])
        return str(team.get("name") or team["id"])

    def _redirect(self) -> str:
        return f"{self.installs.sessions.deployment().public_url}/slack/oauth_redirect"

    def _sign(self, bare: str) -> str:
        return hmac.new(self._key, bare.encode(), hashlib.sha256).hexdigest()

    def _check(self, now: datetime, state: str, cookie: str) -> None:
        bare, _, signature = state.rpartition(".")
        same = hmac.compare_digest(state.encode(), cookie.encode())
        if not (same and bare and hmac.compare_digest(self._sign(bare).encode(), signature.encode())):
            raise Refused("this installation was not begun in this browser: begin again", field="state")
        if now.timestamp() - int(bare.partition(".")[0]) > STATE_SECONDS:
            raise Refused("this installation took too long: begin again", field="state")
