"""Tables of a tracker or a spreadsheet: the header says what a file holds, in several languages."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from connectors.trackers.places import country_code
from storage.ledger.dates import Order, read_day
from storage.ledger.errors import Refused
from storage.ledger.imports.macros import address_fault, translated
from storage.ledger.imports.tracker import (
    DayFigures,
    Days,
    OldClick,
    OldClicks,
    Part,
    Problem,
    Setup,
    TrackerAccount,
    TrackerCampaign,
    TrackerOffer,
    TrackerSource,
    Weighted,
)
from storage.ledger.instants import assumed_order, read_instant
from storage.ledger.numbers import Mark, is_missing, read_count, read_micro
from storage.ledger.tables import (
    Block,
    TableError,
    column_mark,
    column_order,
    decode_text,
    is_total_name,
    is_value,
    plain_name,
    read_table,
)

ROWS_PER_PART = 1_000
MOST_ENTITIES = 10_000  # of a kind in one file
KINDS = ("history", "clicks", "offers", "campaigns", "sources")

#: Our columns by what they are called elsewhere.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "day": ("day", "date", "datum", "tag", "дата", "день", "fecha", "data", "dzień", "jour", "tarih", "gün"),
    "campaign": ("campaign", "campaign name", "kampagne", "кампания", "campaña", "campanha", "kampania", "campagne",
                 "kampanya", "campagna"),
    "offer": ("offer", "offer name", "angebot", "оффер", "oferta", "offre", "teklif", "offerta"),
    "country": ("country", "country code", "geo", "land", "страна", "país", "kraj", "pays", "ülke", "paese",
                "countries"),
    "clicks": ("clicks", "visits", "klicks", "besuche", "клики", "clics", "cliques", "kliknięcia", "tıklamalar"),
    "unique_clicks": ("unique clicks", "unique visits", "uniques", "campaign unique clicks", "eindeutige klicks",
                      "уникальные клики", "уник. клики", "clics únicos", "cliques únicos", "unikalne kliknięcia"),
    "conversions": ("conversions", "conv", "konversionen", "конверсии", "conversiones", "conversões", "konwersje",
                    "dönüşümler", "conversioni"),
    "revenue": ("revenue", "rev", "umsatz", "einnahmen", "доход", "выручка", "ingresos", "receita", "przychód",
                "revenu", "gelir", "ricavi"),
    "cost": ("cost", "spend", "costs", "kosten", "расход", "расходы", "затраты", "costo", "coste", "custo", "koszt",
             "coût", "maliyet"),
    "currency": ("currency", "währung", "валюта", "moneda", "moeda", "waluta", "devise", "para birimi", "valuta"),
    "click_id": ("click id", "clickid", "subid", "sub id", "cid", "идентификатор клика"),
    "time": ("time", "click time", "clicked at", "visit timestamp", "click datetime", "zeit", "время"),
    "status": ("status", "conversion type", "state", "статус"),
    "source_click_id": ("external id", "externalid", "source click id"),
    "id": ("id", "key id"),
    "name": ("name", "title", "название", "имя", "nombre", "nome", "nazwa", "nom"),
    "url": ("url", "link", "address", "offer url", "ссылка", "adresse"),
    "network": ("network", "affiliate network", "affiliate program", "program", "netzwerk", "партнерская сеть", "red"),
    "payout": ("payout", "deal", "auszahlung", "выплата"),
    "cap": ("cap", "daily cap"),
    "alias": ("alias", "key", "keyword", "slug"),
    "source": ("source", "traffic source", "quelle", "источник", "fuente"),
    "offers": ("offers", "angebote", "офферы", "ofertas"),
    "fallback": ("fallback", "fallback url"),
    "postback": ("postback", "postback url", "s2s postback"),
}  # fmt: skip
#: Columns of counts whose names are statuses of conversions: never taken for events before the team says so.
_STATUSES = frozenset(map(plain_name, (
    "leads", "sales", "rejected", "rebills", "registrations", "reg", "regs", "signups", "ftd", "ftds", "deposits",
    "first deposits", "qualified", "hold", "trash", "лиды", "продажи", "отклонено", "anmeldungen",
)))  # fmt: skip
_KNOWN = {plain_name(theirs): ours for ours, names in _NAMES.items() for theirs in (ours, *names)}
_AMOUNTS = ("revenue", "cost")


class FileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is to be read: what it holds, its columns (theirs -> ours, or `status`), encoding, currency."""

    kind: str = ""
    columns: dict[str, str] = {}
    encoding: str = ""
    currency: str = "EUR"
    macros: dict[str, str] = {}  # of offer addresses: theirs -> ours
    by_name: bool = True


