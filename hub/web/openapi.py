"""OpenAPI 3.1 of the command routes, from the commands' structs."""

from functools import cache
from typing import Any

import msgspec

from bot.core.command import COMMANDS, Command
from bot.core.example import example_of
from bot.core.limits import in_words, schema
from hub.requests.problems import Problem

_REF = "#/components/schemas/{name}"


class Confirmation(msgspec.Struct):
    """What a command answers that asks before it changes something: nothing has been done yet."""

    confirm: str
    consequence: str
    command: str


@cache
def document(public_url: str) -> bytes:
    """The whole description as JSON, made when first asked for; required fields are marked as such."""
    types = {
        Problem,
        Confirmation,
        *(command.parameters for command in COMMANDS.values()),
        *(command.result for command in COMMANDS.values()),
        *(command.bulk_result for command in COMMANDS.values() if command.bulk_result is not None),
    }
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF, schema_hook=lambda _: {})
    by_type = dict(zip(ordered, schemas, strict=True))
    for command in COMMANDS.values():
        _limit(command, components[by_type[command.parameters]["$ref"].rpartition("/")[2]])
    described = {
        "openapi": "3.1.0",
        "info": {"title": "CasinoFlux", "version": "1", "description": "Every chat command, over HTTP."},
        "servers": [{"url": public_url}],
        "security": [{"token": []}],
        "paths": {f"/api/v1/{command.path}": _path(command, by_type) for command in COMMANDS.values()},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(described)


def _limit(command: Command, component: dict[str, Any]) -> None:
    """Tell the limits of the command's fields that its types do not tell."""
    for name, described in component.get("properties", {}).items():
        limit = command.limits[name]
        for word, most in schema(limit).items():
            described.setdefault(word, most)
        if words := in_words(limit):
            text = described.get("description", "")
            described["description"] = text if words in text else ", ".join(filter(None, (text, words)))


def _path(command: Command, by_type: dict[Any, Any]) -> dict[str, Any]:
    operations = {"post": _operation(command, by_type)}
    if command.reads and not command.changes:
        get = _operation(command, by_type)
        del get["requestBody"]
        operations["get"] = get | {"operationId": command.path + "/get", "parameters": _parameters(command)}
    return operations


def _operation(command: Command, by_type: dict[Any, Any]) -> dict[str, Any]:
    problems = {"content": {"application/problem+json": {"schema": by_type[Problem]}}}
    return {
        "operationId": command.path,
        "summary": command.summary,
        "tags": [command.noun],
        "requestBody": {"content": {"application/json": {
            "schema": by_type[command.parameters], "example": example_of(command),
        }}},
        "responses": {
            "200": {"description": _DONE if command.confirm else "done", "content": {"application/json": {
                "schema": _answer(command, by_type),
            }}},
            **{code: {"description": text} | problems for code, text in _ERRORS.items()},
        },
    }  # fmt: skip


def _answer(command: Command, by_type: dict[Any, Any]) -> Any:
    results = [command.result, *([command.bulk_result] if command.bulk_result is not None else [])]
    results += [Confirmation] if command.confirm else []
    return by_type[command.result] if len(results) == 1 else {"anyOf": [by_type[result] for result in results]}


_DONE = "done; or a question first: `confirm code=…` with its code carries the command out"
_ERRORS = {
    "400": "a field is wrong", "401": "no valid token", "403": "the role does not allow it", "404": "not found",
    "413": "the body is too large", "422": "the report is too large: narrow it", "429": "too many requests",
    "502": "a platform or registrar does not answer", "503": "the database does not answer",
}  # fmt: skip


def _parameters(command: Command) -> list[dict[str, Any]]:
    schema: dict[str, Any] = msgspec.json.schema(command.parameters, schema_hook=lambda _: {})
    definition = next(iter(schema["$defs"].values())) if "$defs" in schema and "$ref" in schema else schema
    required, example, limits = set(definition.get("required", ())), example_of(command), command.limits
    return [
        {"name": name, "in": "query", "required": name in required, "schema": {"type": "string"},
         "description": ", ".join(filter(None, (field.get("description", ""), str(limits[name])))),
         **_in_query(example.get(name))}
        for name, field in definition.get("properties", {}).items()
    ]  # fmt: skip


def _in_query(value: Any) -> dict[str, str]:
    """An example's value as a query holds it."""
    if value is None:
        return {}
    return {"example": ",".join(map(str, value)) if isinstance(value, list) else str(value)}
