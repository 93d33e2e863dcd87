"""Offer URLs: checked when saved, filled so that no value can leave its place."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.clicks.macros import MACROS, Template, check_url, unreplaced
from storage.ledger.errors import Refused


@given(st.text(max_size=60).filter(lambda text: text.isprintable() or "\n" in text))
def test_a_value_stays_in_its_place(value: str) -> None:
    template = Template("https://offer.example.test/a/{sub1}?x={sub1}&y=1")
    url = template.fill(lambda name: value if name == "sub1" else "")
    parts = urlsplit(url)
    assert parts.netloc == "offer.example.test"
    assert url.isascii()
    assert not any(char.isspace() for char in url)
    assert parts.query.count("&") == 1
    assert unquote(parts.query.split("&")[0][2:]) == value


def test_every_macro_is_known_and_a_url_without_click_id_is_warned_about() -> None:
    assert check_url("https://offer.example.test/?" + "&".join(f"{name}={{{name}}}" for name in MACROS)) == []
    assert "click_id" in check_url("https://offer.example.test/")[0]
    assert check_url("https://back.example.test/", field="fallback_url", wants_click_id=False) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://{sub1}.example.test/", "cannot stand in the host"),
        ("https://offer.example.test/?c={clickid}", "{click_id}"),
        ("javascript:alert(1)", "not a web address"),
        ("//offer.example.test/", "not a web address"),
        ("https://offer.example.test/ x", "space or control"),
        ("https://offer.example.test/\r\nX: y", "space or control"),
        ("https://a@offer.example.test/", "user name"),
        ("https://offer.example.test:x/", "not a web address"),
        ("https:\\\\offer.example.test", "not a web address"),
        ("", "not a web address"),
    ],
)
def test_what_cannot_be_redirected_to_is_refused(url: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        check_url(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize("value", ["{clickid}", "${SUBID}", "[CLICK_ID]", "##SUB##", "__CLICKID__", "{{ob_click_id}}"])
def test_an_unreplaced_macro_is_known(value: str) -> None:
    assert unreplaced(value)
    assert not unreplaced(f"x{value}")


@pytest.mark.parametrize("value", ["", "{", "##", "____", "_id_", "a{b}", "{a}b", "#1"])
def test_other_values_are_values(value: str) -> None:
    assert not unreplaced(value)
