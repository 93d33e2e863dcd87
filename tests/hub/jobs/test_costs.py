"""Costs from the sources' own statistics land on the campaigns whose clicks they bought."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from connectors.sources.costs import read
from hub.cli.standins.web import StubAnswer, StubRequest, serve
from hub.jobs import costs
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.catalogue.sources import shown
from storage.db.secrets import Box
from storage.ledger.errors import ConnectorError
from storage.reports import spend_import
from storage.tables import sources, spend
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
        today = dict(request.query).get("day_from", dict(request.query).get("date-from")) == "2026-10-01"
        return StubAnswer(
            200, {"result": [{"campaign_id": int(c), "spent": v} for c, v in self.costs.items()] if today else []}
        )


@pytest.fixture
def statistics() -> Iterator[tuple[Statistics, str]]:
    standin = Statistics()
    server = serve(standin, 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield standin, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("preset", ["propellerads", "exoclick"])
async def test_costs_are_read_again_over_five_days_and_restated(
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
        assert any("matches no click" in text and "88" in text for text in source.warnings)
        assert len({dict(a.query).get("day_from", dict(a.query).get("date-from")) for a in standin.asked} - {None}) == 5


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


def test_an_answer_that_is_no_statistics_is_an_error_never_a_zero() -> None:
    for status, body in ((200, b"<html>"), (200, b"[]"), (200, b'{"result":[{"id":1}]}'), (500, b"{}"), (401, b"{}")):
        with pytest.raises(ConnectorError):
            read("PropellerAds", status, body, NOON.date())
