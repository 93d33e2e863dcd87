"""Moving in from another tracker: each import from a constructed recording to figures equal to those it holds."""

import base64
import re
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from hub.jobs import imports
from storage.ledger.errors import ConnectorError, Refused
from storage.tables import campaigns, import_parts, imported_days, revenue
from tests.connectors.test_bad_input import again, whole
from tests.connectors.trackers import recordings
from tests.connectors.web import Request, answer, serving
from tests.hub.syncing import Hub, hub

Opened = Callable[[], Any]
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

HISTORY = """Datum;Kampagne;Angebot;Land;Klicks;Konversionen;FTD;Umsatz;Kosten
2026-09-01;Frühling;Lucky Star;Germany;1.200;14;3;240,50;96,00
2026-09-01;Frühling;Lucky Star;AT;300;2;;40,00;24,00
2026-09-02;Frühling;;DE;1.000;9;2;180,00;80,00
2026-09-02;Herbst;Wild Win;SE;500;5;1;99,75;
Gesamt;;;;3.000;30;6;560,25;200,00
"""


async def carried_out(deployment: Hub, number: int) -> dict[str, Any]:
    """The import, after its dry run was confirmed and the background has done it."""
    await deployment.say(f"import run {number}")
    await imports.tick(deployment.runtime)
    done: dict[str, Any] = await deployment.say(f"import show {number}")
    assert (done["state"], done["error"]) == ("done", None)
    return done


async def sent(deployment: Hub, line: str, text: str, encoding: str = "utf-8") -> dict[str, Any]:
    """A command with a file along."""
    answer: dict[str, Any] = await deployment.say(line, file=base64.b64encode(text.encode(encoding)).decode())
    return answer


async def count(deployment: Hub, table: Any) -> int:
    async with deployment.runtime.database.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_table_of_history_becomes_a_layer_of_its_own(opened: Opened) -> None:
    async with hub(opened) as deployment:
        say = deployment.say
        asked = await sent(deployment, "import csv", HISTORY, "utf-16")
        assert asked["state"] == "ready"
        assert asked["plan"]["make"] == {"account": 1, "source": 0, "offer": 2, "campaign": 2}
        history = asked["plan"]["history"]
        assert (history["clicks"], history["conversions"], history["revenue"]) == (3000, 30, {"EUR": 560_250_000})
        assert asked["plan"]["statuses"] == {"FTD": 6}
        assert await count(deployment, campaigns) == await count(deployment, imported_days) == 0  # a dry run
        await say(f"import map {asked['id']} statuses=FTD=first_deposit")
        done = await carried_out(deployment, asked["id"])
        assert done["result"]["days"] == 4
        report = await say("history 2026-09-01..2026-09-30 by campaign,country")
        figures = {tuple(row["group"].values()): (row["clicks"], row["revenue"]) for row in report["rows"]}
        assert figures == {
            ("fruhling", "DE"): (2200, 420_500_000), ("fruhling", "AT"): (300, 40_000_000),
            ("herbst", "SE"): (500, 99_750_000),
        }  # fmt: skip
        totals = report["totals"]
        assert (totals["first_deposits"], totals["registrations"], totals["profit"]) == (6, None, 360_250_000)
        assert await count(deployment, revenue) == 0
        ours = await say("report merged 2026-09-01 2026-09-30 by=day")
        assert (ours["totals"]["commission"], ours["totals"]["clicks"]) in {(None, None), (None, 0), (0, 0), (0, None)}
        await say("import cutover fruhling 2026-09-02")
        before = await say("history 2026-09-01..2026-09-30 by day")
        assert [(row["group"]["day"], row["clicks"]) for row in before["rows"]] == [
            ("2026-09-01", 1500), ("2026-09-02", 500)]  # fmt: skip


@on_sqlite
async def test_a_second_import_adds_what_is_new_and_leaves_edits(opened: Opened) -> None:
    async with hub(opened) as deployment:
        say = deployment.say
        table = "name,url,network\nLucky,https://a.example.test/?s={click_id}&x={foo},Net\n"
        first = await sent(deployment, "import csv", table)
        assert any("{foo}" in problem["why"] for problem in first["plan"]["problems"])
        await carried_out(deployment, first["id"])
        offer = await say("offer show lucky")
        assert (offer["status"], offer["account"]) == ("paused", "net")
        assert offer["url"] == "https://a.example.test/?s={click_id}&x=%7Bfoo%7D"
        await say('offer edit lucky url="https://mine.example.test/?s={click_id}"')
        second = await sent(deployment, "import csv", table + "Wild,https://b.example.test/?s={click_id},Net\n")
        assert second["plan"]["make"]["offer"] == 1
        assert second["plan"]["kept"] == ["offer Lucky was changed here (url): it stays so"]
        await carried_out(deployment, second["id"])
        assert (await say("offer show lucky"))["url"] == "https://mine.example.test/?s={click_id}"
        assert (await say("offer show wild"))["status"] == "active"


