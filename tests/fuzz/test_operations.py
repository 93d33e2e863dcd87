"""Every operation of the API with generated arguments, valid and not, by an owner, a buyer and a viewer.

No answer is a 5xx, but 502 and 503 that say what is away. `FUZZ_SECONDS` is how long it goes on for each database; all
fuzzing of a CI run takes two minutes (`make fuzz`: ten, or as long as is said).
"""

import json
import os
import random
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

import bot.commands  # noqa: F401  registers every command
from bot.core.arguments import meta
from bot.core.command import COMMANDS, Command
from tests.fuzz.filled import CODES, HOSTILE, UNLIMITED, filled_hub, postgres_of
from tests.generated import number_of
from tests.journeys.deployment import Deployment

SECONDS = float(os.environ.get("FUZZ_SECONDS", "40"))
_LEFT_OUT = {"token revoke", "member remove"}  # they end the run, not the hub
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("fuzz")
    with postgres_of(request) as url, filled_hub(folder, url=url, ALLOW_PRIVATE_HOSTS="0", **UNLIMITED) as deployment:
        yield deployment


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_no_operation_fails_whatever_it_is_sent(hub: Deployment) -> None:
    roles = {role: hub.post("token/create", name=f"fuzz {role}", role=role)["token"] for role in ("buyer", "viewer")}
    tokens = [hub.token, *roles.values()]
    schema = schemathesis.openapi.from_dict(hub.http.get("/schema/openapi.json").json())
    result: Any = schema.get_all_operations()
    operations = [operation.ok() for operation in result]
    ends, round_number, failures = time.monotonic() + SECONDS / 2, 0, dict[str, str]()
    with httpx.Client(base_url=hub.url, timeout=60) as client:
        while time.monotonic() < ends:
            for operation, mode in product(operations, MODES):
                if time.monotonic() < ends:
                    _try(client, operation, mode, tokens[round_number % len(tokens)], failures, ends, round_number)
            round_number += 1
    assert round_number, "not even one round was finished: give it more time"
    assert not failures, "\n".join(failures.values()) + hub.log()


def _try(
    client: httpx.Client,
    operation: Any,
    mode: GenerationMode,
    token: str,
    failures: dict[str, str],
    ends: float,
    round_number: int,
) -> None:
    @seed(number_of(f"{operation.label} {mode} {round_number}"))
    @settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", "3")),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if time.monotonic() > ends:
            return
        arguments = case.as_transport_kwargs(base_url=str(client.base_url).rstrip("/"))
        answer = client.request(
            arguments["method"], arguments["url"], params=_texts(arguments.get("params")),
            content=_body(arguments), headers={"authorization": f"Bearer {token}"},
        )  # fmt: skip
        if answer.status_code >= 500 and answer.status_code not in {502, 503}:
            failures.setdefault(operation.label, f"{operation.label}: {answer.status_code} to {arguments}")

    send()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_no_field_fails_whatever_it_holds(hub: Deployment) -> None:
    """Fields that hold names of what there is, or what has stopped a hub before, two or more at once."""
    choice, failures = random.Random(int(os.environ.get("FUZZ_SEED", "1"))), dict[str, str]()
    commands = [item for item in COMMANDS.values() if item.name not in _LEFT_OUT]
    ends, header = time.monotonic() + SECONDS / 2, {"authorization": f"Bearer {hub.token}"}
    with httpx.Client(base_url=hub.url, timeout=60, headers=header) as client:
        while time.monotonic() < ends:
            command = choice.choice(commands)
            body = _arguments(command, choice)
            if command.reads and not command.changes and choice.random() < 0.3:
                query = {name: str(value).encode("utf-8", "replace") for name, value in body.items()}
                answer = client.get(f"/api/v1/{command.path}", params=query)
            else:
                answer = client.post(f"/api/v1/{command.path}", content=json.dumps(body))
            if answer.status_code >= 500 and answer.status_code not in {502, 503}:
                failures.setdefault(command.name, f"{command.name}: {answer.status_code} to {str(body)[:600]}")
    assert not failures, "\n".join(failures.values()) + hub.log()


def _arguments(command: Command, choice: random.Random) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for field in msgspec.structs.fields(command.parameters):
        if not field.required and choice.random() < 0.6:
            continue
        extra = meta(field.type)[2]
        ordinary = extra.get("choices") or CODES
        chosen[field.encode_name] = choice.choice(HOSTILE if choice.random() < 0.4 else ordinary)
    return chosen


def _texts(params: Any) -> Any:
    return {str(name): value for name, value in (params or {}).items()}


def _body(arguments: dict[str, Any]) -> bytes:
    if "json" in arguments:
        return json.dumps(arguments["json"]).encode("utf-8", "surrogatepass")
    data = arguments.get("data") or b""
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "surrogatepass")
