"""Arguments of commands: from words or JSON to the struct a command takes, every fault named by its field."""

import difflib
import re
import types
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from bot.core.tokenizer import MAX_ARGUMENT, day, yes
from storage.ledger.currencies import SIGNS, currency_of
from storage.ledger.errors import Refused
from storage.ledger.numbers import Mark, read_amount, read_count

MAX_AMOUNT = 1_000_000_000_000  # whole units; in micro-units it fits a 64-bit column, and so do sums of some


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename=lambda name: name.rstrip("_")):
    """Base of what commands take. Fields called like a Python word end in `_` (`from_`), outside they do not."""


def refers(
    entity: str, description: str, *, changes: bool | None = None, weighted: bool = False, most: int | None = None
) -> msgspec.Meta:
    """Marks a field that names another entity (code, name or id): forms offer those there are, and the gate
    (bot.core.permissions) judges them.

    `changes`: whether the command changes the entity; by default one that changes anything does. `weighted`: a word
    may end in a weight (`lucky-star:3`). `most`: how many a list may name.
    """
    extra: dict[str, Any] = {"refers": entity}
    if changes is not None:
        extra["changes"] = changes
    if weighted:
        extra["weighted"] = True
    if most is not None:
        extra["items"] = most
    return msgspec.Meta(description=description, extra=extra)


def weighted_word(word: str) -> tuple[str, int]:
    """`lucky-star:3` as name and weight; a name with a colon of its own stays whole, its weight 1."""
    name, colon, weight = word.rpartition(":")
    if not colon or not weight.strip().isdecimal():
        return word, 1
    return name, int(weight)


def secret(description: str) -> msgspec.Meta:
    """Marks a credential: masked in the audit trail, never echoed."""
    return msgspec.Meta(description=description, extra={"secret": True})


def holds_credentials(description: str) -> msgspec.Meta:
    """Marks a field whose text or JSON may hold credentials beside other things: those parts are masked."""
    return msgspec.Meta(description=description, extra={"credentials": True})


def choices(description: str, *values: str) -> msgspec.Meta:
    """Marks a field with a few values to choose from; forms show them."""
    return msgspec.Meta(description=description, extra={"choices": values})


def percentage(description: str) -> msgspec.Meta:
    """Marks a share that is written in per cent, `5%` or `5`: from 0 to 100."""
    return msgspec.Meta(description=description, extra={"percentage": True})


#: Marks a field of an edit that can be emptied: by `none`, `-`, or (quoted, in JSON) nothing at all.
EMPTIES = msgspec.Meta(extra={"empties": True})

#: What such a field then holds.
NONE = "none"


class MissingArgument(Refused):
    """None of several optional fields was given, and one is needed: a form asks which."""


class MissingFields(Refused):
    """Required fields were not given: a form asks for them, other faces name them."""

    def __init__(self, names: list[str], descriptions: dict[str, str]) -> None:
        labels = ", ".join(f"{name} ({descriptions[name]})" if descriptions.get(name) else name for name in names)
        super().__init__(f"missing: {labels}", field=names[0])
        self.names = names


def field_names(parameters: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(parameters)]


def meta(annotation: Any) -> tuple[Any, str, dict[str, Any]]:
    """Bare type, description and extras of a field's annotation, `Annotated[…] | None` included."""
    description = ""
    extra: dict[str, Any] = {}
    if get_origin(annotation) is Annotated:
        annotation, *metas = get_args(annotation)
        for mark in metas:
            if isinstance(mark, msgspec.Meta):
                description = mark.description or description
                extra |= mark.extra or {}
    if get_origin(annotation) in {Union, types.UnionType}:
        for member in get_args(annotation):
            _, inner, more = meta(member)
            description, extra = description or inner, more | extra
    return annotation, description, extra


def list_fields(parameters: type[msgspec.Struct]) -> set[str]:
    """Fields that take several values, separated by commas where they come as text."""
    return {field.encode_name for field in msgspec.structs.fields(parameters) if list in bare_kinds(field.type)}


def day_fields(parameters: type[msgspec.Struct]) -> set[str]:
    """Fields that take one day."""
    kinds = {field.encode_name: bare_kinds(field.type) for field in msgspec.structs.fields(parameters)}
    return {name for name, kind in kinds.items() if list not in kind and (date in kind or name == "day")}


def secret_fields(parameters: type[msgspec.Struct]) -> set[str]:
    return {f.encode_name for f in msgspec.structs.fields(parameters) if meta(f.type)[2].get("secret")}


