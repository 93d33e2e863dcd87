"""A small deployment for click tests: a team, offers, campaigns, and requests as ASGI hands them over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import func, insert, select

from hub.clicks.handler import Clicks
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.catalogue import campaigns, casinos, teams
from storage.db import config_version
from storage.db.engine import Database
from storage.db.schema import upgrade
from storage.db.secrets import Box
from storage.ledger.clicks.rotation_rules import read_rules
from storage.tables import accounts, clicks, offers, site_offers, sites, sources

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.1 Mobile/15E148 Safari/604.1"
)
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@dataclass
class Answer:
    """What a visitor got."""

    status: int
    location: str
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}

    @property
    def host(self) -> str:
        return urlsplit(self.location).netloc

    @property
    def cookie(self) -> str:
        """All cookies that were set, as a browser sends them back."""
        return "; ".join(cookie.partition(";")[0] for cookie in self.cookies)


@dataclass
class ClickDeployment:
    """Sets things up and clicks."""

    database: Database
    clicks: Clicks
    runtime: Runtime
    made: dict[str, int] = field(default_factory=dict)

    async def offer(self, code: str, **more: Any) -> int:
        url = more.pop("url", f"https://{code}.example.test/?c={{click_id}}")
        async with self.database.begin() as tx:
            values = {
                "team_id": self.runtime.team_id, "name": code, "code": code, "url": url, "markets": [],
                "casino_id": self.made["casino"], "account_id": self.made["account"], "status": "active", "tag": code,
                "tag_key": code, "created_at": self.runtime.clock(), **more,
            }  # fmt: skip
            made = await tx.execute(insert(offers).values(**values).returning(offers.c.id))
            self.made[code] = int(made.scalar_one())
            await config_version.bump(tx)
        return self.made[code]

    async def campaign(self, code: str, shares: dict[str, int], **more: Any) -> int:
        rules = read_rules(more.pop("rules", []), list(self.made))
        async with self.database.begin() as tx:
            values = {
                "name": code, "code": code, "status": "active", "cost_model": "link", "binding": True, "direct": False,
                "rules": rules, "currency": "EUR", **more,
            }  # fmt: skip
            weights = {self.made[item]: weight for item, weight in shares.items()}
            self.made[f"campaign {code}"] = made = await campaigns.add(
                tx, team_id=self.runtime.team_id, now=self.runtime.clock(), values=values, weights=weights
            )
            await config_version.bump(tx)
        await self.clicks.refresh()
        return made

    async def site(self, code: str, *members: str, status: str = "published") -> int:
        async with self.database.begin() as tx:
            made = await tx.execute(
                insert(sites).values(
                    team_id=self.runtime.team_id, name=code, code=code, market="DE", locale="de", theme="offer-wall",
                    texts={}, status=status, created_at=self.runtime.clock(),
                ).returning(sites.c.id)
            )  # fmt: skip
            site_id = int(made.scalar_one())
            for place, item in enumerate(members):
                await tx.execute(insert(site_offers).values(site_id=site_id, offer_id=self.made[item], position=place))
            await config_version.bump(tx)
        await self.clicks.refresh()
        return site_id

    async def source(self, code: str, **parameters: str) -> int:
        async with self.database.begin() as tx:
            made = await tx.execute(
                insert(sources).values(
                    team_id=self.runtime.team_id, name=code, code=code, preset="custom", parameters=parameters,
                    postbacks={}, options={}, created_at=self.runtime.clock(),
                ).returning(sources.c.id)
            )  # fmt: skip
            await config_version.bump(tx)
        return int(made.scalar_one())

    async def get(self, path: str, *, method: str = "GET", agent: str = IPHONE, ip: str = "", **headers: str) -> Answer:
        """One request; `ip` comes through a trusted proxy."""
        path, _, query = path.partition("?")
        raw = [(b"user-agent", agent.encode()), (b"host", b"track.example.test")]
        raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if ip:
            raw.append((b"x-forwarded-for", ip.encode()))
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode("utf-8", "surrogateescape"),
            "headers": raw, "client": ("127.0.0.1", 50000),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.clicks(scope, None, send)
        arguments = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        cookies = [value for name, value in arguments if name == "set-cookie"]
        result = dict(arguments)
        return Answer(sent[0]["status"], result.get("location", ""), result, cookies, sent[1]["body"])

    async def rows(self, table: Any, *order: Any) -> list[Any]:
        async with self.database.read() as tx:
            return list(await tx.execute(select(table).order_by(*order)))

    async def stored(self) -> list[Any]:
        """All clicks, in order."""
        return await self.rows(clicks, clicks.c.id)

    async def count(self, table: Any) -> int:
        async with self.database.read() as tx:
            return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


@asynccontextmanager
async def click_deployment(url: str, **settings: str) -> AsyncIterator[ClickDeployment]:
    """A started hot path on an upgraded database, with one account and one casino; `create=""`: another process."""
    first = settings.pop("create", "1")
    database = Database(url)
    await upgrade(database)
    runtime = runtime_of(url, database, **settings)
    made = await _set_up(database) if first else {}
    async with database.begin() as tx:
        runtime.team_id = await teams.first(tx, datetime.now(UTC))
    clicks_path = Clicks(runtime)
    await clicks_path.start()
    try:
        yield ClickDeployment(database, clicks_path, runtime, made)
    finally:
        await clicks_path.stop()
        await database.close()


async def _set_up(database: Database) -> dict[str, int]:
    now = datetime.now(UTC)
    async with database.begin() as tx:
        team_id = await teams.first(tx, now)
        account = await tx.execute(
            insert(accounts).values(
                team_id=team_id, name="A", code="a", created_at=now, platform="postback_only", timezone="UTC",
                currency="EUR", options={}, postback_key="k",
            ).returning(accounts.c.id)
        )  # fmt: skip
        casino = await casinos.ensure(tx, team_id, "Lucky Star", now)
    return {"account": int(account.scalar_one()), "casino": int(casino.id)}


def runtime_of(url: str, database: Database, **settings: str) -> Runtime:
    environment = {
        "CASINOFLUX_DATABASE_URL": url, "CASINOFLUX_SECRET_KEY": "k" * 64, "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1",
        "CASINOFLUX_PUBLIC_URL": "https://track.example.test",
    }  # fmt: skip
    read = read_settings(environment | {f"CASINOFLUX_{name.upper()}": value for name, value in settings.items()})
    return Runtime(settings=read, database=database, box=Box("k" * 64), ports=None, team_id=0)  # type: ignore[arg-type]
