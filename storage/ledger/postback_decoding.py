"""A postback request taken apart: query, form or JSON to pairs of names and values, whatever it holds."""

import hashlib
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

MAX_PARAMETERS = 1000
_KEPT_VALUE = 1000
_DECODER = msgspec.json.Decoder(Any, float_hook=str)  # decimals exactly as they came

Pairs = tuple[tuple[str, str], ...]


class Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """A request's parameters in the order they came (names in lower case), and what was odd about it."""

    pairs: Pairs
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for "the very same request": the same parameters, whatever their order or the method."""
        text = msgspec.json.encode(sorted(self.pairs))
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def kept(self) -> dict[str, str | list[str]]:
        """For the log: one value per name, or a list of them; very long ones cut."""
        found: dict[str, Any] = {}
        for name, value in self.pairs:
            value = value[:_KEPT_VALUE]
            if name not in found:
                found[name] = value
            elif isinstance(found[name], list):
                found[name].append(value)
            else:
                found[name] = [found[name], value]
        return found


def decode(query: bytes, content_type: str = "", body: bytes = b"") -> Decoded:
    """Parameters of the query, then of the body (form or JSON). Never raises: what cannot be read is noted."""
    notes: list[str] = []
    pairs = _form(query, notes)
    if body.strip():
        pairs += _body(content_type.partition(";")[0].strip().lower(), body, notes)
    if len(pairs) > MAX_PARAMETERS:
        notes.append(f"over {MAX_PARAMETERS:,} parameters: the rest is left out")
    return Decoded(pairs=tuple(pairs[:MAX_PARAMETERS]), notes=tuple(dict.fromkeys(notes)))


def _body(kind: str, body: bytes, notes: list[str]) -> list[tuple[str, str]]:
    start = body.lstrip()[:1]
    if kind.endswith("json") or (start in {b"{", b"["} and kind != "application/x-www-form-urlencoded"):
        return _json(body, notes)
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
    for part in text.split("&", MAX_PARAMETERS + 1)[: MAX_PARAMETERS + 1]:
        if part:
            name, _, value = part.partition("=")
            if "%" in part or "+" in part:
                name, value = _text(name.encode(), notes), _text(value.encode(), notes)
            pairs.append((name.strip().lower(), value))
    return pairs


def _text(raw: bytes, notes: list[str]) -> str:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        notes.append("not UTF-8: read as Windows-1252")
        text = raw.decode("cp1252", errors="replace")
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _json(body: bytes, notes: list[str]) -> list[tuple[str, str]]:
    try:
        found = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        notes.append(f"the body is not JSON: {error}")
        return []
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        many = isinstance(found, list) and len(found) > 1
        notes.append(
            "several postbacks in one body: send one per request" if many else "the JSON body is not an object"
        )
        return []
    pairs: list[tuple[str, str]] = []
    _flatten(found, "", pairs, depth=0)
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
