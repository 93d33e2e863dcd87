"""A team's books for tests of the delayed layer: accounts, offers, campaigns; clicks, conversions, reports."""

import zlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.db import touch_marks
from storage.ledger.clicks.click_id import Codec, first_id_at
from storage.ledger.facts import Figures, Report, RevenueRow
from storage.ledger.reports.report_rows import MergedReport
from storage.reports.merged_report import ReportQuery, merged_report
from storage.revenue.revisions import Recorded, Recording
from storage.revenue.row_diff import Origin
from storage.tables import (
    accounts,
    campaign_offer_spans,
    campaigns,
    casinos,
    click_rollup,
    clicks,
    conversion_states,
    conversions,
    offers,
    sites,
    sources,
    user_agents,
)
from storage.tables.types import EPOCH_DAY

FIRST = date(2026, 10, 1)
UTC_ZONE = ZoneInfo("UTC")


def at(day: date, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def later(days: int) -> date:
    return FIRST + timedelta(days=days)


@dataclass
class Books:
    """Ids by name, and short ways to write facts."""

    team_id: int
    codec: Codec
    ids: dict[str, int] = field(default_factory=dict)
    zones: dict[int, ZoneInfo] = field(default_factory=dict)
    sequence: int = 0

    async def named(self, tx: AsyncConnection, table: Any, name: str, **columns: Any) -> int:
        row = insert(table).values(team_id=self.team_id, name=name, code=name, created_at=at(FIRST, 0), **columns)
        self.ids[name] = int((await tx.execute(row.returning(table.c.id))).scalar_one())
        return self.ids[name]

    async def account(self, tx: AsyncConnection, name: str, *, zone: str = "UTC", currency: str = "EUR") -> int:
        made = await self.named(
            tx, accounts, name, platform="affilka", timezone=zone, currency=currency, options={},
            postback_key=f"key-{name}",
        )  # fmt: skip
        self.zones[made] = ZoneInfo(zone)
        return made

    async def offer(self, tx: AsyncConnection, name: str, account: str, tag: str | None, **columns: Any) -> int:
        if "casino" not in self.ids:
            await self.named(tx, casinos, "casino", status="draft", payment_methods=[], markets=[])
        return await self.named(
            tx, offers, name, casino_id=self.ids["casino"], account_id=self.ids[account], tag=tag,
            tag_key=tag.lower() if tag else None, url="https://c.example.test/?s={click_id}", markets=[],
            status="active", **columns,
        )  # fmt: skip

    async def campaign(self, tx: AsyncConnection, name: str, *, active: str | None = None) -> int:
        made = await self.named(tx, campaigns, name, cost_model="none", rules=[], status="active")
        if active:
            await tx.execute(
                insert(campaign_offer_spans).values(
                    team_id=self.team_id, campaign_id=made, offer_id=self.ids[active], since=at(FIRST, 0)
                )
            )
        return made

    async def site(self, tx: AsyncConnection, name: str) -> int:
        return await self.named(tx, sites, name, market="DE", locale="de", theme="plain", texts={}, status="published")

    async def source(self, tx: AsyncConnection, name: str) -> int:
        return await self.named(tx, sources, name, preset="custom", parameters={}, postbacks={}, options={})

    async def click(
        self,
        tx: AsyncConnection,
        when: datetime,
        *,
        campaign: str = "",
        offer: str = "",
        site: str = "",
        **columns: Any,
    ) -> str:
        """A human click, in the roll-up too; its id as links carry it."""
        self.sequence += 1
        click_id = first_id_at(when) + self.sequence
        hour = (when.date() - EPOCH_DAY).days * 24 + when.hour
        place = {
            "campaign_id": self.ids.get(campaign, 0), "site_id": self.ids.get(site, 0),
            "offer_id": self.ids.get(offer, 0), "source_id": 0,
        }  # fmt: skip
        row = {
            "id": click_id, "team_id": self.team_id, "hour": hour, "unique_click": 1, "bot": 0, "reason": 0,
            "user_agent_id": 1, "country": "DE", **place, **columns,
        }  # fmt: skip
        await tx.execute(insert(clicks).values(**row))
        counts = {"clicks": 1, "unique_clicks": 1, "bot_clicks": 0, "site_visits": 0, "outgoing": 0}
        cost = columns.get("cost")
        counted = upsert(click_rollup).values(
            team_id=self.team_id, hour=hour, country=columns.get("country", "DE"), device="mobile",
            currency=columns.get("currency", "") if cost is not None else "", cost=cost or 0, **place, **counts,
        )  # fmt: skip
        table = click_rollup.c
        added = {name: table[name] + counted.excluded[name] for name in (*counts, "cost")}
        key = [column.name for column in click_rollup.primary_key.columns]
        await tx.execute(counted.on_conflict_do_update(index_elements=key, set_=added))
        await touch_marks.touch(tx, self.team_id, [when.date()])
        return self.codec.encode(click_id)

    async def conversion(
        self, tx: AsyncConnection, when: datetime, event: str, *, campaign: str = "", offer: str = "", **columns: Any
    ) -> int:
        """An approved conversion, its state kept."""
        account = columns.pop("account", None)
        state = {
            "status": columns.pop("status", "approved"),
            "is_ftd": columns.pop("is_ftd", event == "first_deposit"),
            "amount": columns.pop("amount", None),
            "currency": columns.pop("currency", "EUR"),
            "occurred_at": when,
            "day": when.date(),
        }
        row = insert(conversions).values(
            team_id=self.team_id, account_id=self.ids[account] if account else None,
            campaign_id=self.ids.get(campaign, 0), site_id=0, offer_id=self.ids.get(offer, 0), source_id=0,
            event=event, received_at=when, marks=[], **state, **columns,
        )  # fmt: skip
        made = int((await tx.execute(row.returning(conversions.c.id))).scalar_one())
        await tx.execute(
            insert(conversion_states).values(team_id=self.team_id, conversion_id=made, recorded_at=when, **state)
        )
        await touch_marks.touch(tx, self.team_id, [when.date()])
        return made

    async def sync(
        self,
        tx: AsyncConnection,
        account: str,
        rows: list[RevenueRow],
        *,
        now: datetime,
        days: tuple[date, date] | None = None,
    ) -> Recorded:
        """A report of the account for `days` (those of its rows, if absent)."""
        first, last = days or (min(row.day for row in rows), max(row.day for row in rows))
        report = Report(first=first, last=last, rows=tuple(rows), raw=b"as it came")
        return await self.record(tx, account, report, now=now)

    async def record(self, tx: AsyncConnection, account: str, report: Report, *, now: datetime) -> Recorded:
        """A report recorded in one transaction."""
        account_id = self.ids[account]
        of = Origin(team_id=self.team_id, account_id=account_id, run_id=None, now=now)
        recording = Recording(of, report, zone=self.zones[account_id])
        await recording.compare(tx)
        if await recording.begin(tx, zlib.compress(report.raw)):
            for part in recording.slices:
                for batch in part.batches:
                    assert await recording.write(tx, batch)
                await recording.settle(tx, part.first, part.last)
        return await recording.end(tx)

    async def report(
        self, tx: AsyncConnection, *by: str, first: date = FIRST, last: date = FIRST, **query: Any
    ) -> MergedReport:
        return await merged_report(tx, ReportQuery(team_id=self.team_id, first=first, last=last, by=by, **query))


def row(day: date, tag: str = "main", *, sub: str = "", currency: str = "EUR", **figures: Any) -> RevenueRow:
    return RevenueRow(day=day, tag=tag, sub=sub, currency=currency, figures=Figures(**figures))


async def build(tx: AsyncConnection) -> Books:
    """One account with one offer, one campaign on it, a browser."""
    books = Books(await teams.first(tx, at(FIRST, 0)), await ensure_codec(tx))
    await books.account(tx, "acme")
    await books.offer(tx, "lucky", "acme", "main")
    await books.campaign(tx, "spring", active="lucky")
    await tx.execute(
        insert(user_agents).values(id=1, text="Mozilla/5.0 (demo)", device="mobile", os="Android", browser="Chrome")
    )
    return books
