"""Currency codes and signs as they stand beside amounts."""

import re
from functools import lru_cache

#: Codes that may stand beside a number: ISO 4217 of the markets there are, and the coins casinos pay in.
_CODES = """
AED AMD ARS AUD AZN BAM BDT BGN BHD BOB BRL BYN CAD CDF CHF CLP CNY COP CRC CZK DKK DOP DZD EGP ETB EUR GBP
GEL GHS GTQ HKD HNL HRK HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KRW KWD KZT LBP LKR MAD MDL MGA
MKD MMK MNT MUR MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
SEK SGD THB TJS TMT TND TRY TWD TZS UAH UGX USD UYU UZS VES VND XAF XOF ZAR ZMW ZWL BTC ETH LTC USDT USDC TRX
XRP DOGE
"""
CURRENCIES = frozenset(_CODES.split())

#: Sign -> the currencies it stands for. The first is meant where the field's own currency is none of them, unless the
#: first is empty: `kr` alone does not say whose.
SIGNS: dict[str, tuple[str, ...]] = {
    "€": ("EUR",), "euro": ("EUR",), "euros": ("EUR",),
    "£": ("GBP",), "₽": ("RUB",), "₺": ("TRY",), "₴": ("UAH",), "₦": ("NGN",), "₿": ("BTC",),
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "CLP", "COP", "ARS", "UYU", "DOP", "JMD", "NAD"),
    "us$": ("USD",), "a$": ("AUD",), "au$": ("AUD",), "c$": ("CAD",), "ca$": ("CAD",), "nz$": ("NZD",),
    "hk$": ("HKD",), "s$": ("SGD",), "nt$": ("TWD",), "mx$": ("MXN",), "r$": ("BRL",),
    "$us": ("USD",), "$ us": ("USD",), "$ca": ("CAD",), "$ ca": ("CAD",), "$au": ("AUD",), "$ au": ("AUD",),
    "¥": ("JPY", "CNY"), "cn¥": ("CNY",), "jp¥": ("JPY",), "₹": ("INR",),
    "rs.": ("INR", "PKR", "LKR", "NPR", "MUR"), "rs": ("INR", "PKR", "LKR", "NPR", "MUR"),
    "kr.": ("", "SEK", "NOK", "DKK", "ISK"), "kr": ("", "SEK", "NOK", "DKK", "ISK"),
    "руб.": ("RUB",), "руб": ("RUB",), "р.": ("RUB",), "грн.": ("UAH",), "грн": ("UAH",), "лв.": ("BGN",),
    "лв": ("BGN",), "tl": ("TRY",), "zł": ("PLN",), "zl": ("PLN",), "kč": ("CZK",), "ft": ("HUF",), "lei": ("RON",),
    "₩": ("KRW",), "₫": ("VND",), "฿": ("THB",), "₱": ("PHP",), "₪": ("ILS",), "₸": ("KZT",), "₾": ("GEL",),
    "₼": ("AZN",), "₡": ("CRC",), "₲": ("PYG",), "₵": ("GHS",), "r": ("ZAR",), "fr.": ("CHF",), "sfr.": ("CHF",),
    "ksh": ("KES",), "s/.": ("PEN",), "s/": ("PEN",),
}  # fmt: skip

_WORDS = "|".join(re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True))
#: A code or a sign at the beginning of a text, and at its end; letters beside it belong to another word.
LEADING = re.compile(rf"(?:[a-z]{{3,5}}(?![^\W\d_])|(?:{_WORDS})(?![^\W\d_]))", re.IGNORECASE)
TRAILING = re.compile(rf"(?<![^\W\d_])(?:[a-z]{{3,5}}|(?:{_WORDS}))$", re.IGNORECASE)


@lru_cache(maxsize=1000)
def currency_of(written: str, own: str | None = "") -> str:
    """The currency that a code or sign stands for, in a field whose own currency is `own`. Raises ValueError.

    With None for `own` a sign of several currencies stays as it is written, for who knows the field's currency.
    """
    word = written.strip()
    code = word.upper()
    if code in CURRENCIES or (own and code == own):
        return code
    meant = SIGNS.get(word.lower())
    if meant is None:
        raise ValueError(f"{word!r} is no currency we know: write a code such as EUR")
    if own is None:
        return meant[0] if len(meant) == 1 else word
    if own and own in meant:
        return own
    if not meant[0]:
        raise ValueError(f"{word!r} may be {', '.join(meant[1:-1])} or {meant[-1]}: write the code")
    return meant[0]
