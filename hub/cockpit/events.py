"""`/cockpit/events`: server-sent events of what happens now, one reader of the database per team however many look."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.render.figures import amount
from hub.cockpit.page import Cockpit
from storage.catalogue.names import slug
from storage.db import tasks
from storage.db.cooperative import cooperative
from storage.ledger.clicks.click_id import instant_of
from storage.ledger.facts import Reason
from storage.tables import campaigns, clicks, conversions, offers, sites, sources, user_agents

EVERY = 0.7  # seconds between two queries while a page listens
REPLAYED = 200  # events a page that lost its connection can catch up with
BATCH = 50  # events of one query; of more clicks the latest: a page has no more lines
LATEST = 14  # clicks that a page begins with
HEARTBEAT = 15.0  # seconds; proxies cut connections that stay silent
CHECKED_FOR = 2.0  # seconds that a session holds before it is looked at again
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A click or a conversion, as the live line shows it. `id` orders events of one stream; a click has the facets
    that the click log is filtered by."""

    id: str
    kind: str
    at: datetime
    text: str
    href: str
    campaign: str | None = None
    facets: dict[str, str] = {}


class Sent(msgspec.Struct, frozen=True):
    """An event and the bytes that send it, made once for all who listen."""

    event: Event
    encoded: bytes


FACETS = ("campaign", "offer", "source", "country", "device", "outcome")


class Feed:
    """Events of one team: polled while there are listeners, the latest kept for those who come back."""

    def __init__(self, cockpit: Cockpit, team_id: int) -> None:
        self._cockpit = cockpit
        self._runtime = cockpit.runtime
        self._team_id = team_id
        self._recent: deque[Sent] = deque(maxlen=REPLAYED)
        self._listeners: set[asyncio.Queue[list[Sent]]] = set()
        self._click, self._conversion = -1, -1
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> "asyncio.Queue[list[Sent]]":
        queue: asyncio.Queue[list[Sent]] = asyncio.Queue(maxsize=REPLAYED)
        self._listeners.add(queue)
        if self._task is None or self._task.done():
            self._task = tasks.start_loop("live events", lambda: self._runtime.database.loop_share.run(self._poll()))
        return queue

    def leave(self, queue: "asyncio.Queue[list[Sent]]") -> None:
        self._listeners.discard(queue)

    def since(self, event_id: str) -> list[Sent]:
        """What came after an event; everything kept where that event is not known any more."""
        recent = list(self._recent)
        for n, sent in enumerate(recent):
            if sent.event.id == event_id:
                return recent[n + 1 :]
        return recent

    async def _poll(self) -> None:
        """Read what is new until the last listener has left; started again after a failure."""
        self._click = -1  # while no page listened, more may have happened than a page shows
        while self._listeners:
            if events := [Sent(event, _encoded(event)) async for event in cooperative(await self._new())]:
                self._recent.extend(events)
                for queue in self._listeners:
                    if not queue.full():
                        queue.put_nowait(events)
            await asyncio.sleep(EVERY)

    async def _new(self) -> list[Event]:
        self._codec = await self._cockpit.codec()
        async with self._runtime.database.read() as tx:
            return await self._read(tx)

    async def _read(self, tx: AsyncConnection) -> list[Event]:
        if self._click < 0:
            self._click = (await tx.execute(select(func.max(clicks.c.id)))).scalar_one() or 0
            self._conversion = (await tx.execute(select(func.max(conversions.c.id)))).scalar_one() or 0
            recent_ids = {sent.event.id for sent in self._recent}
            return [event for event in await self._clicks(tx, 0, latest=LATEST) if event.id not in recent_ids]
        events = [*await self._clicks(tx, self._click), *await self._conversions(tx)]
        return sorted(events, key=lambda event: event.at)

    async def _clicks(self, tx: AsyncConnection, after: int, latest: int = 0) -> list[Event]:
        c = clicks.c
        query = (
            select(c.id, c.country, c.reason, campaigns.c.code, campaigns.c.name, sites.c.name.label("site"),
                   offers.c.code.label("offer"), sources.c.code.label("source"), user_agents.c.device)
            .outerjoin(campaigns, campaigns.c.id == c.campaign_id).outerjoin(sites, sites.c.id == c.site_id)
            .outerjoin(offers, offers.c.id == c.offer_id).outerjoin(sources, sources.c.id == c.source_id)
            .outerjoin(user_agents, user_agents.c.id == c.user_agent_id)
            .where(c.team_id == self._team_id, c.bot == 0)
        )  # fmt: skip
        newest = query.where(c.id > after).order_by(c.id.desc()).limit(latest or BATCH)
        rows = list(reversed((await tx.execute(newest)).all()))
        if rows and not latest:
            self._click = rows[-1].id
        return [self._click_event(row) async for row in cooperative(rows)]

    def _click_event(self, row: Any) -> Event:
        click = self._codec.encode(row.id)
        where = row.name or row.site or "a site"
        what = " · ".join(part for part in (where, row.country or "") if part)
        facets = {
            "campaign": row.code, "offer": row.offer, "source": row.source, "country": row.country,
            "device": row.device, "outcome": Reason(row.reason).name.lower(),
        }  # fmt: skip
        return Event(
            id=f"c{row.id}", kind="click", at=instant_of(row.id), text=what, href=f"/cockpit/story/{click}",
            campaign=row.code, facets={name: value for name, value in facets.items() if value},
        )  # fmt: skip

    async def _conversions(self, tx: AsyncConnection) -> list[Event]:
        c = conversions.c
        query = (
            select(c.id, c.event, c.click_id, c.amount, c.currency, c.received_at, campaigns.c.code, campaigns.c.name,
                   offers.c.name.label("offer"))
            .outerjoin(campaigns, campaigns.c.id == c.campaign_id).outerjoin(offers, offers.c.id == c.offer_id)
            .where(c.team_id == self._team_id, c.id > self._conversion).order_by(c.id).limit(BATCH)
        )  # fmt: skip
        rows = (await tx.execute(query)).all()
        if rows:
            self._conversion = rows[-1].id
        return [self._conversion_event(row) for row in rows]

    def _conversion_event(self, row: Any) -> Event:
        worth = "" if row.amount is None else f" {amount(row.amount, row.currency)}"
        words = {
            "first_deposit": "FTD",
            "registration": "Registration",
            "deposit": "Deposit",
            "qualified": "Qualified FTD",
        }
        text = f"{words.get(row.event, row.event)}{worth} · {row.name or row.offer or 'no campaign'}"
        href = f"/cockpit/story/{self._codec.encode(row.click_id)}" if row.click_id else "/cockpit/logs/conversions"
        return Event(id=f"v{row.id}", kind=str(row.event), at=row.received_at, text=text, href=href, campaign=row.code)


