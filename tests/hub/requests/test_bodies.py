"""A body that comes drop by drop is given up; one that comes in time is whole, and what follows it is not limited."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hub.requests import bodies


def sending(*events: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    """A client that sends these events and then nothing more."""
    waiting = list(events)

    async def receive() -> Any:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_stops_half_way_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE", 0.01)
    receive = bodies.in_time(sending(part(b"a", more=True)))
    assert (await receive())["body"] == b"a"
    assert [(await receive())["type"] for _ in range(2)] == ["http.disconnect"] * 2


async def test_a_body_that_trickles_is_given_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LONGEST", 0.0)
    receive = bodies.in_time(sending())
    assert (await receive())["type"] == "http.disconnect"


async def test_after_the_end_of_a_body_the_connection_may_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE", 0.01)
    receive = bodies.in_time(sending(part(b"a", more=True), part(b"b", more=False)))
    assert [(await receive())["body"] for _ in range(2)] == [b"a", b"b"]
    leaving = asyncio.ensure_future(receive())
    assert not (await asyncio.wait({leaving}, timeout=0.05))[0]
    leaving.cancel()
