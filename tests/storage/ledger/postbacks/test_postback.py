"""Postbacks read as their senders mean them: words, amounts, times, odd bodies."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.facts import Event, Outcome, Status
from storage.ledger.instants import read_instant
from storage.ledger.postbacks.decoding import decode
from storage.ledger.postbacks.postback import Signal, read, rules, signed
from storage.ledger.postbacks.vocabulary import EVENTS, STATUSES, is_macro
from tests.storage.ledger.written import REFUSED, RIGHT, written_amounts

NOW = datetime(2026, 10, 14, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
PLAIN = rules(zone=ZoneInfo("UTC"), currency="EUR", words={}, mapping={})


def said(query: bytes, *, words: Any = None, mapping: Any = None, kind: str = "", body: bytes = b"") -> Signal:
    by = rules(zone=ZoneInfo("UTC"), currency="EUR", words=words or {}, mapping=mapping or {})
    return read(decode(query, kind, body), by, NOW)


@pytest.mark.parametrize(
    ("text", "micros", "currency"),
    [
        ("1.050,00", 1_050_000_000, "EUR"), ("0,0045", 4_500, "EUR"), ("$ (12.50)", -12_500_000, "USD"),
        ("40 usd", 40_000_000, "USD"), ("BTC 0.0000015", 2, "BTC"), ("€ 1.234,-", 1_234_000_000, "EUR"),
        ("-50", -50_000_000, "EUR"), ("0", 0, "EUR"), ("1.2k", None, None), ("1/2", None, None), ("5 (3)", None, None),
        ("12 %", None, None), ("12,50 kr.", None, None), ("1e999", None, None), ("NaN", None, None),
    ],
)  # fmt: skip
def test_amounts_are_read_exactly_or_left_missing(text: str, micros: int | None, currency: str | None) -> None:
    signal = said(urlencode({"event": "deposit", "amount": text}).encode())
    assert (signal.amount, signal.currency) == (micros, currency)
    assert ("no_amount" in signal.marks) is (micros is None)


def test_an_amount_in_another_currency_than_the_request_says_is_left_missing() -> None:
    assert said(urlencode({"event": "deposit", "amount": "12,50 kr.", "currency": "SEK"}).encode()).amount == 12_500_000
    signal = said(urlencode({"event": "deposit", "amount": "€5", "currency": "USD"}).encode())
    assert (signal.amount, signal.marks) == (None, ("no_amount",))


@given(st.text(max_size=60))
def test_no_text_breaks_the_readers(text: str) -> None:
    read_instant(text, BERLIN)
    raw = text.encode(errors="replace")
    assert isinstance(read(decode(raw, "application/json", raw), PLAIN, NOW), Signal)


@given(
    st.binary(max_size=200),
    st.sampled_from(
        ["", "application/json", "text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=0"]
    ),
)
def test_no_bytes_break_the_decoder(raw: bytes, kind: str) -> None:
    assert isinstance(read(decode(raw, kind, raw), PLAIN, NOW), Signal)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("1791979200", "2026-10-14T12:00:00"), ("1791979200000", "2026-10-14T12:00:00"),
        ("1791979200.5", "2026-10-14T12:00:00.500000"), ("2026-10-14T12:00:00Z", "2026-10-14T12:00:00"),
        ("2026-10-14T12:00:00+02:00", "2026-10-14T10:00:00"), ("2026-10-14T12:00:00 02:00", "2026-10-14T10:00:00"),
        ("2026-10-14 14:00", "2026-10-14T12:00:00"), ("20261014T120000Z", "2026-10-14T12:00:00"),
        ("14.10.2026 14:00", "2026-10-14T12:00:00"), ("10/14/2026 02:00:00 PM", "2026-10-14T12:00:00"),
        ("14/10/2026", "2026-10-13T22:00:00"), ("Wed, 14 Oct 2026 12:00:00 GMT", "2026-10-14T12:00:00"),
        ("Octob 14, 2026 02:00 PM", "2026-10-14T12:00:00"), ("Marraskuu 14, 2026", None), ("Octopus 14, 2026", None),
        ("soon", None), ("0", None), ("2026-13-01", None), ("99999999999999999999", None), ("", None),
    ],
)  # fmt: skip
def test_times_in_any_usual_format(text: str, utc: str | None) -> None:
    result = read_instant(text, BERLIN)
    assert (result.replace(tzinfo=None).isoformat() if result else None) == utc


@pytest.mark.parametrize("event", list(Event))
def test_every_event_word_is_known_in_any_spelling(event: Event) -> None:
    for word in EVENTS[event]:
        for spelling in (word, word.upper(), word.replace("_", "-"), f" {word.title()} "):
            assert said(f"event={spelling}".encode()).event is event
    for word, meant in (("sign_up", Event.REGISTRATION), ("firstdeposit", Event.FIRST_DEPOSIT)):
        assert said(f"goal={word}".encode()).event is meant


def test_every_status_word_is_known_and_numbers_only_as_a_connector_says() -> None:
    for status in Status:
        for word in STATUSES[status]:
            assert said(f"event=reg&status={word.upper()}".encode()).status is status
    for code in ("2", "banana"):
        unknown = said(f"event=reg&status={code}".encode())
        assert (unknown.status, unknown.marks) == (Status.PENDING, ("unknown_status",))
    affise = {"statuses": {"1": "approved", "2": "pending", "3": "reversed", "5": "pending"}}
    assert said(b"event=reg&status=2", words=affise).status is Status.PENDING


def test_names_are_found_in_any_case_nested_and_remapped() -> None:
    body = b'{"data": {"Sub-ID": "abc", "Goal": "dep", "Revenue": 40.10, "TransactionId": 7}}'
    result = said(b"", kind="application/json", body=body)
    assert (result.click, result.event, result.amount, result.txn_id) == ("abc", Event.DEPOSIT, 40_100_000, "7")
    mapped = said(b"s1=abc&cid=other&event=reg", mapping={"parameters": {"s1": "click_id"}})
    assert mapped.click == "abc"


@pytest.mark.parametrize(
    ("written", "currency"),
    [("€", "EUR"), ("£", "GBP"), ("US$", "USD"), ("zł", "PLN"), ("lei", "RON"), ("usd", "USD"), ("USDT", "USDT")],
)
def test_the_currency_of_a_request_is_read_by_code_and_by_sign(written: str, currency: str) -> None:
    signal = said(urlencode({"event": "deposit", "amount": "5", "currency": written}).encode())
    assert (signal.amount, signal.currency, signal.notes) == (5_000_000, currency, ())


def test_a_code_that_no_currency_has_is_kept_and_said() -> None:
    signal = said(urlencode({"event": "deposit", "amount": "5", "currency": "eru"}).encode())
    assert (signal.amount, signal.currency) == (5_000_000, "ERU")
    assert signal.notes == ("currency ERU is none we know: kept as it is, unconverted until 'rate set currency=ERU'",)


@pytest.mark.parametrize("written", ["978", "kr", "?", "9 €"])
def test_an_amount_in_a_currency_that_cannot_be_read_is_left_missing(written: str) -> None:
    signal = said(urlencode({"event": "deposit", "amount": "5", "currency": written}).encode())
    assert (signal.amount, signal.marks) == (None, ("no_amount",))
    assert any(repr(written) in note for note in signal.notes)


@pytest.mark.parametrize(
    ("text", "order"),
    [("03/02/2026", "month"), ("03-02-2026 10:00", "day"), ("26/02/2026", ""), ("02/26/2026", ""), ("03.02.2026", ""),
     ("03/03/2026", ""), ("2026-02-03", ""), ("2026/02/03", "")],
)  # fmt: skip
def test_a_time_that_may_be_day_first_or_month_first_says_how_it_was_read(text: str, order: str) -> None:
    notes = said(urlencode({"event": "deposit", "occurred_at": text}).encode()).notes
    assert [f"read {order} first" in note for note in notes] == ([True] if order else [])


def test_a_teams_word_wins_over_the_platforms_and_everybodys() -> None:
    words = {"events": {"lead": "qualified"}}
    assert said(b"event=lead", words=words).event is Event.QUALIFIED
    assert said(b"event=lead", words=words, mapping={"events": {"Lead": "deposit"}}).event is Event.DEPOSIT
    assert said(b"click_id=x", mapping={"default_event": "deposit"}).event is Event.DEPOSIT


@pytest.mark.parametrize("value", ["{click_id}", "${SUBID}", "[clickid]", "##SUB##", "__CLICKID__", "{{afp}}"])
def test_an_unreplaced_macro_counts_as_missing_and_is_noted(value: str) -> None:
    assert is_macro(value)
    result = said(f"event=reg&click_id={value}&cid=abc".encode())
    assert result.click == "abc"
    assert any("macro" in note for note in result.notes)
    assert not is_macro(f"x{value}x")


def test_the_very_same_request_has_one_digest_whatever_its_order_or_method() -> None:
    item = decode(b"a=1&b=2+3")
    assert item.digest == decode(b"", "application/x-www-form-urlencoded", b"b=2%203&A=1").digest
    assert item.digest != decode(b"a=1&b=2").digest


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/json", b"{broken", "not JSON"), ("application/json", b"[1, 2]", "one"),
        ("application/json", b'"text"', "not an object"), ("text/html", b"<html>", "page"),
        ("application/json", b"[" * 5000, "not JSON"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_leaves_the_reason(kind: str, body: bytes, message: str) -> None:
    result = said(b"", kind=kind, body=body)
    assert result.outcome is Outcome.REJECTED
    assert any(message in note or "several" in note for note in result.notes)


def test_a_signature_covers_the_body_or_the_query_without_itself() -> None:
    import hashlib
    import hmac

    good = hmac.new(b"key", b"a=1&b=2", hashlib.sha256).hexdigest()
    assert signed(f"a=1&sig={good}&b=2".encode(), b"", secret=b"key", parameter="sig", header=None)
    assert signed(b"x=9", b"a=1&b=2", secret=b"key", parameter="sig", header=f"sha256={good}")
    assert not signed(b"a=1&b=3", b"", secret=b"key", parameter="sig", header=good)
    assert not signed(b"a=1&b=2", b"", secret=b"key", parameter="sig", header=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_json_is_read_in_any_encoding_that_says_so_and_as_windows_1252_otherwise(encoding: str) -> None:
    text = '{"click_id": "C1", "event": "ftd", "txn_id": "Jörg"}'
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    result = said(b"", kind="application/json", body=mark + text.encode(encoding))
    assert (result.event, result.click, result.txn_id) == (Event.FIRST_DEPOSIT, "C1", "Jörg")


def test_a_multipart_form_is_a_form() -> None:
    body = (
        b'--0\r\nContent-Disposition: form-data; name="click_id"\r\n\r\nC1\r\n--0\r\n'
        b'Content-Disposition: form-data; name="Event"\r\n\r\nftd\r\n--0\r\n'
        b'Content-Disposition: form-data; name="log"; filename="a.txt"\r\n\r\nevent=dep\r\n--0--\r\n'
    )
    result = said(b"", kind='multipart/form-data; boundary="0"', body=body)
    assert (result.event, result.click) == (Event.FIRST_DEPOSIT, "C1")
    assert "no fields" in said(b"", kind="multipart/form-data", body=b"click_id=C1").notes[0]


@pytest.mark.parametrize(
    ("query", "kind", "body"),
    [
        (b"click_id[]=C1&event[]=ftd&data[amount]=7", "", b""),
        (
            b"",
            "application/json",
            b'{"data": {"click": {"id": "C1"}, "event": {"name": "ftd"}, "money": {"amount": 7}}}',
        ),
        (b"items[0].click_id=C1&items[0].event=ftd&items[0].amount=7", "", b""),
    ],
)
def test_names_within_others_are_known(query: bytes, kind: str, body: bytes) -> None:
    result = said(query, kind=kind, body=body)
    assert (result.event, result.click, result.amount) == (Event.FIRST_DEPOSIT, "C1", 7_000_000)


@pytest.mark.parametrize(
    "text",
    ["20261014220000", "14-10-2026 22:00", "10-14-2026 10:00 PM", "Oct 14, 2026 10:00 PM", "October 14, 2026, 22:00:00",
     "14 Oct 2026 22:00:00", "2026-10-14 10:00 PM", "14/10/2026 22:00"],
)  # fmt: skip
def test_times_written_in_other_ways_are_of_the_accounts_zone(text: str) -> None:
    assert read_instant(text, BERLIN) == datetime(2026, 10, 14, 20, tzinfo=UTC)


@pytest.mark.parametrize("text", [*RIGHT, *REFUSED])
def test_every_way_to_write_an_amount_is_read_right_or_left_missing(text: str) -> None:
    signal = said(urlencode({"event": "deposit", "click_id": "C1", "amount": text}).encode())
    value, currency = RIGHT.get(text, (None, ""))
    if value is None:
        assert (signal.amount, signal.marks) == (None, ("no_amount",))
        assert any(repr(text) in note for note in signal.notes)
    else:
        assert (signal.amount, signal.currency) == (int(Decimal(value) * 1_000_000), currency or "EUR")


@given(written_amounts())
def test_an_amount_in_any_convention_is_read_back(written: tuple[str, Decimal, str]) -> None:
    text, value, currency = written
    signal = said(urlencode({"event": "deposit", "amount": text}).encode())
    assert (signal.amount, signal.currency) == (int(value * 1_000_000), currency or "EUR")
