"""/postback/{key} over HTTP: every request kept before its answer, answered as the contract says."""

import asyncio
import hashlib
import hmac
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from hub.postbacks.handler import UNCHECKED_SIGNATURE, Postbacks, retry_waiting
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings
from storage.catalogue import teams
from storage.db import config_version, direct_sqlite, tasks, unavailable
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.facts import Event
from storage.postbacks import replay, requests
from storage.tables import accounts, conversions, outbound, postbacks, sources
from tests.storage.scene import NOON, Scene, build


@asynccontextmanager
async def served(opened: Callable[[], Any], **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Scene, Runtime]]:
    async with opened() as database:
        async with database.begin() as tx:
            scene = await build(tx)
        arguments = Settings(secret_key="k" * 32, **settings)
        runtime = Runtime(
            settings=arguments, database=database, box=Box("k" * 32),
            ports=HubPorts(arguments), team_id=scene.team_id, clock=lambda: NOON,
        )  # fmt: skip
        part = Postbacks(runtime)
        runtime.state["postbacks"] = part
        await part.start()
        transport = httpx.ASGITransport(app=part)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.example.test", timeout=60) as client:
            yield client, scene, runtime
        await part.stop()


async def until_placed(runtime: Runtime) -> None:
    """Until nothing waits in the spool, and new requests go straight to the database again."""
    part = runtime.state["postbacks"]
    while part.spooled or part._spooling.away:
        await asyncio.sleep(0.01)


async def test_query_form_and_json_are_understood_alike(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            clicks = [await scene.click(tx, n) for n in (1, 2, 3)]
        message = [{"click_id": click, "event": "ftd", "amount": "12,50", "txn_id": click} for click in clicks]
        answers = [
            await client.get("/postback/key-1", params=message[0]),
            await client.post("/postback/key-1", data=message[1]),
            await client.post("/postback/key-1", json={"data": message[2]}),
            await client.post("/postback/key-1", data=message[0]),
        ]
        assert [a.status_code for a in answers] == [200] * 4
        assert [a.json()["outcome"] for a in answers] == ["accepted", "accepted", "accepted", "duplicate"]
        async with runtime.database.read() as tx:
            amounts = (await tx.execute(select(conversions.c.amount))).scalars().all()
            assert amounts == [12_500_000] * 3
            assert len((await tx.execute(select(postbacks))).all()) == 4


async def test_an_unknown_key_is_not_found_and_a_new_one_is_known_at_once(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, _scene, runtime):
        assert (await client.get("/postback/other?event=reg")).status_code == 404
        async with runtime.database.begin() as tx:
            await tx.execute(update(accounts).values(postback_key="other"))
            await config_version.bump(tx)
        answer = await client.get("/postback/other?event=reg")
        assert (answer.status_code, answer.json()["outcome"]) == (200, "unmatched")


async def test_what_can_never_be_read_is_kept_and_answered_400(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, _scene, runtime):
        answer = await client.post("/postback/key-1", content=b"<html>\xff", headers={"content-type": "text/html"})
        assert answer.status_code == 400
        assert answer.json()["outcome"] == "rejected"
        assert "page" in answer.json()["reason"]
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(postbacks))).one()
            assert (row.outcome, row.body) == ("rejected", b"<html>\xff")


async def test_a_body_over_a_megabyte_is_413_and_logged_without_it(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, _scene, runtime):
        fits = await client.post("/postback/key-1?event=reg", content=b"a=" + b"x" * 999_998)
        assert fits.status_code == 200
        answer = await client.post("/postback/key-1?event=reg", content=b"x" * 1_000_001)
        assert (answer.status_code, answer.json()["outcome"]) == (413, "rejected")
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(postbacks).order_by(postbacks.c.id.desc()).limit(1))).one()
            assert (row.outcome, row.body, row.query) == ("rejected", b"", b"event=reg")


