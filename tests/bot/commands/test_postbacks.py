"""Postbacks by command: the address, the log, mapping words, looking again, by hand, and what traffic costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.postbacks import manual_conversions
from storage.tables import accounts, campaigns, conversion_states, conversions, postbacks, spend
from tests.bot.asking import NOON, Asker, asking
from tests.storage.scene import Scene, build, counted


@asynccontextmanager
async def scenario(opened: Callable[[], Any]) -> AsyncIterator[tuple[Asker, Scene]]:
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            scene = await build(tx)
        yield say, scene


async def test_the_address_is_ready_to_be_pasted(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _scene):
        address = await say("postback url acme")
        assert address["url"] == "https://track.example.test/postback/key-1"
        assert address["template"].startswith(address["url"] + "?click_id={click_id}&event={event}")
        assert address["template"] in say.shown


async def test_the_log_tells_what_came_and_why_a_page_at_a_time(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, f"click_id={click}&event=reg", "click_id=unknown&event=reg", "event=install")
        log = await say("postback log")
        assert [postback["outcome"] for postback in log["items"]] == ["unmapped", "unmatched", "accepted"]
        assert log["next"] is None
        assert log["items"][1]["raw"] == "click_id=unknown&event=reg"
        assert (await say("postback log outcome=unmatched"))["items"][0]["click_id"] == "unknown"
        assert len((await say(f"postback log click_id={click.upper()} account=acme"))["items"]) == 1
        first = await say("postback log limit=2")
        rest = await say(f"postback log limit=2 after={first['next']}")
        assert [postback["id"] for postback in (*first["items"], *rest["items"])] == [
            postback["id"] for postback in log["items"]
        ]


async def test_a_buyer_with_own_campaigns_sees_postbacks_of_their_clicks_only(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, f"click_id={click}&event=reg", "click_id=unknown&event=reg")
            codes = (await tx.execute(select(campaigns.c.code))).scalars().all()
        mine = await say("postback log", role=Role.BUYER, campaigns=tuple(codes))
        assert [postback["click_id"] for postback in mine["items"]] == [click]
        assert (await say("postback log", role=Role.BUYER, campaigns=("other",)))["items"] == []


async def test_a_mapping_classifies_what_had_waited_for_it(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, f"click_id={click}&event=Purchase&amount=9", f"s7={click}&event=reg")
        done = await say("postback map acme event=purchase as=deposit")
        assert (done["events"], done["reclassified"]) == ({"purchase": "deposit"}, {"accepted": 1})
        done = await say("postback map acme parameter=s7 as=click_id")
        assert done["reclassified"] == {"accepted": 1}
        async with say.database.read() as tx:
            assert [row[:2] for row in await counted(tx)] == [("deposit", "approved"), ("registration", "approved")]
            assert set((await tx.execute(select(postbacks.c.outcome))).scalars()) == {"accepted"}
        with pytest.raises(Refused, match="registration, first_deposit"):
            await say("postback map acme event=buy as=depositt")


async def test_a_word_mapped_wrongly_is_put_right_by_replay(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            await scene.post(tx, f"click_id={click}&event=lead&txn_id=1", f"click_id={click}&event=dep&txn_id=2")
        await say("postback map acme event=lead as=qualified")
        done = await say("postback replay account=acme")
        assert done["outcomes"] == {"accepted": 1, "unchanged": 1}
        assert (await say("postback replay account=acme"))["outcomes"] == {"unchanged": 2}
        async with say.database.read() as tx:
            assert [row[0] for row in await counted(tx)] == ["deposit", "qualified"]


async def test_simulating_stores_nothing(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
        simulation = await say(
            f'simulate postback "https://track.example.test/postback/key-1?cid={click}&goal=FTD&payout=1,50"'
        )
        assert (simulation["outcome"], simulation["event"], simulation["amount"]) == (
            "accepted",
            "first_deposit",
            1_500_000,
        )
        assert (await say("simulate postback account=acme event=reg"))["outcome"] == "unmatched"
        async with say.database.read() as tx:
            assert (await tx.execute(select(postbacks))).all() == []


async def test_a_conversion_by_hand_is_marked_and_counted_once(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
        made = await say(f"conversion add click_id={click} event=first_deposit amount=50 txn_id=F1")
        assert (made["origin"], made["marks"], made["amount"]) == ("manual", ["manual"], 50_000_000)
        with pytest.raises(Refused, match="recorded already"):
            await say(f"conversion add click_id={click} event=first_deposit amount=50 txn_id=F1")
        by_day = await say("conversion add campaign=spring day=2026-11-20 event=registration")
        assert (by_day["day"], by_day["offer"], by_day["campaign"]) == ("2026-11-20", None, "spring")
        async with say.database.begin() as tx:
            assert await scene.one(tx, f"click_id={click}&event=ftd&txn_id=F1&amount=50", NOON) == "duplicate"
        listed = await say("conversion list")
        assert [conversion["event"] for conversion in listed["items"]] == ["registration", "first_deposit"], (
            "the latest first"
        )


async def test_a_correction_stands_against_later_postbacks(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            done = (await scene.post(tx, f"click_id={click}&event=ftd&txn_id=F1&amount=50"))[0]
        changed = await say(f"conversion edit {done.conversion_id} status=reversed amount=49.5")
        assert (changed["status"], changed["amount"], "corrected" in changed["marks"]) == ("reversed", 49_500_000, True)
        async with say.database.begin() as tx:
            await scene.post(tx, f"click_id={click}&event=ftd&txn_id=F1&amount=70", now=NOON)
            row = (await tx.execute(select(conversions))).one()
        assert (row.status, row.amount) == ("reversed", 49_500_000)


async def test_many_conversions_are_imported_or_none(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
        lines = f"click_id;event;amount;day\n{click};reg;;2026-11-20\n"
        with pytest.raises(Refused, match="line 2: event"):
            await say(f'conversion import csv="{lines}"')
        lines = lines.replace(";reg;", ";registration;") + f"{click};deposit;12,50;2026-11-21\n"
        assert (await say(f'conversion import csv="{lines}"'))["added"] == 2


async def test_an_import_in_batches_is_as_good_as_one_by_one(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
        of_click = [f"{click};;deposit;{n}.50;T{n}" for n in range(130)]
        of_campaign = [f";spring;registration;;R{n}" for n in range(130)]
        mixed = [line for pair in zip(of_click, of_campaign, strict=True) for line in pair]
        header = "click_id;campaign;event;amount;txn_id"
        with pytest.raises(Refused, match="line 262: txn_id: R5 is recorded already"):
            await say.tell("conversion import", file="\n".join([header, *mixed, of_campaign[5]]).encode())
        assert (await say("conversion list"))["items"] == []
        assert (await say.tell("conversion import", file="\n".join([header, *mixed]).encode())).added == 260
        again = await say.tell("conversion import", file="\n".join([header, *of_click]).encode())
        assert (again.added, len(again.known), again.known[0]) == (0, 130, "line 2 (duplicate)")
        with pytest.raises(Refused, match="line 2: txn_id: R0 is recorded already"):
            await say.tell("conversion import", file="\n".join([header, *of_campaign]).encode())
        async with say.database.read() as tx:
            rows = (await tx.execute(select(conversions).order_by(conversions.c.id))).all()
            states = (await tx.execute(select(conversion_states))).all()
        assert {row.id for row in rows} == {state.conversion_id for state in states}
        assert {row.txn_id: row.amount for row in rows}["T7"] == 7_500_000
        assert {row.origin for row in rows} == {"manual"}


async def count_conversions(tx: Any) -> int:
    return int((await tx.execute(select(func.count()).select_from(conversions))).scalar_one())


async def test_other_writers_have_their_turn_between_the_batches_of_an_import(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _):
        lines = "\n".join(["campaign;event", *["spring;registration"] * 1_000])
        importing = asyncio.create_task(say.tell("conversion import", file=lines.encode()))
        stored: set[int] = set()
        while not importing.done():
            async with say.database.begin() as tx:
                stored.add(await count_conversions(tx))
        assert importing.result().added == 1_000
        assert stored - {0, 1_000}


async def test_an_import_that_is_broken_off_goes_on_where_it_stopped(
    opened: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scenario(opened) as (say, _):
        file = "\n".join(["campaign;event", *["spring;registration"] * 1_000]).encode()
        batches = 0
        add = manual_conversions.add_to_campaigns

        async def fail_at_the_seventh(*arguments: Any) -> list[int]:
            nonlocal batches
            batches += 1
            if batches == 7:
                raise OSError("no room on the disk")
            return await add(*arguments)

        monkeypatch.setattr(manual_conversions, "add_to_campaigns", fail_at_the_seventh)
        with pytest.raises(OSError, match="no room"):
            await say.tell("conversion import", file=file)
        begun = 1_000 - (await say.tell("conversion import", file=file)).added
        async with say.database.read() as tx:
            assert (0 < begun < 1_000, await count_conversions(tx)) == (True, 1_000)
        with pytest.raises(Refused, match=r"file: this table was imported on 2026-11-22 already.* say again=yes"):
            await say.tell("conversion import", file=file)
        assert (await say.tell("conversion import", file=file, again=True)).added == 1_000  # on purpose


async def test_the_last_spend_of_a_day_stands(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _scene):
        first = await say("spend add spring yesterday 120,50 currency=usd")
        assert (first["amount"], first["currency"], first["changed"]) == (120_500_000, "USD", True)
        assert "no click" in first["warnings"][0]
        assert (await say("spend add spring yesterday 120.5 USD"))["changed"] is False
        assert (await say("spend add spring yesterday 90 USD"))["changed"] is True
        done = await say('spend import csv="campaign,day,amount\nspring,2026-11-20,10\nspring,2026-11-20,5\n"')
        assert (done["rows"], done["changed"]) == (2, 1)
        async with say.database.read() as tx:
            rows = (await tx.execute(select(spend.c.amount, spend.c.origin).order_by(spend.c.id))).all()
        assert [tuple(row) for row in rows] == [
            (120_500_000, "manual"), (90_000_000, "manual"), (15_000_000, "csv"),
        ]  # fmt: skip


async def test_a_source_of_ones_own_and_what_is_wrong_with_it(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _scene):
        made = await say(
            'source add Push-Net click_id=sid cost=bid sub1=zone first_deposit="https://s.example.test/c?id={click_id}&v={payout}"'
        )
        assert made["parameters"] == {"click_id": "sid", "cost": "bid", "sub1": "zone"}
        assert made["postbacks"]["first_deposit"]["enabled"] is True
        with pytest.raises(Refused, match=r"did you mean \{payout\}") as caught:
            await say('source add Other deposit="https://s.example.test/c?id={click_id}&v={payot}"')
        assert caught.value.field == "deposit"
        with pytest.raises(Refused, match="host"):
            await say('source add Other deposit="https://{click_id}.example.test/"')
        with pytest.raises(Refused, match="is taken"):
            await say("source add Push-Net")
        edited = await say("source edit push-net first_deposit=- sub2=site")
        assert edited["postbacks"] == {}
        assert edited["parameters"]["sub2"] == "site"
        assert (await say("source show push-net"))["unreplaced_macros"] == 0


async def test_an_account_may_sign_and_limit_its_postbacks(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _scene):
        done = await say("postback map acme hmac_secret=top-secret allow=10.0.0.0/8 default_event=deposit")
        assert (done["signed"], done["allow"], done["default_event"]) == (True, ["10.0.0.0/8"], "deposit")
        async with say.database.read() as tx:
            options = (await tx.execute(select(accounts.c.options))).scalar_one()
        assert "top-secret" not in str(options)
        with pytest.raises(Refused, match="cannot be used"):
            await say("postback map acme allow=nonsense")
        async with say.database.begin() as tx:
            await tx.execute(update(accounts).values(options={}))


async def test_a_preset_is_off_until_the_accounts_values_are_given(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, _scene):
        made = await say("source add Propeller preset=propeller-ads settings=aid=A1")
        assert (made["missing"], made["postbacks"]["first_deposit"]["enabled"]) == (["tid"], False)
        assert "tid" in made["warnings"][0]
        done = await say('source edit propeller settings={"tid":"T2"}')
        assert (done["missing"], done["settings"]) == ([], ["aid", "tid"])
        assert done["postbacks"]["first_deposit"]["enabled"] is True
        assert "A1" not in str(done)
        with pytest.raises(Refused, match="exoclick"):
            await say("source add Exo preset=exoklick")


async def test_a_click_shows_every_status_and_amount_its_conversions_had(opened: Callable[[], Any]) -> None:
    async with scenario(opened) as (say, scene):
        async with say.database.begin() as tx:
            click = await scene.click(tx)
            deposit = f"click_id={click}&event=deposit&txn_id=d1&currency=EUR"
            for n, rest in enumerate(("amount=50&status=pending", "amount=60&status=approved", "status=reversed")):
                await scene.post(tx, f"{deposit}&{rest}", now=NOON + timedelta(hours=n))
        shown = await say(f"click show {click}")
        (conversion,) = shown["conversions"]
        states = [(state["status"], state["amount"]) for state in conversion["history"]]
        assert [status for status, _ in states] == ["pending", "approved", "reversed"]
        assert states[:2] == [("pending", 50_000_000), ("approved", 60_000_000)]
        assert conversion["status"] == "reversed"
        history = say.shown[say.shown.index("History") :]
        assert history.index("pending") < history.index("approved") < history.index("reversed")
