"""Answers judged and decoded: what is no report is recognised before any figure is touched."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

import msgspec

from connectors.base import Connection
from connectors.columns import Columns
from connectors.http import Answer, Http
from connectors.redaction import redact
from storage.ledger.errors import ConnectorError
from storage.ledger.numbers import read_float
from storage.ledger.tables import BYTE_ORDER_MARKS, Table, TableError, decode_text, is_value, plain_name, read_table

Record = dict[str, Any]
RecordColumns = Mapping[str, Sequence[Any]]
"""Records of one shape a column at a time: the values of each name, in the order of the records."""

_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_NAMES: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
_ENTRIES: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_BETWEEN = re.compile(rb"\}\s*(?=,\s*\{)")
_LOGIN = re.compile(rb"(?i)log.?in|sign.?in|passwor|anmeld|entrar|connexion")


async def ask(
    http: Http,
    connection: Connection,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Collection[tuple[str, str]] = (),
    body: bytes | str | None = None,
    per_second: float = 1.0,
) -> Answer:
    """Send a request within the account's rate limit, its secrets kept out of errors."""
    return await http.send(
        method, url, headers=headers, params=params, body=body, secrets=connection.secrets,
        rate=(connection.name or url, read_float(connection.option("requests_per_second", per_second))),
    )  # fmt: skip


def sound(answer: Answer, connection: Connection) -> bytes:
    """The body of an answer that is a success by its status. Raises ConnectorError saying what to do."""
    if answer.handed_on:
        raise ConnectorError(
            f"{answer.url} is where the platform redirects to, another host, and our credentials are not sent there: "
            f"set base_url (or paste the report URL) of {answer.handed_on} if that is right",
            permanent=True,
        )
    if answer.status < 300:
        return answer.body
    excerpt = snippet(answer.body, connection)
    text, permanent = _FAULTS.get(answer.status, (f"answered {answer.status}", False))
    raise ConnectorError(
        f"the platform {text}" + (f" ({excerpt})" if excerpt else ""),
        permanent=permanent,
        retry_after=answer.retry_after,
    )


_FAULTS = {
    301: ("redirects without end: check base_url", True),
    302: ("redirects without end: check base_url", True),
    400: ("did not understand the request (400): check the account's settings", False),
    401: ("refused the login (401): check the credentials with `account edit`", True),
    403: ("refused access (403): the key lacks the right, or our address is not on the allow list", True),
    404: ("has no report at this address (404): check base_url", True),
    410: ("has no report at this address any more (410): check base_url", True),
    429: ("is asked too often (429): it will be asked again later", False),
    500: ("has an error of its own (500): it will be asked again", False),
    502: ("is down (502): it will be asked again", False),
    503: ("is down (503): it will be asked again", False),
    504: ("is down (504): it will be asked again", False),
}


def snippet(body: bytes, connection: Connection) -> str:
    """The beginning of an answer for an error text, without markup and secrets."""
    plain = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", decoded(body[:4000]), flags=re.DOTALL | re.IGNORECASE)
    words = " ".join(plain.split())
    return redact(words[:160] + ("…" if len(words) > 160 else ""), connection.secrets)


