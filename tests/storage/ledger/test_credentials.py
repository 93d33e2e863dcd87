"""Credentials in addresses, bodies and headers are found by name or look; everything else stays as it was."""

import pytest

from storage.ledger.credentials import HIDDEN, hide_credentials, replace_credentials

LONG = "a1b2c3d4e5f6a7b8c9d0"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ("https://s.example/p?cid={click_id}&token=abc", f"https://s.example/p?cid={{click_id}}&token={HIDDEN}"),
        ("https://s.example/p?api_key=a%2Fb&cid={click_id}", f"https://s.example/p?api_key={HIDDEN}&cid={{click_id}}"),
        ("https://s.example/p?accessToken=x#top", f"https://s.example/p?accessToken={HIDDEN}#top"),
        ("https://me:pw@s.example:8443/p", f"https://me:{HIDDEN}@s.example:8443/p"),
        (f"https://hooks.example/T0/{LONG}/x?c={{click_id}}", f"https://hooks.example/T0/{HIDDEN}/x?c={{click_id}}"),
        (f"https://s.example/p?v={LONG}", f"https://s.example/p?v={HIDDEN}"),
        ("token=abc&cid={click_id}", f"token={HIDDEN}&cid={{click_id}}"),
        ('{"secret": "a\\"b", "id": "{click_id}"}', f'{{"secret": "{HIDDEN}", "id": "{{click_id}}"}}'),
    ],
)
def test_a_credential_is_masked(values: str, shown: str) -> None:
    assert hide_credentials(values) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://s.example/p?cid={click_id}&key={key}&aid={AID}&payout={payout}&goal=ftd",
        "https://s.example/p?keyword=casino&campaign=spring-2026&hashtag=win",
        "https://s.example/conversions-of-the-summer-campaign/{click_id}",
        "https://user@s.example/p", "https://s.example/p?token={API_TOKEN}", "https://s.example/p?token=", "", "plain",
        "cid={click_id}&status=ok",
    ],
)  # fmt: skip
def test_what_is_no_credential_stays(text: str) -> None:
    assert hide_credentials(text) == text


def test_settings_and_headers_are_masked_by_their_names() -> None:
    arguments = {"url": "https://s.example/?token=x",
             "headers": {"Authorization": "Bearer abc", "X-Api-Key": "k", "A": "*/*"},
             "options": [{"password": "p", "n": 5}]}  # fmt: skip
    assert hide_credentials(arguments) == {
        "url": f"https://s.example/?token={HIDDEN}",
        "headers": {"Authorization": HIDDEN, "X-Api-Key": HIDDEN, "A": "*/*"},
        "options": [{"password": HIDDEN, "n": 5}],
    }


def test_a_credential_is_handed_over_as_it_is_sent() -> None:
    seen: list[tuple[str, str]] = []

    def replace(name: str, value: str) -> str:
        seen.append((name, value))
        return "{T}"

    text = replace_credentials("https://a:p%40w@s.example/?token=a%2Fb+c&x=1", replace)
    assert text == "https://a:{T}@s.example/?token={T}&x=1"
    assert seen == [("password", "p@w"), ("token", "a/b c")]
