"""Costs from the sources' own statistics land on the campaigns whose clicks they bought."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, insert, select, update

from hub.cli.standins.web import StubAnswer, StubRequest
from hub.jobs import costs
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.catalogue.sources import shown
from storage.db.secrets import Box
from storage.ledger.errors import ConnectorError
from storage.reports import spend_import
from storage.tables import campaigns, clicks, sources, spend
from tests.standins.serving import answering
from tests.storage.scene import NOON, build


class Statistics:
    """Answers as both statistics APIs do; `costs` by the source's campaign."""

    def __init__(self) -> None:
        self.costs = {"77": "12.50", "88": "3"}
        self.asked: list[StubRequest] = []

    def __call__(self, request: StubRequest) -> StubAnswer:
        self.asked.append(request)
        if request.path == "/v2/login":
            return StubAnswer(200, {"token": "short-lived"})
        if request.headers.get("authorization") not in {"Bearer short-lived", "Bearer fake-token"}:
            return StubAnswer(401, {"error": "no"})
        costs = self.costs.items() if _day(request) == "2026-10-01" else ()
        if request.path == "/v2/statistics/a/global":
            rows = [{"group_by": {"campaign_id": {"id": int(c), "name": f"Push {c}"}}, "cost": v} for c, v in costs]
            return StubAnswer(200, {"result": rows})
        return StubAnswer(200, {"items": [{"campaign_id": int(c), "spent": v} for c, v in costs]})


def _day(request: StubRequest) -> str | None:
    if request.method == "POST" and request.path != "/v2/login":
        return str(msgspec.json.decode(request.body)["filter"]["date_from"])
    return dict(request.query).get("day_from")


@pytest.fixture
def statistics() -> Iterator[tuple[Statistics, str]]:
    standin = Statistics()
    with answering(standin) as url:
        yield standin, url


@pytest.mark.parametrize("preset", ["propellerads", "exoclick"])
async def test_costs_are_read_again_over_the_days_that_are_restated(
    opened: Callable[[], Any], statistics: tuple[Statistics, str], preset: str
) -> None:
    standin, url = statistics
    async with opened() as database:
        box = Box("k" * 32)
        async with database.begin() as tx:
            scene = await build(tx)
            sealed = box.seal({"cost_token": "fake-token", "cost_url": url})
            await tx.execute(update(sources).values(preset=preset, credentials_secret=sealed))
            await scene.click(tx, 1, sub2="77")
        moment = [NOON]
        settings = Settings(secret_key="k" * 32, allow_private_hosts=True)
        runtime = Runtime(
            settings=settings, database=database, box=box, ports=HubPorts(settings), team_id=scene.team_id,
            clock=lambda: moment[0],
        )  # fmt: skip
        await costs.tick(runtime)
        request = len(standin.asked)
        await costs.tick(runtime)
        assert len(standin.asked) == request, "not due again yet"
        standin.costs["77"] = "11"
        moment[0] += timedelta(hours=7)
        await costs.tick(runtime)
        async with database.read() as tx:
            rows = (await tx.execute(select(spend).order_by(spend.c.id))).all()
            source = (await shown(tx, box, (await tx.execute(select(sources))).all()))[0]
        assert [(r.amount, r.currency, r.origin, r.day.isoformat()) for r in rows] == [
            (12_500_000, "USD", preset, "2026-10-01"), (11_000_000, "USD", preset, "2026-10-01"),
        ]  # fmt: skip
        assert any("matches no campaign" in text and "88" in text and "3.00 USD" in text for text in source.warnings)
        assert len({_day(asked) for asked in standin.asked[:request]} - {None}) == 7, "all days that are restated"
        assert len({_day(asked) for asked in standin.asked[request:]} - {None}) == spend_import.LATEST_DAYS


