"""What one alert reads when it is evaluated; reports are shared between the alerts of one run."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.core.context import Deployment
from bot.core.message import Button
from storage.alerts import attention
from storage.alerts.alert_states import Watch
from storage.alerts.live_counts import Scope, Span, counted
from storage.ledger.alerts.thresholds import Rule
from storage.ledger.reports.report_rows import MergedReport
from storage.reports.merged_report import ReportQuery
from storage.reports.rates import load_rates
from storage.reports.report_in_helper import ReportInHelper, report_of
from storage.revenue.held_reports import HeldInHelper
from storage.tables import campaign_offers, campaigns


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A condition's state for one subject. `broken` is None while it is not known.

    `measure`, `value` and `usual` are what is looked at, in words, and empty where they say nothing; `about` names the
    campaigns, account or offer. `since`: when it began, where that is known better than when it was first seen.
    """

    subject: str
    broken: bool | None
    recovered: bool
    text: str
    over: str  # what to say when it is over
    why: str  # the command that shows more
    buttons: tuple[Button, ...] = ()  # what can be decided at once
    noun: str = "Campaign"  # what `about` names
    about: str = ""
    measure: str = ""
    value: str = ""
    usual: str = ""
    since: datetime | None = None


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event; `key` keeps it from being reported twice."""

    key: str
    text: str
    why: str = ""


@dataclass(slots=True)
class AlertRun:
    """Shared by the alerts evaluated together: each report or count is read once."""

    reports: dict[bytes, MergedReport] = field(default_factory=dict)
    counts: dict[tuple[Scope, str, Span], float] = field(default_factory=dict)
    rates: dict[tuple[int, str, date], Decimal | None] = field(default_factory=dict)
    names: dict[tuple[int, str], dict[str | int, str]] = field(default_factory=dict)


@dataclass(slots=True)
class AlertContext:
    """An alert, the moment, and what it reads from."""

    tx: AsyncConnection
    watch: Watch
    now: datetime
    deployment: Deployment
    round: AlertRun = field(default_factory=AlertRun)
    in_helper: ReportInHelper | None = None  # makes large reports beside the event loop
    held_in_helper: HeldInHelper | None = None

    @property
    def rule(self) -> Rule:
        return self.watch.rule

    @property
    def today(self) -> date:
        return self.now.astimezone(self.deployment.zone).date()

    async def report(self, first: date, last: date, by: tuple[str, ...]) -> MergedReport:
        query = ReportQuery(
            team_id=self.watch.team_id, first=first, last=last, by=by, campaigns=self.watch.campaigns,
            timezone=self.deployment.timezone, currency=self.deployment.currency,
        )  # fmt: skip
        key = msgspec.msgpack.encode(query)
        if key not in self.round.reports:
            self.round.reports[key] = await report_of(self.tx, query, self.in_helper)
        return self.round.reports[key]

    async def count(self, measure: str, span: Span) -> float:
        key = (await self.scope(), measure, span)
        if key not in self.round.counts:
            self.round.counts[key] = await counted(self.tx, *key)
        return self.round.counts[key]

    async def rate(self, currency: str, day: date) -> Decimal | None:
        """What one unit of a currency is worth in the report's on a day."""
        key = (self.watch.team_id, currency, day)
        if key not in self.round.rates:
            rates = await load_rates(self.tx, self.watch.team_id, self.deployment.currency, [currency], day, day)
            self.round.rates[key] = rates.rate(currency, day)
        return self.round.rates[key]

    async def names(self, table: Table) -> dict[str | int, str]:
        """What people call the team's campaigns, accounts, offers, by code and by id."""
        key = self.watch.team_id, table.name
        if key not in self.round.names:
            rows = await self.tx.execute(
                select(table.c.id, table.c.code, table.c.name).where(table.c.team_id == self.watch.team_id)
            )
            self.round.names[key] = {word: row.name for row in rows for word in (row.id, row.code)}
        return self.round.names[key]

    async def about(self) -> str:
        """The names of the campaigns watched, three at most; empty for all."""
        if not self.watch.campaigns:
            return ""
        names = await self.names(campaigns)
        shown = [names.get(code, code) for code in self.watch.campaigns[:3]]
        more = len(self.watch.campaigns) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    async def scope(self) -> Scope:
        """Counts of the campaigns watched, together."""
        chosen = await self._chosen()
        ids = None if chosen is None else tuple(sorted(chosen.values()))
        return Scope(self.watch.team_id, self.deployment.timezone, self.now, ids)

    async def scopes(self) -> list[tuple[str, Scope]]:
        """Each campaign watched by its code; the whole team without one."""
        chosen = await self._chosen()
        if chosen is None:
            return [("", await self.scope())]
        return [(code, Scope(self.watch.team_id, self.deployment.timezone, self.now, (campaign_id,)))
                for code, campaign_id in sorted(chosen.items())]  # fmt: skip

    async def _chosen(self) -> dict[str, int] | None:
        if self.watch.campaigns is None:
            return None
        mine = campaigns.c.team_id == self.watch.team_id, campaigns.c.code.in_(self.watch.campaigns)
        rows = await self.tx.execute(select(campaigns.c.code, campaigns.c.id).where(*mine))
        return {row.code: row.id for row in rows}

    async def account_ids(self) -> set[int] | None:
        """Accounts of the campaigns watched; None: all."""
        if self.watch.campaigns is None:
            return None
        return await attention.account_ids_of(self.tx, self.watch.team_id, self.watch.campaigns)

    async def offer_ids(self) -> set[int] | None:
        """Offers of the campaigns watched; None: all."""
        chosen = await self._chosen()
        if chosen is None:
            return None
        query = select(campaign_offers.c.offer_id).where(campaign_offers.c.campaign_id.in_(chosen.values()))
        return set((await self.tx.execute(query)).scalars())
