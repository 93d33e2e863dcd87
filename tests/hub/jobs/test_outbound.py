"""What traffic sources are told: filled once, delivered at least once, tried again, given up, sent again."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from connectors.sources import presets
from hub.cli.standins.traffic_source import TrafficSource
from hub.jobs import outbound as outbound_job
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.db.secrets import Box
from storage.outbound import claims, delivery_log
from storage.outbound.queue import queue
from storage.tables import outbound as table
from storage.tables import outbound_attempts, sources
from tests.standins.serving import answering
from tests.storage.scene import NOON, Scene, build


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def source() -> Iterator[tuple[TrafficSource, str]]:
    """A stand-in traffic source on loopback, and its address."""
    standin = TrafficSource()
    with answering(standin) as url:
        yield standin, url


@asynccontextmanager
async def told(
    opened: Callable[[], Any], postbacks: dict[str, Any], *, private: bool = True, **columns: Any
) -> AsyncIterator[tuple[Runtime, Scene, Clock]]:
    async with opened() as database:
        async with database.begin() as tx:
            scene = await build(tx, postbacks=postbacks)
            scene.forward = lambda tx, changes, _webhooks: queue(tx, changes)
            if columns:
                await tx.execute(update(sources).values(**columns))
        clock = Clock()
        settings = Settings(secret_key="k" * 32, allow_private_hosts=private)
        yield Runtime(
            settings=settings, database=database, box=Box("k" * 32), ports=HubPorts(settings),
            team_id=scene.team_id, clock=clock,
        ), scene, clock  # fmt: skip


async def states(runtime: Runtime) -> list[tuple[str, str, int]]:
    async with runtime.database.read() as tx:
        rows = await tx.execute(select(table).order_by(table.c.id))
        return [(row.event, row.state, row.attempts) for row in rows]


def template(url: str, more: str = "") -> dict[str, Any]:
    return {"url": url + "/conversion?cid={click_id}&e={event}&v={payout}&t={txn_id}" + more, "method": "GET"}


async def test_each_conversion_is_told_once_with_the_sources_own_click_id(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url), "first_deposit": template(url)}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            ftd = f"click_id={click}&event=ftd&amount=12.50&txn_id=F%261"
            await scene.post(
                tx, f"click_id={click}&event=reg&txn_id=R1", ftd, ftd, f"click_id={click}&event=dep&txn_id=9"
            )
        await outbound_job.tick(runtime)
        await outbound_job.tick(runtime)
        request = sorted(item["query"]["e"] for item in standin.received)
        assert request == ["first_deposit", "registration"]
        ftds = next(item["query"] for item in standin.received if item["query"]["e"] == "first_deposit")
        assert ftds == {"cid": "src-1", "e": "first_deposit", "v": "12.5", "t": "F&1"}
        assert {state for _, state, _ in await states(runtime)} == {"sent"}


async def test_a_failing_source_is_tried_again_on_the_schedule_and_given_up(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url)}) as (runtime, scene, clock):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        standin.failing = {"status": 503, "times": 6}
        waits = []
        for attempt in range(1, 7):
            await outbound_job.tick(runtime)
            assert (await states(runtime))[0][2] == attempt
            async with runtime.database.read() as tx:
                row = (await tx.execute(select(table))).one()
            waits.append((row.next_at - clock.now).total_seconds() / 60)
            clock.now = max(clock.now, row.next_at)
        assert (await states(runtime))[0][1] == "dead"
        for wait, minutes in zip(waits, (1, 5, 30, 120, 720), strict=False):
            assert 0.8 * minutes <= wait <= 1.2 * minutes
        async with runtime.database.begin() as tx:
            assert [item.error for item in await delivery_log.history(tx, scene.team_id)] == ["answered 503"]
            assert await delivery_log.resend(tx, scene.team_id, now=clock.now) == 1
            assert len((await tx.execute(select(outbound_attempts))).all()) == 6
        await outbound_job.tick(runtime)
        assert len(standin.received) == 1
        assert (await states(runtime))[0][1] == "sent"


async def test_a_source_that_answers_200_to_what_it_refuses_was_not_told(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    rule = presets()["evadav"]["postbacks"]["first_deposit"]["success"]
    async with told(opened, {"registration": {**template(url), "success": rule}}) as (runtime, scene, clock):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        standin.failing = {"status": 200, "times": 1, "body": '{"status":"error","message":"Incorrect click_id value"}'}
        await outbound_job.tick(runtime)
        async with runtime.database.read() as tx:
            (attempt,) = (await tx.execute(select(outbound_attempts))).all()
        assert attempt.error == 'answered 200 with \'"status":"error"\''
        assert "Incorrect click_id value" in attempt.answer
        assert (await states(runtime))[0][1] not in {"sent", "dead"}
        clock.now += timedelta(minutes=2)
        await outbound_job.tick(runtime)
        assert await states(runtime) == [("registration", "sent", 2)]


async def test_retry_after_is_waited_for(opened: Callable[[], Any], source: tuple[TrafficSource, str]) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url)}) as (runtime, scene, clock):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        standin.failing = {"status": 429, "times": 1, "retry_after": 600}
        await outbound_job.tick(runtime)
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(table))).one()
        assert row.next_at >= clock.now + timedelta(seconds=600)


async def test_the_accounts_own_values_are_filled_in_late_and_kept_out_of_sight(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    sealed = Box("k" * 32).seal({"aid": "77", "key": "top-secret"})
    postbacks = {"registration": template(url, "&aid={AID}&key={KEY}")}
    async with told(opened, postbacks, credentials_secret=sealed) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
            assert "top-secret" not in str((await tx.execute(select(table.c.request))).scalar_one())
        await outbound_job.tick(runtime)
        assert standin.received[0]["query"]["key"] == "top-secret"


@pytest.mark.parametrize("echo", ["top secret/1", "top%20secret%2F1", "top+secret%2F1"])
async def test_an_answer_that_repeats_a_secret_is_kept_without_it(
    opened: Callable[[], Any], source: tuple[TrafficSource, str], echo: str
) -> None:
    standin, url = source
    sealed = Box("k" * 32).seal({"key": "top secret/1"})
    async with told(opened, {"registration": template(url, "&key={KEY}")}, credentials_secret=sealed) as (
        runtime, scene, _,
    ):  # fmt: skip
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        standin.failing = {"status": 400, "times": 1, "body": f"no such key: {echo}"}
        await outbound_job.tick(runtime)
        async with runtime.database.read() as tx:
            result = (await delivery_log.history(tx, scene.team_id))[0]
        assert (result.status, result.answer) == (400, "no such key: •••")


async def test_private_addresses_are_refused_and_not_tried_again(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url)}, private=False) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        await outbound_job.tick(runtime)
        assert standin.received == []
        async with runtime.database.read() as tx:
            result = (await delivery_log.history(tx, scene.team_id))[0]
        assert (result.state, "private" in (result.error or "")) == ("dead", True)


async def test_a_crash_between_sending_and_noting_it_sends_the_same_key_again(
    opened: Callable[[], Any], source: tuple[TrafficSource, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url, "&k={key}")}) as (runtime, scene, clock):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")

        async def crash(*_given: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patched:
            patched.setattr(claims, "record", crash)
            with pytest.raises(RuntimeError):
                await outbound_job.tick(runtime)
        await outbound_job.tick(runtime)
        assert len(standin.received) == 1, "another process leaves a claimed message alone"
        clock.now += claims.CLAIM + timedelta(seconds=1)
        await outbound_job.tick(runtime)
        keys = [item["query"]["k"] for item in standin.received]
        assert len(keys) == 2
        assert len(set(keys)) == 1


async def test_a_source_says_what_it_wants(opened: Callable[[], Any], source: tuple[TrafficSource, str]) -> None:
    standin, url = source
    options = {"payout_share": "80", "only_approved": True, "only_unique": True}
    expected = {"deposit": template(url), "reversal": template(url)}
    async with told(opened, expected, options=options) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            dep = f"click_id={click}&event=deposit&amount=10"
            await scene.post(tx, f"{dep}&txn_id=1&status=pending", f"{dep}&txn_id=2")
            await scene.post(tx, f"{dep}&txn_id=3")
            await scene.post(tx, f"click_id={click}&event=chargeback&txn_id=2")
            other = f"click_id={await scene.click(tx, 2)}&event=deposit&amount=20&txn_id=4"
            await scene.post(tx, f"{other}&status=pending")
            await scene.post(tx, f"{other}&status=approved")
        await outbound_job.tick(runtime)
        outbound_request = sorted((item["query"]["e"], item["query"]["v"]) for item in standin.received)
        assert outbound_request == [("deposit", "16"), ("deposit", "8"), ("reversal", "8")]


async def test_a_click_without_the_sources_id_is_skipped_and_says_so(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url)}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx, source_click_id=None)}&event=reg")
        await outbound_job.tick(runtime)
        assert standin.received == []
        assert (await states(runtime))[0][1] == "skipped"


async def test_google_is_told_of_ios_clicks_by_what_stands_in_place_of_the_click_id(opened: Callable[[], Any]) -> None:
    async with told(opened, {"registration": {"api": "google", "name": "registration"}}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            for number, extra in enumerate(({"gbraid": "G1"}, {"wbraid": "W1"}, {"other": "1"}), 1):
                click = await scene.click(tx, number, source_click_id=None, extra=extra)
                await scene.post(tx, f"click_id={click}&event=reg")
            rows = (await tx.execute(select(table).order_by(table.c.id))).all()
            claimed = await claims.claim(tx, NOON, by_host={"api:google": 5})
        assert [row.state for row in rows] == ["queued", "queued", "skipped"]
        settings = {"account_id": "1", "conversion_action": "2", "access_token": "fake"}
        bodies = [outbound_job.ready(item, settings, NOON)[0].body for item in claimed]
        assert ['"adIdentifiers":{"gbraid":"G1"}' in bodies[0], '"adIdentifiers":{"wbraid":"W1"}' in bodies[1]] == [
            True,
            True,
        ]


async def test_a_template_that_asks_for_no_click_id_is_told_of_every_click(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": {"url": url + "/c?zone={sub1}", "method": "GET"}}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx, source_click_id=None)}&event=reg")
        await outbound_job.tick(runtime)
        assert [item["query"] for item in standin.received] == [{"zone": "banner"}]


async def test_a_long_outbox_is_drained_each_message_once(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"deposit": template(url)}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, *(f"click_id={click}&event=deposit&txn_id={n}" for n in range(120)))
        await outbound_job.tick(runtime)
        assert sorted(int(item["query"]["t"]) for item in standin.received) == list(range(120))
        assert {state for _, state, _ in await states(runtime)} == {"sent"}


async def test_what_was_claimed_but_not_begun_is_free_again_when_a_round_ends(
    opened: Callable[[], Any], source: tuple[TrafficSource, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    standin, url = source
    monkeypatch.setattr(outbound_job, "PATIENCE", 0.1)
    async with told(opened, {"deposit": template(url)}, options={"per_second": 20, "concurrency": 1}) as parts:
        runtime, scene, _ = parts
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, *(f"click_id={click}&event=deposit&txn_id={n}" for n in range(30)))
        for _ in range(12):
            await outbound_job.tick(runtime)
        assert len(standin.received) == len({item["query"]["t"] for item in standin.received})
        result = await states(runtime)
        assert sum(state == "sent" for _, state, _ in result) == len(standin.received)
        async with runtime.database.read() as tx:
            waiting = await tx.execute(select(table.c.claimed_until).where(table.c.state == "queued"))
        assert set(waiting.scalars()) <= {None}


async def test_three_deposits_of_one_click_in_one_batch_are_one_for_a_source_that_wants_each_event_once(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    expected = {"deposit": template(url), "registration": template(url)}
    async with told(opened, expected, options={"only_unique": True}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            click, other = await scene.click(tx), await scene.click(tx, 2)
            deposits = [f"click_id={click}&event=deposit&amount=10&txn_id={n}" for n in range(3)]
            await scene.post(tx, f"click_id={click}&event=reg", *deposits, f"click_id={other}&event=deposit&txn_id=9")
        await outbound_job.tick(runtime)
        outbound_request = sorted((item["query"]["cid"], item["query"]["e"]) for item in standin.received)
        assert outbound_request == [("src-1", "deposit"), ("src-1", "registration"), ("src-2", "deposit")]


async def test_a_postback_that_could_not_be_prepared_is_tried_again(
    opened: Callable[[], Any], source: tuple[TrafficSource, str]
) -> None:
    standin, url = source
    async with told(opened, {"registration": template(url)}, credentials_secret="unreadable") as (
        runtime,
        scene,
        clock,
    ):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx)}&event=reg")
        await outbound_job.tick(runtime)
        assert await states(runtime) == [("registration", "queued", 1)]
        async with runtime.database.begin() as tx:
            await tx.execute(update(sources).values(credentials_secret=None))
            [line] = await delivery_log.history(tx, scene.team_id)
        assert line.error
        assert line.next_at is not None
        clock.now = line.next_at
        await outbound_job.tick(runtime)
        assert len(standin.received) == 1


async def test_a_skipped_postback_says_why(opened: Callable[[], Any], source: tuple[TrafficSource, str]) -> None:
    async with told(opened, {"registration": template(source[1])}) as (runtime, scene, _):
        async with runtime.database.begin() as tx:
            await scene.post(tx, f"click_id={await scene.click(tx, source_click_id=None)}&event=reg")
            [line] = await delivery_log.history(tx, scene.team_id)
        assert (line.state, line.next_at) == ("skipped", None)
        assert "click id" in (line.reason or "")
