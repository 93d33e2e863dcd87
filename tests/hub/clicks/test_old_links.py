"""Links, click ids and postback addresses of another tracker keep working on the team's own domain."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from hub.clicks.handler import alias_of
from hub.postbacks.old_addresses import click_of, postback_key
from storage.catalogue import teams
from storage.clicks import imported_clicks
from storage.clicks.imported_clicks import ImportedClick
from storage.db import config_version
from storage.tables import campaign_aliases, domains
from tests.bot.commands.test_clicks import say
from tests.hub.clicks.click_deployment import ClickDeployment, click_deployment

MOVED = "go.example.test"


async def moved(d: ClickDeployment) -> int:
    """A campaign with an old alias, a domain of the team, a domain of another team."""
    await d.offer("a")
    campaign = await d.campaign("push", {"a": 1})
    async with d.database.begin() as tx:
        other = (await teams.add(tx, "Others", datetime.now(UTC))).id
        for team_id, name in ((d.runtime.team_id, MOVED), (other, "other.example.test")):
            await tx.execute(insert(domains).values(
                team_id=team_id, name=name, code=name, created_at=datetime.now(UTC), status="live", state={}
            ))  # fmt: skip
        for alias in ("Xy7Zk2", "bk1"):
            values = {"team_id": d.runtime.team_id, "campaign_id": campaign, "alias": alias}
            await tx.execute(insert(campaign_aliases).values(**values))
        await config_version.bump(tx)
    await d.clicks.refresh()
    return campaign


def request(path: str, host: str) -> dict[str, object]:
    path, _, query = path.partition("?")
    headers = [(b"host", host.encode())]
    return {"method": "GET", "path": path, "query_string": query.encode(), "headers": headers}


async def test_an_old_link_leads_to_its_campaign_on_the_teams_domain_alone(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        await moved(d)
        for path in ("/Xy7Zk2", "/Xy7Zk2?sub1=z", "/click?key=bk1", "/click.php?lp=0&key=bk1", "/?key=bk1"):
            assert d.clicks.old_link(request(path, MOVED)) == "push", path
        for path in ("/", "/unknown", "/click?key=none", "/click?lp=1", "/a/Xy7Zk2"):
            assert d.clicks.old_link(request(path, MOVED)) == "", path
        for host in ("track.example.test", "other.example.test", "stranger.example.test"):
            assert d.clicks.old_link(request("/Xy7Zk2", host)) == ""


@pytest.mark.parametrize(
    ("target", "click"),
    [
        ("/a1b2/postback?subid=C1&status=sale", "C1"), ("/postback?cid=C2&et=reg", "C2"),
        ("/postback?clickid=C3&sum=5", "C3"), ("/click?cnv_id=C4&payout=5", "C4"), ("/click.php?cnv_id=C5", "C5"),
        ("/click?key=bk1", ""), ("/imprint", ""), ("/a/b/postback?subid=C6", ""), ("/postback", ""),
    ],
)  # fmt: skip
def test_old_postback_addresses_are_known_by_their_click(target: str, click: str) -> None:
    path, _, query = target.partition("?")
    assert click_of(path, query.encode()) == click
    assert alias_of("/one/two", b"") == ""


async def test_an_old_click_id_finds_campaign_offer_and_account(upgraded_url: str) -> None:
    async with click_deployment(upgraded_url) as d:
        campaign = await moved(d)
        old = ImportedClick(click="AbC-1", campaign_id=campaign, offer_id=d.made["a"], source_id=0,
                            at=datetime(2026, 10, 1, 9, tzinfo=UTC), country="de", source_click="ph-7")  # fmt: skip
        async with d.database.begin() as tx:
            assert await imported_clicks.add(tx, d.runtime.team_id, [old, old], ZoneInfo("UTC")) == (1, 0)
            assert await imported_clicks.add(tx, d.runtime.team_id, [old], ZoneInfo("UTC")) == (0, 0)
            other = (await teams.add(tx, "Third", datetime.now(UTC))).id
            assert await postback_key(tx, d.runtime.team_id, "abc-1") == "k"
            assert await postback_key(tx, other, "abc-1") is None
            assert await postback_key(tx, d.runtime.team_id, "unknown") is None
        shown = await say(d, 'simulate postback url="cnv_id=ABC-1&event=ftd&payout=80&txid=9" account=a')
        assert (shown.outcome, shown.event, shown.amount) == ("accepted", "first_deposit", 80_000_000)
        unknown = await say(d, 'simulate postback url="cid=nothing&event=ftd" account=a')
        assert (unknown.outcome, unknown.reason) == ("unmatched", "unknown click id")
