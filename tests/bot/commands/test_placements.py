"""Placement lists: blocked visitors go to the fallback, their clicks are kept with the reason; lists come and go."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from bot.core.context import Actor
from bot.render.terminal import render
from storage.catalogue import placements as stored_lists
from storage.ledger.clicks.placements import Lists, gate, placement_sub, sub_named, written_out
from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Reason, Role
from storage.tables import sources
from tests.bot.commands.test_clicks import say, shown_message
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment

BACK = "https://back.example.test/"


async def prepared(d: ClickDeployment, **more: Any) -> None:
    """Campaign `one` of source `prop`, whose first sub id is the zone."""
    await d.offer("a")
    source = await d.source("prop")
    async with d.database.begin() as tx:
        options = {"macros": {"click_id": "${SUBID}", "sub1": "{zoneid}", "sub2": "{campaignid}"}}
        await tx.execute(update(sources).where(sources.c.id == source).values(options=options))
    await d.campaign("one", {"a": 1}, source_id=source, **more)


async def visit(d: ClickDeployment, query: str, campaign: str = "one") -> tuple[str, str]:
    """Where a new visitor lands, and the reason that is kept."""
    await d.clicks.refresh()
    answer = await d.get(f"/c/{campaign}?{query}", ip=f"198.51.{random.randrange(256)}.{random.randrange(256)}")
    return answer.host or str(answer.status), Reason((await d.stored())[-1].reason).name.lower()


async def test_a_blocked_placement_goes_to_the_fallback_and_is_kept_with_the_reason(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await prepared(d, fallback_url=BACK)
        assert await visit(d, "sub1=123") == ("a.example.test", "chosen")
        done = await say(d, "placement block 123,124 source=prop note=empty")
        assert (done.sub, done.placements, done.total, done.warnings) == ("sub1", ["123", "124"], 2, [])
        assert await visit(d, "sub1=123") == ("back.example.test", "blocked")
        assert await visit(d, "sub1=125") == ("a.example.test", "chosen")
        assert [click.sub1 for click in (await say(d, "click log outcome=blocked")).items] == ["123"]
        simulation = await say(d, "simulate click one sub1=124")
        assert (simulation.reason, simulation.url, simulation.offer) == ("blocked", BACK, None)
        assert any("placement 124 (sub1) is on the block list of the source" in step for step in simulation.steps)
        assert [(e.placement, e.list_, e.source, e.note) for e in (await say(d, "placement list")).items] == [
            ("124", "block", "prop", "empty"), ("123", "block", "prop", "empty")]  # fmt: skip
        await say(d, "placement remove 123 source=prop")
        assert await visit(d, "sub1=123") == ("a.example.test", "chosen")


async def test_without_a_fallback_the_blocked_see_a_neutral_page_never_an_offer(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await prepared(d)
        done = await say(d, "placement block 123 campaign=one")
        assert "neutral page" in done.warnings[0]
        assert await visit(d, "sub1=123") == ("200", "blocked")


async def test_the_campaigns_own_lists_come_before_the_sources(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await prepared(d, fallback_url=BACK)
        await say(d, "placement block 1,2 source=prop")
        await say(d, "placement allow 1,3 campaign=one")
        results = {zone: (await visit(d, f"sub1={zone}"))[1] for zone in ("1", "2", "3", "4", "")}
        assert results == {"1": "chosen", "2": "blocked", "3": "chosen", "4": "blocked", "": "blocked"}
        moved = await say(d, "placement block 1 campaign=one")
        assert (moved.placements, moved.moved) == (["1"], ["1"])
        assert (await visit(d, "sub1=1"))[1] == "blocked"


async def test_any_sub_id_may_name_a_placement_by_its_number_or_the_sources_own_word(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await prepared(d, fallback_url=BACK)
        assert (await say(d, "placement block x9 source=prop sub=campaignid")).sub == "sub2"
        assert (await visit(d, "sub1=1&sub2=x9"))[1] == "blocked"
        assert (await visit(d, "sub1=x9&sub2=1"))[1] == "chosen"
        with pytest.raises(Refused, match=r"sub1 … sub10, .*zoneid"):
            await say(d, "placement block 1 source=prop sub=widget")
        await d.source("plain")
        with pytest.raises(Refused, match="which sub id names a placement"):
            await say(d, "placement block 1 source=plain")
        await say(d, "source edit plain placement=sub4")
        assert (await say(d, "placement block 1 source=plain")).sub == "sub4"
        assert "sub1 {zoneid}" in render(await shown_message(d, "source show prop"))


@pytest.mark.parametrize(
    "text", ["placement;note\n77;weak\n78;weak\n", "77\n78\n", "77,78", "\ufeffPlacement\r\n77\r\n78"]
)
async def test_a_list_comes_as_a_file_and_goes_out_in_the_sources_form(sqlite_url: str, text: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await prepared(d, fallback_url=BACK)
        await say(d, "placement block 5 source=prop")
        quoted = text.replace('"', '\\"')
        done = await say(d, f'placement import source=prop csv="{quoted}"')
        assert (done.placements, done.total) == (["77", "78"], 3)
        question = await say(d, f'placement import source=prop replace=yes csv="{quoted}"')
        assert question["consequence"] == "1 placement are taken off the block list of source prop for good."
        assert (await say(d, "placement list")).items[-1].placement == "5"
        replaced = await say(d, f"confirm {question['confirm']}")
        assert (replaced.removed, replaced.total) == (3, 2)
        assert (await say(d, "placement export source=prop")).text == "77\n78"
        await say(d, 'source edit prop placement_format="*:{placement}:*" placement_separator=comma')
        assert (await say(d, "placement export source=prop")).text == "*:77:*,*:78:*"


async def test_a_change_of_placements_is_taken_back(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await prepared(d, fallback_url=BACK)
        for before, command, after in [
            ([], "placement block 1,2 source=prop", ["1 block", "2 block"]),
            (["1 block", "2 block"], "placement allow 1,2 source=prop", ["1 allow", "2 allow"]),
            (["1 allow", "2 allow"], "placement remove 1,2 source=prop", []),
        ]:
            assert await on_lists(d) == before
            await say(d, command)
            assert await on_lists(d) == after
            await say(d, "undo")
            assert await on_lists(d) == before
            await say(d, command)


async def on_lists(d: ClickDeployment) -> list[str]:
    return sorted(f"{entry.placement} {entry.list_}" for entry in (await say(d, "placement list")).items)


async def test_a_buyer_of_some_campaigns_changes_no_list_that_others_share(sqlite_url: str) -> None:
    async with click_deployment(sqlite_url) as d:
        await prepared(d)
        source = (await d.rows(sources))[0].id
        await d.campaign("two", {"a": 1}, source_id=source)
        await say(d, "placement block 1 campaign=two")
        await say(d, "placement block 2 source=prop")
        buyer = Actor(team_id=d.runtime.team_id, name="b", role=Role.BUYER, campaigns=("one",))
        with pytest.raises(Forbidden):
            await say(d, "placement block 3 source=prop", buyer)
        with pytest.raises(Forbidden):
            await say(d, "placement block 3 campaign=two", buyer)
        assert (await say(d, "placement block 3 campaign=one", buyer)).total == 1
        assert [entry.placement for entry in (await say(d, "placement list", buyer)).items] == ["3", "2"]


async def test_only_lists_that_changed_are_read_again(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with click_deployment(sqlite_url) as d:
        await prepared(d, fallback_url=BACK)
        many = ",".join(str(n) for n in range(500))
        await say(d, f'placement block "{many}" source=prop')
        await say(d, "placement block 1 campaign=one")
        await d.clicks.refresh()
        read: list[int] = []
        before = stored_lists._read

        async def noticed(tx: Any, list_id: int) -> list[str]:
            read.append(list_id)
            return await before(tx, list_id)

        monkeypatch.setattr(stored_lists, "_read", noticed)
        await say(d, "placement remove 1 campaign=one")
        await d.clicks.refresh()
        await say(d, "offer pause a")
        await d.clicks.refresh()
        assert len(read) == 1
        assert len(d.clicks.state.plans.placements.loaded) == 2
        await asyncio.sleep(0)


VALUES = st.sampled_from(["", "1", "2", "3", "4"])
LISTS = st.tuples(st.frozensets(VALUES.filter(bool)), st.frozensets(VALUES.filter(bool))).map(
    lambda two: Lists(two[0], two[1] - two[0])
)


BY_SUB = st.dictionaries(st.sampled_from(["sub1", "sub3"]), LISTS)


@given(BY_SUB, BY_SUB, st.tuples(VALUES, VALUES, VALUES))
def test_a_gate_refuses_as_its_lists_say(
    campaign: dict[str, Lists], source: dict[str, Lists], subs: tuple[str, str, str]
) -> None:
    def refused(sub: str, value: str) -> bool:
        for lists in (campaign.get(sub, Lists()), source.get(sub, Lists())):
            if value in lists.block:
                return True
            if value in lists.allow:
                return False
            if lists.allow:
                return True
        return False

    made = gate(campaign, source)
    expected = refused("sub1", subs[0]) or refused("sub3", subs[2])
    assert (made is not None and made.refuses(subs)) is expected
    assert bool(made and made.explain(subs)) is expected


def test_macros_of_a_source_name_the_placement() -> None:
    from connectors.sources import presets

    named = {name: placement_sub(preset["options"]) for name, preset in presets().items()}
    assert {name: sub for name, sub in named.items() if sub} == {
        "propellerads": "sub1", "exoclick": "sub1", "trafficjunky": "sub3", "zeropark": "sub1", "mgid": "sub2",
        "taboola": "sub2", "outbrain": "sub2", "revcontent": "sub1", "popcash": "sub1", "adcash": "sub1",
        "clickadu": "sub1", "trafficstars": "sub1", "adsgram": "sub3", "google": "sub4",
        "richads": "sub1", "kadam": "sub1", "evadav": "sub1", "admaven": "sub1", "popads": "sub1",
        "hilltopads": "sub1", "pushground": "sub3", "ezmob": "sub1",
    }  # fmt: skip
    options = {"macros": {"sub1": "{{widget_id}}"}}
    assert [sub_named(options, word) for word in ("sub7", "widget_id", "WIDGET_ID", "other")] == [
        "sub7", "sub1", "sub1", None]  # fmt: skip
    assert written_out(["a", "b"], {"placement_separator": "semicolon"}) == "a;b"