def credential_fields(parameters: type[msgspec.Struct]) -> set[str]:
    """Fields that may hold credentials beside other things."""
    return {f.encode_name for f in msgspec.structs.fields(parameters) if meta(f.type)[2].get("credentials")}


def file_fields(parameters: type[msgspec.Struct]) -> list[str]:
    """Fields that take a file: over HTTP as base64, in a chat the one that came with the command."""
    return [field.encode_name for field in msgspec.structs.fields(parameters) if bytes in bare_kinds(field.type)]


@lru_cache(maxsize=1_000)
def fields_of(parameters: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """The fields of a struct by the names that are given; kept, since msgspec reads the annotations each time."""
    return {field.encode_name: field for field in msgspec.structs.fields(parameters)}


def fill(parameters: type[msgspec.Struct], arguments: dict[str, Any], today: date) -> Any:
    """The struct from words (chat, shell, query) or JSON values. Raises Refused naming the field."""
    fields = fields_of(parameters)
    for name in arguments:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(fields) or 'none'}"
            raise Refused(f"no field {name!r}: {hint}", field=name)
    arguments = {name: _emptied(fields[name].type, value) for name, value in arguments.items()}
    values = {n: _value(n, fields[n].type, v, today) for n, v in arguments.items() if v is not None and v != ""}
    values |= _amounts(fields, values)
    lacking = [name for name, field in fields.items() if field.required and name not in values]
    if lacking:
        raise MissingFields(lacking, {name: meta(fields[name].type)[1] for name in lacking})
    try:
        return msgspec.convert(values, parameters, strict=False)
    except msgspec.ValidationError as error:
        raise _refused(error, fields) from None


