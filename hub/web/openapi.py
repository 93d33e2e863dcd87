"""OpenAPI 3.1 of the command routes, from the commands' structs."""

from functools import cache
from typing import Any

import msgspec

from bot.core.command import COMMANDS, Command
from bot.core.limits import schema
from hub.web.problems import Problem

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
        *(one.parameters for one in COMMANDS.values()),
        *(one.result for one in COMMANDS.values()),
        *(one.bulk_result for one in COMMANDS.values() if one.bulk_result is not None),
    }
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF, schema_hook=lambda _: {})
    by_type = dict(zip(ordered, schemas, strict=True))
    for one in COMMANDS.values():
        _limit(one, components)
    described = {
        "openapi": "3.1.0",
        "info": {"title": "CasinoFlux", "version": "1", "description": "Every chat command, over HTTP."},
        "servers": [{"url": public_url}],
        "security": [{"token": []}],
        "paths": {f"/api/v1/{one.path}": _path(one, by_type) for one in COMMANDS.values()},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(described)


def _limit(one: Command, components: dict[str, Any]) -> None:
    """Tell the limits of the command's fields that its types do not tell."""
    properties = components.get(one.parameters.__name__, {}).get("properties", {})
    for name, described in properties.items():
        for word, most in schema(one.limits[name]).items():
            described.setdefault(word, most)


def _path(one: Command, by_type: dict[Any, Any]) -> dict[str, Any]:
    operations = {"post": _operation(one, by_type)}
    if one.reads and not one.changes:
        get = _operation(one, by_type)
        del get["requestBody"]
        operations["get"] = get | {"operationId": one.path + "/get", "parameters": _parameters(one)}
    return operations


def _operation(one: Command, by_type: dict[Any, Any]) -> dict[str, Any]:
    problems = {"content": {"application/problem+json": {"schema": by_type[Problem]}}}
    return {
        "operationId": one.path,
        "summary": one.summary,
        "tags": [one.noun],
        "requestBody": {"content": {"application/json": {"schema": by_type[one.parameters]}}},
        "responses": {
            "200": {"description": _DONE if one.confirm else "done", "content": {"application/json": {
                "schema": _answer(one, by_type),
            }}},
            **{code: {"description": text} | problems for code, text in _ERRORS.items()},
        },
    }  # fmt: skip


def _answer(one: Command, by_type: dict[Any, Any]) -> Any:
    results = [one.result, *([one.bulk_result] if one.bulk_result is not None else [])]
    results += [Confirmation] if one.confirm else []
    return by_type[one.result] if len(results) == 1 else {"anyOf": [by_type[result] for result in results]}


_DONE = "done; or a question first: `confirm code=…` with its code carries the command out"
_ERRORS = {
    "400": "a field is wrong", "401": "no valid token", "403": "the role does not allow it", "404": "not found",
    "413": "the body is too large", "422": "the report is too large: narrow it", "429": "too many requests",
    "502": "a platform or registrar does not answer", "503": "the database does not answer",
}  # fmt: skip


def _parameters(one: Command) -> list[dict[str, Any]]:
    schema: dict[str, Any] = msgspec.json.schema(one.parameters, schema_hook=lambda _: {})
    definition = next(iter(schema["$defs"].values())) if "$defs" in schema and "$ref" in schema else schema
    required = set(definition.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": {"type": "string"},
         "description": field.get("description", "")}
        for name, field in definition.get("properties", {}).items()
    ]  # fmt: skip
