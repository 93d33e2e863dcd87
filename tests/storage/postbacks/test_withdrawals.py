"""A mapping that was changed or taken away: replaying brings conversions in line with it, their history kept."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.clicks import caps
from storage.postbacks.conversion_rows import Change
from storage.postbacks.replay import replay
from storage.postbacks.requests import RequestFilter
from storage.tables import conversion_states, conversions, offers, postbacks
from tests.storage.scene import NOON, Scene, build


async def again(tx: AsyncConnection, scene: Scene, *ids: int) -> dict[str, int]:
    return dict(await replay(tx, scene.team_id, RequestFilter(ids=ids), await scene.processor(tx)))


async def found(tx: AsyncConnection) -> list[tuple[str, str, bool]]:
    rows = await tx.execute(select(conversions).order_by(conversions.c.id))
    return [(row.event, row.status, row.is_ftd) for row in rows]


async def test_a_conversion_that_only_a_word_taken_away_made_is_reversed_with_its_history(
    opened: Callable[[], Any],
) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        messages: list[Change] = []

        async def forward(_tx: AsyncConnection, changes: Any, _webhooks: bool) -> None:
            messages.extend(changes)

        scene.forward = forward
        await tx.execute(update(offers).values(cap=5, cap_event="registration", cap_period="day"))
        await scene.map(tx, events={"buy": "registration"})
        click = await scene.click(tx)
        assert await scene.one(tx, f"click_id={click}&event=buy&txn_id=1&amount=5") == "accepted"
        assert await caps.used(tx, scene.offer_id, NOON) == (1, 5)
        await scene.map(tx)
        assert await again(tx, scene) == {"unmapped": 1}
        row = (await tx.execute(select(conversions))).one()
        assert (row.status, row.txn_id, row.marks) == ("reversed", None, ["withdrawn"])
        states = (await tx.execute(select(conversion_states.c.status).order_by(conversion_states.c.id))).scalars()
        assert list(states) == ["approved", "reversed"]
        stored = (await tx.execute(select(postbacks))).one()
        assert (stored.outcome, stored.joined, stored.conversion_id) == ("unmapped", False, None)
        assert await caps.used(tx, scene.offer_id, NOON) == (0, 5)
        assert [(item.before is not None, (item.row or {})["status"]) for item in messages] == [
            (False, "approved"),
            (True, "reversed"),
        ]
        await scene.map(tx, events={"buy": "deposit"})
        assert await again(tx, scene) == {"accepted": 1}
        assert await found(tx) == [("registration", "reversed", False), ("deposit", "approved", False)]


async def test_what_others_say_of_the_conversion_stays(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        await scene.map(tx, events={"paid": "deposit"})
        click = await scene.click(tx)
        done = await scene.post(
            tx, f"click_id={click}&event=dep&txn_id=1&amount=5", f"click_id={click}&event=paid&txn_id=1&amount=9"
        )
        assert [result.outcome for result in done] == ["accepted", "updated"]
        await scene.map(tx)
        assert await again(tx, scene, done[1].id) == {"unmapped": 1}
        row = (await tx.execute(select(conversions))).one()
        assert (row.status, row.amount, row.marks) == ("approved", 5_000_000, [])


async def test_the_next_deposit_is_the_first_when_the_one_before_was_none(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        scene.words = {"has_ftd_event": False}
        await scene.map(tx, events={"bonus": "deposit"})
        click = await scene.click(tx)
        await scene.post(tx, f"click_id={click}&event=bonus&txn_id=1&amount=5")
        await scene.post(tx, f"click_id={click}&event=dep&txn_id=2&amount=9", now=NOON + timedelta(minutes=1))
        assert await found(tx) == [("deposit", "approved", True), ("deposit", "approved", False)]
        await scene.map(tx)
        assert await again(tx, scene) == {"unmapped": 1, "unchanged": 1}
        assert await found(tx) == [("deposit", "reversed", True), ("deposit", "approved", True)]


async def test_a_click_id_under_another_name_moves_the_conversion_to_its_click(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        right, wrong = await scene.click(tx, 1), await scene.click(tx, 2)
        await scene.post(tx, f"click_id={wrong}&s2={right}&event=ftd&txn_id=1&amount=5")
        await scene.map(tx, parameters={"s2": "click_id"})
        assert await again(tx, scene) == {"accepted": 1}
        rows = (await tx.execute(select(conversions).order_by(conversions.c.id))).all()
        assert [(row.click_id, row.status) for row in rows] == [
            (scene.codec.decode(wrong), "reversed"), (scene.codec.decode(right), "approved")
        ]  # fmt: skip
        assert await again(tx, scene) == {"unchanged": 1}


async def test_what_a_person_put_right_stands(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        await scene.map(tx, events={"buy": "deposit"})
        done = (await scene.post(tx, f"click_id={await scene.click(tx)}&event=buy&txn_id=1&amount=5"))[0]
        await tx.execute(update(postbacks).values(corrects=done.conversion_id))
        await scene.map(tx)
        await again(tx, scene)
        assert await found(tx) == [("deposit", "approved", False)]


async def test_deposits_alike_an_hour_apart_stay_two_when_replayed(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        same = f"click_id={await scene.click(tx)}&event=dep&x=7"
        for hours in (0, 1):
            assert await scene.one(tx, same, NOON + timedelta(hours=hours)) == "accepted"
        await scene.map(tx, parameters={"x": "amount"})
        assert sum((await again(tx, scene)).values()) == 2
        rows = (await tx.execute(select(conversions))).all()
        assert [(row.status, row.amount) for row in rows] == [("approved", 7_000_000)] * 2
        assert None not in set((await tx.execute(select(postbacks.c.conversion_id))).scalars())


async def test_a_cap_counts_on_the_day_a_conversion_moved_to(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        await tx.execute(update(offers).values(cap=5, cap_event="first_deposit", cap_period="day"))
        ftd = f"click_id={await scene.click(tx)}&event=ftd&txn_id=1"
        await scene.post(tx, f"{ftd}&occurred_at=2026-10-01T11:30:00Z")
        await scene.post(tx, f"{ftd}&occurred_at=2026-09-30T22:00:00Z")
        assert await caps.used(tx, scene.offer_id, NOON) == (0, 5)
        assert await caps.used(tx, scene.offer_id, NOON - timedelta(days=1)) == (1, 5)


async def test_two_conversions_swap_their_transactions_when_another_parameter_names_them(
    opened: Callable[[], Any],
) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        await scene.map(tx, parameters={"a": "txn_id"})
        click = await scene.click(tx)
        for a, b in ((1, 2), (2, 1)):
            assert await scene.one(tx, f"click_id={click}&event=dep&amount={a}&a={a}&b={b}") == "accepted"
        await scene.map(tx, parameters={"b": "txn_id"})
        await again(tx, scene)
        rows = (await tx.execute(select(conversions))).all()
        assert {(row.txn_id, row.amount) for row in rows if row.status == "approved"} == {
            ("2", 1_000_000), ("1", 2_000_000)
        }  # fmt: skip


async def test_a_source_does_not_hear_twice_that_a_conversion_is_reversed(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        statuses: list[str] = []

        async def forward(_tx: AsyncConnection, changes: Any, _webhooks: bool) -> None:
            statuses.extend((change.row or {})["status"] for change in changes)

        scene.forward = forward
        await scene.map(tx, events={"buy": "registration"})
        buy = f"click_id={await scene.click(tx)}&event=buy&txn_id=1"
        for status in ("approved", "declined"):
            await scene.post(tx, f"{buy}&status={status}")
        await scene.map(tx)
        await again(tx, scene)
        assert statuses == ["approved", "reversed"]
        assert await found(tx) == [("registration", "reversed", False)]
