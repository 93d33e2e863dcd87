"""The demo team's last 30 days: clicks, postbacks, spend and uploaded figures, stored as they would have come."""

import random
from base64 import b64encode
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from bot.core.command import parse, run
from connectors.registry import platform_words
from hub.cli.shell_context import shell_context
from hub.runtime.runtime import Runtime
from storage.catalogue import names
from storage.clicks import partitions
from storage.clicks.queries import ensure_codec, next_worker
from storage.clicks.write_jobs import Agent, Click, ClickJob
from storage.clicks.writer import Writer
from storage.ledger.clicks.click_id import ClickIdGenerator
from storage.postbacks.conversions import ConversionProcessor, receive
from storage.postbacks.postback_accounts import load
from storage.postbacks.requests import PostbackRequest, postback_request
from storage.reports import analytics
from storage.reports.analytics import View
from storage.tables import campaigns
from storage.tables.types import EPOCH_DAY

DAYS = 30
REPORTED_DAYS = 5  # days that each upload speaks of
_SITE = "the site under test"
_PRICE = 620_000  # micro-units of a click
_AGENTS = tuple(
    Agent(text=f"history {device}", device=device, os=os, browser=browser)
    for device, os, browser in (
        ("mobile", "iOS", "Safari"), ("mobile", "Android", "Chrome"), ("desktop", "Windows", "Chrome"),
        ("tablet", "iOS", "Safari"),
    )
)  # fmt: skip
_HEADER = (
    "day,tag,currency,visits,registrations,first_deposits,deposits,deposit_amount,ngr,commission_cpa,"
    "commission_revshare"
)


class Line(msgspec.Struct, frozen=True):
    """A campaign of the demo: its account, tag, source, clicks on a usual day, and what an FTD brings (whole euros)."""

    name: str
    account: str
    casino: str
    source: str
    country: str
    clicks: int
    growth: float  # of the clicks over the 30 days
    cpa: int
    spend_known: bool  # by the link; otherwise recorded by the day


LINES = (
    Line("Alpine Native", "north-play", "Alpine Spins", "nativedesk", "DE", 105, 0.5, 38, True),
    Line("Baltic Search", "baltic-partners", "Baltic Crown", "searchhub", "FI", 70, -0.3, 44, False),
    Line("Verde Native", "casa-verde", "Casa Verde", "nativedesk", "AT", 85, 0.1, 34, True),
)


