"""One change of several entities, copies, and changes that were made already."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.commands.audits import with_undo
from bot.core.arguments import MissingFields
from bot.core.command import COMMANDS, consequence_of, parse
from bot.core.context import Actor
from bot.core.message import Buttons
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from tests.bot.asking import Asker, asking
from tests.bot.seeding import clicked

Opened = Callable[[], Any]


async def set_up(say: Asker) -> None:
    await say.account()
    await say.account("second")
    for tag, account in (("one", "main"), ("two", "main"), ("three", "second")):
        await say(f"offer add casino=Lucky account={account} tag={tag} url=https://lucky.example.test/?s={{click_id}}")
    await say("source add name=fb")
    await say('campaign create name="Казино Вулкан" offers=lucky-one,lucky-two:3 source=fb cost=0.05')
    await say("campaign create name=beta offers=lucky-two source=fb cost=0.05")
    await say("campaign create name=gamma offers=lucky-three")


async def statuses(say: Asker, noun: str) -> dict[str, str]:
    return {entity["name"]: entity["status"] for entity in (await say(f"{noun} list"))["items"]}


async def audited(say: Asker, command: str) -> list[Any]:
    return [line for line in (await say("audit"))["items"] if line["command"] == command]


async def test_several_are_paused_with_one_question_one_line_and_one_undo(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        question = await say("campaign pause beta,gamma")
        assert "Pauses 2 campaigns: beta, gamma." in question["consequence"]
        assert await statuses(say, "campaign") == {"Казино Вулкан": "active", "beta": "active", "gamma": "active"}
        done = await say(f"confirm {question['confirm']}")
        assert [campaign["code"] for campaign in done["items"]] == ["beta", "gamma"]
        assert "2 campaigns paused" in say.shown
        assert len(await audited(say, "campaign pause")) == 1
        assert (await say("undo"))["with"] == "campaign resume"
        assert set((await statuses(say, "campaign")).values()) == {"active"}


async def test_a_filter_names_what_it_found_and_nothing_that_came_later_is_touched(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign pause beta")
        question = await say("campaign pause source=fb")
        assert "Pauses 1 campaign: Казино Вулкан (" in question["consequence"]
        assert "1 campaign is so already" in question["consequence"]
        await say("campaign create name=later source=fb offers=lucky-one")
        done = await say(f"confirm {question['confirm']}")
        assert done["unchanged"] == ["beta"]
        assert await statuses(say, "campaign") == {
            "Казино Вулкан": "paused", "beta": "paused", "gamma": "active", "later": "active",
        }  # fmt: skip


async def test_offers_of_an_account_are_paused_and_resumed(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say.sure("offer pause account=main")
        assert list((await statuses(say, "offer")).values()) == ["paused", "paused", "active"]
        await say.sure("offer resume account=main casino=lucky")
        assert set((await statuses(say, "offer")).values()) == {"active"}
        with pytest.raises(Missing, match="no offer fits"):
            await say("offer pause lucky-three account=main")
        with pytest.raises(MissingFields):
            await say("offer pause")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("campaign pause source=fb,google", ["Казино Вулкан", "beta", "delta"]),
        ("campaign pause source=google, fb offer=lucky-one,lucky-three", ["Казино Вулкан", "delta"]),
        ("campaign pause gamma,delta offer=lucky-three,lucky-two source=google", ["delta"]),
        ("campaign pause offer=lucky-one,lucky-three", ["Казино Вулкан", "gamma", "delta"]),
        ("campaign pause site=land,hill", ["hiking", "landing"]),
        ("offer pause account=main,second", ["Lucky one", "Lucky two", "Lucky three", "Wild"]),
        ("offer pause account=second,main casino=wild,lucky nothing", None),
        ("offer pause casino=Lucky,wild account=second", ["Lucky three", "Wild"]),
    ],
)
async def test_filters_take_several_values_and_are_combined(opened: Opened, line: str, names: list[str] | None) -> None:
    """Values of one filter widen it, several filters narrow it; one question lists them, one undo takes all back."""
    async with asking(opened) as say:
        await set_up(say)
        await say("source add name=google")
        await say("offer add casino=Wild account=second tag=w name=Wild url=https://w.example.test/?s={click_id}")
        await say("campaign create name=delta offers=lucky-three,lucky-one source=google")
        for site, campaign in (("land", "landing"), ("hill", "hiking")):
            await say(f"site create name={site} market=DE offers=wild")
            await say(f"campaign create name={campaign} site={site}")
        noun, _, verb = " ".join(line.split()[:2]).partition(" ")
        if names is None:
            with pytest.raises(Missing):
                await say(line)
            return
        await say.sure(line)
        status = await statuses(say, noun)
        assert sorted(name for name in status if status[name] == "paused") == sorted(names)
        question = await say(line.replace(verb, "resume", 1))
        assert all(name in question["consequence"] for name in names)
        assert f"{len(names)} {noun}" in question["consequence"]
        await say(f"confirm {question['confirm']}")
        assert len(await audited(say, f"{noun} resume")) == 1
        await say("undo")
        assert await statuses(say, noun) == status


async def test_each_value_of_a_filter_that_there_is_not_is_said(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        for line, fault in (
            ("campaign pause source=fb,googel,xx", "no source 'googel'.*no source 'xx'"),
            ("offer pause account=main,secnd", r"no account 'secnd': did you mean second\?"),
            ("offer list casino=lucky,wildd", "no casino 'wildd'"),
        ):
            with pytest.raises(Missing, match=fault):
                await say(line)
        assert [offer["name"] for offer in (await say("offer list account=second,main"))["items"]] == [
            "Lucky one", "Lucky two", "Lucky three",
        ]  # fmt: skip
        assert len((await say("campaign list source=fb,fb"))["items"]) == 2


async def test_what_is_so_already_is_said_and_not_recorded(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        for _ in range(2):
            assert (await say("campaign pause beta"))["status"] == "paused"
        assert "It was paused already: nothing was changed." in say.shown
        assert (await say("campaign pause beta,beta"))["code"] == "beta"
        assert len(await audited(say, "campaign pause")) == 1
        await say.sure("campaign pause beta,gamma")
        assert (await say("campaign pause beta,gamma"))["unchanged"] == ["beta", "gamma"]
        assert len(await audited(say, "campaign pause")) == 2
        await say.sure("account pause main")
        await say("account pause main")
        assert len(await audited(say, "account pause")) == 1


async def test_a_limited_buyer_pauses_what_serves_own_campaigns_only(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        with pytest.raises(Forbidden):
            await say("campaign pause beta,gamma", role=Role.BUYER, campaigns=("beta",))
        assert (await say("campaign pause source=fb", role=Role.BUYER, campaigns=("beta",)))["consequence"].startswith(
            "Pauses 1 campaign: beta."
        )


async def test_a_copy_of_a_campaign_has_everything_but_the_link(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        first = (await say("campaign list"))["items"][0]
        copy = await say(f"campaign copy {first['code']}")
        assert copy["name"] == "Казино Вулкан copy"
        same = {name for name in first if first[name] == copy[name]}
        assert set(first) - same == {"id", "name", "code", "url"}
        assert (await say(f"campaign copy {first['code']}"))["name"] == "Казино Вулкан copy 2"
        assert (await say(f'campaign copy {first["code"]} "Autumn"'))["code"] == "autumn"


@pytest.mark.parametrize(
    "line",
    ["campaign copy beta", "campaign create name=new offers=lucky-one", "offer copy lucky-one four",
     "offer add casino=New account=main tag=new url=https://n.example.test/?s={click_id}"],
)  # fmt: skip
async def test_what_was_made_by_mistake_is_paused_by_its_undo_button(opened: Opened, line: str) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign pause gamma")
        owner = Actor(team_id=say.team_id, name="the-owner", role=Role.OWNER)
        answer = await say.ask(line, owner)
        (button,) = [
            button for block in with_undo(answer, owner).blocks if isinstance(block, Buttons)
            for button in block.buttons if button.label == "Undo"
        ]  # fmt: skip
        undone = await say(button.command)
        assert (undone["result"]["code"], undone["result"]["status"]) == (answer.result.code, "paused")
        assert "paused" in say.shown
        with pytest.raises(Refused, match="undone already"):
            await say(button.command)
        assert (await say("undo"))["undone"] == "campaign pause", "what was made is not in the way of what was changed"


async def test_a_copy_of_an_offer_is_another_deal(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say('offer edit lucky-one cap=5 markets=DE deal="CPA 120"')
        with pytest.raises(MissingFields, match="tag"):
            await say("offer copy lucky-one")
        with pytest.raises(Refused, match="claimed"):
            await say("offer copy lucky-one two")
        copy = await say("offer copy lucky-one four")
        assert (copy["name"], copy["cap"], copy["markets"], copy["deal"]) == ("Lucky four", 5, ["DE"], "CPA 120")
        other = await say("offer copy lucky-one account=second")
        assert (other["account"], other["tag"]) == ("second", "one")


async def test_a_numbered_change_is_taken_back_unless_another_followed(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign edit beta cost=0.10")
        (edit,) = await audited(say, "campaign edit")
        await say("campaign pause beta")
        with pytest.raises(Refused, match="the-owner did 'campaign pause' since"):
            await say(f"undo {edit['id']}")
        await say("undo")
        assert (await say(f"undo {edit['id']}"))["undone"] == "campaign edit"
        with pytest.raises(Refused, match="undone already"):
            await say(f"undo {edit['id']}")
        with pytest.raises(Refused, match="no change"):
            await say("undo 999999")


async def test_rules_are_written_in_words_and_shown_so(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        words = "country=DE,AT -> lucky-one; device=mobile -> lucky-two:2,lucky-three:1"
        edited = await say(f'campaign edit beta rules="{words}"')
        assert [len(rule["offers"]) for rule in edited["rules"]] == [1, 2]
        assert "country=DE,AT -> lucky-one" in say.shown
        await say("campaign edit beta rules=[]")
        assert (await say("campaign show beta"))["rules"] == []


async def test_a_question_names_what_is_lost(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("campaign edit beta fallback_url=https://else.example.test/")
        ids = {"campaign_id": 2, "offer_id": 2}
        await clicked(say, ids, say.now.date() - timedelta(days=2), 1_500)
        await clicked(say, ids, say.now.date() - timedelta(days=9), 700)
        request = (await say("campaign pause beta,gamma"))["consequence"]
        assert (
            "1,500 clicks in the last 7 days: visitors of 1 go to their fallback address; those of the others"
            in request
        )
        request = (await say("offer pause lucky-two,lucky-three"))["consequence"]
        assert "1,500 clicks in the last 7 days: visitors of Казино Вулкан, beta, gamma get other offers" in request


async def test_a_site_among_several_tells_what_is_lost_and_alone_is_paused_at_once(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        owner = Actor(team_id=say.team_id, name="o", role=Role.OWNER)
        await say("site create name=land market=DE offers=lucky-one")
        pause = COMMANDS["site pause"], {"site": "land"}
        assert await consequence_of(*pause, say.context(owner)) is None
        await say("casino review lucky bonus=x terms_url=https://l.example.test/ licence=MGA payment_methods=visa")
        await say("site publish land")
        answer = await consequence_of(*pause, say.context(owner)) or ""
        assert "it is on no domain; 0 clicks in the last 7 days" in answer
        assert (await say("site pause land"))["status"] == "paused"


async def test_several_are_named_with_spaces_quotes_and_every_wrong_name_is_said(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        for line in (
            'campaign pause beta, gamma', 'campaign pause beta ,gamma', 'campaign pause "beta","gamma"',
            'campaign pause campaign="beta", "gamma"',
        ):  # fmt: skip
            assert "Pauses 2 campaigns: beta, gamma." in (await say(line))["consequence"], line
        assert "Казино Вулкан" in (await say('campaign pause "Казино Вулкан","gamma"'))["consequence"]
        with pytest.raises(Missing, match=r"no campaign 'bta': did you mean beta\?; no campaign 'zzz'"):
            await say("campaign pause bta,gamma,zzz")
        assert parse("stats 7d campaign=beta, gamma by campaign, day")[1] == {
            "range": "7d", "campaign": "beta,gamma", "by": "campaign,day",
        }  # fmt: skip


async def test_a_copy_of_a_copy_is_numbered_and_long_names_keep_the_word(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        first = await say("campaign copy beta")
        second = await say(f"campaign copy {first['code']}")
        assert (first["name"], second["name"]) == ("beta copy", "beta copy 2")
        long = await say.tell("campaign create", name="ю" * 200, offers=["lucky-one"])
        copy = await say.tell("campaign copy", campaign=long.code)
        assert copy.name.endswith(" copy")
        assert len(copy.name) <= 200


async def test_a_limit_is_said_without_types(opened: Opened) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match=r"^top: write at least 1$"):
            await say("stats 7d top=0")


async def test_one_campaign_got_its_clicks_and_several_got_theirs(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        assert " It got 0 clicks" in (await say("campaign pause source=fb offer=lucky-one"))["consequence"]
        assert " They got 0 clicks" in (await say("campaign pause beta,gamma"))["consequence"]
