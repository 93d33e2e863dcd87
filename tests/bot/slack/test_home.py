"""The App Home on Slack: the next step of a fresh team, then figures, a chart, alerts and what is to be done."""

from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select, update

from storage.db.touch_marks import touch
from storage.tables import accounts, alerts, campaigns, click_rollup, conversions, offers
from storage.tables.types import EPOCH_DAY
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.standins.slack_limits import check_block
from tests.waiting import eventually

ALLOWED = {"header", "section", "context", "actions", "divider"}  # tables and charts are for messages only


async def home(chats: Chatting) -> dict[str, Any]:
    """The view that is published when the person opens the tab."""
    before = len(await chats.calls(chats.slack, "views.publish"))
    await chats.on(chats.slack, "home", user="U0ANNA")

    async def published() -> list[Any]:
        return (await chats.calls(chats.slack, "views.publish"))[before:]

    view: dict[str, Any] = (await eventually(published, "the home"))[0]["view"]
    for block in view["blocks"]:
        assert block["type"] in ALLOWED
        check_block(block)
    actions = [
        item["action_id"] for block in view["blocks"] if block["type"] == "actions" for item in block["elements"]
    ]
    assert len(set(actions)) == len(actions)
    return view


async def test_a_fresh_team_is_led_to_its_first_account(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        shown = str((await home(chats))["blocks"])
        assert "connect an affiliate platform" in shown
        assert "'value': 'account add'" in shown


async def test_figures_a_chart_alerts_and_what_is_to_be_done(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux("account add platform=postback_only name=Main timezone=UTC currency=EUR")
        await chats.flux("offer add casino=Lucky account=main tag=x url=https://lucky.example.test/?s={click_id}")
        await chats.flux("campaign create name=Spring offers=lucky-x")
        await chats.flux('alert add "clicks < 10"')
        await in_past(chats)
        shown = str((await home(chats))["blocks"])
        for words in (
            "12 · yesterday 11",
            "Commission, spend and FTDs, 30 days",
            "clicks < 10",
            "sync failed",
            "To do",
        ):
            assert words in shown, words
        assert "'value': 'alert ack alert-1'" in shown


async def in_past(chats: Chatting) -> None:
    """Clicks and FTDs of three days, an alert that fires, an account that fails."""
    now, team_id = chats.runtime.clock(), chats.runtime.team_id
    async with chats.database.begin() as tx:
        campaign_id, offer_id, account_id = [
            (await tx.execute(select(table.c.id))).scalar_one() for table in (campaigns, offers, accounts)
        ]
        for n in range(3):
            at = now - timedelta(days=n)
            await tx.execute(insert(click_rollup).values(
                team_id=team_id, hour=(at.date() - EPOCH_DAY).days * 24, campaign_id=campaign_id, site_id=0,
                offer_id=offer_id, source_id=0, country="DE", device="mobile", currency="", clicks=12 - n,
                unique_clicks=12 - n, bot_clicks=0, site_visits=0, outgoing=0, cost=0,
            ))  # fmt: skip
            await tx.execute(insert(conversions).values(
                team_id=team_id, account_id=account_id, campaign_id=campaign_id, site_id=0, offer_id=offer_id,
                source_id=0, event="first_deposit", status="approved", is_ftd=True, occurred_at=at, received_at=at,
                day=at.date(), visit_day=at.date(), marks=[],
            ))  # fmt: skip
            await touch(tx, team_id, [at.date()])
        await tx.execute(update(alerts).values(state="firing"))
        await tx.execute(update(accounts).values(platform="affilka", error="the token was refused"))