class DayFigures(msgspec.Struct):
    """What the casino counted of a campaign on a day; money in cents."""

    visits: int = 0
    registrations: int = 0
    first_deposits: int = 0
    deposits: int = 0
    deposit_cents: int = 0
    ngr_cents: int = 0

    def line(self, day: date, tag: str, cpa: int, *, factor: int = 1) -> str:
        counts = (self.visits, self.registrations, self.first_deposits, self.deposits)
        money = (self.deposit_cents, self.ngr_cents, self.first_deposits * cpa * 100, max(0, self.ngr_cents) // 5)
        shown = [str(n * factor) for n in counts] + [f"{cents * factor / 100:.2f}" for cents in money]
        return ",".join([day.isoformat(), tag, "EUR", *shown])


class DemoPlayers:
    """The players of one account as its platform reports them: one line for each player and day with something."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._random = random.Random(21)
        self._registered: list[tuple[str, date, int]] = []

    def register(self, click_id: str, day: date, deposit: int) -> None:
        """A player, with the first deposit of that day in whole euros, if there is one."""
        self._registered.append((click_id, day, deposit))

    def report(self, last: date) -> str:
        """The CSV of all days until `last`."""
        lines = ["player,registered,day,click id,country,currency,deposits,deposit amount,ngr,commission"]
        for click_id, registered, deposit in self._registered:
            country = self._random.choices(("DE", "AT", "CH"), (7, 2, 1))[0]
            days = {registered: (deposit, self._line.cpa)} if deposit else {registered: (0, 0)}
            day = registered
            while deposit and self._random.random() < 0.6:
                day += timedelta(days=self._random.randrange(1, 9))
                days[day] = self._random.choice((20, 20, 30, 50, 100)), 0
            for when, (amount, cpa) in days.items():
                ngr = round(amount * self._random.gauss(0.4, 0.3), 2)
                commission = round(cpa + ngr / 5, 2)
                figures = f"{int(amount > 0)},{amount},{ngr},{commission}"
                if when <= last:
                    lines.append(f"p-{click_id},{registered},{when},{click_id},{country},EUR,{figures}")
        return "\n".join(lines)


class History:
    """Writes the past of a new team day by day, with the clock of each day."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self._runtime = runtime
        self._now = self._until = runtime.clock()
        runtime.clock = lambda: self._now
        self._random = random.Random(20)  # the same figures each time
        self._figures: dict[tuple[str, date], DayFigures] = {}
        self._withdrawn = False  # whether the one first deposit is gone that vanishes
        self._writer = Writer(
            runtime.database, spool=folder / "history", number="demo", name="history", clock=runtime.clock
        )
        self._ids: dict[str, ClickIdGenerator] = {}  # one a campaign: ids of one generator never go back in time
        self._rows: dict[str, Any] = {}
        self._offers: dict[str, int] = {}  # by their casino's code
        self._codes: list[str] = []  # of the offers
        self._site_id = 0
        self._players = DemoPlayers(LINES[0])

    async def write(self) -> None:
        """The team's set-up 31 days ago, then each day until now, and a report that is held."""
        last = self._until.date()
        first = last - timedelta(days=DAYS)
        self._now = self._at(first, 7)
        await self._set_up()
        await self._writer.start()
        try:
            for n in range(DAYS + 1):
                await self._day(first + timedelta(days=n), n)
        finally:
            await self._writer.stop()
        self._now = self._until
        report = self._players.report(last - timedelta(days=1)).encode()
        await self._say(f"player upload {LINES[0].account}", file=b64encode(report).decode())
        await self._upload(LINES[2], last, factor=2, days=12)  # every figure doubled: held until a member confirms

    def _at(self, day: date, hour: int) -> datetime:
        return datetime.combine(day, time(hour), self._runtime.deployment.zone)

    async def _say(self, text: str, **more: Any) -> Any:
        command, arguments = parse(text)
        answer = await run(command, arguments | more, shell_context(self._runtime))
        return answer.result

    async def _set_up(self) -> None:
        await self._say("source add name=NativeDesk preset=custom")
        await self._say("source add name=SearchHub preset=custom")
        for line in LINES:
            await self._say(f"account add platform=csv_upload name={line.account} timezone=UTC currency=EUR")
            offer = await self._say(
                f'offer add casino="{line.casino}" account={line.account} tag={_tag(line)} markets={line.country} '
                f'url="https://{_tag(line)}.example.test/?s={{click_id}}" deal="CPA {line.cpa} EUR + 20 % rev share"'
            )
            cost = "link" if line.spend_known else "daily"
            await self._say(
                f'campaign create name="{line.name}" offers={offer.code} source={line.source} cost_model={cost} '
                "currency=EUR"
            )
        offers = (await self._say("offer list")).items
        self._offers = {offer.casino: offer.id for offer in offers}
        self._codes = [offer.code for offer in offers]
        order = ",".join(self._codes)
        site = await self._say(f'site create name="Spin Compass" market=DE locale=en theme=comparison offers={order}')
        await self._say('variant add site=spin-compass theme=review headline="Three casinos, compared"')
        self._site_id = site.id
        async with self._runtime.database.begin() as tx:
            for line in LINES:
                campaign = await names.find(
                    tx, campaigns, self._runtime.team_id, names.slug(line.name), field="campaign"
                )
                self._rows[line.name] = campaign
            for name in (*self._rows, _SITE):
                self._ids[name] = ClickIdGenerator(await next_worker(tx))

    async def _day(self, day: date, n: int) -> None:
        """One day: yesterday's figures are uploaded in the morning, then visitors come, and some of them play."""
        if n:
            self._now = min(self._at(day, 6), self._until)
            for line in LINES:
                self._restate(line, day, n)
                await self._upload(line, day)
        self._now = min(self._at(day, 23), self._until)
        async with self._runtime.database.begin() as tx:
            await partitions.ensure(tx, self._now)
        await self._site_visits(day)
        arrivals: list[PostbackRequest] = []
        for line in LINES:
            clicks = await self._clicks(line, day, n)
            arrivals += await self._conversions(line, day, clicks)
            if not line.spend_known and clicks:
                amount = len(clicks) * _PRICE / 1e6
                code = names.slug(line.name)
                await self._say(f"spend add campaign={code} day={day} amount={amount:.2f} currency=EUR")
        await self._receive(arrivals)

    async def _clicks(self, line: Line, day: date, n: int) -> list[tuple[datetime, int]]:
        week = 1.15 if day.weekday() >= 4 else 1.0
        usual = line.clicks * (1 + line.growth * n / DAYS) * week
        count = max(1, round(self._random.gauss(usual, usual / 12)))
        start = self._at(day, 0)
        seconds = sorted(int(86_400 * self._random.betavariate(3, 2)) for _ in range(count))
        moments = [start + timedelta(seconds=s) for s in seconds]
        clicks = [(moment, self._click(line, moment)) for moment in moments if moment < self._until]
        jobs = [self._writer.submit(ClickJob(click)) for _, click in clicks]
        for job in jobs:
            await job
        return [(moment, click.id) for moment, click in clicks]

    def _click(self, line: Line, moment: datetime) -> Click:
        row = self._rows[line.name]
        subs = (f"banner-{self._random.randrange(4)}", f"zone-{self._random.randrange(9)}", *("",) * 8)
        return Click(
            id=self._ids[line.name].make(moment.timestamp()), team_id=self._runtime.team_id, campaign_id=row.id,
            site_id=0,
            source_id=row.source_id or 0, offer_id=self._offer(line), hour=_hour(moment),
            agent=self._random.choice(_AGENTS), unique=int(self._random.random() < 0.86), country=line.country,
            language="de", subs=subs,
            cost=_PRICE if line.spend_known else -1, currency="EUR" if line.spend_known else "",
        )  # fmt: skip

    async def _site_visits(self, day: date) -> None:
        """Visitors of the site under test, who see either variant; the second one leads more of them on."""
        start = self._at(day, 8)
        views = []
        for n in range(44):
            at, variant = start + timedelta(minutes=15 * n), "ab"[n % 2]
            if at >= self._until:
                break
            agent = self._random.choice(_AGENTS)
            went_on = self._random.random() < {"a": 0.27, "b": 0.38}[variant]
            views.append(View(
                id=self._ids[_SITE].make(at.timestamp()), team_id=self._runtime.team_id, site_id=self._site_id,
                variant=variant, day=(day - EPOCH_DAY).days, at=at, visitor=f"{day}-{n}", country="DE",
                device=agent.device, os=agent.os, browser=agent.browser, referrer="news.example.test",
                milliseconds=self._random.randrange(2_000, 70_000), scroll=self._random.randrange(20, 100),
                seen=list(self._codes), clicked=[self._random.choice(self._codes)] if went_on else [],
            ))  # fmt: skip
        async with self._runtime.database.begin() as tx:
            await analytics.record(tx, views)

    def _offer(self, line: Line) -> int:
        return self._offers[names.slug(line.casino)]

    async def _conversions(
        self, line: Line, day: date, clicks: Sequence[tuple[datetime, int]]
    ) -> list[PostbackRequest]:
        """Postbacks of the day's players; what the casino counts of them is kept in the figures."""
        figures = self._figures[line.name, day] = DayFigures(visits=round(len(clicks) * 0.94))
        async with self._runtime.database.begin() as tx:
            codec = await ensure_codec(tx)
            book = await load(tx, platform_words)
        account = next(account for account in book.by_id.values() if account.code == line.account)
        arrivals: list[PostbackRequest] = []
        for moment, click_id in clicks:
            word = codec.encode(click_id)
            events = self._events(figures)
            if events and line is LINES[0]:
                self._players.register(word, moment.date(), events[-1][1])
            for event, amount in events:
                query = {"click_id": word, "event": event, "txn_id": f"{event}-{word}", "player_id": f"p-{word}"}
                query |= {"amount": f"{amount}.00", "currency": "EUR"} if amount else {}
                arrivals.append(postback_request(account, moment, query=urlencode(query).encode()))
        return arrivals

    async def _receive(self, arrivals: list[PostbackRequest]) -> None:
        """Keeps the day's postbacks of all accounts in the order of their times."""
        zone = self._runtime.deployment.zone
        async with self._runtime.database.begin() as tx:
            codec = await ensure_codec(tx)
            processor = ConversionProcessor(
                book=await load(tx, platform_words), codec=codec, zone=zone, now=self._now
            )  # fmt: skip
            await receive(tx, sorted(arrivals, key=lambda arrival: arrival.received_at), processor)

    def _events(self, figures: DayFigures) -> list[tuple[str, int]]:
        """What the visitor of one click does at the casino, counted in the figures: event and amount in whole euros."""
        if self._random.random() > 0.11:
            return []
        figures.registrations += 1
        if self._random.random() > 0.17:
            return [("registration", 0)]
        amount = self._random.choice((20, 30, 50, 50, 100))
        figures.first_deposits += 1
        figures.deposits += 1
        figures.deposit_cents += amount * 100
        figures.ngr_cents += round(amount * self._random.gauss(35, 25))
        return [("registration", 0), ("first_deposit", amount)]

    def _restate(self, line: Line, today: date, n: int) -> None:
        """Platforms correct settled days: NGR now and then, once a first deposit is gone."""
        earlier = self._figures.get((line.name, today - timedelta(days=3)))
        if earlier is None:
            return
        if n % 6 == 0:
            earlier.ngr_cents = round(earlier.ngr_cents * 0.85)
        if line is LINES[0] and n >= DAYS - 8 and earlier.first_deposits and not self._withdrawn:
            earlier.first_deposits -= 1
            self._withdrawn = True

    async def _upload(self, line: Line, today: date, *, factor: int = 1, days: int = REPORTED_DAYS) -> None:
        """The figures of the last whole days, as the platform's file has them."""
        rows = [
            figures.line(day, _tag(line), line.cpa, factor=factor)
            for n in range(days, 0, -1)
            if (figures := self._figures.get((line.name, day := today - timedelta(days=n)))) is not None
        ]
        if rows:
            await self._say(f"sync upload {line.account}", lines=[_HEADER, *rows])


def _tag(line: Line) -> str:
    return names.slug(line.casino)


def _hour(moment: datetime) -> int:
    return (moment.date() - EPOCH_DAY).days * 24 + moment.hour