def event_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    feeds: dict[int, Feed] = {}

    @get("/cockpit/events", include_in_schema=False)
    async def events(request: Request[Any, Any, Any]) -> Response[Any]:
        session = await cockpit.sessions.find(request)
        if session is None:
            return Response("sign in first", status_code=401, media_type="text/plain")
        feed = feeds.setdefault(session.actor.team_id, Feed(cockpit, session.actor.team_id))
        last = str(request.headers.get("last-event-id") or request.query_params.get("last") or "")[:40]
        wanted = {name: _code(word) for name in FACETS if (word := str(request.query_params.get(name) or "").strip())}
        events_of_page = _stream(cockpit, request, feed, last, wanted)
        return Stream(events_of_page, media_type="text/event-stream", headers=HEADERS)

    return [events]


async def _stream(
    cockpit: Cockpit, request: Request[Any, Any, Any], feed: Feed, last: str, wanted: dict[str, str]
) -> AsyncIterator[bytes]:
    """Events for one page, until it leaves or its session ends; a limited person sees their campaigns' only.

    `wanted`: facets that a click must have, as the page's filters say; conversions are left out then.
    """
    queue = feed.listen()
    session, checked = await cockpit.sessions.find(request), time.monotonic()
    events = feed.since(last)
    yield b": listening\n\n"
    try:
        while session is not None:
            allowed = session.actor.campaigns
            shown = [
                sent.encoded for sent in events if _may_see(sent.event, allowed) and _is_wanted(sent.event, wanted)
            ]
            if shown:
                yield b"".join(shown)
            try:
                events = await asyncio.wait_for(queue.get(), HEARTBEAT)
            except TimeoutError:
                events = []
                yield b": still here\n\n"
            if time.monotonic() - checked > CHECKED_FOR:
                session, checked = await cockpit.sessions.find(request), time.monotonic()
    finally:
        feed.leave(queue)


def _may_see(event: Event, allowed: tuple[str, ...] | None) -> bool:
    return allowed is None or event.campaign in allowed


def _code(word: str) -> str:
    """What a filter names, by its code where it was typed as a name."""
    return slug(word) or word.lower()


def _is_wanted(event: Event, wanted: dict[str, str]) -> bool:
    return all(_code(event.facets.get(name, "")) == word for name, word in wanted.items())


def _encoded(event: Event) -> bytes:
    return b"id: %s\nevent: happened\ndata: %s\n\n" % (event.id.encode(), msgspec.json.encode(event))
