"""Traffic sources: credentials written into templates are kept apart, encrypted, and never shown."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from bot.forms.source_forms import separate_credentials
from connectors.sources import presets
from storage.catalogue import sources
from storage.db.secrets import Box
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.outbound.templates import reveal
from storage.tables import audits, metadata
from storage.tables import sources as table
from tests.bot.asking import Asker, asking

Opened = Callable[[], Any]
SECRETS = ("s3cr3t-one", "s3cr3t-two", "s3cr3t-three", "s3cr3t-four")
URL = "https://ads.example/pb?cid={click_id}&token=s3cr3t-one"
POSTBACKS = {
    "deposit": {
        "url": "https://me:s3cr3t-two@ads.example/pb", "method": "POST",
        "body": '{"id":"{click_id}","key":"s3cr3t-three"}',
        "headers": {"Authorization": "Bearer s3cr3t-four"},
    },
}  # fmt: skip


async def everything(say: Asker) -> str:
    """All rows of all tables as text."""
    async with say.database.read() as tx:
        return "\n".join(
            [str(tuple(row)) for table in metadata.sorted_tables for row in await tx.execute(select(table))]
        )


async def sealed(say: Asker, code: str) -> tuple[Any, dict[str, str]]:
    async with say.database.read() as tx:
        row = (await tx.execute(select(table).where(table.c.code == code))).one()
    return row, sources.settings_of(Box("k"), row)


async def test_credentials_of_templates_are_in_no_list_audit_or_row(opened: Opened) -> None:
    async with asking(opened) as say:
        added = await say.tell("source add", name="ads", registration=URL, postbacks=POSTBACKS)
        answers = [
            repr(added),
            say.shown,
            repr(await say("source list")),
            repr(await say("source show ads")),
            say.shown,
        ]
        answers += [repr(await say("audit")), say.shown, await everything(say)]
        assert [secret for secret in SECRETS if secret in "".join(answers)] == []
        row, settings = await sealed(say, "ads")
        assert (
            row.postbacks["registration"]["url"] == "https://ads.example/pb?cid={click_id}&token={REGISTRATION_TOKEN}"
        )
        assert row.postbacks["registration"]["enabled"] is row.postbacks["deposit"]["enabled"] is True
        assert reveal(row.postbacks["registration"]["url"], settings, encode=True) == URL
        template = row.postbacks["deposit"]
        assert reveal(template["url"], settings, encode=True) == POSTBACKS["deposit"]["url"]
        assert reveal(template["body"], settings, encode=False) == POSTBACKS["deposit"]["body"]
        assert reveal(template["headers"]["Authorization"], settings, encode=False) == "Bearer s3cr3t-four"


async def test_templates_come_back_as_they_are_shown(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.tell("source add", name="ads", registration=URL, postbacks=POSTBACKS)
        shown = await say("source show ads")
        await say.tell("source edit", source="ads", postbacks=shown["postbacks"])
        assert (await say("source show ads"))["postbacks"] == shown["postbacks"]
        await say.tell("source edit", source="ads", registration=URL.replace("s3cr3t-one", "new"))
        _, settings = await sealed(say, "ads")
        assert (settings["registration_token"], settings["deposit_password"]) == ("new", "s3cr3t-two")


async def test_a_template_of_before_is_masked_and_sealed_by_the_next_edit(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("source add ads")
        async with say.database.begin() as tx:
            await tx.execute(table.update().values(postbacks={"registration": {"url": URL, "enabled": True}}))
        shown = (await say("source show ads"))["postbacks"]["registration"]["url"]
        assert shown == URL.replace("s3cr3t-one", "•••")
        with pytest.raises(Refused, match="write the credential itself") as fault:
            await say.tell("source edit", source="ads", registration=shown + "&x=1")
        assert fault.value.field == "registration"
        await say.tell("source edit", source="ads", registration=shown)
        row, settings = await sealed(say, "ads")
        assert "s3cr3t-one" not in str(row)
        assert reveal(row.postbacks["registration"]["url"], settings, encode=True) == URL


async def test_a_template_is_set_back_and_a_new_one_taken_away_by_undo(opened: Opened) -> None:
    async with asking(opened) as say:
        await say.tell("source add", name="ads", postbacks=POSTBACKS)
        before = await say("source show ads")
        await say.tell(
            "source edit", source="ads", registration=URL, postbacks={"deposit": "https://ads.example/?c={click_id}"}
        )
        await say("undo")
        assert (await say("source show ads"))["postbacks"] == before["postbacks"]


async def test_what_a_refusal_was_about_is_not_kept_with_its_credentials(opened: Opened) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused):
            await say.tell("source add", name="ads", registration="https://ads.example/pb?token=s3cr3t-one&c={clickid}")
        await say.tell("registrar add", name="np", kind="porkbun", api_key="s3cr3t-one", secret_key="s3cr3t-two",
                       options={"contact": {"RegistrantPhone": "s3cr3t-three"}})  # fmt: skip
        await say.tell("account add", platform="csv_upload", name="up", options={"columns": {"day": "Date"}})
        async with say.database.read() as tx:
            audited = json.dumps([row.arguments for row in await tx.execute(select(audits))])
        listed = repr(await say("registrar list")) + repr(await say("audit")) + say.shown
        assert [secret for secret in SECRETS if secret in audited + listed] == []
        assert "Date" in audited


def test_no_preset_holds_what_looks_like_a_credential() -> None:
    for name, preset in presets().items():
        templates = preset.get("postbacks", {})
        assert separate_credentials(templates) == (
            {event: dict(template) for event, template in templates.items()},
            {},
        ), name


async def test_a_credential_that_fits_no_header_is_refused_and_not_repeated(opened: Opened) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match="copy the value from the platform") as caught:
            await say("source add name=Odd settings=cost_token=ключ,page=Весна")
        assert caught.value.field == "settings"
        assert "ключ" not in str(caught.value)
        await say("source add name=Odd settings=page=Весна")


@pytest.mark.parametrize(
    ("success", "words"),
    [({"lack": ["error"]}, "or json_equals"), ("OK", "or json_equals"), ({}, "contains"),
     ({"contains": [""]}, "an empty text"), ({"lacks": [7]}, "success"), ({"json_equals": ["code"]}, "success")],
)  # fmt: skip
async def test_a_rule_for_answers_that_would_say_nothing_is_refused(opened: Opened, success: Any, words: str) -> None:
    async with asking(opened) as say:
        with pytest.raises(Refused, match=words) as fault:
            await say.tell("source add", name="ads", postbacks={"deposit": {"url": URL, "success": success}})
        assert fault.value.field == "deposit"


async def test_a_rule_for_answers_is_kept_with_its_template(opened: Opened) -> None:
    async with asking(opened) as say:
        rule = {"contains": "OK", "json_equals": {"result.code": 0}}
        await say.tell("source add", name="ads", postbacks={"deposit": {"url": URL, "success": rule}})
        shown = (await say("source show ads"))["postbacks"]["deposit"]["success"]
        assert shown == {"contains": ["OK"], "json_equals": {"result.code": 0}}


async def test_unreadable_settings_hide_no_source_and_can_be_given_again(opened: Opened) -> None:
    async with asking(opened) as say:
        await say("source add other")
        await say.tell("source add", name="ads", registration=URL)
        elsewhere = Box("another key").seal({"registration_token": "old"})
        async with say.database.begin() as tx:
            await tx.execute(table.update().where(table.c.code == "ads").values(credentials_secret=elsewhere))
        listed = {item["code"]: item["warnings"] for item in (await say("source list"))["items"]}
        assert (set(listed), "CASINOFLUX_SECRET_KEY" in str(listed["other"])) == ({"ads", "other"}, False)
        assert "CASINOFLUX_SECRET_KEY" in str(listed["ads"])
        with pytest.raises(CasinoFluxError, match="CASINOFLUX_SECRET_KEY"):
            await say.tell("source edit", source="ads", name="Renamed")
        again = await say.tell("source edit", source="ads", registration=URL)
        assert "CASINOFLUX_SECRET_KEY" not in str(again.warnings)
        assert (await sealed(say, "ads"))[1] == {"registration_token": "s3cr3t-one"}
