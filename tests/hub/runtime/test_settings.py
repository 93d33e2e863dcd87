"""Settings: read from the environment and .env, secrets from files; a wrong one stops the start with the fix."""

import os
import stat
from ipaddress import ip_network
from pathlib import Path

import pytest

from hub.runtime.boot import reach
from hub.runtime.settings import SettingError, read_settings, unknown_settings, with_key

KEY = {"CASINOFLUX_SECRET_KEY": "k"}


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = read_settings(KEY, tmp_path)
    assert settings.database_url == "sqlite+aiosqlite:///casinoflux.db"
    assert (settings.report_timezone, settings.report_currency, settings.allow_private_hosts) == ("UTC", "EUR", False)
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.telegram_api_url == "https://api.telegram.org/bot"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# ours\nCASINOFLUX_REPORT_CURRENCY=USD\nexport CASINOFLUX_REPORT_TIMEZONE='Europe/Malta'\n"
    )
    settings = read_settings(KEY | {"CASINOFLUX_REPORT_CURRENCY": "SEK"}, tmp_path)
    assert (settings.report_currency, settings.report_timezone) == ("SEK", "Europe/Malta")


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("123:abc\n")
    settings = read_settings(KEY | {"CASINOFLUX_TELEGRAM_BOT_TOKEN_FILE": str(tmp_path / "token")}, tmp_path)
    assert settings.telegram_bot_token == "123:abc"
    assert "123:abc" not in repr(settings)


def test_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    settings = read_settings(KEY | {"CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8,2001:db8::/32"}, tmp_path)
    assert settings.trusted_proxies == tuple(map(ip_network, ("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://x/y"), ("DATABASE_URL", "nonsense"), ("PUBLIC_URL", "track.example.test"),
        ("REPORT_TIMEZONE", "Mars/Olympus"), ("REPORT_CURRENCY", "EURO"), ("ALLOW_PRIVATE_HOSTS", "yes"),
        ("TRUSTED_PROXIES", "localhost"), ("SLACK_API_URL", "slack"), ("SLACK_BOT_TOKEN", "xoxb-fake"),
        ("SLACK_CLIENT_ID", "1.2"), ("SLACK_SIGNING_SECRET_FILE", "/nowhere/secret"),
        ("SLACK_SIGNING_SECRET_FILE", os.devnull), ("SLACK_APP_TOKEN", "xapp-fake"),
        ("PUBLIC_URL", "https://track.example.test:99999"), ("TELEGRAM_WEBHOOK_SECRET", "with spaces"),
        ("LIMIT_SECONDS", "0.0"), ("LIMIT_SECONDS", "1e3"), ("LIMIT_SECONDS", "nan"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_setting(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"CASINOFLUX_{name}"):
        read_settings(KEY | {f"CASINOFLUX_{name}": value}, tmp_path)


def test_a_misspelt_setting_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    [answer] = unknown_settings(KEY | {"CASINOFLUX_REPORT_TIMZONE": "UTC", "CASINOFLUX_SECRET_KEY_FILE": "k"}, tmp_path)
    assert answer.endswith("did you mean CASINOFLUX_REPORT_TIMEZONE?")


async def test_a_database_that_cannot_be_opened_is_told_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database")
    for url in (
        f"sqlite:///{tmp_path}/text.db",
        f"sqlite:///{tmp_path}/no/folder.db",
        "postgresql://u:hush@127.0.0.1:1/x",
    ):
        with pytest.raises(SettingError, match=r"CASINOFLUX_DATABASE_URL: .* cannot be opened") as caught:
            await reach(url)
        assert "hush" not in str(caught.value)


def test_the_key_is_made_once_beside_the_database(tmp_path: Path) -> None:
    url = {"CASINOFLUX_DATABASE_URL": f"sqlite:///{tmp_path / 'flux.db'}"}
    assert not read_settings(url, tmp_path).secret_key
    assert not list(tmp_path.iterdir())
    first = with_key(read_settings(url, tmp_path)).secret_key
    assert with_key(read_settings(url, tmp_path)).secret_key == read_settings(url, tmp_path).secret_key == first
    stored = tmp_path / "flux.db.key"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