@on_sqlite
@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (HISTORY[:-30], "line 6"),  # cut off
        (HISTORY.replace("3.000", "3.500"), "line 6: it says total"),
        ("day,campaign,clicks\n2026-09-01,A,1.5k\n", "line 2: clicks"),
        ("day,campaign,clicks\n03/04/2026,A,5\n", "day first or month first"),
        ("day,campaign,revenue\n2026-09-01,A,$5\n", "line 2: revenue: '.5' is in USD"),
        ("colour,size\nred,5\n", "no header line"),
        ("day,campaign,clicks\n2027-09-01,A,5\n", "has not come yet"),
    ],
)
async def test_a_damaged_file_is_refused_with_its_line(opened: Opened, table: str, reason: str) -> None:
    async with hub(opened) as deployment:
        with pytest.raises(Refused, match=reason) as refusal:
            await sent(deployment, "import csv", table)
        assert refusal.value.field == "file"
        with pytest.raises(Refused, match=reason) as refusal:
            await deployment.say("import csv", csv=table)
        assert (refusal.value.field, str(refusal.value)[:5]) == ("csv", "csv: ")
        assert await count(deployment, campaigns) == 0


async def read_over_http(deployment: Hub, line: str) -> dict[str, Any]:
    """An import that reads an API: asked for, read in the background, its dry run."""
    asked = await deployment.say(line)
    assert (asked["state"], asked["plan"]) == ("queued", None)
    await imports.tick(deployment.runtime)
    shown: dict[str, Any] = await deployment.say(f"import show {asked['id']}")
    assert (shown["state"], shown["error"]) == ("ready", None)
    return shown


DATES = "from=2026-10-01 to=2026-10-19 cutover=2026-10-20 click_days=0"


async def test_a_keitaro_moves_in(opened: Opened) -> None:
    async with hub(opened) as deployment, serving(recordings.keitaro(busy=1)) as web:
        say = deployment.say
        await say('source add "PushHouse"')
        with pytest.raises(Refused, match="refuses the key") as refusal:
            await say(f"import keitaro url={web.url} key=wrong {DATES}")
        assert refusal.value.field == "key"
        shown = await read_over_http(deployment, f"import keitaro url={web.url} key={recordings.KEY} {DATES}")
        plan = shown["plan"]
        assert plan["make"] == {"account": 2, "source": 1, "offer": 2, "campaign": 2}
        assert plan["renamed"] == ["source 'PushHouse' becomes 'PushHouse (Keitaro)'"]
        told = {(problem["kind"], problem["name"]): problem["why"] for problem in plan["problems"]}
        assert "uniqueness" in told["campaign", "Push DE"]
        assert "made paused" in told["campaign", "Quiz"] or "source 99" in told["campaign", "Quiz"]
        assert "page or action" in told["offer", "Local page"]
        assert "10 clicks" in told["campaign", "Old one"]
        assert any("in a loop" in problem["why"] for problem in plan["problems"])
        assert plan["statuses"] == {"lead": 44, "sale": 10, "rebill": 2, "rejected": 1}
        assert plan["history"]["revenue"] == {"EUR": 800_500_000}
        assert recordings.KEY not in str(await say("audit"))
        await say(f"import map {shown['id']} statuses=lead=registration,sale=first_deposit,rebill=deposit")
        await carried_out(deployment, shown["id"])
        await keitaro_stands(deployment)
        again = await read_over_http(deployment, f"import keitaro url={web.url} key={recordings.KEY} {DATES}")
        assert set(again["plan"]["make"].values()) == {0}
        await say(f"import map {again['id']} statuses=lead=registration,sale=first_deposit,rebill=deposit")
        await carried_out(deployment, again["id"])
        assert (await say("history 2026-10-01..2026-10-31"))["totals"]["clicks"] == 922


