"""Amounts as people and platforms write them, with what they mean in a field in EUR: tried at every door."""

from decimal import Decimal
from pathlib import Path

from hypothesis import strategies as st

from storage.ledger.numbers import DASHES

CASES = Path(__file__).parent / "cases"

#: Text -> value in whole units, and the currency beside it ("" where none stands there).
RIGHT: dict[str, tuple[str, str]] = {
    "1.050,00": ("1050", ""), "12\u00a0345,60": ("12345.6", ""), "12\u2009345,60": ("12345.6", ""),
    "0,0045": ("0.0045", ""), "$ (12.50)": ("-12.5", "USD"), "(12.50) €": ("-12.5", "EUR"),
    "EUR (1,234.50)": ("-1234.5", "EUR"), "–12.50": ("-12.5", ""), "−12.50": ("-12.5", ""), "－12.50": ("-12.5", ""),
    "12.50-": ("-12.5", ""), "Rs. 12.50": ("12.5", "INR"), "€ 1.234,-": ("1234", "EUR"), "40.00 SEK": ("40", "SEK"),
    "US$40.00": ("40", "USD"), "$80.50": ("80.5", "USD"),
    "12,50\u00a0$US": ("12.5", "USD"), "1'234.50": ("1234.5", ""), "1,234": ("1234", ""),
    "1.234": ("1.234", ""), "12,34,567": ("1234567", ""),
}  # fmt: skip
#: What is no amount in EUR; `kr.` may be one of four currencies.
REFUSED = (
    "1.2k",
    "1/2",
    "5 (3)",
    "12:30",
    "12 %",
    "12%",
    "12,50 kr.",
    "1,2,3",
    "--5",
    "12 XYZ",
    "twelve",
    "1.2.3",
    "1.23.456",
)

_SIGNS = ("{}", "-{}", "–{}", "−{}", "－{}", "{}-", "({})", *(f"{dash}{{}}" for dash in DASHES if dash != "\u2052"))
_BESIDE = {
    "{}": "", "€{}": "EUR", "{} €": "EUR", "EUR {}": "EUR", "{}EUR": "EUR", "US${}": "USD", "$ {}": "USD",
    "{} SEK": "SEK", "{} zł": "PLN", "₹{}": "INR", "R$ {}": "BRL", "{} руб.": "RUB",
}  # fmt: skip
_CONVENTIONS = ((",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", "."), ("'", "."), ("", "."), ("", ","))


@st.composite
def written_amounts(draw: st.DrawFn, *, negative: bool = True, currency: bool = True) -> tuple[str, Decimal, str]:
    """An amount in any convention: its text, its value, the currency beside it."""
    value = draw(st.decimals(min_value=0, max_value=10**8, places=2))
    thousands, mark = draw(st.sampled_from(_CONVENTIONS))
    whole, _, cents = f"{value:,f}".partition(".")
    sign = draw(st.sampled_from(_SIGNS if negative else ("{}",)))
    around = draw(st.sampled_from(sorted(_BESIDE))) if currency else "{}"
    text = around.format(sign.format(f"{whole.replace(',', thousands)}{mark}{cents}"))
    return text, value if sign == "{}" else -value, _BESIDE[around]
