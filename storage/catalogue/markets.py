"""What each market asks of a page that advertises casinos, as data: age mark, helplines, authority, notes.

Helplines and authorities are those the market's regulator names; check them with counsel before relying on them.
"""

from typing import Any

import msgspec
from babel import Locale, UnknownLocaleError

from storage.ledger.errors import Refused


class Help(msgspec.Struct, frozen=True):
    """A service for players in trouble."""

    name: str
    url: str
    phone: str = ""


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A market's rules. `age` in years; `register` is the national self-exclusion register, if there is one."""

    code: str
    age: int
    help: tuple[Help, ...]
    authority: str = ""
    register: Help | None = None
    locale: str = "en"
    note: str = ""


_ANYWHERE = (
    Help("Gambling Therapy", "https://www.gamblingtherapy.org"),
    Help("Gamblers Anonymous", "https://www.gamblersanonymous.org"),
)


def _market(code: str, locale: str, age: int, *help_: Help, **more: Any) -> Market:
    return Market(code=code, locale=locale, age=age, help=help_ or _ANYWHERE, **more)


_MARKETS = (
    _market("GB", "en", 18, Help("National Gambling Helpline", "https://www.gamcare.org.uk", "0808 8020 133"),
            Help("GambleAware", "https://www.gambleaware.org"), authority="UK Gambling Commission",
            register=Help("GAMSTOP", "https://www.gamstop.co.uk")),
    _market("IE", "en", 18, Help("GamblingCare", "https://www.gamblingcare.ie", "1800 936 725"),
            authority="Gambling Regulatory Authority of Ireland"),
    _market("DE", "de", 18, Help("Check dein Spiel", "https://www.check-dein-spiel.de", "0800 1 37 27 00"),
            authority="Gemeinsame Glücksspielbehörde der Länder (GGL)",
            register=Help("OASIS", "https://www.spielsperre-oasis.de")),
    _market("AT", "de", 18, Help("Spielsuchthilfe", "https://www.spielsuchthilfe.at", "01 544 13 57")),
    _market("CH", "de", 18, Help("SOS Spielsucht", "https://www.sos-spielsucht.ch", "0800 040 080"),
            authority="Eidgenössische Spielbankenkommission (ESBK)"),
    _market("ES", "es", 18, Help("FEJAR", "https://fejar.org", "900 200 225"),
            Help("JugarBIEN", "https://www.jugarbien.es"), authority="Dirección General de Ordenación del Juego (DGOJ)",
            register=Help("RGIAJ", "https://www.ordenacionjuego.es/participantes-juego/juego-seguro/rgiaj")),
    _market("MX", "es", 18), _market("CO", "es", 18), _market("PE", "es", 18), _market("CL", "es", 18),
    _market("AR", "es", 18),
    _market("PT", "pt", 18, Help("Linha Vida", "https://www.sicad.pt", "1414"),
            authority="Serviço de Regulação e Inspeção de Jogos (SRIJ)"),
    _market("BR", "pt", 18, Help("Jogadores Anônimos", "https://jogadoresanonimos.com.br"),
            Help("CVV", "https://cvv.org.br", "188"), authority="Secretaria de Prêmios e Apostas (SPA/MF)"),
    _market("FI", "fi", 18, Help("Peluuri", "https://www.peluuri.fi", "0800 100 101")),
    _market("SE", "sv", 18, Help("Stödlinjen", "https://www.stodlinjen.se", "020-81 91 00"),
            authority="Spelinspektionen", register=Help("Spelpaus", "https://www.spelpaus.se")),
    _market("NO", "en", 18, Help("Hjelpelinjen", "https://hjelpelinjen.no", "800 800 40")),
    _market("DK", "en", 18, Help("StopSpillet", "https://www.stopspillet.dk", "70 22 28 25"),
            authority="Spillemyndigheden", register=Help("ROFUS", "https://www.rofus.nu")),
    _market("NL", "en", 18, Help("Loket Kansspel", "https://www.loketkansspel.nl", "0800 24 000 22"),
            authority="Kansspelautoriteit", register=Help("Cruks", "https://cruksregister.nl")),
    _market("BE", "en", 21, Help("Gokhulp", "https://www.gokhulp.be", "0800 35 777"),
            authority="Kansspelcommissie", register=Help("EPIS", "https://www.gamingcommission.be")),
    _market("FR", "en", 18, Help("Joueurs Info Service", "https://www.joueurs-info-service.fr", "09 74 75 13 13"),
            authority="Autorité nationale des jeux (ANJ)"),
    _market("IT", "en", 18, Help("Telefono Verde Gioco", "https://www.iss.it", "800 55 88 22"),
            authority="Agenzia delle dogane e dei monopoli (ADM)", note="advertising of gambling is banned in Italy"),
    _market("PL", "en", 18, Help("Telefon zaufania", "https://www.kbpn.gov.pl", "801 889 880")),
    _market("EE", "en", 21), _market("LT", "en", 21), _market("LV", "en", 18), _market("GR", "en", 21),
    _market("CZ", "en", 18), _market("HU", "en", 18), _market("RO", "en", 18), _market("BG", "en", 18),
    _market("CA", "en", 19, Help("ConnexOntario", "https://www.connexontario.ca", "1-866-531-2600")),
    _market("US", "en", 21,
            Help("National Council on Problem Gambling", "https://www.ncpgambling.org", "1-800-522-4700")),
    _market("AU", "en", 18, Help("Gambling Help Online", "https://www.gamblinghelponline.org.au", "1800 858 858"),
            register=Help("BetStop", "https://www.betstop.gov.au"),
            note="online casino games may not be advertised in Australia"),
    _market("NZ", "en", 20, Help("Gambling Helpline", "https://www.gamblinghelpline.co.nz", "0800 654 655")),
    _market("ZA", "en", 18, Help("Responsible Gambling", "https://responsiblegambling.org.za", "0800 006 008")),
    _market("JP", "en", 20),
)  # fmt: skip
_BY_CODE = {market.code: market for market in _MARKETS}
_SAID = {"UK": "GB", "EN": "GB", "EL": "GR"}


def market(code: str) -> Market:
    """The rules of a market; for one we have no data on, 18+ and help that is there in every country."""
    return _BY_CODE.get(code) or _market(code, "en", 18)


def read_market(word: str, *, field: str = "market") -> str:
    """ISO-2 code of a country, from its code or English name. Raises Refused at `field`."""
    text = word.strip()
    code = _SAID.get(text.upper(), text.upper())
    countries = {code: name for code, name in Locale("en").territories.items() if len(code) == 2 and code.isalpha()}
    if code in countries and code not in {"ZZ", "EU", "UN", "XA", "XB", "QO", "EZ"}:
        return code
    named: dict[str, str] = {name.lower(): code for code, name in countries.items()}
    if text.lower() in named:
        return named[text.lower()]
    raise Refused(f"{field}: no country {word!r}: write its two letters, e.g. DE", field=field)


def read_locale(word: str) -> str:
    """A locale as `de` or `de-AT`. Raises Refused at `locale`."""
    try:
        locale = Locale.parse(word.strip().replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        raise Refused(f"locale: no locale {word!r}: write e.g. de or de-AT", field="locale") from None
    return "-".join(part for part in (locale.language, locale.territory) if part)