async def keitaro_stands(deployment: Hub) -> None:
    """Everything of the recording is here: entities, figures, click ids."""
    say = deployment.say
    campaign = await say("campaign show push-de")
    assert (campaign["offers"], campaign["source"]) == (["lucky-star-de:75", "wild-win:25"], "pushhouse-keitaro")
    assert campaign["rules"] == [{"if": {"country": ["AT"]}, "offers": [{"offer": "wild-win", "weight": 100}]}]
    assert (campaign["cost_model"], campaign["cost"], campaign["status"]) == ("fixed", 50_000, "active")
    assert (await say("campaign show quiz"))["status"] == "paused"
    offer = await say("offer show lucky-star-de")
    assert offer["url"] == "https://lucky.example.test/?b=1&geo={country}&sub1={click_id}"
    assert (offer["account"], offer["markets"]) == ("lucky-partners", ["AT", "DE"])
    source = await say("source show pushhouse-keitaro")
    assert source["parameters"] == {"click_id": "clickid", "sub1": "zone"}
    assert {event: of["url"] for event, of in source["postbacks"].items()} == dict.fromkeys(
        ("registration", "first_deposit"), "https://push.example.test/pb?c={click_id}&p={payout}"
    )
    report = await say("history 2026-10-01..2026-10-31 by day,campaign,offer,country")
    rows = {
        tuple(row["group"].values()): (row["clicks"], row["first_deposits"], row["revenue"]) for row in report["rows"]
    }
    assert rows == {
        ("2026-10-01", "push-de", "lucky-star-de", "DE"): (812, 9, 720_000_000),
        ("2026-10-02", "push-de", "wild-win", "AT"): (100, 1, 80_500_000),
        ("2026-10-02", None, "lucky-star-de", "DE"): (10, 0, 0),
    }
    totals = report["totals"]
    assert (totals["registrations"], totals["deposits"], totals["cost"], totals["profit"]) == (
        44, 2, 45_600_000, 754_900_000)  # fmt: skip
    shown = await say(
        'simulate postback url="subid=2abcd9keitaroclick&status=sale&payout=80&tid=t1" account=lucky-partners'
    )
    assert (shown["outcome"], shown["event"]) == ("accepted", "first_deposit")


#: A tracker: what is said of its login, the line of its rule, what its statuses are called, a click id of its log.
TRACKERS = {
    "binom": (recordings.binom, "key={key} url={url}", {"country": ["AT"]}, "ftd", "binomclick1", {"ftd": 1}),
    "voluum": (
        recordings.voluum, "access_id=a1 key={key} url={url}", {"sub1": ["z7"]}, "customConversions2",
        "wvoluumclick1", {"customConversions1": 41, "customConversions2": 9},
    ),
    "redtrack": (
        recordings.redtrack, "key={key} url={url}", {"country": ["AT"]}, "type2", "RTCLICK1", {"type1": 41, "type2": 9},
    ),
}  # fmt: skip


@on_sqlite
@pytest.mark.parametrize("system", TRACKERS)
async def test_another_tracker_moves_in(opened: Opened, system: str) -> None:
    recording, login, condition, status, click, statuses = TRACKERS[system]
    async with hub(opened) as deployment, serving(recording()) as web:
        say = deployment.say
        with pytest.raises(Refused) as refusal:
            await say(f"import {system} {login.format(key='wrong', url=web.url)} {DATES}")
        assert refusal.value.field == "key"
        line = f"import {system} {login.format(key=recordings.KEY, url=web.url)} {DATES}"
        shown = await read_over_http(deployment, line)
        plan = shown["plan"]
        assert plan["make"] == {"account": 2, "source": 1, "offer": 2, "campaign": 1}
        assert plan["statuses"] == statuses
        await say(f"import map {shown['id']} statuses={status}=first_deposit")
        await carried_out(deployment, shown["id"])
        campaign = await say("campaign show push-de")
        weights = {word.partition(":")[0]: int(word.partition(":")[2]) for word in campaign["offers"]}
        assert weights["lucky-star-de"] == 3 * weights["wild-win"]
        assert [rule["if"] for rule in campaign["rules"]] == [condition]
        assert (campaign["cost"], campaign["source"], campaign["status"]) == (50_000, "pushhouse", "active")
        offer = await say("offer show lucky-star-de")
        assert offer["account"] == "lucky-partners"
        assert "c={click_id}" in offer["url"]
        source = await say("source show pushhouse")
        assert source["parameters"]["sub1"] in {"zone", "sub1"}
        report = await say("history 2026-10-01..2026-10-31 by day,campaign,offer,country")
        assert [tuple(row["group"].values()) for row in report["rows"]] == [
            ("2026-10-01", "push-de", "lucky-star-de", "DE")]  # fmt: skip
        totals = report["totals"]
        assert (totals["clicks"], totals["unique_clicks"], totals["conversions"]) == (2038, 1900, 9)
        assert (totals["revenue"], totals["cost"], totals["first_deposits"]) == (
            720_000_000, 101_900_000, statuses[status])  # fmt: skip
        query = f"cid={click}&{EVENTS[system]}={status}&payout=80&txid=1"
        shown = await say(f'simulate postback url="{query}" account=lucky-partners')
        assert (shown["outcome"], shown["event"]) == ("accepted", "first_deposit")


