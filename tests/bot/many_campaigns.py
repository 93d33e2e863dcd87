"""A team with many campaigns, put straight into the tables: names in four scripts, each with clicks of today."""

from sqlalchemy import insert

from storage.db.touch_marks import touch
from storage.tables import campaigns, click_rollup
from storage.tables.types import EPOCH_DAY
from tests.bot.chatting import Chatting

NAMES = ("Казино Вулкан весна", "Spring <b>push</b> & co", "عرض الربيع", "春のキャンペーン", "Ἄνοιξις 💸")


async def with_campaigns(chats: Chatting, count: int, *, length: int = 0) -> list[str]:
    """Names of the campaigns made; the first has the most clicks. `length` makes the names that long."""
    now = chats.runtime.clock()
    names = [f"{NAMES[n % len(NAMES)]} {n + 1}" for n in range(count)]
    names = [f"{name} {'x' * length}"[: max(length, len(name))] for name in names]
    rows = [
        {
            "team_id": chats.runtime.team_id, "name": name, "code": f"c{n + 1}", "created_at": now,
            "cost_model": "none", "rules": [], "status": "active", "fallback_url": "https://example.com/",
        }
        for n, name in enumerate(names)
    ]  # fmt: skip
    async with chats.database.begin() as tx:
        await tx.execute(insert(campaigns), rows)
        clicked = [
            {
                "team_id": chats.runtime.team_id, "hour": (now.date() - EPOCH_DAY).days * 24, "campaign_id": n + 1,
                "site_id": 0, "offer_id": 0, "source_id": 0, "country": "DE", "device": "mobile", "currency": "EUR",
                "clicks": count - n, "unique_clicks": count - n, "bot_clicks": 0, "site_visits": 0, "outgoing": 0,
                "cost": 10**10,
            }
            for n in range(count)
        ]  # fmt: skip
        await tx.execute(insert(click_rollup), clicked)
        await touch(tx, chats.runtime.team_id, [now.date()])
    return names
