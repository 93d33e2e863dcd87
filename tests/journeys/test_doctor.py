"""`casinoflux doctor` and `db upgrade --check`: what is right, what is wrong with its fix, and no secret."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.journeys.deployment import Deployment, standin
from tests.waiting import free_port, wait_for

Deploy = Callable[..., Deployment]
TOKEN = "123456:stand-in-token"


def _checks(hub: Deployment) -> tuple[int, dict[str, Any], str]:
    done = hub.shell("doctor", "--json")
    return done.returncode, {c["name"]: c for c in json.loads(done.stdout)["items"]}, done.stdout + done.stderr


@pytest.mark.slow
def test_a_hub_with_both_chats_is_found_well_and_wrong_tokens_are_named_but_not_shown(deploy_sqlite: Deploy) -> None:
    with standin("slack") as slack, standin("telegram") as telegram:
        hub = deploy_sqlite(
            SLACK_BOT_TOKEN="xoxb-stand-in", SLACK_SIGNING_SECRET="stand-in-signing-secret",
            SLACK_API_URL=f"{str(slack.base_url).rstrip('/')}/api/",
            TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_WEBHOOK_SECRET="s3cret",
            TELEGRAM_API_URL=f"{str(telegram.base_url).rstrip('/')}/bot",
        )  # fmt: skip
        hub.start()
        wait_for(lambda: [c for c in telegram.get("/_control/calls").json() if c["method"] == "setWebhook"],
                 "the webhook to be set")  # fmt: skip
        code, checks, output = _checks(hub)
        assert [name for name, check in checks.items() if not check["ok"]] == []
        assert set(checks) == {
            "settings", "database", "disk", "tls", "public address", "clock", "slack", "telegram", "telegram webhook",
        }  # fmt: skip
        assert code == 0
        hub.settings["TELEGRAM_BOT_TOKEN"] = "654321:of-another-bot"
        slack.post("/_control/fail", json={"method": "auth.test", "error": "invalid_auth", "times": 1})
        code, checks, wrong_output = _checks(hub)
        assert {name for name, check in checks.items() if not check["ok"]} == {"slack", "telegram"}
        assert "CASINOFLUX_TELEGRAM_BOT_TOKEN" in checks["telegram"]["fix"]
        assert "invalid_auth" in checks["slack"]["finding"]
        assert code == 1
        for secret in (
            "stand-in-token",
            "of-another-bot",
            "xoxb-stand-in",
            "signing-secret",
            "s3cret",
            "journey-secret",
        ):
            assert secret not in output + wrong_output


@pytest.mark.slow
def test_without_a_hub_the_address_the_schema_and_plain_http_are_faults(deploy_empty_sqlite: Deploy) -> None:
    hub = deploy_empty_sqlite(PUBLIC_URL=f"http://localhost.:{free_port()}")
    done = hub.shell("doctor")
    faults = {line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("FAULT")}
    assert faults == {"database", "tls", "public"}
    assert "casinoflux db upgrade" in done.stdout
    assert done.returncode == 1


@pytest.mark.slow
def test_a_secret_key_that_can_be_guessed_is_a_fault(deploy_sqlite: Deploy) -> None:
    code, checks, output = _checks(deploy_sqlite(SECRET_KEY="changeme"))
    assert code == 1
    assert "keys rotate" in checks["secret key"]["fix"]
    assert "changeme" not in output


@pytest.mark.slow
def test_settings_that_cannot_be_read_are_the_one_fault(deploy_sqlite: Deploy) -> None:
    code, checks, _ = _checks(deploy_sqlite(REPORT_CURRENCY="GOLD"))
    assert (code, list(checks)) == (1, ["settings"])
    assert "CASINOFLUX_REPORT_CURRENCY" in checks["settings"]["finding"]


@pytest.mark.slow
def test_an_upgrade_is_announced_and_not_made(deploy_empty_sqlite: Deploy) -> None:
    hub = deploy_empty_sqlite()
    assert hub.shell("db", "upgrade", "--check").returncode == 1
    assert hub.shell("db", "upgrade", "--check").returncode == 1
    assert hub.shell("db", "upgrade").returncode == 0
    assert hub.shell("db", "upgrade", "--check").returncode == 0
    with sqlite3.connect(hub.settings["DATABASE_URL"].removeprefix("sqlite+aiosqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    done = hub.shell("db", "upgrade", "--check")
    assert done.returncode == 1
    assert "0001" in done.stdout


@pytest.mark.slow
def test_credentials_of_another_key_are_named(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    hub.run("source", "add", "ads", "registration=https://ads.example.test/?cid={click_id}&token=s3cr3t")
    _, checks, _ = _checks(hub)
    assert "stored credentials" not in checks
    hub.settings["SECRET_KEY"] = "another key of many letters"
    code, checks, output = _checks(hub)
    assert (code, checks["stored credentials"]["ok"]) == (1, False)
    assert "sources 1" in checks["stored credentials"]["finding"]
    assert "s3cr3t" not in output