def without_offer(recording: Callable[[], Any], path: str, name: str) -> Callable[[Request], Any]:
    """The recording after an offer was deleted there: no list has it, campaigns and figures still refer to it."""
    inner = recording()

    def answering(request: Request) -> Any:
        content = inner(request)
        if not request.path.endswith(path):
            return content
        listed = msgspec.json.decode(whole(content)[1])
        rows = listed["offers"] if isinstance(listed, dict) else listed
        rows[:] = [row for row in rows if row.get("name", row.get("title")) != name]
        return again(content, msgspec.json.encode(listed))

    return answering


@on_sqlite
@pytest.mark.parametrize(("system", "path"), [
    ("binom", "/info/offer"), ("voluum", "/offer"), ("redtrack", "/offers"), ("keitaro", "/offers"),
])  # fmt: skip
async def test_deleted_offers_clashing_names_and_edits_are_told_by_every_tracker(
    opened: Opened, system: str, path: str
) -> None:
    recording = recordings.keitaro if system == "keitaro" else TRACKERS[system][0]
    async with hub(opened) as deployment, serving(without_offer(recording, path, "Wild Win")) as web:
        say = deployment.say
        await say("account add postback_only name=Mine")
        await say('offer add casino=X account=mine tag=x name="Lucky Star DE" url=https://x.example.test/?c={click_id}')
        login = "access_id=a1 " if system == "voluum" else ""
        line = f"import {system} {login}key={recordings.KEY} url={web.url} {DATES}"
        shown = await read_over_http(deployment, line)
        title = {"redtrack": "RedTrack"}.get(system, system.title())
        assert shown["plan"]["renamed"] == [f"offer 'Lucky Star DE' becomes 'Lucky Star DE ({title})'"]
        told = [problem["why"] for problem in shown["plan"]["problems"] if problem["name"] == "Push DE"]
        assert any(re.search(r"there is no offer \S+: left out", why) for why in told)
        await carried_out(deployment, shown["id"])
        (share,) = (await say("campaign show push-de"))["offers"]
        assert share.startswith(f"lucky-star-de-{system}:")
        assert (await say("offer show lucky-star-de"))["url"] == "https://x.example.test/?c={click_id}"
        question = await say(f'offer edit lucky-star-de-{system} url="https://edited.example.test/?c={{click_id}}"')
        await say(f"confirm {question['confirm']}")  # a running campaign sends to it
        await say('campaign edit push-de name="Push Germany"')
        again_shown = await read_over_http(deployment, line)
        assert set(again_shown["plan"]["make"].values()) == {0}
        assert again_shown["plan"]["kept"] == [
            f"offer Lucky Star DE ({title}) was changed here (url): it stays so",
            "campaign Push Germany was changed here (name): it stays so",
        ]
        await carried_out(deployment, again_shown["id"])
        assert (await say(f"offer show lucky-star-de-{system}"))["url"].startswith("https://edited.example.test/")
        assert (await say("campaign show push-de"))["name"] == "Push Germany"


@on_sqlite
@pytest.mark.parametrize(
    ("postback", "made", "told"),
    [
        ("https://p.example.test/?c={externalid}&p={payout}", "https://p.example.test/?c={click_id}&p={payout}", ""),
        (None, "", "a postback of the source itself is not in Binom's answers"),
        ("https://push.example.test/pb?c={externalid}&x={user_agent_hash}", "", "its postback has user_agent_hash"),
        ("https://push.example.test/pb?c={externalid}&token=s3cr3t", "", "its postback holds a credential"),
    ],
)  # fmt: skip
async def test_binoms_postbacks_come_over_by_its_campaigns_or_are_said(
    opened: Opened, postback: str | None, made: str, told: str
) -> None:
    async with hub(opened) as deployment, serving(recordings.binom(postback)) as web:
        say = deployment.say
        shown = await read_over_http(deployment, f"import binom key={recordings.KEY} url={web.url} {DATES}")
        await say(f"import map {shown['id']} statuses=ftd=first_deposit")
        await carried_out(deployment, shown["id"])
        shown = await say(f"import show {shown['id']}")
        source = await say("source show pushhouse")
        assert {event: template["url"] for event, template in source["postbacks"].items()} == (
            {"first_deposit": made} if made else {}
        )
        assert told in str(shown["plan"])
        assert "s3cr3t" not in str(shown)