def read_table_file(raw: bytes, options: FileOptions) -> list[Part]:
    """What a file holds. Raises Refused at `file`, naming the line."""
    try:
        header = _Header(options)
        table = read_table(
            decode_text(raw, options.encoding, names=_KNOWN), header.is_header, own_names=options.columns
        )
        if not table.blocks:
            raise TableError("no header line: the first line names the columns: day,campaign,clicks,conversions")
        if len(table.blocks) > 1:
            raise TableError("a second header line: send one table in a file", table.blocks[1].line)
        if table.outside:
            row = table.outside[0]
            raise TableError(f"{' '.join(filter(None, row.cells))[:80]!r} is neither header nor row", row.line)
        return _read_block(table.blocks[0], header, options, whole=table.ends_with_line_end)
    except TableError as error:
        raise Refused(f"file: {error}", field="file") from None


class _Header:
    """What the columns of a file are called here."""

    def __init__(self, options: FileOptions) -> None:
        self._own = {plain_name(theirs): ours for theirs, ours in options.columns.items()}
        for theirs, ours in options.columns.items():
            if ours not in _NAMES and ours not in {"status", "-"}:
                raise Refused(f"columns: {theirs}={ours}: one of {', '.join(_NAMES)}, status, or - for none",
                              field="columns")  # fmt: skip

    def is_header(self, cells: Sequence[str]) -> bool:
        named = [cell for cell in cells if cell]
        hits = sum(self.meaning(cell) != "" for cell in named)
        return hits >= min(2, len(named)) and hits > 0 and not any(map(is_value, named))

    def meaning(self, name: str) -> str:
        """Our name of a column, `status:WORD` for counts of a status, empty if it is not read."""
        plain = plain_name(name)
        ours = self._own.get(plain)
        if ours == "-":
            return ""
        if ours == "status" or (ours is None and plain in _STATUSES):
            return f"status:{name}"
        return ours or _KNOWN.get(plain, "")


def _kind(columns: Mapping[str, int], options: FileOptions) -> str:
    if options.kind:
        if options.kind not in KINDS:
            raise Refused(f"kind: one of {', '.join(KINDS)}", field="kind")
        return options.kind
    for kind, needs in (("history", "day"), ("clicks", "click_id"), ("offers", "url")):
        if needs in columns:
            return kind
    if {"alias", "source", "offers"} & columns.keys():
        return "campaigns"
    if "postback" in columns:
        return "sources"
    raise TableError(f"its columns do not say what it holds: say kind={'|'.join(KINDS)}")


def _read_block(block: Block, header: _Header, options: FileOptions, *, whole: bool) -> list[Part]:
    meanings = [header.meaning(name) for name in block.names]
    columns: dict[str, int] = {}
    for at, meaning in enumerate(meanings):
        if meaning and meaning in columns:
            raise TableError(f"{block.names[columns[meaning]]!r} and {block.names[at]!r} both are {meaning}: "
                             "say which in `columns`", block.line)  # fmt: skip
        if meaning:
            columns[meaning] = at
    unread = tuple(
        Problem(kind="column", name=name, why="it is not read; columns=… says what it is")
        for name, meaning in zip(block.names, meanings, strict=True)
        if not meaning and name.strip()
    )
    kind = _kind(columns, options)
    rows = _Rows(block, columns, options)
    readers: dict[str, Callable[[_Rows], list[Part]]] = {
        "history": _history, "clicks": _clicks, "offers": _offers, "campaigns": _campaigns, "sources": _sources,
    }  # fmt: skip
    setup, *rest = readers[kind](rows)
    assert isinstance(setup, Setup)  # noqa: S101 - every reader begins with it
    for kind, entities in (("campaigns", setup.campaigns), ("offers", setup.offers), ("sources", setup.sources)):
        if len(entities) > MOST_ENTITIES:
            raise TableError(f"{len(entities):,} {kind}, and a file may name {MOST_ENTITIES:,}: send it in parts")
    ending = () if whole or rows.totals else (unended(block.rows[-1].line),)
    problems = (*setup.problems, *unread, *rows.problems.values(), *ending)
    return [msgspec.structs.replace(setup, problems=problems, by_name=options.by_name), *rest]


def unended(line: int) -> Problem:
    """A last line without a line end may be whole, as some programs write it, or cut off in its last cell."""
    why = "the file ends in the middle of a line, as some programs write it: see that it is not cut off there"
    return Problem(kind="file", name=f"line {line}", why=why)