def _amounts(fields: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The amounts among the values, and the currency written beside them where a field takes it."""
    amounts: dict[str, Any] = {}
    for name, value in values.items():
        if Decimal not in bare_kinds(fields[name].type):
            continue
        if meta(fields[name].type)[2].get("percentage"):
            amounts[name] = _percentage(name, value)
            continue
        currency = str(values.get("currency") or "")
        try:
            amounts[name], beside = amount(value, currency or None, currency=currency)
            if beside and "currency" not in fields:
                raise ValueError(f"{value!r} is in {beside}, and a currency has no place here: write {amounts[name]:f}")
        except ValueError as error:
            raise Refused(f"{name}: {error}", field=name) from None
        if beside:
            amounts["currency"] = beside
    return amounts


def _percentage(name: str, value: Any) -> Decimal:
    """A share in per cent; below 0 where it says none. Raises Refused."""
    text = str(value).strip()
    empty = text == NONE
    try:
        read = read_amount("-1" if empty else text.removesuffix("%").rstrip(), "", None)
    except ValueError:
        read = None
    if read is None or read.currency or not (empty or 0 <= read.value <= 100):
        raise Refused(f"{name}: {text!r} is no share: write 0% to 100%, e.g. 5%", field=name)
    return read.value


def _emptied(annotation: Any, value: Any) -> Any:
    says_none = isinstance(value, str) and value.strip().lower() in {"", "-", NONE}
    return NONE if says_none and meta(annotation)[2].get("empties") else value


def _refused(error: msgspec.ValidationError, fields: Mapping[str, Any]) -> Refused:
    text, _, path = str(error).partition(" - at `$.")
    name = re.split(r"[.\[`]", path)[0] if path else None
    extra = meta(fields[name].type)[2] if name is not None and name in fields else {}
    hint = f" (one of {', '.join(extra['choices'])})" if "choices" in extra else ""
    return Refused(f"{name or 'arguments'}: {_bound(text)}{hint}", field=name)


def _bound(text: str) -> str:
    """A violated limit in words of people instead of the types of the code."""
    if match := re.fullmatch(r"Expected `(\w+)`( of length)? ([<>]=) (-?[\d.]+)", text):
        limit = "at least" if match[3] == ">=" else "at most"
        unit = {"str": " characters", "array": " values"}.get(match[1], "") if match[2] else ""
        return f"write {limit} {match[4]}{unit}"
    if match := re.fullmatch(r"Expected `([\w| ]+)`, got `(\w+)`", text):
        wanted = [_KINDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
        return f"write {' or '.join(wanted)}, not {_KINDS.get(match[2], match[2])}"
    return text[:1].lower() + text[1:]


_KINDS = {
    "int": "a whole number", "float": "a number", "decimal": "a number", "str": "a text", "bool": "yes or no",
    "array": "a list", "object": "names with values", "null": "nothing", "date": "a day", "datetime": "a time",
}  # fmt: skip


def _value(name: str, annotation: Any, value: Any, today: date) -> Any:
    kind = bare_kinds(annotation)
    if isinstance(value, str) and len(value) > MAX_ARGUMENT and bytes not in kind:
        raise Refused(f"{name} may have {MAX_ARGUMENT:,} characters at most", field=name)
    try:
        read = value if _holds_nul(value) else _read(kind, value, today)
    except msgspec.DecodeError as error:
        raise Refused(f"{name}: cannot be read as JSON ({str(error).lower()})", field=name) from None
    except ValueError as error:
        raise Refused(f"{name}: {error}", field=name) from None
    if _holds_nul(read):  # no database takes it as text
        raise Refused(f"{name} holds a NUL character: remove it", field=name)
    return read


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, chain(value.keys(), value.values())))
    return "\x00" in value if isinstance(value, str) else isinstance(value, list) and any(map(_holds_nul, value))


def _read(kinds: set[Any], value: Any, today: date) -> Any:
    if date in kinds and isinstance(value, str):
        return day(value, today)
    if bool in kinds and isinstance(value, str):
        return yes(value)
    if bytes in kinds and isinstance(value, str) and value.startswith("data:"):
        return value.partition(",")[2]
    if Decimal in kinds:
        return value
    if dict in kinds and (isinstance(value, dict) or _is_json(value, "{")):
        return msgspec.json.decode(value) if isinstance(value, str) else value
    if str in kinds and list in kinds and isinstance(value, str) and not _is_json(value, "["):
        return value
    if tuple in kinds or list in kinds:
        return _many(value)
    if dict in kinds and isinstance(value, str):
        return msgspec.json.decode(value)
    if str in kinds:
        return _as_text(value)
    return _count(value) if int in kinds else value


def _count(value: Any) -> Any:
    """A whole number as people write it. Raises ValueError."""
    count = read_count(value) if isinstance(value, str | float) else value
    if count is None:
        raise ValueError(f"{value!r} is no whole number")
    if isinstance(count, int) and abs(count) >= 10**9:
        raise ValueError("the number is too large")
    return count


def _many(value: Any) -> Any:
    """A list: JSON, or words separated by commas; numbers in it may be ids."""
    if _is_json(value, "["):
        value = msgspec.json.decode(value)
    if isinstance(value, list):
        return [_as_text(element) for element in value]
    return [part.strip() for part in str(value).split(",") if part.strip()]


def _as_text(value: Any) -> Any:
    """A number where text is wanted is an id."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_json(value: Any, opening: str) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(opening)


def amount(value: Any, own: str | None, *, mark: Mark = "", currency: str = "") -> tuple[Decimal, str]:
    """An amount in whole units, and the currency written beside it, empty where none is.

    A sign of several currencies (`kr`, `$`) means `own` if that is one of them; with None it stays as written, for
    `currency_code` of the command. Raises ValueError, also for a currency other than the one `said` in a field of its
    own.
    """
    read = read_amount(value, mark, own.upper() if own else own)
    if read is None:
        raise ValueError(f"{value!r} is no number: write it like 1234.50")
    if abs(read.value) >= MAX_AMOUNT:
        raise ValueError(f"{value!r} is too large: below {MAX_AMOUNT:,}")
    if currency and read.currency not in {"", currency.upper()}:
        raise ValueError(f"{value!r} is in {read.currency}, and currency says {currency}")
    return read.value, read.currency


def currency_code(word: str | None, own: str) -> str:
    """The currency that a `currency` argument says, by code or sign, and `own` where it says none. Raises Refused."""
    text = (word or "").strip()
    if not text:
        return own
    if text[0].isdecimal():  # `amount=1 234,50`
        raise Refused(
            f"currency: {text!r} is no currency: an amount is written without blanks (1234.50), or in quotes",
            field="currency",
        )
    if text.lower() not in SIGNS and 3 <= len(text) <= 10 and text.isascii() and text.isalnum():
        return text.upper()
    try:
        return currency_of(text, own)
    except ValueError as error:
        raise Refused(f"currency: {error}", field="currency") from None


def to_micros(value: Decimal, field: str = "amount") -> int:
    """Micro-units of an amount in whole units. Raises Refused when it is finer or larger than can be kept."""
    scaled = value * 1_000_000
    if scaled != scaled.to_integral_value() or abs(scaled) > 9 * 10**18:
        raise Refused(f"{field}: at most six digits after the point, and below nine trillion", field=field)
    return int(scaled)


def bare_kinds(annotation: Any) -> set[Any]:
    """The types that a field may hold, without what is in them: `list[str] | None` is list and NoneType."""
    annotation = meta(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        return set().union(*(bare_kinds(member) for member in get_args(annotation)))
    return {get_origin(annotation) or annotation}