async def test_the_log_shows_the_beginning_of_a_long_body_and_its_size(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, scene, runtime):
        for content in (b"a=" + b"x" * 899_998, b"a=short", b""):
            await client.post("/postback/key-1?event=reg", content=content)
        async with runtime.database.read() as tx:
            lines = await requests.log(tx, scene.team_id, requests.RequestFilter(), limit=10)
        begun = "a=" + "x" * (requests.SHOWN_BODY - 2)
        assert [line.raw for line in lines] == [
            "event=reg", "event=reg\na=short", f"event=reg\n{begun}… (900,000 bytes)"
        ]  # fmt: skip


async def test_a_long_body_is_stored_compressed_read_again_whole_and_let_go_after_a_month(
    opened: Callable[[], Any],
) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        body = {"note": "x" * 900_000, "event": "reg", "click_id": click}
        assert (await client.post("/postback/key-1", json=body)).json()["outcome"] == "accepted"
        async with runtime.database.read() as tx:
            (row,) = await requests.stored(tx, scene.team_id, requests.RequestFilter(), limit=10)
        assert (len(row.body), row.body_size > 900_000, len(row.packed_body) < 10_000) == (4_000, True, True)
        account = runtime.state["postbacks"].processor().book.by_id[row.account_id]
        assert len(requests.again(row, account).body) == row.body_size
        await requests.forget_long_bodies(runtime.database, row.received_at + timedelta(days=29))
        async with runtime.database.read() as tx:
            (row,) = await requests.stored(tx, scene.team_id, requests.RequestFilter(), limit=10)
        assert not requests.is_forgotten(row)
        await requests.forget_long_bodies(runtime.database, row.received_at + timedelta(days=31))
        async with runtime.database.read() as tx:
            (row,) = await requests.stored(tx, scene.team_id, requests.RequestFilter(), limit=10)
        assert requests.is_forgotten(row)
        assert requests.again(row, account).signal.event == Event.REGISTRATION


async def test_nul_in_names_and_values_is_kept_out_of_the_database_and_nothing_fails(
    opened: Callable[[], Any],
) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        form = {"content-type": "application/x-www-form-urlencoded"}
        answers = [
            await client.get(f"/postback/key-1?a%00b=1&event=reg&click_id={click}&txn_id=%00"),
            await client.post("/postback/key-1", json={"a\x00b": "\x00", "event": "ftd", "click_id": click}),
            await client.post(
                "/postback/key-1", content=f"%00=%00&event=dep&click_id={click}&txn_id=a%00b", headers=form
            ),
        ]
        assert [(answer.status_code, answer.json()["outcome"]) for answer in answers] == [(200, "accepted")] * 3
        async with runtime.database.read() as tx:
            assert len(await requests.log(tx, scene.team_id, requests.RequestFilter(), limit=10)) == 3
        assert (await client.get("/postback/key-1%00?event=reg")).status_code == 404


