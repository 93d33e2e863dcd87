"""Numbers, amounts and counts as platforms and people write them: right or refused, never silently other."""

from decimal import Decimal

import pytest
from babel.numbers import format_currency, format_decimal
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.numbers import DASHES, Mark, decimal_mark, read_amount, read_count, read_micro, read_number

NBSP, THIN, NARROW = "\u00a0", "\u2009", "\u202f"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("1.050,00", "1050"), (f"12{NBSP}345,60", "12345.6"),
     (f"12{THIN}345,60", "12345.6"), (f"12{NARROW}345,60", "12345.6"), ("0,0045", "0.0045"), ("0,125", "0.125"),
     ("1'234.5", "1234.5"), ("1’234,5", "1234.5"), ("12-", "-12"), ("12.50-", "-12.50"), ("(12.50)", "-12.50"),
     ("1,234", "1234"), ("1,23", "1.23"), ("1234,567", "1234.567"), ("1.234", "1.234"), ("1.234.567", "1234567"),
     ("12,34,567.5", "1234567.5"), ("1.5", "1.5"), (".5", "0.5"), ("1.5e3", "1500"), ("1e-05", "0.00001"),
     ("+7", "7"), ("１２．５", "12.5"), ("（１２）", "-12"), ("\u200e-3\u200f", "-3")],
)  # fmt: skip
def test_numbers_are_read_exactly(text: str, value: str) -> None:
    assert read_number(text) == Decimal(value)
    assert read_micro(text) == (int(Decimal(value) * 1_000_000), "")


_LOCALES = "en_US en_IN de de_CH fr fr_CA es_MX pt_BR pl hu bg ru sv he ar_EG hi th ja"
_VALUES = ("0", "1", "12.50", "0.05", "999", "1234.56", "-1234.50", "123456.78", "-1234567.89", "10000000")


@pytest.mark.parametrize("locale", _LOCALES.split())
def test_amounts_as_a_locale_writes_them_are_right_or_refused(locale: str) -> None:
    """Whole units in thousands apart by a lone dot, which are decimals here, are not among them."""
    read = 0
    for value in map(Decimal, _VALUES):
        plain = format_decimal(value, locale=locale)
        signed = [
            format_currency(value, currency, locale=locale, format_type=kind)
            for currency in ("EUR", "USD") for kind in ("standard", "accounting")
        ]  # fmt: skip
        for text in (plain, *signed):
            try:
                amount = read_amount(text, own="EUR")
            except ValueError:
                continue
            read += 1
            assert amount is not None, text
            assert amount.value == value, text
            assert amount.currency in ({"", "EUR"} if text is plain else {"EUR", "USD"}), text
    assert read == 50 or locale in {"bg"}, locale  # it has letters for the dollar that no one writes


@pytest.mark.parametrize("dash", [dash for dash in DASHES if dash != "\u2052"])
def test_every_dash_is_a_minus(dash: str) -> None:
    assert read_number(f"{dash}12.50") == Decimal("-12.50") == read_number(f"12.50{dash}")
    assert read_number(dash) is None


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [("$ (12.50)", "-12.50", "USD"), ("(12.50) €", "-12.50", "EUR"), ("EUR (1,234.50)", "-1234.50", "EUR"),
     ("€-0.83", "-0.83", "EUR"), ("-€0.83", "-0.83", "EUR"), ("€ 1.234,-", "1234", "EUR"), ("12.–", "12", ""),
     ("Rs. 12.50", "12.5", "INR"), ("40.00 SEK", "40", "SEK"), ("US$40.00", "40", "USD"), ("$80.50", "80.5", "USD"),
     ("R$ 3", "3", "BRL"), ("12.50EUR", "12.50", "EUR"), ("12,50 zł", "12.5", "PLN"), ("$12 CAD", "12", "CAD"),
     ("0,00 $", "0", "USD")],
)  # fmt: skip
def test_a_currency_beside_an_amount_is_read(text: str, value: str, currency: str) -> None:
    amount = read_amount(text)
    assert amount is not None
    assert (amount.value, amount.currency) == (Decimal(value), currency)
    if currency:
        with pytest.raises(ValueError, match="currency"):
            read_number(text)


def test_a_sign_of_several_currencies_is_that_of_the_field() -> None:
    for own in ("SEK", "NOK", "DKK"):
        assert read_micro("12,50 kr.", own=own) == (12_500_000, own)
    assert read_micro("$5", own="CAD") == (5_000_000, "CAD")
    assert read_micro("$5", own="EUR") == (5_000_000, "USD")
    with pytest.raises(ValueError, match="may be SEK, NOK, DKK or ISK"):
        read_micro("12,50 kr.", own="EUR")


@pytest.mark.parametrize(
    "text", ["abc", "NaN", "Infinity", "1 of 2", "12abc34", "--5", "1,2.3,4e", "1.2k", "1/2", "5 (3)", "12:30", "12 %",
             "12%", "1,2,3", "1.2.3", "1 2", "(-5)", "(5", "5)", "()", "²", "١٢", "2026-10-01", "1,234.567,89", "12-12",
             "1_000", "0x10", "$", "EUR", "5.", "1,", "12 XYZ", "€5 $", "1,23.50", "Total", True, [], "9" * 200,
             "0,123.5", "0.123,5", "0.125.000", "1e99", "99999999999999"],
)  # fmt: skip
def test_what_is_no_number_is_never_taken_for_one(text: object) -> None:
    with pytest.raises(ValueError, match=r"no number|too large|currency"):
        read_micro(text)