@on_sqlite
async def test_an_import_is_put_away_since_it_cannot_be_taken_back(opened: Opened) -> None:
    async with hub(opened) as deployment, serving(recordings.binom()) as web:
        say = deployment.say
        shown = await read_over_http(deployment, f"import binom key={recordings.KEY} url={web.url} {DATES}")
        await carried_out(deployment, shown["id"])
        assert (await say("history 2026-10-01..2026-10-31"))["totals"]["clicks"] == 2038
        with pytest.raises(Refused, match=r"cannot be undone|no change of yours"):
            await say("undo")
        await say("import cutover push-de 2026-09-01")
        assert not (await say("history 2026-10-01..2026-10-31"))["totals"]["clicks"]
        question = await say("campaign archive push-de")
        if "confirm" in question:
            await say(f"confirm {question['confirm']}")
        assert (await say("campaign show push-de"))["status"] == "archived"


@on_sqlite
async def test_a_tracker_that_is_binom_1_is_sent_to_its_tables(opened: Opened) -> None:
    async with hub(opened) as deployment, serving(lambda _request: answer("not found", status=404)) as web:
        with pytest.raises(Refused, match=r"Binom 1 .* import csv") as refused:
            await deployment.say(f"import binom key={recordings.KEY} url={web.url} {DATES}")
        assert refused.value.field == "url"


#: The parameter by which a postback to the tracker says what happened.
EVENTS = {"binom": "cnv_status", "voluum": "et", "redtrack": "type"}


@on_sqlite
async def test_statsdrone_becomes_accounts_without_passwords(opened: Opened) -> None:
    async with hub(opened) as deployment:
        table = "Lucky Partners,anna,s3cret,push+ios,EUR\nWild Affiliates,key-1,id-1\nLucky Partners,bob,hunter2\n"
        shown = await sent(deployment, "import statsdrone", table)
        await carried_out(deployment, shown["id"])
        accounts = (await deployment.say("account list"))["items"]
        assert [(account["name"], account["currency"], account["tags"]) for account in accounts] == [
            ("Lucky Partners", "EUR", ["push", "ios"]), ("Wild Affiliates", "EUR", []),
            ("Lucky Partners bob", "EUR", [])]  # fmt: skip
        async with deployment.runtime.database.read() as tx:
            stored = [bytes(row.content) for row in await tx.execute(select(import_parts))]
        assert not any(b"s3cret" in zlib.decompress(part) or b"hunter2" in zlib.decompress(part) for part in stored)
        with pytest.raises(Refused, match="line 2: 2 values") as refusal:
            await sent(deployment, "import statsdrone", "Lucky Partners,anna,s3cret\nWild,ke")
        assert "s3cret" not in str(refusal.value)


@on_sqlite
async def test_a_tracker_that_asks_to_wait_is_waited_for_then_said(opened: Opened) -> None:
    async with hub(opened) as deployment:
        async with serving(lambda _request: answer("", status=429, headers={"Retry-After": "0"})) as web:
            with pytest.raises(ConnectorError, match="asks us to wait"):
                await deployment.say(f"import keitaro url={web.url} key={recordings.KEY} {DATES}")
            assert len(web.asked) == 4
        working = recordings.keitaro()

        def without_report(request: Request) -> Any:
            return answer("", status=404) if request.path.endswith("/report/build") else working(request)

        async with serving(without_report) as web:
            line = f"import keitaro url={web.url} key={recordings.KEY} {DATES}"
            asked = await deployment.say(line)
            with pytest.raises(Refused, match="under way"):
                await deployment.say(line)
            await imports.tick(deployment.runtime)
        failed = await deployment.say(f"import show {asked['id']}")
        assert (failed["state"], await count(deployment, campaigns)) == ("failed", 0)
        assert "answered 404" in failed["error"]
        assert recordings.KEY not in str(failed)
        with pytest.raises(Refused, match="begin it again"):
            await deployment.say("import run")