class _Rows:
    """The rows of a file, cell by cell; every fault names its line."""

    def __init__(self, block: Block, columns: Mapping[str, int], options: FileOptions) -> None:
        self.columns, self.options = columns, options
        self.names = block.names
        self._marks: dict[str, Mark] = {
            name: column_mark(block, at) for name, at in columns.items() if name in _AMOUNTS
        }
        self._order: Order = column_order(block, columns["day"], "")[0] if "day" in columns else ""
        if "day" in columns:
            self._check_order(block, columns["day"])
        self.problems: dict[str, Problem] = {}
        self.totals = [row for row in block.rows if self._is_total(row)]
        self.rows = [row for row in block.rows if row not in self.totals]
        if not self.rows:
            raise TableError("no rows below the header", block.line)

    def _check_order(self, block: Block, at: int) -> None:
        if not column_order(block, at, "")[1]:
            text = f"column {block.names[at]!r} may be day first or month first: write 2026-10-31"
            raise TableError(text, block.line)

    def _is_total(self, row: Any) -> bool:
        if not is_total_name(next(filter(None, row.cells), "")):
            return False
        day = self.text(row, "day")
        if day and not is_total_name(day):
            return False
        return not self.text(row, "campaign") or is_total_name(self.text(row, "campaign"))

    def text(self, row: Any, name: str) -> str:
        at = self.columns.get(name)
        return "" if at is None else str(row.cells[at]).strip()

    def needed(self, row: Any, name: str) -> str:
        text = self.text(row, name)
        if not text:
            raise TableError(f"{name} is empty", row.line)
        return text

    def count(self, row: Any, name: str) -> int | None:
        text = self.text(row, name)
        if is_missing(text):
            return None
        try:
            return read_count(text)
        except ValueError as error:
            raise TableError(f"{name}: {error}", row.line) from None

    def amount(self, row: Any, name: str) -> int | None:
        text, currency = self.text(row, name), self.currency(row)
        if is_missing(text):
            return None
        try:
            amount, beside = read_micro(text, self._marks.get(name, ""), currency)
        except ValueError as error:
            raise TableError(f"{name}: {error}", row.line) from None
        if beside and beside != currency:
            raise TableError(f"{name}: {text!r} is in {beside}, and the row in {currency}", row.line)
        return amount

    def country(self, row: Any) -> str:
        """The code of the row's country; a word that is none becomes a warning."""
        word = self.text(row, "country")
        code = country_code(word)
        if word and not code and not is_missing(word):
            why = "no country of ours is called so: what it stands at has no country"
            self.problems[word] = Problem(kind="country", name=word, why=why)
        return code

    def currency(self, row: Any) -> str:
        return (self.text(row, "currency") or self.options.currency).upper()

    def day(self, row: Any) -> date:
        try:
            return read_day(self.text(row, "day"), self._order)
        except ValueError as error:
            raise TableError(f"day: {error}", row.line) from None


def _history(rows: _Rows) -> list[Part]:
    statuses = [name for name in rows.columns if name.startswith("status:")]
    figures = [
        DayFigures(
            day=rows.day(row), campaign=rows.needed(row, "campaign").casefold(), currency=rows.currency(row),
            offer=rows.text(row, "offer").casefold(), country=rows.country(row),
            clicks=rows.count(row, "clicks"), unique_clicks=rows.count(row, "unique_clicks"),
            conversions=rows.count(row, "conversions"), revenue=rows.amount(row, "revenue"),
            cost=rows.amount(row, "cost"),
            statuses={
                name.removeprefix("status:"): n for name in statuses if (n := rows.count(row, name))
            },
        )
        for row in rows.rows
    ]  # fmt: skip
    _check_totals(rows, figures)
    return [_named_setup(rows), *days_parts(figures)]


def _check_totals(rows: _Rows, figures: Sequence[DayFigures]) -> None:
    """A line of totals has the sums of the rows; else the file is cut off, or the line is none."""
    for row in rows.totals:
        for name in ("clicks", "conversions", *_AMOUNTS):
            stated = rows.amount(row, name) if name in _AMOUNTS else rows.count(row, name)
            total = sum(getattr(figure, name) or 0 for figure in figures)
            if stated is not None and stated != total:
                raise TableError(f"it says total, and its {name} are not the sum of the rows: the file is cut off, "
                                 "or the line is no total", row.line)  # fmt: skip


def days_parts(figures: Sequence[DayFigures]) -> list[Part]:
    """Daily figures, so many rows a part."""
    return [Days(tuple(figures[n : n + ROWS_PER_PART])) for n in range(0, len(figures), ROWS_PER_PART)]


def clicks_parts(clicks: Sequence[OldClick]) -> list[Part]:
    return [OldClicks(tuple(clicks[n : n + ROWS_PER_PART])) for n in range(0, len(clicks), ROWS_PER_PART)]