async def test_a_click_of_another_team_is_unknown_and_its_source_is_told_nothing(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            url = "https://push.example.test/?cid={click_id}"
            values = {"registration": {"url": url, "method": "GET"}}
            await tx.execute(update(sources).values(postbacks=values))
            click = await scene.click(tx)
            other = await teams.add(tx, "Other", NOON)
            await tx.execute(insert(accounts).values(
                team_id=other.id, name="theirs", code="theirs", platform="postback_only", timezone="UTC",
                currency="EUR", options={}, postback_key="key-2", created_at=NOON,
            ))  # fmt: skip
            await config_version.bump(tx)
        await runtime.state["postbacks"].refresh()
        for query in (f"event=reg&click_id={click}", f"event=ftd&click_id={click.upper()}&txn_id=1"):
            assert (await client.get(f"/postback/key-2?{query}")).json()["outcome"] == "unmatched"
        async with runtime.database.read() as tx:
            assert (await tx.execute(select(conversions))).all() == []
            assert (await tx.execute(select(outbound))).all() == []
        assert (await client.get(f"/postback/key-1?event=reg&click_id={click}")).json()["outcome"] == "accepted"
        async with runtime.database.read() as tx:
            assert len((await tx.execute(select(outbound))).all()) == 1


@pytest.mark.parametrize(
    ("query", "outcome", "message"),
    [
        (b"event=reg&click_id=%ff%fe", "unmatched", "Windows-1252"),
        (b"event=reg&click_id={click_id}", "unmatched", "macro"),
        (b"event=ftd&click_id=CLICK&amount=1e2&amount=7", "accepted", "2 times"),
        (b"event=ftd&click_id=CLICK&amount=NaN", "accepted", "no number"),
        (b"event=ftd&click_id=CLICK&status=7", "accepted", "status '7'"),
        (b"event=ftd&click_id=CLICK&occurred_at=2030-01-01", "accepted", "ahead"),
        (b"event=%00&click_id=CLICK", "unmapped", "map it"),
        (b"", "rejected", "no event"),
        (b"event=ftd&click_id=CLICK&txn_id=" + b"9" * 300, "accepted", "cut to 255"),
    ],
)
async def test_odd_requests_leave_a_reason(opened: Callable[[], Any], query: bytes, outcome: str, message: str) -> None:
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        url = httpx.URL("http://hub.example.test/postback/key-1", query=query.replace(b"CLICK", click.encode()))
        answer = await client.get(url)
        assert answer.json()["outcome"] == outcome
        async with runtime.database.read() as tx:
            reason = (await tx.execute(select(postbacks.c.reason))).scalar_one()
        assert message in reason


async def test_only_listed_addresses_and_right_signatures_count(opened: Callable[[], Any]) -> None:
    proxies = (ip_network("127.0.0.1"), ip_network("192.168.0.0/16"))
    async with served(opened, trusted_proxies=proxies) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await scene.map(tx, allow=["10.0.0.0/8"])
            await config_version.bump(tx)
        part: Postbacks = runtime.state["postbacks"]
        await part.refresh()
        refused = await client.get(f"/postback/key-1?click_id={click}&event=reg")
        assert (refused.status_code, "allow-list" in refused.json()["reason"]) == (400, True)
        for hops in (["10.1.2.3:4711"], ["10.1.2.3", "192.168.0.7"]):  # as gateways write it that add port or line
            forwarded = [("x-forwarded-for", hop) for hop in hops]
            heard = await client.get(f"/postback/key-1?click_id={click}&event=login", headers=forwarded)
            assert "allow-list" not in heard.text
        async with runtime.database.begin() as tx:
            await scene.map(tx, hmac_sealed=runtime.box.seal("shared"))
            await config_version.bump(tx)
        await part.refresh()
        query = f"click_id={click}&event=reg"
        wrong = await client.get(f"/postback/key-1?{query}&signature=00")
        right = hmac.new(b"shared", query.encode(), hashlib.sha256).hexdigest()
        good = await client.get(f"/postback/key-1?{query}&signature={right}")
        assert [wrong.json()["outcome"], good.json()["outcome"]] == ["rejected", "accepted"]


async def test_a_signing_secret_that_no_key_opens_is_named_once_and_its_requests_are_kept_for_replay(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "monitor", tasks.TaskMonitor())
    async with served(opened) as (client, scene, runtime):
        part: Postbacks = runtime.state["postbacks"]

        async def seal(box: Box) -> None:
            async with runtime.database.begin() as tx:
                await scene.map(tx, hmac_sealed=box.seal("shared"))
                await config_version.bump(tx)
            await part.refresh()

        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        query = f"click_id={click}&event=reg"
        signature = hmac.new(b"shared", query.encode(), hashlib.sha256).hexdigest()
        await seal(Box("another key"))
        with capture_logs() as lines:
            answers = [await client.get(f"/postback/key-1?{query}&signature={signature}") for _ in range(3)]
        assert {(a.json()["outcome"], a.json()["reason"]) for a in answers} == {("rejected", UNCHECKED_SIGNATURE)}
        assert [line["task"] for line in lines] == ["signatures of postbacks to acme"]
        assert list(tasks.monitor.failing()) == ["signatures of postbacks to acme"]
        await seal(runtime.box)
        assert tasks.monitor.failing() == {}
        async with runtime.database.begin() as tx:
            waiting = requests.RequestFilter(outcome="rejected")
            assert await replay.replay(tx, scene.team_id, waiting, part.processor()) == {"accepted": 1, "duplicate": 2}
        again = await client.get(f"/postback/key-1?{query}&signature={signature}")
        assert again.json()["outcome"] == "duplicate"


async def test_a_request_that_cannot_be_placed_is_still_kept(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_given: object) -> None:
        raise RuntimeError("boom")

    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        monkeypatch.setattr("storage.postbacks.conversions.write", broken)
        answer = await client.get(f"/postback/key-1?click_id={click}&event=reg")
        assert (answer.status_code, answer.json()["outcome"]) == (500, "rejected")
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(postbacks))).one()
        assert (row.outcome, row.query) == ("rejected", f"click_id={click}&event=reg".encode())


