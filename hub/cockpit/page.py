"""The cockpit's frame: one signed-in request (`Visit`), its commands, its templates, its errors."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import select

from bot.core.command import COMMANDS, Answer, run
from bot.core.context import Actor, Context, Deployment
from bot.core.permissions import ENTITIES, visible
from hub.cockpit import figures
from hub.cockpit.assets import Assets
from hub.cockpit.cache import MOST_LABELS, VersionedCache
from hub.cockpit.parts import options, state
from hub.cockpit.session import CSRF_FIELD, Session, Sessions
from hub.runtime.runtime import Runtime
from storage.clicks.queries import ensure_codec
from storage.db.cooperative import cooperative, yield_control
from storage.ledger.clicks.click_id import Codec
from storage.ledger.errors import CasinoFluxError, Forbidden, Missing, Refused

if TYPE_CHECKING:
    from jinja2 import Environment, Template

#: A page loads from us, runs our scripts only, frames previews of sites only, and stands in no frame.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}  # fmt: skip
FOLDER = Path(__file__).parent / "templates"
MOST_NAMES = 10_000  # of one kind

T = TypeVar("T")
R = TypeVar("R")
Page = Callable[["Visit"], Awaitable[Response[Any]]]


class MenuItem(msgspec.Struct, frozen=True):
    """One line of the menu; `section` marks the pages that belong to it."""

    section: str
    label: str
    path: str


MENU: tuple[tuple[str, tuple[MenuItem, ...]], ...] = (
    ("", (
        MenuItem("today", "Today", "/cockpit"),
        MenuItem("reports", "Reports", "/cockpit/reports"),
        MenuItem("cohorts", "Cohorts", "/cockpit/cohorts"),
        MenuItem("revenue", "Revenue", "/cockpit/revenue"),
        MenuItem("logs", "Logs", "/cockpit/logs/clicks"),
    )),
    ("Set up", (
        MenuItem("campaign", "Campaigns", "/cockpit/campaign"),
        MenuItem("offer", "Offers", "/cockpit/offer"),
        MenuItem("casino", "Casinos", "/cockpit/casino"),
        MenuItem("site", "Sites", "/cockpit/site"),
        MenuItem("domain", "Domains", "/cockpit/domain"),
        MenuItem("source", "Traffic sources", "/cockpit/source"),
        MenuItem("account", "Platform accounts", "/cockpit/account"),
    )),
    ("Watch", (
        MenuItem("alert", "Alerts", "/cockpit/alerts"),
        MenuItem("automation", "Automations", "/cockpit/automation"),
        MenuItem("digest", "Digests", "/cockpit/digests"),
        MenuItem("team", "Team", "/cockpit/team"),
    )),
)  # fmt: skip


class Toast(msgspec.Struct, frozen=True):
    """What a page says of the change just made; `undo` offers to take it back."""

    text: str
    undo: bool = False


class Visit:
    """One request of a signed-in person: their commands, their language, the page that answers."""

    def __init__(self, cockpit: "Cockpit", request: Request[Any, Any, Any], session: Session) -> None:
        self.cockpit = cockpit
        self.request = request
        self.session = session
        self.actor: Actor = session.actor
        self.csrf = session.csrf
        self.deployment: Deployment = cockpit.runtime.deployment
        self.behind = 0  # seconds that the page's figures are old, where it says so
        self.form: dict[str, str] = {}
        self.form_lists: dict[str, list[str]] = {}
        self.show = figures.Show.for_request(request.headers.get("accept-language", ""), self.deployment)

    @property
    def path(self) -> str:
        return self.request.url.path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query; several values of a name (boxes that are ticked) stand together, with commas between."""
        values: dict[str, str] = {}
        for name, value in parse_qsl(self.request.url.query or "", keep_blank_values=True, max_num_fields=200):
            values[name] = f"{values[name]},{value}" if values.get(name) and value else value or values.get(name, "")
        return values

    def filled(self, *names: str) -> dict[str, str]:
        """The query's values of these names, without empty ones."""
        return {name: self.query[name] for name in names if self.query.get(name)}

    @property
    def place(self) -> dict[str, str]:
        """Parameters of the path."""
        return {name: str(value) for name, value in self.request.path_params.items()}

    def context(self) -> Context:
        runtime = self.cockpit.runtime
        return Context(
            database=runtime.database, deployment=runtime.deployment, actor=self.actor, face="web",
            ports=runtime.ports, box=runtime.box, clock=runtime.clock, reports=runtime.reports,
        )  # fmt: skip

    async def answer(self, name: str, arguments: dict[str, Any] | None = None) -> Answer:
        """Run a command as this person: its result and its message. Raises CasinoFluxError."""
        return await run(COMMANDS[name], dict(arguments or {}), self.context())

    async def ask(self, name: str, **arguments: Any) -> Any:
        """A command's result. Raises CasinoFluxError."""
        context = self.context()
        context.unread = True
        result = (await run(COMMANDS[name], arguments, context)).result
        self.behind = max(self.behind, context.notes.get("behind", 0))
        return result

    async def together(self, *work: Coroutine[Any, Any, Any]) -> Any:
        """The results of what this request does at the same time, all of it at the loop_share of the request."""
        loop_share = self.cockpit.runtime.database.loop_share
        return await asyncio.gather(*(loop_share.run(one) for one in work))

    async def ask_if_allowed(self, name: str, **arguments: Any) -> Any:
        """A command's result, or None where this person may not ask."""
        if not self.may(name):
            return None
        try:
            return await self.ask(name, **arguments)
        except Forbidden:
            return None

    async def labels(self, *nouns: str) -> dict[str, dict[str, str]]:
        """Names by code of the team's entities of some kinds, as far as this person may see them."""
        cache, team_id = self.cockpit.cache, self.actor.team_id
        version = await cache.version()
        keys = {noun: ("labels", team_id, noun, self.actor.campaigns) for noun in nouns}
        found = {noun: names for noun in nouns if (names := cache.get(keys[noun], version)) is not None}
        if len(found) == len(keys):
            return found
        async with self.cockpit.runtime.database.read() as tx:
            for noun in keys.keys() - found.keys():
                table = ENTITIES[noun].table
                query = select(table.c.code, table.c.name).where(
                    table.c.team_id == team_id, visible(self.actor, noun)
                )  # fmt: skip
                rows = await tx.execute(query.order_by(table.c.name).limit(MOST_NAMES))
                found[noun] = dict(rows.all())
                if len(found[noun]) <= MOST_LABELS:
                    cache.put(keys[noun], version, found[noun])
        return found

    def may(self, name: str) -> bool:
        """Whether the person's role includes the command's: decides which buttons are shown, never what is done."""
        return name in COMMANDS and self.actor.role.includes(COMMANDS[name].role)

    def link(self, **changes: Any) -> str:
        """This page's address with some parameters of its query changed; None takes one away."""
        query = {name: value for name, value in (self.query | changes).items() if value not in {None, ""}}
        return f"{self.path}?{urlencode(query)}" if query else self.path

    async def html(self, template: str, *, section: str, title: str, status: int = 200, **data: Any) -> Response[str]:
        """The page; clicks that the same process answers go on while it is written."""
        await yield_control()
        toast = _toast(self.request.cookies.get(self.cockpit.flash, ""))
        pieces = (await self.cockpit.template(template)).generate(
            visit=self, show=self.show, section=section, title=title, menu=MENU, toast=toast, **data
        )
        text = await _written(pieces)
        cookies = [self.cockpit.flash_cookie("", max_age=0)] if toast else []
        return Response(text, status_code=status, media_type="text/html", cookies=cookies,
                        headers=HEADERS)  # fmt: skip

    def leave_for(self, path: str, *, toast: str = "", undo: bool = False) -> Response[str]:
        """Go to another page of the cockpit, which says what has been done."""
        cookies = []
        if toast:
            value = base64.urlsafe_b64encode(msgspec.json.encode(Toast(toast[:300], undo))).decode()
            cookies.append(self.cockpit.flash_cookie(value, max_age=60))
        location = quote(path, safe="/?&=%#:,;+@!~*'()") if path.startswith("/cockpit") else "/cockpit"
        return Response("", status_code=303, headers=HEADERS | {"location": location}, cookies=cookies)


