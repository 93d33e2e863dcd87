"""Other trackers' answers as they should not be: whatever comes, reading ends in words or in the same figures."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from aiolimiter import AsyncLimiter

import connectors.http
from connectors.http import Http
from connectors.trackers import registry
from connectors.trackers.tables import instant
from storage.ledger.errors import CasinoFluxError, ConnectorError
from storage.ledger.imports.tracker import Days, OldClicks, Part, Setup
from tests.connectors.test_bad_input import again, whole
from tests.connectors.trackers import recordings
from tests.connectors.web import Answering, Request, answer, serving

TRACKERS: Mapping[str, Callable[[], Answering]] = {
    "keitaro": recordings.keitaro, "binom": recordings.binom, "voluum": recordings.voluum,
    "redtrack": recordings.redtrack,
}  # fmt: skip
WANTED = registry.Request(
    first=date(2026, 10, 1), last=date(2026, 10, 2), timezone="UTC", currency="EUR", click_days=30
)
#: What may stand where something else is expected.
ODD: tuple[Any, ...] = (None, "x", [], {}, -5, [None], True, 1.5, "10-12")
each_tracker = pytest.mark.parametrize("name", TRACKERS)


async def read(name: str, answering: Answering) -> tuple[list[Part], int]:
    """Everything that is read of a tracker, and how many requests that took."""
    async with serving(answering) as web, Http(allow_private=True, first_wait=0.001, seconds=60) as http:
        login = {"url": web.url, "key": recordings.KEY, "access_id": "a1"}
        parts = [part async for part in registry.tracker(name).read(http, login, WANTED)]
        return parts, len(web.asked)


def changed(inner: Answering, number: int, change: Callable[[bytes], bytes]) -> Answering:
    """The recording whose answer of that number is another."""
    asked = Counter[str]()

    def answering(request: Request) -> bytes:
        content = inner(request)
        assert isinstance(content, bytes)
        asked["so far"] += 1
        return change(content) if asked["so far"] == number + 1 else content

    return answering


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace that APIs ask for, a thousand times faster: thousands of requests are sent."""

    def faster(self: Any, rate: float, period: float) -> None:
        plain(self, rate * 1_000, period)

    plain = AsyncLimiter.__init__
    monkeypatch.setattr(AsyncLimiter, "__init__", faster)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in an answer."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in items:
        yield from places(member, (*at, name))


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(copy[at[0]], at[1:], new)
    return copy


async def bodies(name: str) -> list[bytes]:
    """The bodies of a recording's answers, in the order they are asked for."""
    answers: list[bytes] = []
    inner = TRACKERS[name]()

    def answering(request: Request) -> bytes:
        content = inner(request)
        assert isinstance(content, bytes)
        answers.append(content)
        return content

    await read(name, answering)
    return [whole(content)[1] for content in answers]


async def ends_in_words(name: str, number: int, body: bytes) -> bool:
    """Whether the reading is refused; anything but a refusal or an end fails the test."""
    try:
        await read(name, changed(TRACKERS[name](), number, lambda content: again(content, body)))
    except CasinoFluxError:
        return True
    return False


async def odd_answers(name: str, every: int) -> None:
    refused = read_on = 0
    for number, body in enumerate(await bodies(name)):
        try:
            content = msgspec.json.decode(body)
        except msgspec.DecodeError:
            continue  # the answer of an older version that has no JSON
        for n, at in enumerate(places(content)):
            for odd in ODD[n % every :: every]:
                if await ends_in_words(name, number, msgspec.json.encode(replaced(content, at, odd))):
                    refused += 1
                else:
                    read_on += 1
    assert refused
    assert read_on


@each_tracker
@pytest.mark.usefixtures("hurried")
async def test_something_else_than_expected_is_refused_in_words_or_left_out(name: str) -> None:
    await odd_answers(name, every=9)


@pytest.mark.slow
@pytest.mark.timeout(600)
@each_tracker
@pytest.mark.usefixtures("hurried")
async def test_anything_else_than_expected_is_refused_in_words_or_left_out(name: str) -> None:
    await odd_answers(name, every=1)


@each_tracker
@pytest.mark.usefixtures("hurried")
async def test_an_answer_cut_off_at_any_byte_is_refused(name: str) -> None:
    for number, body in enumerate(await bodies(name)):
        if not body.startswith((b"{", b"[")) or b"unknown key" in body:
            continue
        for at in {0, 1, *range(2, len(body) - 1, max(1, len(body) // 7)), len(body) - 1}:
            assert await ends_in_words(name, number, body[:at]), (number, at)


def sums(parts: list[Part]) -> tuple[Any, ...]:
    """What parts hold, however they are cut."""
    rows = [row for part in parts if isinstance(part, Days) for row in part.rows]
    clicks = [row for part in parts if isinstance(part, OldClicks) for row in part.rows]
    return [part for part in parts if isinstance(part, Setup)], rows, clicks


@each_tracker
@pytest.mark.usefixtures("hurried")
async def test_every_request_may_be_told_to_wait_once_and_the_reading_goes_on(name: str) -> None:
    inner, asked = TRACKERS[name](), Counter[tuple[str, bytes]]()

    def waiting(request: Request) -> bytes:
        asked[request.target, request.body] += 1
        if asked[request.target, request.body] == 1:
            return answer("slow down", status=429, headers={"Retry-After": "0"})
        content = inner(request)
        assert isinstance(content, bytes)
        return content

    calm, _ = await read(name, TRACKERS[name]())
    busy, _ = await read(name, waiting)
    assert sums(busy) == sums(calm)
    assert sums(calm)[1]
    assert sums(calm)[2]


@pytest.mark.parametrize("longest", [60.0, 0.5])  # seconds that are waited for at once, and by the reading's patience
@each_tracker
async def test_what_retry_after_asks_for_is_waited_for(
    name: str, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors.http, "LONGEST_WAIT", longest)
    inner, asked = TRACKERS[name](), list[float]()

    def waiting(request: Request) -> bytes:
        asked.append(time.monotonic())
        if len(asked) == 3:
            return answer("slow down", status=429, headers={"Retry-After": "1"})
        content = inner(request)
        assert isinstance(content, bytes)
        return content

    parts, _ = await read(name, waiting)
    assert asked[3] - asked[2] >= 1
    assert sums(parts)[1]


async def test_a_wait_beyond_an_hour_is_said() -> None:
    inner = recordings.keitaro()

    def waiting(request: Request) -> bytes:
        if request.path.endswith("/offers"):
            return answer("", status=429, headers={"Retry-After": "4000"})
        content = inner(request)
        assert isinstance(content, bytes)
        return content

    with pytest.raises(ConnectorError, match=r"asks us to wait for 4000 s"):
        await read("keitaro", waiting)


def test_times_are_read_as_trackers_write_them() -> None:
    written = (
        "2026-10-01 12:17:07",
        "2026-10-01T12:17:07Z",
        "2026-10-01 12:17:07 PM",
        "1790857027",
        "13/10/2026 09:00",
    )
    assert [instant(text) for text in written] == [*[datetime(2026, 10, 1, 12, 17, 7, tzinfo=UTC)] * 4,
                                                   datetime(2026, 10, 13, 9, tzinfo=UTC)]  # fmt: skip
    assert [instant(text) for text in ("", "soon", "02/10/2026 09:00")] == [None] * 3  # the last may be of February