def _named_setup(rows: _Rows) -> Setup:
    """The campaigns that figures name, made paused where there is none of the name; offers only where they are here."""
    note = "Made for its imported figures."
    campaigns = {name.casefold(): name for row in rows.rows if (name := rows.text(row, "campaign"))}
    offers = {name.casefold(): name for row in rows.rows if (name := rows.text(row, "offer"))}
    return Setup(
        campaigns=tuple(TrackerCampaign(key=key, name=name, paused=True, note=note) for key, name in campaigns.items()),
        offers=tuple(TrackerOffer(key=key, name=name, url="", paused=True, note=note) for key, name in offers.items()),
    )


def _clicks(rows: _Rows) -> list[Part]:
    clicks = [
        OldClick(
            click=rows.needed(row, "click_id"), campaign=rows.needed(row, "campaign").casefold(),
            offer=rows.text(row, "offer").casefold(), at=instant(rows.text(row, "time")),
            country=rows.country(row), source_click=rows.text(row, "source_click_id"),
            status=rows.text(row, "status"),
        )
        for row in rows.rows
    ]  # fmt: skip
    return [_named_setup(rows), *clicks_parts(clicks)]


def instant(text: str) -> datetime | None:
    """An instant as trackers write it, UTC where it names no zone; None for what is none, or may begin with the day
    as well as with the month."""
    return None if assumed_order(text) else read_instant(text, UTC)


def _offers(rows: _Rows) -> list[Part]:
    offers = []
    for row in rows.rows:
        url, unknown = translated(rows.needed(row, "url"), rows.options.macros)
        if fault := address_fault(url):
            raise TableError(fault, row.line)
        name = rows.needed(row, "name")
        countries = [part for part in rows.text(row, "country").replace(";", ",").split(",") if part.strip()]
        key = "" if rows.options.by_name else rows.text(row, "id")
        offers.append(TrackerOffer(
            key=key or name.casefold(), name=name, url=url,
            unknown=unknown, account=rows.text(row, "network").casefold(),
            markets=tuple(filter(None, map(country_code, countries))), deal=rows.text(row, "payout"),
            cap=rows.count(row, "cap") or None, paused=is_off(rows.text(row, "status")),
        ))  # fmt: skip
    networks = {name.casefold(): name for row in rows.rows if (name := rows.text(row, "network"))}
    accounts = tuple(TrackerAccount(key=key, name=name) for key, name in networks.items())
    return [Setup(accounts=accounts, offers=tuple(offers))]


_OFF = {"paused", "disabled", "inactive", "off", "0", "false", "deleted", "archived"}


def is_off(status: object) -> bool:
    """Whether a tracker's word for a state means that it does not run."""
    return str(status).strip().casefold() in _OFF


def _campaigns(rows: _Rows) -> list[Part]:
    campaigns = []
    for row in rows.rows:
        name = rows.text(row, "name") or rows.needed(row, "campaign")
        alias, cost = rows.text(row, "alias"), rows.amount(row, "cost")
        campaigns.append(TrackerCampaign(
            key=name.casefold(), name=name, aliases=(alias,) if alias else (),
            source=rows.text(row, "source").casefold(), offers=_weighted(rows.text(row, "offers"), row.line),
            fallback_url=rows.text(row, "fallback"), cost=cost, cost_model="link" if cost is None else "fixed",
            currency=rows.currency(row), paused=is_off(rows.text(row, "status")),
        ))  # fmt: skip
    sources = {name.casefold(): name for row in rows.rows if (name := rows.text(row, "source"))}
    offers = {share.offer for campaign in campaigns for share in campaign.offers}
    named = tuple(TrackerOffer(key=key, name=key, url="", paused=True) for key in sorted(offers))
    made = tuple(TrackerSource(key=key, name=name) for key, name in sources.items())
    return [Setup(sources=made, offers=named, campaigns=tuple(campaigns))]


def _weighted(text: str, line: int) -> tuple[Weighted, ...]:
    shares = []
    for part in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        name, _, weight = part.rpartition(":") if part.rpartition(":")[2].strip().isdecimal() else (part, "", "1")
        count = read_count(weight)
        if count is None or not name.strip():
            raise TableError(f"offers: {part!r} is no offer with a weight such as lucky-star:3", line)
        shares.append(Weighted(name.strip().casefold(), count))
    return tuple(shares)


def _sources(rows: _Rows) -> list[Part]:
    sources = [
        TrackerSource(key=name.casefold(), name=name, postback_url=rows.text(row, "postback"))
        for row in rows.rows
        if (name := rows.text(row, "name") or rows.needed(row, "source"))
    ]
    return [Setup(sources=tuple(sources))]
