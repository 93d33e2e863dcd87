"""A postback request taken apart: query, form or JSON to pairs of names and values, whatever it holds."""

import hashlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import msgspec

if TYPE_CHECKING:
    from email.message import Message

MAX_PARAMETERS = 1000
_SHOWN_VALUE = 1000
_DECODER = msgspec.json.Decoder(Any, float_hook=str)  # decimals exactly as they came

Pairs = tuple[tuple[str, str], ...]


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """A request's parameters in the order they came (names in lower case), and what was odd about it."""

    pairs: Pairs
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for identical requests: the same parameters, whatever their order or the method."""
        text = msgspec.json.encode(sorted(self.pairs))
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def by_name(self) -> dict[str, str | list[str]]:
        """To be shown: one value per name, or a list of them; very long ones cut."""
        parameters: dict[str, Any] = {}
        for name, value in self.pairs:
            value = value[:_SHOWN_VALUE]
            if name not in parameters:
                parameters[name] = value
            elif isinstance(parameters[name], list):
                parameters[name].append(value)
            else:
                parameters[name] = [parameters[name], value]
        return parameters


def decode(query: bytes, content_type: str = "", body: bytes = b"") -> Decoded:
    """Parameters of the query, then of the body (form or JSON). Never raises: what cannot be read is noted."""
    notes: list[str] = []
    pairs = _form(query, notes)
    if body.strip():
        pairs += _body(content_type, body, notes)
    if len(pairs) > MAX_PARAMETERS:
        notes.append(f"over {MAX_PARAMETERS:,} parameters: the rest is left out")
        pairs = pairs[:MAX_PARAMETERS]
    return Decoded(pairs=tuple(pairs), notes=tuple(dict.fromkeys(notes)) if notes else ())


def _body(content_type: str, body: bytes, notes: list[str]) -> list[tuple[str, str]]:
    kind = content_type.partition(";")[0].strip().lower()
    start = body.lstrip()[:1]
    if kind.endswith("json") or (start in {b"{", b"["} and kind != "application/x-www-form-urlencoded"):
        return _json(body, notes)
    if kind == "multipart/form-data":
        return _parts(content_type, body, notes)
    if kind == "text/html" or start == b"<":
        notes.append("the body is a page, not parameters: left out")
        return []
    return _form(body.strip(), notes)


def _form(text: bytes, notes: list[str]) -> list[tuple[str, str]]:
    if text.isascii() and b"\x00" not in text:
        return _ascii_form(text.decode(), notes)
    pairs = []
    for part in text.split(b"&", MAX_PARAMETERS + 1)[: MAX_PARAMETERS + 1]:
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((_text(name, notes).strip().lower(), _text(value, notes)))
    return pairs


def _ascii_form(text: str, notes: list[str]) -> list[tuple[str, str]]:
    """What nearly all are: only what is encoded has to be decoded."""
    pairs = []
    encoded = "%" in text or "+" in text
    for part in text.split("&", MAX_PARAMETERS + 1)[: MAX_PARAMETERS + 1]:
        if part:
            name, _, value = part.partition("=")
            if encoded and ("%" in part or "+" in part):
                name, value = _text(name.encode(), notes), _text(value.encode(), notes)
            pairs.append((name.strip().lower(), value))
    return pairs


def _text(raw: bytes, notes: list[str]) -> str:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    text = _decoded(raw, notes)
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _parts(content_type: str, body: bytes, notes: list[str]) -> list[tuple[str, str]]:
    """The fields of a multipart form; files in it are left out."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", errors="replace")
    try:
        from email.parser import BytesParser  # a megabyte with its policy, for the few that send forms this way
        from email.policy import HTTP

        message = BytesParser(policy=HTTP).parsebytes(head + body)
        parts = [_part(part, notes) for part in message.iter_parts()] if message.is_multipart() else []
    except Exception as error:  # the standard library's parser falls over some headers
        parts = []
        notes.append(f"the multipart form cannot be read: {type(error).__name__}")
    pairs = [pair for pair in parts if pair is not None]
    if not pairs:
        notes.append("the multipart form has no fields")
    return pairs


def _part(part: "Message", notes: list[str]) -> tuple[str, str] | None:
    name = part.get_param("name", header="content-disposition")
    content = part.get_payload(decode=True)
    if not isinstance(name, str) or part.get_filename() is not None or not isinstance(content, bytes):
        return None
    value = _decoded(content, notes)
    return name.strip().lower().replace("\x00", "\ufffd"), value.replace("\x00", "\ufffd")


def _decoded(raw: bytes, notes: list[str]) -> str:
    """UTF-8, else Windows-1252."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        notes.append("not UTF-8: read as Windows-1252")
        return raw.decode("cp1252", errors="replace")


def _marked(raw: bytes) -> str | None:
    """Text by its byte order mark, if it has one."""
    for mark, encoding in ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16")):
        if raw.startswith(mark):
            return raw.decode(encoding, errors="replace")
    return None


def _json(body: bytes, notes: list[str]) -> list[tuple[str, str]]:
    try:
        content = _DECODER.decode(_marked(body) or _decoded(body, notes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        notes.append(f"the body is not JSON: {error}")
        return []
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, dict):
        many = isinstance(content, list) and len(content) > 1
        notes.append(
            "several postbacks in one body: send one per request" if many else "the JSON body is not an object"
        )
        return []
    pairs: list[tuple[str, str]] = []
    _flatten(content, "", pairs, depth=0)
    return pairs


def _flatten(value: Any, name: str, pairs: list[tuple[str, str]], depth: int) -> None:
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}" if name else str(key), pairs, depth + 1)
    elif isinstance(value, list) and depth < 8:
        for inner in value:
            _flatten(inner, name, pairs, depth + 1)
    elif value is not None:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        pairs.append((name.strip().lower().replace("\x00", "\ufffd"), text.replace("\x00", "\ufffd")))