async def test_what_the_database_refuses_fails_alone_in_its_batch(opened: Callable[[], Any]) -> None:
    refusal = {
        "sqlite": "CREATE TRIGGER refusal BEFORE INSERT ON postbacks "
        "WHEN NEW.txn_id = 'bad' AND NEW.outcome <> 'rejected' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "postgresql": "ALTER TABLE postbacks ADD CHECK (txn_id <> 'bad' OR outcome = 'rejected')",
    }
    words = ["reg", "ftd&txn_id=1", "dep&txn_id=bad", "dep&txn_id=2", "dep&txn_id=2", "chargeback&txn_id=1"]
    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
            await tx.exec_driver_sql(refusal[tx.dialect.name])
        said = await asyncio.gather(*(client.get(f"/postback/key-1?click_id={click}&event={word}") for word in words))
        async with runtime.database.read() as tx:
            stored = (await tx.execute(select(postbacks.c.outcome).order_by(postbacks.c.id))).scalars().all()
            made = (await tx.execute(select(conversions.c.event, conversions.c.txn_id, conversions.c.status))).all()
    assert Counter(answer.json()["outcome"] for answer in said) == Counter(stored) == {
        "accepted": 3, "rejected": 1, "duplicate": 1, "updated": 1,
    }  # fmt: skip
    assert sorted(map(tuple, made)) == [
        ("deposit", "2", "approved"), ("first_deposit", "1", "reversed"), ("registration", None, "approved"),
    ]  # fmt: skip


async def test_a_request_that_came_before_its_click_is_placed_when_the_click_is_stored(
    opened: Callable[[], Any],
) -> None:
    async with served(opened) as (client, scene, runtime):
        click_id = first_id_at(NOON - timedelta(hours=1)) + 5
        url = f"/postback/key-1?event=reg&click_id={scene.codec.encode(click_id)}"
        assert (await client.get(url)).json()["outcome"] == "unmatched"
        assert await retry_waiting(runtime) == 0
        async with runtime.database.begin() as tx:
            await scene.click(tx, 5)
        runtime.clock = lambda: NOON + timedelta(seconds=3)
        assert await retry_waiting(runtime) == 1
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(postbacks))).one()
        assert (row.outcome, row.conversion_id is not None) == ("accepted", True)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_two_that_retry_at_once_place_a_waiting_request_once(opened: Callable[[], Any]) -> None:
    async with served(opened) as (client, scene, runtime):
        click_id = first_id_at(NOON - timedelta(hours=1)) + 5
        url = f"/postback/key-1?event=ftd&txn_id=T1&click_id={scene.codec.encode(click_id)}"
        assert (await client.get(url)).json()["outcome"] == "unmatched"
        async with runtime.database.begin() as tx:
            await scene.click(tx, 5)

        async def retry(tx: AsyncConnection) -> int:
            return await replay.retry_waiting(tx, await scene.processor(tx), since=NOON - timedelta(hours=1))

        blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with runtime.database.begin() as tx:
            assert await retry(tx) == 1
            other = asyncio.create_task(runtime.database.run(retry))
            while not (await tx.execute(blocked)).scalar_one() and not other.done():
                await asyncio.sleep(0.01)
        assert await other == 0
        async with runtime.database.read() as tx:
            assert len((await tx.execute(select(conversions))).all()) == 1


