"""Postbacks become conversions: counted once, changed with history, whatever order they come in."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from storage.catalogue import teams
from storage.clicks import caps
from storage.ledger.facts import SUBS
from storage.tables import accounts, conversion_states, conversions, offers, postbacks, touched
from tests.storage.scene import NOON, build, counted

EURO = 1_000_000


async def test_a_registration_and_a_deposit_are_counted_on_the_click_they_belong_to(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        done = await scene.post(
            tx, f"click_id={click}&event=reg", f"cid={click.upper()}&goal=FTD&payout=50,00&txid=T1&status=Confirmed"
        )
        assert [result.outcome for result in done] == ["accepted", "accepted"]
        rows = (await tx.execute(select(conversions).order_by(conversions.c.id))).all()
        assert [(r.event, r.is_ftd, r.amount, r.currency) for r in rows] == [
            ("registration", False, None, "EUR"),
            ("first_deposit", True, 50 * EURO, "EUR"),
        ]
        assert {(r.campaign_id, r.offer_id, r.source_id) for r in rows} == {
            (scene.campaign_id, scene.offer_id, scene.source_id)
        }
        assert [(r.country, r.device, r.sub1, r.visit_day) for r in rows] == [
            ("DE", "mobile", "banner", NOON.date())
        ] * 2
        assert (await tx.execute(select(func.count()).select_from(touched))).scalar_one() >= 1
        assert (await tx.execute(select(func.count()).select_from(conversion_states))).scalar_one() == 2


async def test_every_sub_value_of_a_click_is_that_of_its_conversion(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        async with database.begin() as tx:
            scene = await build(tx)
            none = await scene.click(tx, 1, sub1=None)
            few = await scene.click(tx, 2, sub1="a", sub2="b")
            every = await scene.click(tx, 3, **{name: f"value of {name}" for name in SUBS})
            processor = await scene.processor(tx)
        for words in ([none, few], [every, none, few], [few]):
            # As postbacks come over HTTP.
            lines = [f"click_id={word}&event=deposit&txn_id={len(words)}-{word}" for word in words]
            await database.run(lambda tx, lines=lines: scene.post(tx, *lines, processor=processor))
        async with database.read() as tx:
            columns = [conversions.c[name] for name in SUBS]
            rows = [tuple(row) for row in await tx.execute(select(*columns).order_by(conversions.c.id))]
        empty, two, full = (None,) * 10, ("a", "b", *(None,) * 8), tuple(f"value of {name}" for name in SUBS)
        assert rows == [empty, two, full, empty, two, two]


async def test_a_mark_never_has_the_id_of_one_that_is_settled(opened: Callable[[], Any]) -> None:
    async with opened() as database:
        marks: list[int] = []
        async with database.begin() as tx:
            scene = await build(tx)
            words = [await scene.click(tx, n) for n in (1, 2)]
            processor = await scene.processor(tx)
        for word in words:
            # As postbacks come over HTTP.
            await database.run(lambda tx, word=word: scene.post(tx, f"click_id={word}&event=reg", processor=processor))
            async with database.begin() as tx:
                now = list((await tx.execute(select(touched.c.id))).scalars())
                assert marks == [] or min(now) > max(marks)
                marks += now
                await tx.execute(delete(touched))
        assert len(marks) >= 2


async def test_the_same_again_is_a_duplicate_in_one_batch_and_in_the_next(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        same = f"click_id={click}&event=deposit&amount=20&txn_id=D1"
        again = f"txn_id=D1&amount=20&event=deposit&click_id={click}"
        done = await scene.post(tx, same, again, same)
        assert [result.outcome for result in done] == ["accepted", "duplicate", "duplicate"]
        assert await scene.one(tx, same) == "duplicate"
        assert await counted(tx) == [("deposit", "approved", False, 20 * EURO, "2026-10-01")]
        stored = (await tx.execute(select(postbacks.c.outcome, postbacks.c.conversion_id))).all()
        assert len(stored) == 4
        assert {row.conversion_id for row in stored} == {done[0].conversion_id}


async def test_without_a_transaction_a_deposit_repeats_only_within_ten_minutes(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        same = f"click_id={click}&event=deposit&amount=20"
        outcomes = [await scene.one(tx, same, NOON + timedelta(minutes=m)) for m in (0, 8, 16, 27)]
        assert outcomes == ["accepted", "duplicate", "duplicate", "accepted"]
        assert await scene.one(tx, f"click_id={click}&event=deposit&amount=21", NOON) == "accepted"


async def test_a_registration_again_is_a_duplicate_whatever_its_transaction(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        reg = f"click_id={click}&event=registration"
        outcomes = [await scene.one(tx, reg + more) for more in ("", "", "&txn_id=R1", "&txn_id=R2", "&txn_id=R2")]
        assert outcomes == ["accepted", *["duplicate"] * 4]
        row = (await tx.execute(select(conversions))).one()
        assert row.txn_id == "R1"


async def test_status_rises_and_never_falls_and_every_state_is_kept(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        base = f"click_id={click}&event=ftd&txn_id=F1"
        outcomes = [
            await scene.one(tx, base + more)
            for more in (
                "&status=hold&amount=40",
                "&status=approved&amount=45",
                "&status=pending&amount=40",
                "&amount=46",
                "&status=declined",
            )
        ]
        assert outcomes == ["accepted", "updated", "duplicate", "updated", "updated"]
        states = (await tx.execute(select(conversion_states).order_by(conversion_states.c.id))).all()
        assert [(s.status, s.amount) for s in states] == [
            ("pending", 40 * EURO), ("approved", 45 * EURO), ("approved", 46 * EURO), ("reversed", 46 * EURO),
        ]  # fmt: skip
        assert None not in {s.postback_id for s in states}


async def test_a_reversal_waits_for_its_original(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        assert await scene.one(tx, f"click_id={click}&event=chargeback&txn_id=D1") == "unmatched"
        assert await scene.one(tx, f"click_id={click}&event=deposit&txn_id=D2&status=rejected") == "unmatched"
        assert await scene.one(tx, f"click_id={click}&event=chargeback") == "unmatched"
        assert await scene.one(tx, f"click_id={click}&event=deposit&txn_id=D1&amount=10") == "accepted"
        assert await scene.one(tx, f"click_id={click}&event=deposit&txn_id=D2&amount=11") == "accepted"
        assert [row[1] for row in await counted(tx)] == ["reversed", "reversed"]
        remaining = (await tx.execute(select(postbacks.c.outcome).order_by(postbacks.c.id))).scalars().all()
        assert remaining == ["updated", "updated", "unmatched", "accepted", "accepted"]


#: Words of platforms for what does not count any more.
REVERSING = (
    "canceled", "Cancelled", "chargeback", "refunded", "REFUND", "void", "invalid", "reject", "rejected", "decline",
    "declined", "trash", "fraud", "reversed", "expired", "failed",
)  # fmt: skip


async def test_an_approved_deposit_told_again_with_any_reversing_word_is_reversed(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        for number, word in enumerate(REVERSING):
            deposit = f"click_id={click}&event=deposit&amount=10&txn_id=D{number}"
            assert await scene.one(tx, f"{deposit}&status=approved") == "accepted"
            assert await scene.one(tx, f"{deposit}&status={word}") == "updated", word
            assert await scene.one(tx, f"{deposit}&status=approved") == "duplicate", word
        assert {row[1] for row in await counted(tx)} == {"reversed"}


async def test_a_word_that_is_not_known_is_pending_and_shown_in_the_log(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        for number, word in enumerate(("banana", "7", "APPROVED!", "yes")):
            deposit = f"click_id={click}&event=deposit&amount=10&txn_id=D{number}&status={word}"
            assert await scene.one(tx, deposit) == "accepted"
        assert {row[1] for row in await counted(tx)} == {"pending"}
        reasons = (await tx.execute(select(postbacks.c.reason).order_by(postbacks.c.id))).scalars().all()
        assert ["status 'banana'" in reasons[0], "status 'yes'" in reasons[3]] == [True, True]


async def test_one_transaction_said_to_be_both_is_one_deposit_and_the_first(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        assert await scene.one(tx, f"click_id={click}&event=deposit&txn_id=D1&amount=10") == "accepted"
        assert await scene.one(tx, f"click_id={click}&event=ftd&txn_id=D1&amount=10") == "updated"
        assert await scene.one(tx, f"click_id={click}&event=ftd&txn_id=D2&amount=10") == "duplicate"
        assert await counted(tx) == [("first_deposit", "approved", True, 10 * EURO, "2026-10-01")]


async def test_where_there_is_no_ftd_event_the_earliest_deposit_is_the_first(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        scene.words = {"has_ftd_event": False}
        click = await scene.click(tx)
        dep = f"click_id={click}&event=deposit"
        await scene.post(tx, f"{dep}&txn_id=D1&amount=1&occurred_at=2026-10-01T11:40:00Z")
        await scene.post(tx, f"{dep}&txn_id=D2&amount=2&occurred_at=2026-10-01T11:20:00Z")
        assert [(row[2], row[3]) for row in await counted(tx)] == [(False, 1 * EURO), (True, 2 * EURO)]
        await scene.post(tx, f"{dep}&txn_id=D2&status=reversed")
        assert [(row[2], row[3]) for row in await counted(tx)] == [(False, 1 * EURO), (True, 2 * EURO)]
        await scene.post(tx, f"click_id={click}&event=ftd&txn_id=D3&amount=3")
        assert [row[3] for row in await counted(tx) if row[2]] == [3 * EURO]


async def test_a_transaction_of_another_click_is_a_duplicate_with_the_reason(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        mine, other = await scene.click(tx, 1), await scene.click(tx, 2)
        assert await scene.one(tx, f"click_id={mine}&event=deposit&txn_id=D1&amount=10") == "accepted"
        done = (await scene.post(tx, f"click_id={other}&event=deposit&txn_id=D1&amount=10"))[0]
        assert (done.outcome, done.reason) == ("duplicate", "transaction D1 belongs to another click")
        assert await scene.one(tx, f"click_id={other}&event=reg&txn_id=D1") == "accepted"
        assert len(await counted(tx)) == 2


async def test_a_known_player_needs_no_click_id_and_an_unknown_one_waits(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        assert await scene.one(tx, "player_id=P1&event=deposit&txn_id=D1&amount=5") == "unmatched"
        assert await scene.one(tx, f"click_id={click}&player_id=P1&event=reg") == "accepted"
        assert await scene.one(tx, "player_id=P1&event=ftd&txn_id=F1&amount=7") == "accepted"
        assert await scene.one(tx, "player_id=P2&event=ftd") == "unmatched"
        assert await scene.one(tx, "event=ftd") == "unmatched"
        assert [row[:4] for row in await counted(tx)] == [
            ("deposit", "approved", False, 5 * EURO),
            ("first_deposit", "approved", True, 7 * EURO),
            ("registration", "approved", False, None),
        ]


async def test_players_of_one_click_are_counted_each(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        base = f"click_id={click}&event=ftd&amount=5"
        outcomes = [await scene.one(tx, f"{base}&player_id={p}&txn_id={t}") for p, t in (("A", 1), ("B", 2), ("A", 3))]
        assert outcomes == ["accepted", "accepted", "duplicate"]


async def test_unknown_words_and_clicks_are_kept_with_the_reason(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        done = await scene.post(
            tx, f"click_id={click}&event=install", "click_id=nonsense&event=reg", "click_id=0000000000000&event=reg",
            f"click_id={click}", f"click_id={click}&event=ftd&amount=abc&occurred_at=soon",
        )  # fmt: skip
        assert [result.outcome for result in done] == ["unmapped", "unmatched", "unmatched", "rejected", "accepted"]
        assert "install" in (done[0].reason or "")
        row = (await tx.execute(select(conversions))).one()
        assert (row.amount, row.marks) == (None, ["no_amount", "no_time"])


async def test_a_late_conversion_moves_its_own_day_and_is_marked(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        click = await scene.click(tx)
        later = NOON + timedelta(days=3)
        await scene.post(tx, f"click_id={click}&event=ftd&occurred_at=1790855999", now=later)
        await scene.post(tx, f"click_id={click}&event=reg&occurred_at=2026-09-30T00:00:00", now=NOON)
        rows = (await tx.execute(select(conversions).order_by(conversions.c.id))).all()
        assert [(r.day.isoformat(), r.marks) for r in rows] == [
            ("2026-10-01", ["late"]), ("2026-09-30", ["before_click", "late"]),
        ]  # fmt: skip
        days = set((await tx.execute(select(touched.c.day))).scalars())
        assert {row.day for row in rows} <= days


async def test_a_player_known_by_several_clicks_belongs_to_the_earliest(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        first, second = await scene.click(tx, 1), await scene.click(tx, 2)
        for player, order in (("P1", (first, second)), ("P2", (second, first))):
            for number, click in enumerate(order):
                await scene.post(tx, f"click_id={click}&player_id={player}&event=deposit&txn_id={player}{number}")
            done = (await scene.post(tx, f"player_id={player}&event=deposit&txn_id={player}-last"))[0]
            row = (await tx.execute(select(conversions).where(conversions.c.id == done.conversion_id))).one()
            assert row.click_id == scene.codec.decode(first), player


async def test_a_click_of_another_team_is_unknown_and_not_named_in_the_log(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        other = await teams.add(tx, "Other", NOON)
        click = await scene.click(tx, team_id=other.id)
        missing = scene.codec.encode((scene.codec.decode(click) or 0) + 5)
        assert [await scene.one(tx, f"click_id={word}&event=reg") for word in (click, missing)] == ["unmatched"] * 2
        stored = await tx.execute(select(postbacks.c.click_id).order_by(postbacks.c.id))
        assert list(stored.scalars()) == [None, scene.codec.decode(missing)]


async def test_two_accounts_may_send_the_very_same_deposit_of_a_click(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        same = f"click_id={await scene.click(tx)}&event=deposit&amount=20"
        assert await scene.one(tx, same) == "accepted"
        made = insert(accounts).values(
            team_id=scene.team_id, created_at=NOON, name="second", code="second", platform="postback_only",
            timezone="UTC", currency="EUR", options={}, postback_key="key-2",
        )  # fmt: skip
        scene.account_id = (await tx.execute(made.returning(accounts.c.id))).scalar_one()
        assert [await scene.one(tx, same) for _ in range(2)] == ["accepted", "duplicate"]


async def test_a_reversed_first_deposit_makes_room_under_its_cap(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        await tx.execute(update(offers).values(cap=5, cap_event="first_deposit", cap_period="day"))
        deposit = f"click_id={await scene.click(tx)}&event=ftd&txn_id=1"
        used = []
        for status in ("approved", "declined"):
            await scene.post(tx, f"{deposit}&status={status}")
            used.append(await caps.used(tx, scene.offer_id, NOON))
        assert used == [(1, 5), (0, 5)]


async def test_both_days_are_merged_again_when_a_conversion_moves_to_another_day(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        deposit = f"click_id={await scene.click(tx)}&event=ftd&txn_id=1"
        await scene.post(tx, f"{deposit}&occurred_at=2026-10-03T11:30:00Z", now=NOON + timedelta(days=3))
        await tx.execute(delete(touched))
        await scene.post(tx, f"{deposit}&occurred_at=2026-10-02T11:30:00Z", now=NOON + timedelta(days=3))
        assert [row[4] for row in await counted(tx)] == ["2026-10-02"]
        days = {day.isoformat() for day in (await tx.execute(select(touched.c.day))).scalars()}
        assert days >= {"2026-10-02", "2026-10-03"}


async def test_a_conversion_looked_at_again_without_its_click_in_the_batch_keeps_its_marks(
    opened: Callable[[], Any],
) -> None:
    async with opened() as database, database.begin() as tx:
        scene = await build(tx)
        mine, other = await scene.click(tx, 1), await scene.click(tx, 2)
        early = "event=deposit&txn_id=D1&occurred_at=2026-09-30T00:00:00"
        await scene.post(tx, f"click_id={mine}&{early}")
        before = (await tx.execute(select(conversions.c.marks))).scalar_one()
        assert await scene.one(tx, f"click_id={other}&event=deposit&txn_id=D1&amount=7") == "duplicate"
        assert before == (await tx.execute(select(conversions.c.marks))).scalar_one() != []
