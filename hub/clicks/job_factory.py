"""From a request to a job for the writer: the client, what the link carried, what the visitor's cookie said."""

from datetime import UTC, datetime
from typing import Any

from hub.clicks import responses as answers
from hub.clicks.decide import CampaignJob, GoingJob, SiteJob
from hub.clicks.query import EMPTY, Query, read_cost, read_currency, read_query
from hub.clicks.state import State
from hub.requests.client import Clients, machine, prefix
from hub.runtime.settings import Settings
from storage.clicks.plans import CampaignPlan, SitePlan
from storage.clicks.visitors import FurtherKeys, KeyPair
from storage.clicks.write_jobs import Click
from storage.clicks.writer import Writer
from storage.ledger.clicks.visitor import (
    DAY_SECONDS,
    Recognition,
    Remembered,
    browser_number,
    offer_place,
    read_cookie,
    visitor_id,
)
from storage.ledger.cost_models import FIXED, UNIQUE

Headers = dict[bytes, bytes]
OWN_PRICE = frozenset({FIXED, UNIQUE})
"""Cost models of which a campaign says what a click costs."""


class ClickJobFactory:
    """Makes jobs; stateless but for what it is given."""

    def __init__(self, state: State, clients: Clients, settings: Settings, writer: Writer) -> None:
        self.state = state
        self.clients = clients
        self._writer = writer
        self._bursts = writer.bursts
        self._currency = settings.report_currency
        self._keeps_prefix = settings.store_ip_prefix

    def click(
        self, scope: Any, headers: Headers, plan: CampaignPlan, at: tuple[SitePlan, int] | None = None
    ) -> tuple[CampaignJob, Remembered | None]:
        """A job out of a request, and what the visitor's cookie said. `at`: where one without a campaign clicked."""
        state, clients = self.state, self.clients
        seconds = state.seconds()
        address = clients.address(scope, headers)
        agent = clients.agent(headers)
        query = read_query(scope["query_string"], plan.source.places)
        keys = state.keys
        ip_hash = keys.address(address)
        burst = self._bursts.count(ip_hash, seconds)
        bot = machine(scope["method"], headers) or agent.bot or burst
        browser = browser_number(ip_hash, agent.mark)
        click = Click(
            state.click_ids.make(seconds), plan.team_id, plan.id, plan.site.id if plan.site else 0, plan.source.id,
            state.hour(seconds), agent, 0, 0, bot, 0, clients.country(address), clients.language(headers),
            bytearray(browser.to_bytes(8, "big")), bytearray(ip_hash), "", clients.referrer(headers), query.click_id,
            -1, "", query.subs,
        )  # fmt: skip
        if query is not EMPTY:
            self._cost_and_rest(click, plan, query)
        elif plan.cost_model in OWN_PRICE:
            self._fixed_cost(click, plan)
        if (plan.budget_day or plan.budget_total) and not bot:
            click.budgets = plan.budgets(click.hour // 24, state.local(seconds)[0])
        click.wide = query.wide
        if self._keeps_prefix:
            click.ip_prefix = prefix(address)
            click.wide = True
        job = SiteJob(state, at[0], at[1], click, seconds) if at else CampaignJob(state, plan, click, seconds)
        if asks := plan.rotation.asks:
            if "ip" in asks:
                job.address = address
            if "city" in asks or "region" in asks:
                job.geo = clients.geo(address)
        remembered = self._remembered(headers, job, job.place) if b"cookie" in headers else None
        if remembered is not None:
            job.bound = remembered.offer_id
            if plan.recognition is not None and plan.recognition.unseen:
                seen = frozenset((*remembered.earlier, remembered.offer_id))
                job.further = FurtherKeys(plan.recognition.lifetime, seen=seen)
        elif not bot:
            self._name_visitor(job, headers, browser, address)
        return job, remembered

    def _name_visitor(self, job: CampaignJob, headers: Headers, browser: int, address: str) -> None:
        """The keys of a visitor whom no cookie of the campaign names."""
        job.visitor_id = visitor_id(browser, job.place)
        hashed = self.state.keys.address_yesterday(address)
        previous = browser_number(hashed, job.click.agent.mark) if hashed is not None else 0
        if previous:
            job.previous_day_visitor_id = visitor_id(previous, job.place)
        if job.campaign.recognition is not None:
            self._further_keys(job, job.campaign.recognition, headers, browsers=(browser, previous))

    def _further_keys(
        self, job: CampaignJob, recognition: Recognition, headers: Headers, *, browsers: tuple[int, int]
    ) -> None:
        """What else a visitor may be known by whom no cookie of the campaign names."""

        def pair(place: int) -> KeyPair:
            browser, previous = browsers
            return visitor_id(browser, place), visitor_id(previous, place) if previous else 0

        job.further = further = FurtherKeys(recognition.lifetime)
        job.click.lifetime = recognition.lifetime
        if scope := recognition.scope:
            job.click.scope, further.scope = scope, pair(scope)
            further.known = b"cookie" in headers and self._remembered(headers, job, scope) is not None
        if recognition.unseen:
            job.click.unseen = True
            campaign = job.campaign
            further.offers = {offer: pair(offer_place(campaign.id, offer)) for offer in campaign.rotation.members}

    def _remembered(self, headers: Headers, job: CampaignJob, place: int) -> Remembered | None:
        value = answers.cookie_value(headers[b"cookie"], place)
        recognition = job.campaign.recognition
        now = datetime.fromtimestamp(job.seconds, UTC)
        seconds = recognition.seconds if recognition else DAY_SECONDS
        return read_cookie(value, self.state.codec, now, seconds) if value else None

    def _cost_and_rest(self, click: Click, plan: CampaignPlan, query: Query) -> None:
        if plan.cost_model == "link":
            if query.cost:
                self._link_cost(click, plan, query)
        elif plan.cost_model in OWN_PRICE:
            self._fixed_cost(click, plan)
        if query.extra:
            click.extra = answers.as_json(query.extra)
        if query.macros or query.cut:
            self._faults(plan, query, click.hour)

    def _link_cost(self, click: Click, plan: CampaignPlan, query: Query) -> None:
        """The cost that the link says; one that cannot be read, or is in two currencies, is kept as text."""
        own = plan.currency or self._currency
        if query.currency:
            own = read_currency(query.currency, own)
        cost, beside = read_cost(query.cost, own)
        if cost < 0 or (beside and query.currency and beside != own):
            query.extra, query.wide = {**(query.extra or {}), "cost": query.cost}, True
            return
        click.cost = cost
        click.currency = beside or own

    def _fixed_cost(self, click: Click, plan: CampaignPlan) -> None:
        price = plan.country_prices.get(click.country, plan.cost) if plan.country_prices else plan.cost
        if price is not None:
            click.cost = price
            click.cost_of_unique = plan.cost_model == UNIQUE
            click.currency = plan.currency or self._currency

    def _faults(self, plan: CampaignPlan, query: Query, hour: int) -> None:
        for name in query.macros[:20]:
            self._writer.fault((plan.team_id, hour // 24, "macro", f"{plan.source.code}:{name}"))
        if query.cut:
            self._writer.fault((plan.team_id, hour // 24, "cut", plan.code))

    def outgoing(
        self, scope: Any, headers: Headers, site: SitePlan, offer_id: int, *, click_id: int, word: str
    ) -> GoingJob:
        """An outgoing click of a visitor who came with the click `click_id`."""
        seconds = self.state.seconds()
        client = self.clients.identify(scope, headers)
        burst = self._bursts.count(self.state.keys.address(client.address), seconds)
        return GoingJob(
            self.state, site, offer_id, outgoing_id=self.state.click_ids.make(seconds), click_id=click_id, word=word,
            seconds=seconds, bot=client.bot or burst,
        )  # fmt: skip
