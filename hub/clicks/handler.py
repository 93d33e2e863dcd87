"""GET /c/{code} and /go/{site}/{offer}: read, decide, on disk, redirect. Answered ahead of Litestar's router.

hub.requests.client and hub.clicks.query read the request, storage.clicks.writer gathers jobs (hub.clicks.decide) into
one transaction, and the 302 is sent after its commit.
"""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import structlog

from hub.clicks import responses as answers
from hub.clicks.closed_campaigns import TURNED_AWAY, ClosedCampaigns, leads_anywhere
from hub.clicks.decide import CampaignJob, FailedJob
from hub.clicks.job_factory import ClickJobFactory
from hub.clicks.state import State
from hub.requests.client import Client, Clients
from hub.requests.country import Countries
from hub.requests.hosts import EVERY_TEAM, NO_TEAM, Hosts, host_of
from hub.requests.user_agents import UserAgents
from hub.runtime.runtime import Runtime
from hub.runtime.tracing import tracer
from storage.clicks import daily_keys, partitions, plans, worker_numbers
from storage.clicks.plans import CampaignPlan, SitePlan
from storage.clicks.queries import codec as read_codec
from storage.clicks.queries import ensure_codec, next_worker
from storage.clicks.worker_numbers import WorkerNumber
from storage.clicks.write_jobs import VISITS, Click
from storage.clicks.writer import Writer
from storage.db import config_version, database_age, tasks
from storage.db.spool_file import left_folders, spool_folder, unwritable
from storage.ledger.clicks.click_id import ClickIdGenerator, Codec
from storage.ledger.clicks.visitor import DAY_SECONDS, Keys, Remembered
from storage.ledger.facts import Reason

log = structlog.get_logger()

REFRESH = 0.3  # seconds between looks for a changed configuration
SET_BACK = 2.0  # seconds that a clock is set back at least before ids follow it; less is made up for by waiting
_METHODS = frozenset({"GET", "HEAD"})
_BINOM_PATHS = frozenset({"", "click", "click.php", "index.php"})
_LONGEST_ALIAS = 100
_BUDGET = Reason.BUDGET  # looked up once: in Python 3.11 that is a call
_MOST_SUBJECTS = 1000  # different unknown codes counted by name in one process; the rest as one


