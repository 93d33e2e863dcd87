"""Web addresses, wherever one is taken."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.addresses import is_host, web_address
from storage.ledger.errors import Refused


@pytest.mark.parametrize("url", [
    "https://brand.example/?s={click_id}&a=1;b=2", "http://10.0.0.1:8080/x", "https://[2001:db8::1]:8443/", "https://münchen.example/ä",
    "HTTPS://Brand.Example", "https://a_b.example./x",
])  # fmt: skip
def test_an_address_that_can_be_reached_is_taken(url: str) -> None:
    assert web_address(f" {url} ", field="url") == url


@pytest.mark.parametrize("url", [
    "", "brand.example", "//brand.example", "ftp://brand.example", "javascript:alert(1)", "https://", "https:///x",
    "https://evil.com\x0b/x.png", "https://evil.com;sandbox/x.png", "https://evil.com /x", "https://evil.com/a b",
    "https://evil.com/\r\nset-cookie:a", "https://evil.com/\x00", "https://evil.com/\u2028a", "https://evil.com/\ud83d",
    "https://[::1", "https://[x]/", "https://a:99999/", "https://a:b/", "https://a:0/", "https://xn--a.com/", "https://a..b/",
    "https://-a.com/", "https://" + "a" * 64 + ".com", "https://evil.com/" + "a" * 2000, "https://user:word@evil.com/",
    "https://evil.com'/", "https://evil.com,b/", "https://*.evil.com/", "https://evil.com/<script>", "https://evil.com\\@b/",
])  # fmt: skip
def test_anything_else_is_refused_at_its_field(url: str) -> None:
    with pytest.raises(Refused) as refused:
        web_address(url, field="logo")
    assert refused.value.field == "logo"


@given(st.text(max_size=60), st.text(max_size=30))
def test_what_is_taken_never_ends_a_header_or_a_policy(host: str, path: str) -> None:
    try:
        url = web_address(f"https://{host}/{path}", field="url")
    except Refused:
        return
    assert url.isprintable()
    assert not set(url) & set(" \"'<>\\`")
    assert not set(urlsplit(url).netloc) & set(";, ")


@given(st.text(max_size=80))
def test_any_text_is_a_host_or_not(name: str) -> None:
    assert is_host(name) in {True, False}