async def test_one_source_that_cannot_be_read_does_not_stop_the_others(
    opened: Callable[[], Any], statistics: tuple[Statistics, str]
) -> None:
    _, url = statistics
    async with opened() as database:
        box = Box("k" * 32)
        async with database.begin() as tx:
            scene = await build(tx)
            sealed = box.seal({"cost_token": "fake-token", "cost_url": url})
            await tx.execute(update(sources).values(preset="exoclick", credentials_secret=sealed))
            row = (await tx.execute(select(sources))).one()._asdict()
            del row["id"]
            elsewhere = Box("x" * 32).seal({"cost_token": "unreadable"})
            first = insert(sources).values(row | {"id": 900, "name": "A", "code": "a", "credentials_secret": elsewhere})
            await tx.execute(first)
            await scene.click(tx, 1, sub2="77")
        settings = Settings(secret_key="k" * 32, allow_private_hosts=True)
        runtime = Runtime(
            settings=settings, database=database, box=box, ports=HubPorts(settings), team_id=scene.team_id,
            clock=lambda: NOON,
        )  # fmt: skip
        await costs.tick(runtime)
        async with database.read() as tx:
            answer = dict((await tx.execute(select(sources.c.code, sources.c.options))).all())
            assert (await tx.execute(select(func.count()).select_from(spend))).scalar_one() == 1
        errors = {code: options["costs"]["error"] for code, options in answer.items()}
        assert errors.pop("a")
        assert set(errors.values()) == {None}


async def test_an_option_changed_while_costs_are_read_is_kept(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            await build(tx)
            source = (await tx.execute(select(sources))).first()
            assert source is not None
            await tx.execute(update(sources).values(options={"delay": 60}))
            await spend_import.note(tx, source.id, {"at": NOON.isoformat(), "error": None})
            options = (await tx.execute(select(sources.c.options).where(sources.c.id == source.id))).scalar_one()
        assert options == {"delay": 60, "costs": {"at": NOON.isoformat(), "error": None}}


class ReportedCost(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a source's report."""

    campaign: str
    name: str = ""
    amount: int = 1_000_000
    currency: str = "EUR"
    day: date = NOON.date()


async def test_a_cost_finds_its_campaigns_by_clicks_then_as_before_then_by_name(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            scene = await build(tx)
            source = (await tx.execute(select(sources))).first()
            assert source is not None
            await tx.execute(update(campaigns).values(source_id=source.id))
            other = (await tx.execute(select(campaigns))).one()._asdict() | {
                "id": 900,
                "name": "Other",
                "code": "other",
            }
            await tx.execute(insert(campaigns).values(other))
            ours = (await tx.execute(select(campaigns).order_by(campaigns.c.id))).all()
            for n, of in enumerate((0, 0, 1), 1):
                await scene.click(tx, n, sub2="77", campaign_id=ours[of].id)
        today = NOON.date()

        async def placed(*rows: ReportedCost) -> spend_import.Placed:
            async with database.read() as tx:
                row = (await tx.execute(select(sources).where(sources.c.id == source.id))).one()
                return await spend_import.place(tx, row, rows, sub="sub2", first=today - timedelta(days=2), last=today)

        by_clicks = await placed(ReportedCost(campaign="77", amount=1_000_001))
        assert [(c.campaign_id, c.amount) for c in by_clicks.costs] == [(ours[0].id, 666_667), (ours[1].id, 333_334)]
        async with database.begin() as tx:
            await spend_import.record(tx, source, by_clicks, now=NOON, all_days=True)
            await tx.execute(update(clicks).values(sub2=None))
        assert [c.amount for c in (await placed(ReportedCost(campaign="77", amount=1_000_001))).costs] == [
            666_667,
            333_334,
        ]
        named = await placed(
            ReportedCost(campaign="9", name=f"DE | {ours[0].code} | broad"), ReportedCost(campaign=ours[1].name.upper())
        )
        assert {c.campaign_id for c in named.costs} == {ours[0].id, ours[1].id}
        odd = await placed(
            ReportedCost(campaign="5", name="Nothing of ours", amount=7), ReportedCost(campaign="6", name="")
        )
        assert odd.unmatched == {("Nothing of ours (5)", "EUR"): 7, ("6", "EUR"): 1_000_000}
        assert {(c.campaign_id, c.amount) for c in odd.costs} == {(of.id, 0) for of in ours[:2]}, "told no more"
        with pytest.raises(ConnectorError, match="they are kept"):
            await placed()
