"""Answers judged and decoded: what is no report is told apart from a report before any figure is touched."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import msgspec

from connectors.base import Connection
from connectors.http import Answer, Http
from connectors.redaction import redact
from storage.ledger.errors import ConnectorError

Record = dict[str, Any]
_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_OUTLINE: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw])
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
    """Send a request under the account's pace, its secrets kept out of errors."""
    return await http.send(
        method, url, headers=headers, params=params, body=body, secrets=connection.secrets,
        pace=(connection.name or url, float(connection.option("requests_per_second", per_second))),
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
    told = snippet(answer.body, connection)
    text, permanent = _FAULTS.get(answer.status, (f"answered {answer.status}", False))
    raise ConnectorError(
        f"the platform {text}" + (f" ({told})" if told else ""),
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


_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decoded(body: bytes) -> str:
    """Text in UTF-8 or UTF-16 with or without a byte order mark, else in Windows' Latin letters."""
    for mark, encoding in _MARKS:
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
        raise ConnectorError(f"the platform sent {what} ({snippet(body, connection)})", raw=body) from None


def json_outline(body: bytes, connection: Connection) -> Any:
    """The same as objects of raw values, or a list of them; anything else as it is. Raises ConnectorError."""
    not_html(body, connection)
    try:
        return _OUTLINE.decode(body if body.isascii() else decoded(body))
    except msgspec.MsgspecError:
        return json_of(body, connection)


def raw_outline(value: msgspec.Raw) -> Any:
    """What lies within a raw value, itself raw."""
    return _OUTLINE.decode(value)


def raw_value(value: Any) -> Any:
    """A raw value read whole."""
    return _JSON.decode(value) if isinstance(value, msgspec.Raw) else value


def xml_of(body: bytes, connection: Connection) -> ElementTree.Element:
    """XML without a document type: entities are never declared, so never expanded. Raises ConnectorError."""
    not_html(body, connection)
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", decoded(body))
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ConnectorError("the platform sent XML with a document type, which we do not read", raw=body)
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - declarations were refused above
    except ElementTree.ParseError:
        raise ConnectorError(
            f"the platform sent XML that cannot be read ({snippet(body, connection)})", raw=body
        ) from None


def plain_name(name: str) -> str:
    """A column's name without case, blanks and punctuation, as columns are compared."""
    return re.sub(r"[^\w%]|_", "", name.casefold())


def csv_of(body: bytes, connection: Connection, *, header: Collection[str]) -> tuple[list[Record], list[Record]]:
    """Records and total rows of a CSV with one or more header lines, whatever stands before the first.

    A line with a cell named in `header` starts a block; one whose first words are `total…` is a totals row.
    Raises ConnectorError for a web page, no header, or a line with too few or too many cells (a cut-off answer).
    """
    not_html(body, connection)
    text = decoded(body)
    wanted = {plain_name(name) for name in header}
    names: list[str] | None = None
    records: list[Record] = []
    totals: list[Record] = []
    for number, line in enumerate(csv.reader(io.StringIO(text), delimiter=_delimiter(text, wanted)), 1):
        cells = [cell.strip() for cell in line]
        if any(plain_name(cell) in wanted for cell in cells if not cell[:1].isdigit()):
            names = cells
        elif names is None or not any(cells):
            continue
        else:
            record = _record(names, cells, number, body)
            (totals if _is_total(cells) else records).append(record)
    if names is None:
        raise ConnectorError(
            f"the report has no header line with {' or '.join(sorted(header))} ({snippet(body, connection)})", raw=body
        )
    return records, totals


def _record(names: list[str], cells: list[str], number: int, body: bytes) -> Record:
    if (len(cells) < len(names) and not _is_total(cells)) or any(cells[len(names) :]):
        raise ConnectorError(
            f"line {number} of the report has {len(cells)} cells where its header has {len(names)}: "
            "the answer is cut off or damaged",
            raw=body,
        )
    return dict(zip(names, cells, strict=False))


def _is_total(cells: list[str]) -> bool:
    first = next((cell for cell in cells if cell), "").lower()
    return first.startswith(("total", "sum:", "gesamt", "grand total", "итого"))


def _delimiter(text: str, wanted: Collection[str]) -> str:
    for line in text.splitlines():
        for mark in (",", ";", "\t", "|"):
            if any(plain_name(cell.strip(' "')) in wanted for cell in line.split(mark)) and mark in line:
                return mark
    return ","
