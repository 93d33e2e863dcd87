"""A team's past, put straight into the tables: clicks, conversions, revenue and its restatements."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import insert, update

from storage.db.touch_marks import touch
from storage.tables import (
    click_rollup,
    conversions,
    revenue,
    revenue_reports,
    revenue_revisions,
    settled_days,
)
from storage.tables.types import EPOCH_DAY
from tests.bot.asking import Asker


async def tracked(say: Asker, *, campaign: str = "spring", tag: str = "spring") -> dict[str, int]:
    """An account (once), an offer, a campaign; their ids."""
    account_id = 1 if (await say("account list"))["items"] else await say.account()
    offer = await say(f"offer add casino=Lucky account=main url=https://a.example.test/?s={{click_id}} tag={tag}")
    made = await say(f"campaign create name={campaign} offers={offer['code']}")
    return {"account_id": account_id, "offer_id": offer["id"], "campaign_id": made["id"]}


async def clicked(say: Asker, ids: dict[str, int], day: date, n: int, *, hour: int = 12, cost: int = 0) -> None:
    """Human clicks in an hour of a day; cost in micro-units."""
    async with say.database.begin() as tx:
        await tx.execute(insert(click_rollup).values(
            team_id=say.team_id, hour=(day - EPOCH_DAY).days * 24 + hour, campaign_id=ids["campaign_id"], site_id=0,
            offer_id=ids["offer_id"], source_id=0, country="DE", device="mobile", currency="EUR" if cost else "",
            clicks=n, unique_clicks=n, bot_clicks=0, site_visits=0, outgoing=0, cost=cost,
        ))  # fmt: skip
        await touch(tx, say.team_id, [day])


async def converted(say: Asker, ids: dict[str, int], at: datetime, n: int, *, event: str, **more: Any) -> None:
    """Conversions at a moment."""
    values = {
        "team_id": say.team_id, "account_id": ids["account_id"], "campaign_id": ids["campaign_id"], "site_id": 0,
        "offer_id": ids["offer_id"], "source_id": 0, "event": event, "status": "approved",
        "is_ftd": event == "first_deposit", "occurred_at": at, "received_at": at, "day": at.date(), "marks": [],
        "visit_day": at.date(),
    } | more  # fmt: skip
    async with say.database.begin() as tx:
        await tx.execute(insert(conversions), [values] * n)
        await touch(tx, say.team_id, [at.date()])


async def reported(
    say: Asker, ids: dict[str, int], day: date, *, at: datetime, tag: str = "spring", **figures: int
) -> None:
    """What the platform says of a settled day, first or again."""
    async with say.database.begin() as tx:
        report_id = (await tx.execute(insert(revenue_reports).values(
            team_id=say.team_id, account_id=ids["account_id"], fetched_at=at, from_day=day, to_day=day, state="merged",
            raw=b"",
        ).returning(revenue_reports.c.id))).scalar_one()  # fmt: skip
        mine = revenue.c.account_id == ids["account_id"], revenue.c.day == day, revenue.c.tag_key == tag
        changed = update(revenue).where(*mine).values(recorded_at=at, **figures)
        revenue_id = (await tx.execute(changed.returning(revenue.c.id))).scalar_one_or_none()
        if revenue_id is None:
            made = insert(revenue).values(
                team_id=say.team_id, account_id=ids["account_id"], day=day, tag=tag, tag_key=tag, currency="EUR",
                recorded_at=at, report_id=report_id, **figures,
            )  # fmt: skip
            revenue_id = (await tx.execute(made.returning(revenue.c.id))).scalar_one()
            await tx.execute(insert(settled_days).values(
                account_id=ids["account_id"], day=day, team_id=say.team_id, settled_at=at,
            ))  # fmt: skip
        await tx.execute(insert(revenue_revisions).values(
            team_id=say.team_id, revenue_id=revenue_id, day=day, recorded_at=at, report_id=report_id, **figures,
        ))  # fmt: skip
        await touch(tx, say.team_id, [day])


def days_ago(say: Asker, n: int) -> date:
    return (say.now - timedelta(days=n)).date()
