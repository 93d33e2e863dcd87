"""Variants of a site share visitors by what those earn, late commission included."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.jobs.variant_distribution import tick
from hub.sites.variant_choice import by_weight
from storage.catalogue.site_snapshot import Served, load
from storage.clicks.queries import ensure_codec
from storage.ledger.clicks.click_id import first_id_at
from storage.ledger.distribution.holdout import held_out
from storage.ledger.errors import Refused
from storage.tables import site_views, sites
from storage.tables.types import EPOCH_DAY
from tests.bot.asking import Asker, asking
from tests.bot.seeding import converted, days_ago, reported
from tests.hub.jobs.test_digests import runtime_of
from tests.hub.jobs.test_distribution import EURO, campaign, merge

Opened = Callable[[], Any]


async def trial(say: Asker, words: str = "holdout=0") -> tuple[int, dict[str, dict[str, int]]]:
    """A published site of two offers with a variant; the site's id, and those of the offers."""
    async with say.database.begin() as tx:
        await ensure_codec(tx)
    ids = await campaign(say, "")
    made = await say("site create name=Wall market=DE offers=lucky-early,lucky-late")
    async with say.database.begin() as tx:
        await tx.execute(update(sites).values(status="published"))
    await say("variant add wall headline=Other")
    await say(f"variant distribute wall auto {words}")
    return made["id"], ids


async def days(
    say: Asker, site: int, ids: dict[str, dict[str, int]], *, ftds: dict[str, dict[str, int]], count: int = 16
) -> None:
    """So many days up to yesterday: 100 visitors of each variant a day, and FTDs by variant and offer. An FTD of the
    early offer pays 50 at once, one of the late offer 200 six days later."""
    for back in range(count, 0, -1):
        day, at = days_ago(say, back), say.now - timedelta(days=back)
        clicks = {code: [first_id_at(at) + 1000 * n + place for n in range(100)] for place, code in enumerate("ab")}
        async with say.database.begin() as tx:
            await tx.execute(insert(site_views), [
                {"id": click, "team_id": say.team_id, "site_id": site, "variant": code, "click_id": click,
                 "campaign_id": ids["early"]["campaign_id"], "day": (day - EPOCH_DAY).days, "at": at,
                 "visitor": str(click), "seen": [], "clicked": []}
                for code, of in clicks.items() for click in of
            ])  # fmt: skip
        for code, by_offer in ftds.items():
            place = 0
            for tag, n in by_offer.items():
                for _ in range(n):
                    await converted(say, ids[tag], at, 1, event="first_deposit", site_id=site,
                                    click_id=clicks[code][place])  # fmt: skip
                    place += 1
        for tag, paid in (("early", 50), ("late", 200 if back <= 10 else 0)):
            n = sum(of.get(tag, 0) for of in ftds.values())
            await reported(say, ids[tag], day, at=say.now, tag=tag, first_deposits=n,
                           commission_cpa=n * paid * EURO)  # fmt: skip
    await merge(say)


async def shares(say: Asker) -> dict[str, float]:
    shown = await say("variant list wall")
    return {of["variant"]: of["share"] for of in shown["distribution"]["shares"]}


@pytest.mark.slow_on_postgresql
async def test_visitors_move_to_the_variant_whose_players_earn_most(opened: Opened) -> None:
    async with asking(opened) as say:
        site, ids = await trial(say)
        assert await shares(say) == {"a": 50.0, "b": 50.0}
        hub = runtime_of(say)
        assert await tick(hub) == 1
        assert (await say("variant list wall"))["distribution"]["note"] == "no day of any offer is settled yet"
        # A brings more FTDs, those of B earn more: what counts is what they earn.
        await days(say, site, ids, ftds={"a": {"early": 5}, "b": {"late": 3}})
        assert await tick(hub) == 1
        assert await shares(say) == {"a": 30.0, "b": 70.0}  # the most change of an hour
        for _ in range(2):
            say.later(hours=1)
            await tick(hub)
        assert (await shares(say))["b"] > 90
        shown = await say("variant list wall")
        a, b = shown["distribution"]["shares"]
        assert b["earnings"] > 1.5 * a["earnings"] > 0
        assert b["best"] > 0.9
        assert "A visitor earns" in say.shown
        assert "roughly known" in say.shown
        await say("variant distribute wall off")
        assert (await say("variant list wall"))["distribution"] is None


@pytest.mark.slow_on_postgresql
async def test_one_settled_day_is_shown_as_the_guess_it_is(opened: Opened) -> None:
    """Visitors of A earned 2.50 each, those of B 6."""
    async with asking(opened) as say:
        site, ids = await trial(say)
        await days(say, site, ids, ftds={"a": {"early": 5}, "b": {"late": 3}}, count=1)
        assert await tick(runtime_of(say)) == 1
        a, b = (await say("variant list wall"))["distribution"]["shares"]
        assert 1.0 * EURO < a["earnings"] < 7.5 * EURO
        assert 2.0 * EURO < b["earnings"] < 18 * EURO
        assert "How sure" in say.shown
        assert "a rough guess" in say.shown or "hardly known yet" in say.shown


@pytest.mark.slow_on_postgresql
async def test_the_holdout_is_the_same_for_who_serves_and_who_counts(opened: Opened) -> None:
    async with asking(opened) as say:
        site, ids = await trial(say, "holdout=30% floor=10%")
        async with say.database.begin() as tx:
            row = (await tx.execute(select(sites.c.distribution))).scalar_one()
            await tx.execute(update(sites).values(distribution={**row, "shares": {"a": 1_000, "b": 9_000}}))
        served = await served_site(say)
        seen = Counter((by_weight(served, str(n)).code, held_out(site, str(n), 3_000)) for n in range(4_000))
        held = seen["a", True] + seen["b", True]
        assert 0.27 < held / 4_000 < 0.33
        assert 0.43 < seen["a", True] / held < 0.57  # by the weights set by hand
        assert 0.07 < seen["a", False] / (4_000 - held) < 0.13
        async with say.database.begin() as tx:
            await tx.execute(update(sites).values(distribution={
                **row, "since": datetime(2020, 1, 1, tzinfo=UTC).isoformat(),
                "values": {str(ids["early"]["offer_id"]): 50e6, str(ids["late"]["offer_id"]): 200e6},
            }))  # fmt: skip
        await days(say, site, ids, ftds={"a": {"early": 5}, "b": {"late": 3}})
        won = (await say("variant list wall"))["distribution"]["won"]
        assert won["first_deposits"] + won["held_out_first_deposits"] == 16 * 8
        assert 0.15 < won["held_out_first_deposits"] / 128 < 0.45
        assert won["ratio_low"] < won["ratio"] < won["ratio_high"]


async def served_site(say: Asker) -> Served:
    async with say.database.read() as tx:
        return next(site for site in (await load(tx)).sites if site.code == "wall")


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("words", "field"),
    [("wall auto floor=60%", "floor"), ("wall auto holdout=95%", "holdout"), ("wall maybe", "mode")],
)
async def test_what_cannot_be_is_refused_at_its_field(opened: Opened, words: str, field: str) -> None:
    async with asking(opened) as say:
        await trial(say)
        with pytest.raises(Refused) as caught:
            await say(f"variant distribute {words}")
        assert caught.value.field == field


@pytest.mark.slow_on_postgresql
async def test_a_site_with_one_variant_has_nothing_to_share_out(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.account("main")
        await say("offer add casino=Lucky account=main tag=x url=https://x.example.test/?s={click_id}")
        await say("site create name=Wall market=DE offers=lucky-x")
        with pytest.raises(Refused, match="one variant only"):
            await say("variant distribute wall auto")