@pytest.mark.parametrize("text", ["", " ", "-", "–", "—", "n/a", None, "null"])
def test_what_is_not_said_is_not_zero(text: str | None) -> None:
    assert read_number(text) is None
    assert read_micro(text) == (None, "")
    assert read_count(text) is None


def test_counts_are_whole() -> None:
    written = ("40", 40, "1.041", "1,041", "1.000", f"1{NBSP}000", "12,00", 3.0, Decimal("4.0"), "-1", "(5)")
    assert [read_count(value) for value in written] == [40, 40, 1041, 1041, 1000, 1000, 12, 3, 4, -1, -5]
    negative = ("(1.000)", "1.000-", "−1,000", "1.000 -", "（１．０００）", "-1000")
    assert [read_count(value) for value in negative] == [-1000] * len(negative)
    for text in ("3.5", "-0.004", "0.125", "1234.567", "1.5k", 2.5, 10**19, f"{10**19}"):
        with pytest.raises(ValueError, match=r"no whole number|no number"):
            read_count(text)
    with pytest.raises(ValueError, match="no number"):
        read_count(True)


def test_a_column_decides_its_convention() -> None:
    assert decimal_mark(["1.234", "12,50"]) == ","
    assert decimal_mark(["1,234", "12.5"]) == "."
    assert decimal_mark(["1.234", "2.500", "", "-"]) == ""
    assert decimal_mark(["€ 1.234,-"]) == ","
    assert read_micro("1.234", ",") == (1_234_000_000, "")
    assert read_micro("1,234", ",") == (1_234_000, "")
    for text in ("0,125", "0,123.5", "01,234.5"):
        with pytest.raises(ValueError, match="no number"):
            read_micro(text, ".")
    with pytest.raises(ValueError, match="contradict"):
        decimal_mark(["1,234.50", "12,5"])


CONVENTIONS: tuple[tuple[str, Mark], ...] = (
    (",", "."),
    (".", ","),
    (" ", ","),
    (NBSP, ","),
    ("'", "."),
    ("", "."),
    ("", ","),
)


def write(amount: Decimal, thousands: str, mark: str) -> str:
    whole, _, fraction = f"{abs(amount):,f}".partition(".")
    return ("-" if amount < 0 else "") + whole.replace(",", thousands) + (mark + fraction if fraction else "")


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=2), st.sampled_from(CONVENTIONS))
def test_money_written_in_any_convention_is_read_back(amount: Decimal, convention: tuple[str, Mark]) -> None:
    assert read_number(write(amount, *convention)) == amount


@given(st.lists(st.decimals(min_value=-(10**9), max_value=10**9, places=3), min_size=1), st.sampled_from(CONVENTIONS))
def test_a_column_is_read_back_by_the_convention_it_shows(amounts: list[Decimal], convention: tuple[str, Mark]) -> None:
    cells = [write(amount, *convention) for amount in amounts]
    mark = decimal_mark(cells)
    if mark:
        assert mark == convention[1]
        assert [read_number(cell, mark) for cell in cells] == amounts


@given(st.decimals(min_value=-(10**11), max_value=10**11, places=6))
def test_an_amount_keeps_every_micro_unit(amount: Decimal) -> None:
    assert read_micro(f"{amount:f}")[0] == int(amount * 1_000_000) == read_micro(amount)[0]


@given(st.text(alphabet="0123456789.,' -()€$%k/:", max_size=9))
def test_digits_are_never_dropped(text: str) -> None:
    try:
        amount = read_amount(text)
    except ValueError:
        return
    if amount is not None:
        digits = "".join(letter for letter in text if letter.isdigit()).strip("0")
        assert digits in f"{abs(amount.value):f}".replace(".", "")


_MARKS: tuple[Mark, ...] = ("", ".", ",")
_AMOUNTS = st.from_regex(
    r"[(-]?(€|£|EUR |USD|XYZ)?[0-9]{1,5}([.,][0-9]{1,4}){0,3}( ?(€|EUR|USD|PTS))?\)?", fullmatch=True
)


@given(
    _AMOUNTS | st.text(alphabet="0123456789.,-()€EUR ", max_size=12),
    st.sampled_from(_MARKS),
    st.sampled_from(("", "EUR")),
)
def test_the_quick_way_reads_what_the_long_way_reads(text: str, mark: Mark, own: str) -> None:
    expected: tuple[int | None, str] | None
    try:
        amount = read_amount(text, mark, own)
        expected = (None, "") if amount is None else (amount.micro, amount.currency)
    except ValueError:
        expected = None
    try:
        assert read_micro(text, mark, own) == expected
    except ValueError:
        assert expected is None


@given(st.lists(_AMOUNTS, max_size=5))
def test_a_column_is_decided_by_each_cell_alone(cells: list[str]) -> None:
    decided = set()
    for cell in cells:
        decided |= {mark} if (mark := decimal_mark([cell])) else set()
    try:
        assert decimal_mark(cells) == next(iter(decided), "")
        assert len(decided) < 2
    except ValueError:
        assert len(decided) == 2
