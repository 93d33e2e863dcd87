"""`campaign edit distribute=auto` and `campaign distribution`, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


async def spring(say: Asker, *, words: str = "") -> Any:
    await say.account()
    for tag in ("one", "two", "three"):
        await say(f"offer add casino=Lucky account=main tag={tag} url=https://{tag}.example.test/?s={{click_id}}")
    return await say(f"campaign create Spring offers=lucky-one:3,lucky-two {words}")


async def test_it_begins_with_the_weights_set_by_hand(opened: Opened) -> None:
    async with asking(opened) as say:
        made = await spring(say)
        assert (made["distribute"], made["floor"], made["shares"]) == ("off", None, {})
        made = await say("campaign edit spring distribute=auto floor=5% most_change=10 holdout=20%")
        assert made["distribute"] == "auto"
        assert (made["floor"], made["most_change"], made["holdout"]) == (5.0, 10.0, 20.0)
        assert made["shares"] == {"lucky-one": 75.0, "lucky-two": 25.0}
        assert made["offers"] == ["lucky-one:3", "lucky-two:1"]
        assert "set by what the offers earn: Lucky one 75%, Lucky two 25%" in say.shown
        shown = await say("campaign distribution spring")
        assert [(offer["offer"], offer["share"], offer["by_hand"]) for offer in shown["offers"]] == [
            ("lucky-one", 75.0, 75.0), ("lucky-two", 25.0, 25.0)
        ]  # fmt: skip
        assert shown["won"]["lacking"] == "0 FTDs of the holdout and 0 of the others: 5 of each are needed"
        assert "not enough yet" in say.shown


async def test_a_simulated_click_goes_by_the_shares_in_force(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto holdout=20%")
        simulated = await say("simulate click spring")
        assert simulated["steps"][1] == "by what the offers earn: lucky-one 75%, lucky-two 25%"
        assert simulated["reason"] == "chosen"


async def test_an_edit_is_taken_back_whole(opened: Opened) -> None:
    async with asking(opened) as say:
        before = await spring(say)
        await say("campaign edit spring distribute=auto floor=5% holdout=20% distribute_by=device")
        await say("undo")
        assert await say("campaign show spring") == before
        await say("campaign edit spring distribute=auto floor=5%")
        made = await say("campaign edit spring floor=none")
        assert (made["distribute"], made["floor"]) == ("auto", None)
        assert (await say("campaign distribution spring"))["floor"] == 2.5


async def test_switched_off_the_weights_are_those_set_by_hand_again(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto")
        made = await say("campaign edit spring distribute=off")
        assert (made["distribute"], made["shares"], made["offers"]) == ("off", {}, ["lucky-one:3", "lucky-two:1"])
        await say("campaign distribution spring")
        assert "campaign edit spring distribute=auto" in say.shown


async def test_another_offer_gets_clicks_to_be_judged_by_and_the_floor_holds(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto floor=10%")
        made = await say("campaign edit spring offers=lucky-one:3,lucky-two:1,lucky-three:1")
        assert made["shares"]["lucky-three"] >= 16.6  # half of an equal share
        assert min(made["shares"].values()) >= 10
        assert round(sum(made["shares"].values()), 2) == 100
        made = await say("campaign edit spring offers=lucky-one,lucky-three")
        assert set(made["shares"]) == {"lucky-one", "lucky-three"}
        assert round(sum(made["shares"].values()), 2) == 100


async def test_a_copy_distributes_by_itself(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto floor=7.5%")
        copied = await say("campaign copy spring Summer")
        assert (copied["distribute"], copied["floor"]) == ("auto", 7.5)
        assert copied["shares"] == {"lucky-one": 75.0, "lucky-two": 25.0}


@pytest.mark.parametrize(
    ("words", "field"),
    [("distribute=maybe", "distribute"), ("distribute=auto floor=51%", "floor"), ("floor=-1%", "floor"),
     ("floor=101", "floor"), ("floor=5€", "floor"), ("floor=lots", "floor"), ("holdout=95%", "holdout"),
     ("most_change=0", "most_change"), ("distribute=auto distribute_by=weather", "distribute_by"),
     ("distribute=auto offers=lucky-one", "distribute"),
     ("distribute=auto offers=lucky-one,lucky-two:0", "distribute")],
)  # fmt: skip
async def test_faults_are_told_at_their_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        before = await spring(say)
        with pytest.raises(Refused) as caught:
            await say(f"campaign edit spring {words}")
        assert caught.value.field == field
        assert await say("campaign show spring") == before


async def test_more_offers_than_the_floor_leaves_room_for_are_refused(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto floor=40%")
        with pytest.raises(Refused) as caught:
            await say("campaign edit spring offers=lucky-one,lucky-two,lucky-three")
        assert caught.value.field == "offers"
        assert "40% for each of 3 offers" in str(caught.value)


async def test_a_campaign_whose_visitors_choose_on_a_site_says_so(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say)
        await say("site create Wall market=DE offers=lucky-one,lucky-two")
        with pytest.raises(Refused) as caught:
            await say("campaign edit spring site=wall distribute=auto")
        assert caught.value.field == "distribute"
        made = await say("campaign edit spring site=wall direct=true distribute=auto")
        assert made["distribute"] == "auto"


async def test_what_cannot_be_distributed_yet_says_what_it_lacks(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say)
        assert (await say("campaign distribution spring"))["note"] is None
        assert "campaign edit spring distribute=auto shares its visitors out" in say.shown
        await say("site create Guide market=DE offers=lucky-one,lucky-two")
        await say("campaign edit spring site=guide")
        await say("campaign distribution spring")
        assert (
            "It cannot be switched on yet: its visitors choose an offer on the site: set direct=true first."
            in say.shown
        )
        await say("campaign edit spring direct=true offers=lucky-one")
        await say("campaign distribution spring")
        assert "cannot be switched on yet: name at least two offers with a weight above 0." in say.shown


async def test_who_is_limited_to_other_campaigns_sees_and_changes_nothing(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say)
        await say("campaign create Other offers=lucky-three")
        for words in ("campaign distribution spring", "campaign edit spring distribute=auto"):
            with pytest.raises(Forbidden):
                await say(words, role=Role.BUYER, campaigns=("other",))
        with pytest.raises(Forbidden):
            await say("campaign edit spring distribute=auto", role=Role.VIEWER)
        assert (await say("campaign distribution spring", role=Role.VIEWER))["distribute"] == "off"


async def test_a_segment_that_is_not_there_is_refused(opened: Opened) -> None:
    async with asking(opened) as say:
        await spring(say, words="distribute=auto distribute_by=country")
        with pytest.raises(Refused) as caught:
            await say("campaign distribution spring DE")
        assert caught.value.field == "segment"
