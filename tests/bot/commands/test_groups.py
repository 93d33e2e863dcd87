"""Groups, tags, notes, archiving and `find`: set on every kind, filtered by everywhere, taken back, kept apart."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from bot.core.context import Actor
from storage import tables as t
from storage.catalogue.groups import campaigns_of
from storage.clicks.plans import load
from storage.clicks.queries import ensure_codec
from storage.ledger.errors import Forbidden, Missing, Refused
from storage.ledger.facts import Role
from storage.reports.merged_report import ReportQuery, merged_report
from tests.bot.asking import NOON, Asker, asking
from tests.bot.seeding import clicked, converted, reported

Opened = Callable[[], Any]
DAY = NOON.date() - timedelta(days=2)


async def set_up(say: Asker) -> dict[str, dict[str, int]]:
    """Three campaigns: two in groups, one in none; each with an offer of its own."""
    account_id = await say.account()
    ids = {}
    for name, sorting in (("push", 'group="Nordics" tags=push,iOS note="Ends on Friday"'),
                          ("native", "group=Süd tags=native"), ("plain", "")):  # fmt: skip
        offer = await say(
            f"offer add casino=Lucky account=main tag={name} url=https://{name}.example.test/?s={{click_id}}"
        )
        campaign = await say(f"campaign create name={name} offers={offer['code']} {sorting}")
        ids[name] = {"account_id": account_id, "offer_id": offer["id"], "campaign_id": campaign["id"]}
    return ids


async def codes(say: Asker, line: str, **who: Any) -> list[str]:
    return [item["code"] for item in (await say(line, **who))["items"]]


async def test_a_group_is_made_with_its_first_use_and_found_in_any_letter_case(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        push = await say("campaign show push")
        assert (push["group"], push["tags"], push["note"]) == ("nordics", ["push", "iOS"], "Ends on Friday")
        assert "Group: Nordics" in say.shown.replace("  ", " ") or "Nordics" in say.shown
        await say("campaign edit plain group=NORDICS")
        await say("offer edit lucky-push group=süd")
        groups = (await say("group list"))["items"]
        assert [(group["name"], group["entities"]) for group in groups] == [
            ("Nordics", {"campaign": 2}), ("Süd", {"campaign": 1, "offer": 1}),
        ]  # fmt: skip
        assert await codes(say, "campaign list group=nordics") == ["push", "plain"]
        assert await codes(say, "campaign list group=SÜD") == ["native"]
        await say("campaign edit plain group=none")
        assert await codes(say, "campaign list group=none") == ["plain"]
        with pytest.raises(Missing, match="did you mean Nordics"):
            await say("campaign list group=nordic")
        await say("group edit nordics name=Norden")
        assert await codes(say, "campaign list group=Norden") == ["push"]
        await say.sure("group remove Norden")
        assert (await say("campaign show push"))["group"] is None


async def test_tags_are_set_added_and_taken_away(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        assert (await say("campaign edit push tags=+new,-PUSH"))["tags"] == ["iOS", "new"]
        assert (await say("campaign edit push tags=+IOS"))["tags"] == ["iOS", "new"]
        assert (await say("undo"))["undone"] == "campaign edit"
        assert (await say("campaign show push"))["tags"] == ["push", "iOS"]
        assert await codes(say, "campaign list tag=ios,native") == ["push", "native"]
        assert (await say("campaign edit push tags=none note=none"))["tags"] == []
        assert (await say("campaign show push"))["note"] is None
        for wrong in ("a,+b", ",".join(f"t{n}" for n in range(21)), "x" * 51):
            with pytest.raises(Refused) as refusal:
                await say(f"campaign edit push tags={wrong}")
            assert refusal.value.field == "tags"
        for field, text in (("group", "g" * 101), ("note", "n" * 2001)):
            with pytest.raises(Refused, match=f"{field} may have"):
                await say(f"campaign edit push {field}={text}")


async def test_several_are_edited_with_one_question_and_one_undo_gives_each_what_it_had(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        question = await say("campaign edit push,native,plain group=West tags=+hot")
        assert "Changes 3 campaigns: push, native, plain. Sets group=West, tags=+hot." in question["consequence"]
        done = await say(f"confirm {question['confirm']}")
        assert [item["group"] for item in done["items"]] == ["west"] * 3
        assert done["items"][0]["tags"] == ["push", "iOS", "hot"]
        await say("undo")
        shown = {item["code"]: (item["group"], item["tags"]) for item in (await say("campaign list"))["items"]}
        assert shown == {"push": ("nordics", ["push", "iOS"]), "native": ("sud", ["native"]), "plain": (None, [])}
        with pytest.raises(Refused, match="one at a time"):
            await say.sure("campaign edit push,native name=One")


async def test_reports_are_grouped_and_filtered_and_totals_stay(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await set_up(say)
        for n, name in enumerate(ids, 1):
            day = DAY - timedelta(days=n)
            await clicked(say, ids[name], day, n * 10)
            await converted(say, ids[name], NOON - timedelta(days=2 + n), n, event="registration")
            await reported(say, ids[name], day, at=NOON, tag=name, commission_cpa=n * 1_000_000)
        await reported(say, ids["push"], DAY, at=NOON, tag="unknown", commission_cpa=7_000_000)
        query = ReportQuery(team_id=say.team_id, first=DAY - timedelta(days=5), last=DAY)
        async with say.database.read() as tx:
            by = {by: await merged_report(tx, msgspec.structs.replace(query, by=by))
                  for by in (("campaign",), ("group",), ("day", "group"))}  # fmt: skip
        assert by["group",].totals == by["campaign",].totals == by["day", "group"].totals
        assert {row.group["group"]: row.clicks for row in by["group",].rows} == {"nordics": 10, "sud": 20, None: 30}
        assert by["group",].names["group"] == {"nordics": "Nordics", "sud": "Süd"}
        await say("campaign edit plain group=nordics")
        report = await say(f"report merged {DAY - timedelta(days=5)} {DAY} by=day,group")
        assert [(row["group"]["group"], row["clicks"]) for row in report["rows"]] == [
            ("nordics", 30), ("sud", 20), ("nordics", 10)
        ]  # fmt: skip
        for filters, clicks in (("group=nordics", 40), ("tag=PUSH", 10), ("tag=push,native", 30), ("group=none", 0)):
            filtered = await say(f"stats 7d by campaign {filters}")
            assert (filtered["totals"]["clicks"] or 0, filtered["unassigned"]) == (clicks, []), filters
        best = await say("best campaign 7d by clicks tag=native")
        assert [row["group"]["campaign"] for row in best["rows"]] == ["native"]
        with pytest.raises(Refused, match="twice"):
            await say(f"stats {DAY} by tag")


async def test_alerts_and_digests_of_a_group_follow_who_is_in_it(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await set_up(say)
        for name in ids:
            await clicked(say, ids[name], NOON.date(), 500)
        alert = await say('alert add "clicks < 800 in 24h" group=Nordics channel=terminal')
        assert (alert["groups"], alert["campaigns"]) == (["nordics"], None)
        assert "of group Nordics" in say.shown
        await say("digest subscribe tag=native channel=terminal")
        digest = await say("digest preview digest-1")
        assert "native" in str(digest["message"]) or digest["text"]
        await say("campaign edit plain group=nordics")
        async with say.database.read() as tx:
            assert await campaigns_of(tx, say.team_id, group_codes=("nordics",)) == ("push", "plain")
        await say.sure(f"alert remove {alert['code']}")
        await say("undo")
        assert (await say("alert list"))["items"][0]["groups"] == ["nordics"]


async def test_what_is_archived_is_out_of_lists_and_keeps_figures_name_and_link(opened: Opened) -> None:
    async with asking(opened) as say:
        ids = await set_up(say)
        await clicked(say, ids["push"], DAY, 12)
        archived = await say("campaign archive push")
        assert archived["status"] == "archived"
        assert await codes(say, "campaign list") == ["native", "plain"]
        assert await codes(say, "campaign list status=paused") == []
        assert await codes(say, "campaign list status=archived") == ["push"]
        assert (await say(f"stats {DAY} by campaign"))["totals"]["clicks"] == 12
        assert await paused(say, "push")
        with pytest.raises(Refused, match="taken"):
            await say("campaign create name=Push")
        with pytest.raises(Refused, match="campaign restore push"):
            await say("campaign resume push")
        assert (await say("campaign restore push"))["status"] == "active"
        assert not await paused(say, "push")
        for line in ("campaign archive group=nordics", "campaign restore group=nordics"):
            await say.sure(line)
        assert (await say("campaign show push"))["status"] == "active"
        with pytest.raises(Refused, match="used by offer"):
            await say.sure("account archive main")


async def paused(say: Asker, code: str) -> bool:
    async with say.database.read() as tx:
        plans = await load(tx, say.deployment.public_url)
    plan = next(plan for plan in plans.campaigns.values() if plan.code == code)
    return bool(plan.paused)


async def test_find_looks_everywhere_and_ranks_names_first(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        async with say.database.begin() as tx:
            codec = await ensure_codec(tx)
            await tx.execute(insert(t.click_links).values(
                id=(1 << 40) + 1, team_id=say.team_id, campaign_id=1, site_id=0, offer_id=0, source_id=0, hour=1
            ))  # fmt: skip
            await tx.execute(insert(t.conversions).values(
                team_id=say.team_id, account_id=1, campaign_id=1, site_id=0, offer_id=0, source_id=0,
                event="deposit", status="approved", occurred_at=NOON, received_at=NOON, day=NOON.date(), marks=[],
                click_id=(1 << 40) + 1, txn_id="TX-77",
            ))  # fmt: skip
            await tx.execute(insert(t.members).values(
                team_id=say.team_id, name="Pushkin", code="pushkin", role="viewer", created_at=NOON
            ))  # fmt: skip
        await say("source add name=Сеть")
        await say('view save "Push report" "stats 7d by campaign"')
        await say('alert add "clicks < 5 in 1h" channel=terminal')
        await say('automation add "tell campaign when clicks > 5" name="Push watch" channel=terminal')
        click = codec.encode((1 << 40) + 1)
        expected: dict[str, list[tuple[str, str | None]]] = {
            "push": [("campaign", "push"), ("view", "push-report"), ("member", "pushkin")],
            "friday": [("campaign", "push")], "nordics": [("group", "nordics"), ("campaign", "push")],
            "ios": [("campaign", "push")], "СЕТЬ": [("source", None)],
            "native.example.test": [("offer", "lucky-native")],
            "https://track.example.test/c/push?x=1": [("campaign", "push")], click: [("click", click)],
            "TX-77": [("click", click)], "clicks 1h": [("alert", "alert-1")], "süd": [("group", "sud")],
            "watch push": [("automation", "automation-1")], "nothing-like-it": [],
        }  # fmt: skip
        for words, wanted in expected.items():
            found = [(f["kind"], f["code"]) for f in (await say(f'find "{words}"'))["items"]]
            assert len(found) >= len(wanted), words
            for (kind, code), (kind_found, code_found) in zip(wanted, found, strict=False):
                assert kind == kind_found or (kind, code) in found, (words, found)
                assert code in {None, code_found} or (kind, code) in found, (words, found)
            assert wanted or not found
        assert (await say("find push"))["items"][0]["command"] == "campaign show push"
        for finding in (await say("find push"))["items"]:
            await say(finding["command"])  # each opens


async def test_a_limited_member_sees_and_sets_groups_of_their_campaigns_only(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        mine: dict[str, Any] = {"role": Role.BUYER, "campaigns": ("push",)}
        assert await codes(say, "group list", **mine) == ["nordics"]
        assert await codes(say, "find native", **mine) == []
        assert await codes(say, "find süd", **mine) == []
        assert await codes(say, "find lucky", **mine) == ["lucky", "lucky-push"]
        for line in ("campaign list group=Süd", "campaign edit push group=Süd", "stats 7d group=Süd",
                     "group edit sud name=X", "note campaign=native X"):  # fmt: skip
            with pytest.raises(Forbidden):
                await say(line, **mine)
        assert (await say("campaign edit push group=Own tags=+mine", **mine))["group"] == "own"


async def test_a_note_is_written_on_any_kind_and_taken_back(opened: Opened) -> None:
    async with asking(opened) as say:
        await set_up(say)
        await say("note account=main Ask Anna about the cap")
        assert (await say("account show main"))["note"] == "Ask Anna about the cap"
        await say("undo")
        async with say.database.read() as tx:
            assert (await tx.execute(select(t.accounts.c.note))).scalar_one() is None
        with pytest.raises(Refused, match="name one campaign"):
            await say("note hello")
        actor = Actor(team_id=say.team_id, name="v", role=Role.VIEWER)
        with pytest.raises(Forbidden):
            await say.ask("note campaign=push Hello", actor)