class Clicks:
    """The hot path of one process."""

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self._database = runtime.database
        self._clients = Clients(settings.trusted_proxies, Countries(settings.geoip_file), UserAgents())
        self._cookie_factory = answers.CookieFactory(secure=settings.public_url.startswith("https:"))
        self._hosts = Hosts(settings.public_url)
        self._loops: list[asyncio.Task[None]] = []
        self._seen_change = -1
        self._turn = asyncio.Lock()
        self._refreshed_at: datetime | None = None
        self._subjects: set[str] = set()
        self._failures = 0
        self._closed = ClosedCampaigns(runtime)
        self.state: State
        self.writer: Writer
        self._worker: WorkerNumber
        self._left: list[Path] = []  # folders of spools, beside our own

    async def start(self) -> None:
        """Load plans and keys, open the writer, follow changes."""
        runtime = self._runtime
        codec, keys = await self._identity()
        worker = self._worker.number
        self.writer = Writer(
            self._database, spool=spool_folder(self._database.url), number=codec.fingerprint,
            name=f"{os.getpid()}-{worker}", clock=runtime.clock, left=self._left,
        )  # fmt: skip
        self.state = State(
            codec=codec,
            click_ids=ClickIdGenerator(worker),
            zone=runtime.deployment.zone,
            clock=runtime.clock,
            full=self.writer.full,
        )
        self.state.keys = keys
        self._seen_change = -1
        self._factory = ClickJobFactory(self.state, self._clients, runtime.settings, self.writer)
        await self.refresh()
        await asyncio.to_thread(self._clients.warm)
        await self.writer.start()
        self._loops = [tasks.start_interval("campaigns refresh", REFRESH, self._follow)]
        if self._database.sqlite:
            older = partial(database_age.grow_older, self._database)
            self._loops.append(tasks.start_interval("database age", database_age.EVERY, older))

    async def _identity(self) -> tuple[Codec, Keys]:
        """The database's codec and keys, and a number that no other process makes ids with."""
        database, today = self._database, self._runtime.clock().astimezone(UTC).date()
        folder = spool_folder(database.url)
        if (snapshot := self._runtime.snapshot) is not None:
            self._worker = await asyncio.to_thread(worker_numbers.reuse, folder, snapshot.number)
            self._refreshed_at = snapshot.described.taken_at
            async with snapshot.read() as tx:
                self._left = await left_folders(tx)
                return await read_codec(tx), await daily_keys.read_keys(tx, today)
        async with database.begin() as tx:
            codec = await ensure_codec(tx)
            number = await next_worker(tx)
            keys = await daily_keys.keys(tx, today)
            await partitions.ensure(tx, self._runtime.clock())
            self._left = await left_folders(tx)
        self._worker = await self._held(codec, number)
        return codec, keys

    async def _held(self, codec: Codec, number: int) -> WorkerNumber:
        """A number that the database gave out, as this process's."""
        if self._database.sqlite:
            return WorkerNumber(number)
        folder = spool_folder(self._database.url)
        try:
            return await asyncio.to_thread(worker_numbers.hold, folder, codec.fingerprint, number)
        except OSError as error:
            raise unwritable(folder, error) from None

    async def database_back(self) -> None:
        """Go on with the database after a start without it; safe to be called again."""
        now = self._runtime.clock()
        async with self._database.begin() as tx:
            await partitions.ensure(tx, now)
            self.state.keys = await daily_keys.keys(tx, now.astimezone(UTC).date())
        self._seen_change = -1
        await self.writer.bursts.load(self._database, now)

    async def stop(self) -> None:
        """Everything taken in is stored before this returns."""
        if self._loops:
            await tasks.stop(*self._loops)
            await self.writer.stop()
            self._worker.release()

    async def refresh(self) -> None:
        """Take the configuration in as it is now; happens by itself within a third of a second of any change."""
        async with self._turn:
            if await self._runtime.configuration.look(config_version.current) != self._seen_change:
                async with self._runtime.configuration.read() as tx:
                    version = await config_version.current(tx)
                    self.state.plans = await plans.load(tx, self._runtime.settings.public_url, self.state.plans)
                self._hosts.replace(self.state.plans.hosts)
                self._seen_change = version
        if self._runtime.snapshot is None:
            self._refreshed_at = self._runtime.clock()

    async def _follow(self) -> None:
        await self.refresh()
        await self._rotate_keys()
        await self._follow_clock()
        await self._closed.tell(self.state.plans)

    async def _rotate_keys(self) -> None:
        today = self._runtime.clock().astimezone(UTC).date()
        if today != self.state.keys.day and self._runtime.snapshot is None:
            async with self._database.begin() as tx:
                self.state.keys = await daily_keys.keys(tx, today)

    async def _follow_clock(self) -> None:
        """Make ids under another number once the clock was set back: under the one before they never go back."""
        ahead = self.state.click_ids.ahead(self._runtime.clock().timestamp())
        if ahead < SET_BACK or self._runtime.snapshot is not None:
            return
        log.warning("the clock was set back: click ids follow it", seconds=round(ahead))
        async with self._database.begin() as tx:
            number = await next_worker(tx)
        former, self._worker = self._worker, await self._held(self.state.codec, number)
        self.state.click_ids = ClickIdGenerator(number)
        former.release()

    def health(self) -> dict[str, Any]:
        """For /readyz and /metrics. `spooled` clicks wait outside the database, `unsaved` of them in memory only.

        Ages are in seconds.
        """
        now = self._runtime.clock()
        commit, fresh = self.writer.last_commit, self._refreshed_at
        return {
            "spooled": self.writer.spooled,
            "unsaved": self.writer.unsaved,
            "database_down": int(self.writer.down),
            "database_fault": self.writer.down_reason,
            "plans_age": round((now - fresh).total_seconds(), 1) if fresh else None,
            "last_commit": commit.isoformat() if commit else None,
            "campaigns": len(self.state.plans.campaigns),
            "click_failures": self._failures + self.writer.failed_decisions,
            **{f"writer_{name}": n for name, n in self.writer.tally.items()},
        }

    def try_fast_path(self, scope: Any, send: Any, added: answers.Added = answers.NOTHING_ADDED) -> bool:
        """A click on a campaign's link, answered with `send` (hub.web.listener); False if it is anything else.

        `added` are headers that every answer is to carry.
        """
        path = scope["path"]
        plan = self.state.plans.campaigns.get(path[3:]) if path.startswith("/c/") else None
        if plan is None or scope["method"] not in _METHODS:
            return False
        headers = dict(scope["headers"])
        if not self._hosts.admits(scope, plan.team_id, headers):
            return False
        self._click(scope, plan, send, headers, added)
        return True

    def old_link(self, scope: Any) -> str:
        """The code of the campaign that a link of another tracker leads to, on the team's own domain; else empty."""
        aliases = self.state.plans.aliases
        team_id = self.team_of_domain(scope) if aliases and scope["method"] in _METHODS else None
        if team_id is None:
            return ""
        return aliases.get((team_id, alias_of(scope["path"], scope["query_string"])), "")

    def team_of_domain(self, scope: Any) -> int | None:
        """The team whose own domain a request is for; None elsewhere."""
        team_id = self._hosts.team(scope)
        return None if team_id in (EVERY_TEAM, NO_TEAM) else team_id

    async def follow(self, scope: Any, send: Any, code: str) -> None:
        """A visit through an old link, as through the campaign's own."""
        await self._campaign(scope, send, code)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI: any path below /c/ and /go/, in any letter case, with any number of slashes."""
        if scope["method"] not in _METHODS:
            await answers.give(send, answers.NOT_ALLOWED)
            return
        parts = [part for part in scope["path"].lower().split("/") if part]
        if len(parts) > 1 and parts[0] == "c":
            await self._campaign(scope, send, parts[1])
        elif len(parts) > 2 and parts[0] == "go":
            await self._outgoing(scope, send, parts[1], parts[2])
        else:
            await self._unknown(scope, send, scope["path"])

    async def _campaign(self, scope: Any, send: Any, code: str) -> None:
        plan = self.state.plans.campaigns.get(code)
        if plan is None or not self._hosts.admits(scope, plan.team_id):
            await self._unknown(scope, send, code)
            return
        messages: list[Any] = []
        answered = asyncio.Event()

        def send_message(message: Any) -> None:
            messages.append(message)
            if len(messages) == 2:
                answered.set()

        self._click(scope, plan, send_message, dict(scope["headers"]))
        await answered.wait()
        await answers.give(send, (messages[0], messages[1]))

    def _click(
        self, scope: Any, plan: CampaignPlan, send: Any, headers: dict[bytes, bytes], added: answers.Added | None = None
    ) -> None:
        """Never raises: whatever happens, the visitor is sent somewhere. Without `added` the answer is ASGI's."""
        began = tracer.began()
        try:
            job, remembered = self._factory.click(scope, headers, plan)
        except Exception as error:
            self._redirect_after_failure(plan, send, error, added)
            return
        site = plan.site
        asks_for_id = site is not None and site.origin != "" and answers.asks_for_id(headers, site.origin)
        self.writer.enqueue(
            job, partial(self._answer, send, job, remembered, added, scope["method"], asks_for_id, began)
        )

    def _answer(
        self, send: Any, job: CampaignJob, remembered: Remembered | None, added: answers.Added | None,
        method: str, asks_for_id: bool, began: int,
    ) -> None:  # fmt: skip
        """Answer a click that is on disk. `asks_for_id`: with the click's id in place of a redirect; `began`: when the
        request did, for its trace."""
        messages: Sequence[Any]
        try:
            url = job.url()
            if job.click.reason == _BUDGET:
                self._closed.add_budget(job.campaign)
            if url and added is not None and not asks_for_id:
                messages = (answers.redirection_at_once(url, self._cookies(job, remembered), added),)
            else:
                answer = self._other_answer(job, url, remembered, method, asks_for_id=asks_for_id)
                messages = _with(answer, added)
        except Exception as error:
            messages = _with(self._failed_answer(job.campaign, error), added)
        for message in messages:
            send(message)
        if began:
            outcome = Reason(job.click.reason).name.lower()
            tracer.record("click", began, campaign=job.campaign.code, outcome=outcome)

    def _other_answer(
        self, job: CampaignJob, url: str | None, remembered: Remembered | None, method: str, *, asks_for_id: bool
    ) -> answers.Answer:
        site = job.campaign.site
        if site is not None and asks_for_id:
            return answers.without_redirect(job.word, site.origin)
        if url:
            return answers.redirection(url, self._cookies(job, remembered))
        if job.click.reason not in TURNED_AWAY:
            self._closed.add(job.campaign, job.click.reason)
        page = answers.NOTHING_OPEN if leads_anywhere(job.campaign) else answers.NOWHERE
        return answers.without_body(page, method)

    def _cookies(self, job: CampaignJob, remembered: Remembered | None) -> Sequence[str]:
        """Nothing for machines, and nothing that the visitor has already."""
        click, make = job.click, self._cookie_factory
        if click.bot:
            return ()
        path = "/c/" if click.campaign_id else "/go/"
        recognition = job.campaign.recognition
        if remembered is None and recognition is None:
            cookies = [make.first(job.place, job.word, click.offer_id, path)]
        else:
            seconds = recognition.seconds if recognition is not None else DAY_SECONDS
            cookies = []
            if remembered is None or remembered.offer_id != click.offer_id:
                first = remembered.click if remembered else job.word
                cookies.append(make.remembered(job.place, first, job.offers_seen(), path=path, seconds=seconds))
            if job.further is not None and job.further.scope and not job.further.known:
                cookies.append(make.remembered(click.scope, job.word, (click.offer_id,), path=path, seconds=seconds))
        if click.site_id and click.campaign_id and not click.offer_id:
            cookies.append(make.carried(job.word))
        return cookies

    def _redirect_after_failure(
        self, plan: CampaignPlan, send: Any, error: Exception, added: answers.Added | None
    ) -> None:
        """Something of ours broke: the click is kept as far as known, and the visitor redirected all the same."""
        job = self._failed_job(plan, error)

        def answer() -> None:
            url = job.url()
            if not url:
                self._closed.add(plan, job.click.reason)
            answer = answers.redirection(url) if url else answers.NOTHING_OPEN
            for message in _with(answer, added):
                send(message)

        self.writer.enqueue(job, answer)

    def _failed_answer(self, plan: CampaignPlan, error: Exception) -> answers.Answer:
        """The click is stored, but where it goes cannot be said: to the first place there is."""
        try:
            job = self._failed_job(plan, error)
            job.give_up()
            url = job.url()
        except Exception:
            url = None
        return answers.redirection(url) if url else answers.NOTHING_OPEN

    def _failed_job(self, plan: CampaignPlan, error: Exception) -> FailedJob:
        self._failures += 1
        log.error("a click failed", campaign=plan.code, error=type(error).__name__, exc_info=error)
        click = Click(
            self.state.click_ids.make(), plan.team_id, plan.id, plan.site.id if plan.site else 0, plan.source.id,
            self.state.hour(self.state.seconds()), answers.UNREAD,
        )  # fmt: skip
        return FailedJob(self.state, plan, click, self.state.seconds())

    async def _outgoing(self, scope: Any, send: Any, site_code: str, offer_code: str) -> None:
        plans = self.state.plans
        site = plans.sites.get(site_code)
        offer_id = plans.offer_codes.get((site.team_id, offer_code)) if site else None
        if site is None or offer_id is None or not self._hosts.admits(scope, site.team_id):
            await self._unknown(scope, send, f"{site_code}/{offer_code}")
            return
        headers = dict(scope["headers"])
        word = self._carried(scope, headers)
        click_id = self.state.codec.decode(word) if word else None
        if word and click_id is not None:
            outgoing = self._factory.outgoing(scope, headers, site, offer_id, click_id=click_id, word=word)
            await self.writer.submit(outgoing)
            if outgoing.found or outgoing.early or self.writer.down:
                await answers.give(send, self._outgoing_answer(scope, site, outgoing.url(), ()))
                return
        job, remembered = self._factory.click(scope, headers, self.state.no_campaign(site), (site, offer_id))
        await self.writer.submit(job)
        await answers.give(send, self._outgoing_answer(scope, site, job.url(), self._cookies(job, remembered)))

    def _outgoing_answer(self, scope: Any, site: SitePlan, url: str | None, cookies: Sequence[str]) -> answers.Answer:
        if url:
            return answers.redirection(url, cookies)
        self._closed.add_site(site)
        return answers.without_body(answers.NOTHING_OPEN, scope["method"])

    def _carried(self, scope: Any, headers: dict[bytes, bytes]) -> str | None:
        """The click that the visitor came to the site with, by the link or else by cookie."""
        query = scope["query_string"]
        if b"click=" in query:
            parameters = parse_qs(query[:2000].decode("utf-8", "replace"), errors="replace", max_num_fields=None)
            if parameters.get("click"):
                return str(parameters["click"][0]).lower()
        cookie = headers.get(b"cookie")
        return answers.carried_value(cookie) if cookie else None

    async def _unknown(self, scope: Any, send: Any, code: str) -> None:
        """404, and counted under the code, so that a mistyped link is found; by the team whose domain it is."""
        team_id = self._hosts.team(scope)
        under = "" if team_id == EVERY_TEAM else f" at {host_of(scope) or 'no host'}"
        subject = (code[:80] + under[:80]).replace("\x00", "")
        if subject not in self._subjects:
            if len(self._subjects) >= _MOST_SUBJECTS:
                subject = "(others)"
            self._subjects.add(subject)
        day = self.state.hour(self.state.seconds()) // 24
        owner = self._runtime.team_id if team_id in (EVERY_TEAM, NO_TEAM) else team_id
        self.writer.fault((owner, day, "unknown_code", subject))
        await answers.give(send, answers.without_body(answers.UNKNOWN, scope["method"]))

    def visit(
        self, scope: Any, *, team_id: int, site_id: int, campaign_id: int = 0, offer_id: int = 0, source_id: int = 0
    ) -> bool:
        """Count a page view of a site in the roll-up (`site_visits`), unless a machine made it; never waits.

        `scope` is the page's ASGI request: country and device are read from it. Returns whether it was counted.
        """
        headers = dict(scope["headers"])
        seconds = self.state.seconds()
        client = self._clients.identify(scope, headers)
        if client.bot:
            return False
        hour = self.state.hour(seconds)
        key = (team_id, hour, campaign_id, site_id, offer_id, source_id, client.country, client.agent.device, "")
        self.writer.count(key, VISITS)
        return True

    async def track(self, scope: Any, plan: CampaignPlan) -> str:
        """The id of a click that a page's server reports, stored as any other; `scope` names the visitor."""
        job, _ = self._factory.click(scope, dict(scope["headers"]), plan)
        await self.writer.submit(job)
        return str(job.word)

    def client(self, scope: Any) -> Client:
        """The client, without counting a click: for pages and the beacon."""
        return self._clients.identify(scope, dict(scope["headers"]))


def _with(answer: answers.Answer, added: answers.Added | None) -> answers.Answer:
    return answer if added is None else answers.with_headers(answer, added.headers)


def alias_of(path: str, query: bytes) -> str:
    """The word by which another tracker knows the campaign of a link: `/{word}`, or Binom's `/click?key={word}`."""
    word = path.strip("/")
    if word in _BINOM_PATHS:
        parameters = parse_qs(query[:2000].decode("utf-8", "replace"), errors="replace")
        return next((parameters[name][0] for name in ("key", "camp_id") if parameters.get(name)), "")
    return "" if "/" in word or len(word) > _LONGEST_ALIAS else word


def is_click_path(path: str) -> bool:
    """Whether a path is below /c/ or /go/, in any letter case and with any number of slashes before it."""
    return path.startswith(("/c/", "/go/")) or path[:100].lstrip("/").lower().startswith(("c/", "go/"))