def decoded(body: bytes) -> str:
    """Text in UTF-8 or UTF-16 with or without a byte order mark, else in Windows' Latin letters."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, errors="replace")
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace")


def not_html(body: bytes, connection: Connection) -> None:
    """Raises ConnectorError for a web page: permanent for a login page, else the platform may just be down."""
    start = decoded(body[:2000]).lstrip().lower()
    if not start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return
    if _LOGIN.search(body[:20_000]):
        text, permanent = "sent its login page instead of a report: the key is wrong or has expired", True
    else:
        text, permanent = "sent a web page instead of a report", False
    raise ConnectorError(f"the platform {text} ({snippet(body, connection)})", permanent=permanent, raw=body)


def json_of(body: bytes, connection: Connection) -> Any:
    """JSON with exact decimals. Raises ConnectorError for a web page, another format or a truncated body."""
    not_html(body, connection)
    if not body.strip():
        raise ConnectorError("the platform sent an empty answer where JSON was expected", raw=body)
    try:
        return _JSON.decode(decoded(body))
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        what = "JSON that is cut off" if "truncated" in str(error) else "something else than JSON"
        cut_off = "truncated" in str(error)
        raise ConnectorError(
            f"the platform sent {what} ({snippet(body, connection)})", raw=body, cut_off=cut_off
        ) from None


def json_outline(body: bytes, connection: Connection) -> Any:
    """The same as an object of raw values, or a raw list; anything else as it is. Raises ConnectorError."""
    not_html(body, connection)
    try:
        text = body if body.isascii() else decoded(body)
        outline = _NAMES.decode(text) if body.startswith(b"{") else raw_outline(_RAW.decode(text))
    except msgspec.MsgspecError:
        return json_of(body, connection)
    return outline if isinstance(outline, dict) or is_raw_list(outline) else json_of(body, connection)


def raw_outline(value: msgspec.Raw) -> Any:
    """The raw values of an object; anything else as it is."""
    return _NAMES.decode(value) if _begins(value, b"{") else value


def is_raw_list(value: Any) -> bool:
    return isinstance(value, msgspec.Raw) and _begins(value, b"[")


def _begins(value: msgspec.Raw, character: bytes) -> bool:
    return memoryview(value)[:1].tobytes() == character


def raw_value(value: Any) -> Any:
    """A raw value read whole."""
    return _JSON.decode(value) if isinstance(value, msgspec.Raw) else value


class RawRecords:
    """The objects of a long JSON answer, decoded when they are reached: it is never in memory as objects.

    Iterating reads every number exactly as it is written, and raises ConnectorError at what is no object.
    """

    def __init__(self, listed: msgspec.Raw, body: bytes, connection: Connection) -> None:
        """`listed` is their list within the body."""
        self._listed = listed
        self._body = body
        self._connection = connection
        self._names: tuple[str, ...] = ()  # of the objects decoded last

    def __iter__(self) -> Iterator[Record]:
        try:
            entries = _ENTRIES.decode(self._listed)
        except msgspec.MsgspecError:
            json_of(self._body, self._connection)  # which says what is wrong
            raise
        for entry in entries:
            try:
                record = raw_value(entry)
            except msgspec.MsgspecError:
                record = json_of(self._body, self._connection)  # which says what is wrong
            if not isinstance(record, dict):
                raise no_rows(self._body, self._connection)
            yield flat(record) if dict in map(type, record.values()) else record

    def parts(self, size: int) -> Iterator[tuple["RawRecords", RecordColumns | None]]:
        """The same in parts of so many bytes or a little more, each by column too: with fractions as floats, ten times
        as quick, and None unless they are objects of one shape without nesting."""
        listed = memoryview(self._listed)[1:-1]
        start = stop = 0
        while stop < len(listed):
            found = _BETWEEN.search(listed, max(start + size, stop))
            stop = found.end() if found else len(listed)
            part = b"".join((b"[", listed[start:stop], b"]"))
            columns = self._columns(part)
            if columns is None and found and not _is_list(part):
                continue  # what looked like the end of an object was none
            start = stop + 1
            yield RawRecords(msgspec.Raw(part), self._body, self._connection), columns

    def _columns(self, part: bytes) -> RecordColumns | None:
        """The records of a part by column; None unless they are objects of one shape without nesting."""
        with suppress(msgspec.MsgspecError):
            if self._names:
                return _by_column(self._names, part)
        with suppress(msgspec.MsgspecError):
            if entries := _ENTRIES.decode(part):
                self._names = tuple(_NAMES.decode(entries[0]))
                return _by_column(self._names, part)
        return None


def _is_list(text: bytes) -> bool:
    try:
        return bool(_ENTRIES.decode(text))
    except msgspec.MsgspecError:
        return False


def _by_column(names: tuple[str, ...], part: bytes) -> RecordColumns:
    """A list of objects with these names by column. Raises MsgspecError for any other."""
    records = _records_of(names).decode(part)
    return dict(zip(names, zip(*map(msgspec.structs.astuple, records), strict=True), strict=True))


@lru_cache(maxsize=64)
def _records_of(names: tuple[str, ...]) -> msgspec.json.Decoder[list[msgspec.Struct]]:
    """Decodes objects that have these names, all of them and no others, and values without nesting."""
    fields = {f"field{n}": name for n, name in enumerate(names)}
    values = [(field, str | int | float | bool | None) for field in fields]
    record = msgspec.defstruct("Record", values, rename=fields, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(list[record])  # type: ignore[valid-type]


def columns_of(records: Sequence[Record]) -> RecordColumns | None:
    """Records by column; None unless they are of one shape."""
    if len(set(map(tuple, records))) != 1:
        return None
    return dict(zip(records[0], zip(*map(dict.values, records), strict=True), strict=True))


def no_rows(body: bytes, connection: Connection) -> ConnectorError:
    return ConnectorError(f"the platform sent no list of rows: {snippet(body, connection)}", raw=body)


def flat(record: Record, before: str = "") -> Record:
    """A record without nesting."""
    out: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out |= flat(value, f"{before}{name}_")
        else:
            out[f"{before}{name}"] = value
    return out


def xml_root(body: bytes) -> ElementTree.Element:
    """XML without a document type: entities are never declared, so never expanded. Raises ConnectorError for one, and
    ElementTree.ParseError for what is no XML, such as a web page."""
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", decoded(body))
    if re.match(r"\s*<!DOCTYPE\s+html", text, re.IGNORECASE):
        raise ElementTree.ParseError("a web page")
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ConnectorError("the answer is XML with a document type, which we do not read", raw=body)
    return ElementTree.fromstring(text)  # noqa: S314 - declarations were refused above


def xml_of(body: bytes, connection: Connection) -> ElementTree.Element:
    """The XML that a platform sent. Raises ConnectorError."""
    not_html(body, connection)
    try:
        return xml_root(body)
    except ElementTree.ParseError:
        raise ConnectorError(
            f"the platform sent XML that cannot be read ({snippet(body, connection)})", raw=body, cut_off=True
        ) from None


def csv_of(body: bytes, connection: Connection, *, header: Collection[str], columns: Columns) -> Table:
    """The table of a CSV with one or more header lines, which have a cell named in `header`.

    `columns` are those its reader looks at. Raises ConnectorError for a web page, for no header, and for
    what is damaged, naming the line.
    """
    not_html(body, connection)
    header_names = {plain_name(name) for name in header}

    def is_header(cells: Sequence[str]) -> bool:
        if any(map(str.isdigit, cells)):
            return False  # as nearly every row has one
        named = any(plain_name(cell) in header_names for cell in cells if cell[:1].isalpha() or cell[:1] in '"#%')
        return named and len(cells) > 1 and not any(map(is_value, cells))

    try:
        text = decode_text(body, str(connection.option("encoding", "")), names=columns.names())
        table = read_table(text, is_header, looked_at=columns.names(), own_names=own_columns(connection))
    except TableError as error:
        raise ConnectorError(f"the report cannot be read: {error}", raw=body, cut_off=True) from None
    if not table.blocks:
        raise ConnectorError(
            f"the report has no header line with {' or '.join(sorted(header))} ({snippet(body, connection)})", raw=body,
            cut_off=not table.ends_with_line_end,
        )  # fmt: skip
    return table


def own_columns(connection: Connection) -> tuple[str, ...]:
    """Column names that the account's own mapping chooses."""
    own = connection.option("columns", {})
    return tuple(str(name) for name in own.values()) if isinstance(own, Mapping) else ()
