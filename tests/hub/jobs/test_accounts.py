"""Accounts as a team adds and keeps them."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select, update

from bot.core.arguments import MissingFields
from bot.forms import account_forms
from connectors import registry
from connectors.platforms import csv_upload
from hub.cli.standins.web import StubAnswer
from storage.db.secrets import Box
from storage.ledger.errors import Refused
from storage.tables import accounts, revenue
from tests.hub.syncing import Hub, hub, programme
from tests.standins.market import Figures, served_market
from tests.standins.serving import answering

TOKEN = "fake-statistic-token"
LOGINS = {
    "netrefer": "affiliate_id=7 client_id=fake-id client_secret=fake-secret username=fake-user password=fake-password",
    "trackbox": "username=fake-user password=fake-password api_key=fake-key",
}


def options(platform: str, url: str) -> dict[str, Any]:
    return {"requests_per_second": 10_000} | (
        {"report": "DAR", "login_url": f"{url}/token"} if platform == "netrefer" else {}
    )


async def test_a_login_is_tried_and_a_sample_shown_before_it_is_saved(opened: Callable[[], Any]) -> None:
    with programme() as casino:
        casino.says("2026-10-19", "spring", visits_count=3, partner_income="4.50")
        casino.says("2026-10-18", "7001", visits_count=1, partner_income="0")
        async with hub(opened) as team:
            made = await team.say(f"account add affilka name=Main base_url={casino.url} token={TOKEN} currency=usd")
            assert made["code"] == "main"
            assert made["currency"] == "USD"
            assert made["credentials"] == ["token"]
            assert made["segments"] == made["unclaimed"] == ["19941", "7001"]
            assert made["sample"]["columns"] == ["visits", "commission_other"]
            assert made["sample"]["names"]["19941"] == "spring"
            status = (await team.say("sync status main"))["items"][0]
            assert (status["state"], status["from"], status["to"]) == ("queued", "2026-09-20", "2026-10-20")
            shown = (
                str(await team.say("account show main"))
                + str(await team.say("account list"))
                + str(await team.say("audit"))
            )
            assert TOKEN not in shown


async def test_a_failing_login_saves_nothing_unless_it_is_not_tried(opened: Callable[[], Any]) -> None:
    with programme() as casino:
        casino.control("settings", token="another")
        async with hub(opened) as team:
            with pytest.raises(Refused, match="refused the login") as caught:
                await team.say(f"account add affilka name=Main base_url={casino.url} token={TOKEN}")
            assert caught.value.field == "token"
            assert TOKEN not in str(caught.value)
            assert (await team.say("account list"))["items"] == []
            made = await team.say(f"account add affilka name=Main base_url={casino.url} token={TOKEN} test=false")
            assert made["sample"] is None


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "field", "hint"),
    [
        ("account add afilka base_url=x.example.test token=t", "platform", "affilka"),
        ("account add raventrak", "platform", "raventrack"),
        ("account add affilka base_url=x.example.test", "token", "statistic token"),
        ("account add affilka token=t", "base_url", "address"),
        ("account add referon", "report_url", "copied from the panel"),
        ("account add affilka base_url=x.example.test token=t timezone=Europe/Berlim", "timezone", "Europe/Berlin"),
        ("account add affilka base_url=x.example.test token=t currency=euros!", "currency", "EUR"),
        ("account add affilka base_url=ftp://x token=t", "base_url", "https"),
        ("account add affilka base_url=https://u:p@x.example.test token=t", "base_url", "leave the user"),
        ("account add affilka report_url=https://x.example.test/r?token=t", "report_url", "custom date range"),
        ("account add affilka base_url=x.example.test token=t tag_from=campain", "tag_from", "campaign"),
        ('account add affilka base_url=x.example.test token=t options="{\\"pats\\": 1}"', "options", "path"),
        ("account add affilka base_url=x.example.test token=t sync_hour=25", "sync_hour", "23"),
        ("account add affilka base_url=x.example.test token=t history=-1", "history", "between"),
        ("account add postback_only report_url=https://x.example.test/", "report_url", "no report URLs"),
    ],
)
async def test_a_wrong_field_is_named_with_what_to_do(
    opened: Callable[[], Any], words: str, field: str, hint: str
) -> None:
    async with hub(opened) as team:
        with pytest.raises(Refused, match=hint) as caught:
            await team.say(words)
        assert caught.value.field == field


async def test_an_address_that_cannot_be_reached_is_named(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        with pytest.raises(Refused, match="cannot be reached") as caught:
            await team.say("account add affilka base_url=http://127.0.0.1:1 token=t")
        assert caught.value.field == "base_url"


def test_forms_offer_every_platform_there_is() -> None:
    assert tuple(registry.PLATFORMS) == account_forms.PLATFORMS
    assert registry.PRESETS == account_forms.PRESETS == tuple(csv_upload.TITLES)


@pytest.mark.parametrize(
    ("login", "field"),
    [
        ("affilka base_url=x.example.test token=١٢", "token"),
        ("affilka base_url=x.example.test token=kéy", "token"),
        ('affilka base_url=x.example.test token="two words"', "token"),
        ("cellxpert base_url=x.example.test affiliate_id=１２ api_key=k", "affiliate_id"),
        ("smartico api_key=ключ", "api_key"),
        ("myaffiliates base_url=x.example.test client_id=c client_secret=sécret", "client_secret"),
        ("income_access base_url=x.example.test key=ключ", "key"),
    ],
)
async def test_a_credential_that_fits_no_header_is_refused_at_its_field(
    opened: Callable[[], Any], login: str, field: str
) -> None:
    async with hub(opened) as team:
        await team.say("account add affilka name=Main base_url=main.example.test token=t test=false")
        with pytest.raises(Refused, match="copy the value from the platform") as caught:
            await team.say(f"account add {login} test=false")
        assert caught.value.field == field
        value = login.rpartition("=")[2].strip('"')
        assert value not in str(caught.value)
        with pytest.raises(Refused, match="copy the value from the platform") as caught:
            await team.say("account edit main token=١٢ test=false")
        assert caught.value.field == "token"


async def test_a_login_is_connected_once_unless_the_team_means_it(opened: Callable[[], Any]) -> None:
    place = "base_url=https://x.example.test"
    async with hub(opened) as team:
        await team.say(f"account add affilka name=Main {place} token=t test=false")
        for again in (f"{place} token=t", "base_url=X.example.test/ token=t"):
            with pytest.raises(Refused, match=r"account Main \(main\) has this login already") as caught:
                await team.say(f"account add affilka name=Again {again} test=false")
            assert caught.value.field == "token"
        await team.say(f"account add affilka name=Other {place} token=another test=false")
        await team.say("account add affilka name=Elsewhere base_url=y.example.test token=t test=false")
        with pytest.raises(Refused, match="account Main"):
            await team.say("account edit other token=t test=false")
        await team.say("account edit main sync_hour=9")
        await team.say("account edit other token=t test=false force=true")
        await team.say(f"account add affilka name=Third {place} token=t test=false force=true")
        assert len((await team.say("account list"))["items"]) == 4


async def test_a_pasted_report_is_known_again_by_all_but_its_dates(opened: Callable[[], Any]) -> None:
    pasted = "https://portal.example.test/statistics.php?mode=csv&key=k"
    async with hub(opened) as team:
        await team.say(
            f'account add myaffiliates name=Main report_url="{pasted}&d1=2026-10-01&d2=2026-10-02" test=false'
        )
        with pytest.raises(Refused, match="account Main") as caught:
            await team.say(f'account add myaffiliates report_url="{pasted}&d1=2026-09-01&d2=2026-09-30" test=false')
        assert caught.value.field == "report_url"
        await team.say(f'account add myaffiliates report_url="{pasted}2&d1=2026-09-01&d2=2026-09-30" test=false')


async def test_missing_credentials_are_asked_for_by_a_form(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        with pytest.raises(MissingFields) as caught:
            await team.say("account add affilka")
        assert caught.value.names == ["base_url", "token"]


async def test_a_platform_without_an_api_needs_nothing_and_syncs_nothing(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        made = await team.say("account add postback_only")
        assert (made["name"], made["next_sync_at"]) == ("Postbacks only", None)
        assert (await team.say("account add platform=postback_only"))["name"] == "Postbacks only 2"
        with pytest.raises(Refused, match="no reporting API"):
            await team.say("sync now postbacks-only")
        assert (await team.say("sync status"))["items"] == []


async def test_an_account_is_edited_tested_paused_and_resumed(opened: Callable[[], Any]) -> None:
    with programme() as casino:
        async with hub(opened) as team:
            await team.say(f"account add affilka name=Main base_url={casino.url} token={TOKEN}")
            casino.control("settings", token="new-token")
            with pytest.raises(Refused, match="refused the login"):
                await team.say("account edit main token=also-wrong")
            edited = await team.say("account edit main token=new-token timezone=Europe/Malta sync_hour=9 name=Major")
            assert (edited["name"], edited["code"], edited["timezone"]) == ("Major", "main", "Europe/Malta")
            assert edited["next_sync_at"] == "2026-10-21T07:00:00Z"
            assert (await team.say("account test main"))["sample"]["rows"] == 0
            question = await team.say("account pause main")
            assert (await team.say(f"confirm {question['confirm']}"))["status"] == "paused"
            with pytest.raises(Refused, match="account resume main"):
                await team.say("sync now main")
            assert (await team.say("account resume main"))["status"] == "active"


@pytest.mark.parametrize(
    ("platform", "answer", "field", "hint"),
    [
        ("trackbox", {"status": False, "message": "doesnt match", "code": 401}, "api_key", "check api_key"),
        ("netrefer", {"error": "invalid_client"}, "client_secret", "client_id and client_secret"),
        ("netrefer", {"error": "invalid_grant"}, "password", "refused the login"),
    ],
)  # fmt: skip
async def test_a_refused_login_is_said_at_the_credential_that_the_platform_means(
    opened: Callable[[], Any], platform: str, answer: dict[str, Any], field: str, hint: str
) -> None:
    status = 400 if platform == "netrefer" else 200
    with answering(lambda _request: StubAnswer(status, answer)) as url:
        async with hub(opened) as team:
            with pytest.raises(Refused, match=hint) as caught:
                await team.say(
                    f"account add {platform} base_url={url} {LOGINS[platform]}", options=options(platform, url)
                )
            assert caught.value.field == field
            assert "fake-" not in str(caught.value)
            assert (await team.say("account list"))["items"] == []


async def test_netrefer_is_not_asked_without_the_code_of_its_report(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        with pytest.raises(Refused, match="at onboarding") as caught:
            await team.say(f"account add netrefer base_url=https://asr.example.test {LOGINS['netrefer']}")
        assert caught.value.field == "options"


@pytest.mark.parametrize("platform", list(LOGINS))
async def test_a_new_platform_is_connected_synced_and_restated(opened: Callable[[], Any], platform: str) -> None:
    yesterday = date(2026, 10, 19)
    with served_market() as (standin, url):
        standin.facts[platform, yesterday, "spring"] = Figures(40, 9, 4, 20_000, 8_840, 16_000, 2_210)
        async with hub(opened) as team:
            made = await team.say(
                f"account add {platform} name=Main base_url={url}/{platform} {LOGINS[platform]}",
                options=options(platform, f"{url}/netrefer"),
            )
            assert made["segments"] == made["unclaimed"] == ["spring"]
            assert {"registrations", "first_deposits"} <= set(made["sample"]["columns"])
            await team.sync()
            assert await figures_of(team) == (9, 4)
            standin.facts[platform, yesterday, "spring"] = Figures(40, 9, 3, 20_000, 8_840, 12_000, 2_210)
            await team.say("sync now main")
            await team.sync()
            assert await figures_of(team) == (9, 3)


async def figures_of(team: Hub) -> tuple[int, int]:
    columns = [func.sum(revenue.c[name]) for name in ("registrations", "first_deposits")]
    async with team.runtime.database.read() as tx:
        row = (await tx.execute(select(*columns))).one()
        return row[0], row[1]


async def test_an_unreadable_login_stops_no_other_account_and_can_be_given_again(opened: Callable[[], Any]) -> None:
    with programme() as casino:
        async with hub(opened) as team:
            for name in ("Main", "Other"):
                await team.say(f"account add affilka name={name} base_url={casino.url} token={TOKEN}", force=True)
            sealed_elsewhere = Box("another key").seal({"token": TOKEN})
            async with team.runtime.database.begin() as tx:
                unreadable = accounts.c.code == "main"
                await tx.execute(update(accounts).where(unreadable).values(credentials_secret=sealed_elsewhere))
            listed = {item["code"]: item["error"] for item in (await team.say("account list"))["items"]}
            assert (listed["other"], "CASINOFLUX_SECRET_KEY" in listed["main"]) == (None, True)
            with pytest.raises(MissingFields):
                await team.say("account edit main sync_hour=5")
            with pytest.raises(Refused, match="has this login already"):
                await team.say(f"account add affilka name=Third base_url={casino.url} token={TOKEN}")
            again = await team.say(f"account edit main token={TOKEN} force=true")
            assert (again["credentials"], again["error"]) == (["token"], None)


async def test_a_login_that_no_key_opens_pauses_no_account(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        await team.say(f"account add affilka name=Main base_url=https://a.example.test token={TOKEN} test=false")
        async with team.runtime.database.begin() as tx:
            await tx.execute(update(accounts).values(credentials_secret=Box("another key").seal({"token": TOKEN})))
        await team.say("sync now main")
        await team.sync()
        main = await team.say("account show main")
        assert ("CASINOFLUX_SECRET_KEY" in main["error"], main["status"]) == (True, "active")