async def test_answered_without_a_task_it_is_answered_alike(opened: Callable[[], Any]) -> None:
    async with served(opened) as (_client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        part: Postbacks = runtime.state["postbacks"]
        message: list[Any] = []
        scope = {"type": "http", "method": "GET", "path": "/postback/key-1", "headers": [], "http_version": "1.1"}
        queries = [f"click_id={click}&event=reg", f"click_id={click}&event=reg", "event=reg", ""]
        for query in queries:
            assert part.try_fast_path(scope | {"query_string": query.encode()}, message.append, b"x-always: yes\r\n")
        assert not part.try_fast_path(scope | {"path": "/postback/other", "query_string": b""}, message.append)
        assert not part.try_fast_path(scope | {"method": "POST", "query_string": b""}, message.append)
        for _ in range(12_000):
            if len(message) == len(queries):
                break
            await asyncio.sleep(0.01)
        outcomes = [msgspec.json.decode(item["body"])["outcome"] for item in message]
        assert outcomes == ["accepted", "duplicate", "unmatched", "rejected"]
        assert [item["status"] for item in message] == [200, 200, 200, 400]
        for item in message:
            length = f"content-length: {len(item['body'])}"
            assert {"content-type: application/json", length} < {*item["lines"]}
            assert item["rest"] == b"x-always: yes\r\n"


async def test_a_request_that_broke_off_is_kept_and_counts_for_nothing(opened: Callable[[], Any]) -> None:
    async with served(opened) as (_client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        parts = [
            {"type": "http.request", "body": f"click_id={click}&event=ftd&amount=1".encode(), "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Any:
            return parts.pop(0)

        async def send(_message: Any) -> None:
            raise OSError("gone")

        scope: Any = {"type": "http", "method": "POST", "path": "/postback/key-1", "query_string": b"", "headers": []}
        await runtime.state["postbacks"](scope, receive, send)
        async with runtime.database.read() as tx:
            row = (await tx.execute(select(postbacks))).one()
            assert (row.outcome, row.reason) == ("rejected", "the connection broke before the body was whole")
            assert row.body.endswith(b"amount=1")


async def test_a_locked_database_is_waited_for_and_spooled_for_all_at_once(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met_lock = asyncio.Event()

    def is_locked(error: BaseException) -> bool:
        met_lock.set()
        return unavailable.is_locked(error)

    monkeypatch.setattr(direct_sqlite, "is_locked", is_locked)
    path = tmp_path / "locked.db"
    shutil.copy(sqlite_template, path)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        database = Database(f"sqlite+aiosqlite:///{path}")
        yield database
        await database.close()

    async with served(opened) as (client, scene, runtime):
        async with runtime.database.begin() as tx:
            click = await scene.click(tx)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        requests = [
            asyncio.create_task(client.get(f"/postback/key-1?click_id={click}&event={e}")) for e in ("reg", "ftd")
        ]
        await met_lock.wait()
        assert not any(item.done() for item in requests)
        other.execute("ROLLBACK")
        assert [(await item).json()["outcome"] for item in requests] == ["accepted", "accepted"]
        runtime.state["postbacks"]._patience = 0.1
        other.execute("BEGIN IMMEDIATE")
        deposit = f"/postback/key-1?click_id={click}&event=dep&txn_id="
        late = await asyncio.gather(*(client.get(f"{deposit}{n}") for n in range(9)))
        other.execute("ROLLBACK")
        other.close()
        assert {item.status_code for item in late} == {200}
        assert late[0].json() == {
            "outcome": "accepted", "reason": "kept on disk: it is placed when the database is back",
        }  # fmt: skip
        await until_placed(runtime)
        again = await client.get(f"{deposit}1")
        assert again.json()["outcome"] == "duplicate"
