"""A small team for tests of the real-time layer: an account with offers, a source, a campaign, some clicks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from storage.ledger.clicks.click_id import Codec, first_id_at
from storage.postbacks.conversions import ConversionProcessor, Forward, Received, receive
from storage.postbacks.postback_accounts import AccountDirectory, load
from storage.postbacks.requests import postback_request
from storage.tables import accounts, campaigns, casinos, clicks, conversions, offers, sources, user_agents
from storage.tables.types import EPOCH_DAY

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


@dataclass
class Scene:
    """Ids of what `build` made."""

    team_id: int
    account_id: int
    offer_id: int
    source_id: int
    campaign_id: int
    codec: Codec
    words: Mapping[str, Any] = field(default_factory=dict)
    forward: Forward | None = None
    book: AccountDirectory | None = None  # read beforehand: a direct transaction may not load one

    async def directory(self, tx: AsyncConnection) -> AccountDirectory:
        """Accounts as requests find them, the words of their platforms being those of the scene."""
        return await load(tx, lambda _platform: self.words)

    async def processor(self, tx: AsyncConnection, now: datetime = NOON) -> ConversionProcessor:
        book = self.book or await self.directory(tx)
        return ConversionProcessor(book=book, codec=self.codec, zone=ZoneInfo("UTC"), now=now, forward=self.forward)

    async def post(
        self, tx: AsyncConnection, *queries: str, now: datetime = NOON, processor: ConversionProcessor | None = None
    ) -> list[Received]:
        """Requests to the account, all in one batch; a direct transaction needs a processor made before it."""
        processor = processor or await self.processor(tx, now)
        account = processor.book.by_id[self.account_id]
        return await receive(tx, [postback_request(account, now, query=query.encode()) for query in queries], processor)

    async def one(self, tx: AsyncConnection, query: str, now: datetime = NOON) -> str:
        """The outcome of one request."""
        return (await self.post(tx, query, now=now))[0].outcome.value

    async def click(self, tx: AsyncConnection, number: int = 1, **columns: Any) -> str:
        """A stored click of the campaign an hour before noon; its id as links carry it."""
        click_id = first_id_at(NOON - timedelta(hours=1)) + number
        row = {
            "id": click_id, "team_id": self.team_id, "campaign_id": self.campaign_id, "site_id": 0,
            "offer_id": self.offer_id, "source_id": self.source_id,
            "hour": (NOON.date() - EPOCH_DAY).days * 24 + 11, "unique_click": 1, "bot": 0, "reason": 0,
            "user_agent_id": 1, "country": "DE", "source_click_id": f"src-{number}", "sub1": "banner",
        }  # fmt: skip
        await tx.execute(insert(clicks).values(**row | columns))
        return self.codec.encode(click_id)

    async def map(self, tx: AsyncConnection, **mapping: Any) -> None:
        """Set the account's postback mapping."""
        row = update(accounts).where(accounts.c.id == self.account_id)
        await tx.execute(row.values(options={"postback": mapping}))


async def build(tx: AsyncConnection, *, postbacks: Mapping[str, Any] | None = None) -> Scene:
    team_id = await teams.first(tx, NOON)
    codec = await ensure_codec(tx)
    named = {"team_id": team_id, "created_at": NOON}

    async def make(table: Any, name: str, **columns: Any) -> int:
        row = insert(table).values(name=name, code=name, **named, **columns).returning(table.c.id)
        return int((await tx.execute(row)).scalar_one())

    account = await make(
        accounts, "acme", platform="postback_only", timezone="UTC", currency="EUR", options={}, postback_key="key-1"
    )
    casino = await make(casinos, "lucky", status="draft", payment_methods=[], markets=[])
    offer = await make(
        offers, "lucky-de", casino_id=casino, account_id=account, url="https://c.example.test/?s={click_id}",
        markets=[], status="active",
    )  # fmt: skip
    source = await make(sources, "push", preset="custom", parameters={}, postbacks=postbacks or {}, options={})
    campaign = await make(campaigns, "spring", source_id=source, cost_model="none", rules=[], status="active")
    await tx.execute(
        insert(user_agents).values(id=1, text="Mozilla/5.0 (demo)", device="mobile", os="Android", browser="Chrome")
    )
    return Scene(team_id, account, offer, source, campaign, codec)


async def counted(tx: AsyncConnection) -> list[tuple[str, str, bool, int | None, str]]:
    """What the conversions amount to: event, status, first deposit, amount, day — in a fixed order."""
    rows = await tx.execute(select(conversions))
    return sorted(
        ((r.event, r.status, r.is_ftd, r.amount, r.day.isoformat()) for r in rows), key=lambda row: tuple(map(str, row))
    )
