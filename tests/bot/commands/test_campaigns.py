"""Campaigns, tokens and the audit trail by command, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from storage.db.secrets import token_hash
from storage.ledger.errors import Forbidden, Refused
from storage.ledger.facts import Role
from storage.tables import campaign_offer_spans, teams, tokens
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]


async def offers(say: Asker) -> None:
    await say.account()
    for tag in ("one", "two"):
        await say(f"offer add casino=Lucky account=main tag={tag} url=https://lucky.example.test/?s={{click_id}}")


async def test_a_campaign_gives_its_tracking_link(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        made = await say(
            'campaign create "Spring FB" offers=lucky-one:3,lucky-two cost=0.05 fallback_url=https://x.example.test'
        )
        assert made["url"] == "https://track.example.test/c/spring-fb"
        assert (made["offers"], made["cost_model"], made["cost"]) == (["lucky-one:3", "lucky-two:1"], "fixed", 50_000)
        assert (await say("campaign link spring-fb"))["url"] == made["url"]
        assert await say('campaign show "Spring FB"') == made


@pytest.mark.parametrize(
    ("words", "field"),
    [("offers=nope", "offers"), ("offers=lucky-one,lucky-one:2", "offers"), ("offers=lucky-one:0", "offers"),
     ("site=nope", "site"), ("source=nope", "source"), ("cost_model=weird", "cost_model"), ("cost_model=fixed", "cost"),
     ("cost=-1", "cost"), ("fallback_url=javascript:alert(1)", "fallback_url"), ("rules=[1]", "rules")],
)  # fmt: skip
async def test_faults_are_told_at_their_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        await offers(say)
        with pytest.raises(Refused) as caught:
            await say(f"campaign create c1 {words}")
        assert caught.value.field == field
        assert (await say("campaign list"))["items"] == []


async def test_rules_and_offers_take_codes_names_and_ids(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        two = (await say("offer show lucky-two"))["id"]
        rules = f'[{{"country": "DE", "offers": ["{two}:3", "Lucky one"]}}]'.replace('"', '\\"')
        made = await say(f'campaign create c1 offers={two}:2 rules="{rules}"')
        assert made["offers"] == ["lucky-two:2"]
        assert [share["offer"] for share in made["rules"][0]["offers"]] == ["lucky-two", "lucky-one"]


async def test_site_source_and_fallback_can_be_taken_away_again(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        await say("source add name=Push")
        await say("campaign create c1 offers=lucky-one source=push fallback_url=https://back.example.test/")
        edited = await say('campaign edit c1 source=none fallback_url=""')
        assert (edited["source"], edited["fallback_url"]) == (None, None)
        await say("offer edit lucky-one alternative=lucky-two deal=CPA")
        emptied = await say("offer edit lucky-one alternative=- deal=none")
        assert (emptied["alternative"], emptied["deal"]) == (None, None)


async def test_a_link_belongs_to_one_team_only(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("campaign create Spring")
        async with say.database.begin() as tx:
            made = await tx.execute(
                insert(teams).values(name="Other", code="other", created_at=say.now).returning(teams.c.id)
            )
        other = Asker(say.database, int(made.scalar_one()))
        assert (await other("campaign create Spring"))["code"] == "spring-2"
        assert (await other("source add name=Push"))["code"] == "push"


async def test_which_offers_were_in_it_when_is_remembered(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        await say("campaign create c1 offers=lucky-one")
        say.later(days=1)
        await say("campaign edit c1 offers=lucky-two")
        say.later(days=1)
        await say("campaign pause c1")
        async with say.database.read() as tx:
            spans = (await tx.execute(select(campaign_offer_spans).order_by(campaign_offer_spans.c.id))).all()
        assert [(s.until - s.since).days for s in spans] == [1, 1]


async def test_a_limited_buyer_sees_and_changes_only_their_own(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        await say("campaign create mine")
        await say("campaign create theirs")
        listed = await say("campaign list", role=Role.BUYER, campaigns=("mine",))
        assert [campaign["code"] for campaign in listed["items"]] == ["mine"]
        with pytest.raises(Forbidden, match="not one of yours"):
            await say("campaign pause theirs", role=Role.BUYER, campaigns=("mine",))


async def test_a_token_is_shown_once_and_kept_as_a_hash(opened: Opened) -> None:
    async with asking(opened) as say:
        made = await say("token create name=grafana role=viewer")
        listed = (await say("token list"))["items"]
        assert "token" not in listed[0]
        async with say.database.read() as tx:
            row = (await tx.execute(select(tokens))).one()
        assert row.token_hash == token_hash(made["token"])
        assert made["token"] not in str(row)
        assert (await say.sure("token revoke grafana"))["revoked_at"]


async def test_every_change_is_in_the_audit_with_before_and_after(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        await say("offer pause lucky-one")
        last = (await say("audit"))["items"][0]
        assert (last["command"], last["actor"], last["entity"]) == ("offer pause", "the-owner", "offer")
        assert (last["before"]["status"], last["after"]["status"]) == ("active", "paused")
        assert "offer pause" in say.shown


async def test_weights_may_be_told_by_themselves(opened: Opened) -> None:
    async with asking(opened) as say:
        await offers(say)
        assert (await say("campaign create c1 offers=lucky-one,lucky-two weights=3,1"))["offers"] == [
            "lucky-one:3", "lucky-two:1",
        ]  # fmt: skip
        assert (await say("campaign edit c1 weights=1,9"))["offers"] == ["lucky-one:1", "lucky-two:9"]
        for wrong in ("weights=1", "weights=1,-1", "weights=0,0", "weights=1,x"):
            with pytest.raises(Refused):
                await say(f"campaign edit c1 {wrong}")
        assert (await say("campaign show c1"))["offers"] == ["lucky-one:1", "lucky-two:9"]


async def test_a_limited_buyer_sees_and_changes_own_sources_only(opened: Opened) -> None:
    async with asking(opened) as say:
        for name in ("Mine", "Theirs", "Shared", "Free"):
            await say(f"source add name={name}")
        for campaign, source in (("a", "mine"), ("b", "theirs"), ("c", "shared"), ("d", "shared")):
            await say(f"campaign create name={campaign} source={source}")
        limited: dict[str, Any] = {"role": Role.BUYER, "campaigns": ("a", "c")}
        listed = [source["code"] for source in (await say("source list", **limited))["items"]]
        assert listed == ["mine", "shared", "free"]
        for words in ("source show theirs", "source edit theirs name=x", "campaign edit a source=theirs"):
            with pytest.raises(Forbidden, match="not one of yours"):
                await say(words, **limited)
        with pytest.raises(Forbidden, match="serves more than your campaigns"):
            await say("source edit shared name=x", **limited)
        assert (await say("source edit mine name=Ours", **limited))["name"] == "Ours"
        assert (await say("campaign edit a source=free", **limited))["source"] == "free"
