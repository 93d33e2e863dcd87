"""Who is signed in to the cockpit: a server-side session, its cookie, and the proof that a POST is our page's."""

import hmac
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from bot.core.context import Actor
from hub.requests.actors import actor_of
from hub.runtime.runtime import Runtime
from storage.ledger.errors import Forbidden
from storage.people import audits, tokens
from storage.people.tokens import Holder, Kind

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
_SAME_SITE = {"same-origin", "none"}  # of Sec-Fetch-Site; none: typed, or opened from a bookmark


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is signed in. `csrf` goes with every POST of the page, as the field or header `csrf`."""

    id: int
    actor: Actor
    csrf: str


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.secure = runtime.settings.public_url.startswith("https:")
        self.cookie_name = self.name_cookie("cf_session")
        self._csrf_key = runtime.box.derive("csrf")

    def name_cookie(self, name: str) -> str:
        """The `__Host-` prefix makes browsers refuse the cookie from any other host, and without Secure."""
        return f"__Host-{name}" if self.secure else name

    async def find(self, request: Request[Any, Any, Any]) -> Session | None:
        """The session of a request; renewed while it is used."""
        secret = request.cookies.get(self.cookie_name, "")
        if not secret:
            return None
        now = self._runtime.clock()
        holder = await self._runtime.database.look(lambda tx: tokens.holder(tx, secret, now, Kind.SESSION))
        if holder is None:
            return None
        expires_at = tokens.renewal(holder, now)
        if expires_at is not None:
            async with self._runtime.database.begin() as tx:
                await tokens.renew(tx, holder.id, now=now, expires_at=expires_at)
        return Session(id=holder.id, actor=actor_of(holder), csrf=self._csrf(secret))

    async def named_by(self, code: str) -> str | None:
        """Whom a one-time link signs in; None for an unknown, used or old one. It is not used up."""
        now = self._runtime.clock()
        holder = await self._runtime.database.look(lambda tx: tokens.holder(tx, code, now, Kind.LINK))
        return None if holder is None else holder.name

    async def enter(self, code: str) -> Cookie | None:
        """Sign in by a one-time link; None for an unknown, used or old one."""
        now = self._runtime.clock()
        if not await self._holds(code, Kind.LINK):
            return None
        async with self._runtime.database.begin() as tx:
            opened = await tokens.use_link(tx, code, now)
            if opened is None:
                return None
            holder, secret = opened
            await audits.record(tx, now, _entry(holder, "link"))
        return self._cookie(secret)

    async def sign_in(self, token: str) -> Cookie | None:
        """Sign in by an API token; None for one that does not hold."""
        now = self._runtime.clock()
        if not await self._holds(token, Kind.API):
            return None
        async with self._runtime.database.begin() as tx:
            holder = await tokens.holder(tx, token, now)
            if holder is None:
                return None
            secret = await tokens.add_session(tx, holder, now)
            await audits.record(tx, now, _entry(holder, "token"))
        return self._cookie(secret)

    async def end_earlier(self, request: Request[Any, Any, Any]) -> None:
        """End the session that the browser has, since a new one has just begun."""
        earlier = await self.find(request)
        if earlier is not None:
            async with self._runtime.database.begin() as tx:
                await tokens.revoke(tx, earlier.id, self._runtime.clock())

    async def _holds(self, secret: str, kind: Kind) -> bool:
        """Whether a secret may sign in; asked without the write lock, so that guesses keep no click waiting."""
        now = self._runtime.clock()
        return await self._runtime.database.look(lambda tx: tokens.holder(tx, secret, now, kind)) is not None

    async def end(self, session: Session) -> Cookie:
        """Sign out: the session ends here, and its cookie in the browser."""
        now = self._runtime.clock()
        async with self._runtime.database.begin() as tx:
            await tokens.revoke(tx, session.id, now)
            await audits.record(tx, now, audits.Entry(
                team_id=session.actor.team_id, actor=session.actor.name, face="web", room="", command="sign-out",
                arguments={},
            ))  # fmt: skip
        return self._cookie("", max_age=0)

    def check_form(self, request: Request[Any, Any, Any], session: Session | None, form_token: str = "") -> None:
        """A POST comes from our own page, with the session's CSRF token in its form or header. Raises Forbidden."""
        self._check_origin(request)
        token = form_token or request.headers.get(CSRF_HEADER, "")
        if session is not None and not hmac.compare_digest(token.encode(), session.csrf.encode()):
            raise Forbidden("this form is from an older session: load the page again")

    def comes_from_elsewhere(self, request: Request[Any, Any, Any]) -> bool:
        """Whether another site's page led here, as browsers say: it may have done so without asking the person."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site not in _SAME_SITE
        referrer = request.headers.get("referer", "")
        return bool(referrer) and _authority(referrer) != request.headers.get("host", "").lower()

    def _check_origin(self, request: Request[Any, Any, Any]) -> None:
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        foreign = site is not None and site not in _SAME_SITE
        if origin is not None and origin != "null" and site is None:
            foreign = _authority(origin) != request.headers.get("host", "").lower()
        if foreign or (origin == "null" and site is None):
            raise Forbidden("this request comes from another site's page: open the cockpit and repeat it there")

    def _csrf(self, secret: str) -> str:
        return hmac.new(self._csrf_key, secret.encode(), sha256).hexdigest()

    def _cookie(self, secret: str, max_age: int | None = None) -> Cookie:
        """Lax, since people come by a link in a chat; what changes something needs the CSRF token as well."""
        longest = int(tokens.SESSION_LONGEST.total_seconds()) if max_age is None else max_age
        return Cookie(
            self.cookie_name, value=secret, max_age=longest, path="/", httponly=True, samesite="lax",
            secure=self.secure,
        )  # fmt: skip


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _entry(holder: Holder, by: str) -> audits.Entry:
    return audits.Entry(
        team_id=holder.team_id, actor=holder.name, face="web", room="", command="sign-in", arguments={"by": by}
    )