async def _written(pieces: Iterator[str]) -> str:
    """A page out of its pieces; the event loop has its turn as in `each`."""
    return "".join([piece async for piece in cooperative(pieces)])


async def each(items: Sequence[T], make: Callable[[T], R]) -> list[R]:
    """`make` of each; the event loop has its turn every few milliseconds."""
    return [make(item) async for item in cooperative(items)]


def _toast(value: str) -> Toast | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(value), type=Toast) if value else None
    except ValueError:
        return None


class Cockpit:
    """Templates, assets and sessions; makes route handlers out of pages."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.sessions = Sessions(runtime)
        self.assets = Assets()
        self.cache = VersionedCache(runtime.database)
        self.flash = self.sessions.name_cookie("cf_flash")
        self._codec: Codec | None = None
        self._compiled: set[str] = set()

    async def template(self, name: str) -> "Template":
        """A template; before its first use it and those it names are compiled in a thread, which takes 0.1 s."""
        if name not in self._compiled:
            await asyncio.to_thread(self._compile, name)
        return self.environment.get_template(name)

    def _compile(self, name: str) -> None:
        from jinja2.meta import find_referenced_templates

        environment = self.environment
        source = (FOLDER / name).read_text(encoding="utf-8")
        for other in find_referenced_templates(environment.parse(source)):
            if other and other not in self._compiled:
                self._compile(other)
        environment.get_template(name)
        self._compiled.add(name)

    @cached_property
    def environment(self) -> "Environment":
        """The templates; made with the first page, since Jinja takes 2 MB."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        made = Environment(
            loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        made.globals |= {"static": self.assets.address, "urlencode": urlencode, "state_word": state, "options": options}
        return made

    def get(self, path: str) -> Callable[[Page], HTTPRouteHandler]:
        """A page; who is not signed in is led to the sign-in."""

        def make(page: Page) -> HTTPRouteHandler:
            async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
                session = await self.sessions.find(request)
                if session is None:
                    return await self.sign_in_first()
                await yield_control()
                return await self._carefully(page, Visit(self, request, session))

            return get(path, include_in_schema=False, name=f"cockpit {path}")(handle)

        return make

    def post(self, path: str, *, max_body: int = 25_000_000) -> Callable[[Page], HTTPRouteHandler]:
        """An action; the form must carry the session's token against forged requests."""

        def make(page: Page) -> HTTPRouteHandler:
            async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
                session = await self.sessions.find(request)
                if session is None:
                    return await self.sign_in_first()
                visit = Visit(self, request, session)
                try:
                    await _read_form(visit)
                    self.sessions.check_form(request, session, visit.form.get(CSRF_FIELD, ""))
                except CasinoFluxError as error:
                    return await _fault(visit, error)
                return await self._carefully(page, visit)

            return post(
                path, include_in_schema=False, status_code=200, request_max_body_size=max_body,
                name=f"cockpit post {path}",
            )(handle)  # fmt: skip

        return make

    async def sign_in_first(self, message: str = "") -> Response[str]:
        """The sign-in page; 401, so that nothing takes it for the page that was asked for."""
        text = (await self.template("sign_in.html")).render(message=message, name="", path="")
        return Response(text, status_code=401, media_type="text/html", headers=HEADERS)

    async def sign_in_as(self, name: str, path: str) -> Response[str]:
        """The question before a link signs a person in that another site's page has opened."""
        text = (await self.template("sign_in.html")).render(message="", name=name, path=path)
        return Response(text, media_type="text/html", headers=HEADERS)

    def flash_cookie(self, value: str, *, max_age: int) -> Cookie:
        """What the next page says of the change just made."""
        return Cookie(
            self.flash, value=value, max_age=max_age, path="/", httponly=True, samesite="strict",
            secure=self.sessions.secure,
        )  # fmt: skip

    async def codec(self) -> Codec:
        """Turns click ids into what travels in links, and back."""
        if self._codec is None:
            async with self.runtime.database.begin() as tx:
                self._codec = await ensure_codec(tx)
        return self._codec

    async def _carefully(self, page: Page, visit: Visit) -> Response[Any]:
        try:
            return await page(visit)
        except CasinoFluxError as error:
            return await _fault(visit, error)


async def _read_form(visit: Visit) -> None:
    data = await visit.request.form()
    for name, value in data.multi_items():
        # A browser ends lines by CRLF; what we store and compare with has LF.
        text = value.replace("\r\n", "\n") if isinstance(value, str) else await _file(value)
        visit.form_lists.setdefault(name, []).append(text)
    visit.form = {name: values[-1] for name, values in visit.form_lists.items()}


async def _file(upload: Any) -> str:
    """An uploaded file as commands take one: base64."""
    content = await upload.read()
    return base64.b64encode(content).decode() if content else ""


async def _fault(visit: Visit, error: CasinoFluxError) -> Response[str]:
    status = 404 if isinstance(error, Missing) else 403 if isinstance(error, Forbidden) else 400
    if not isinstance(error, Missing | Forbidden | Refused):
        status = 502
    return await visit.html("fault.html", section="", title="That did not work", status=status, text=str(error))
