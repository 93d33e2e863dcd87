"""Click ids: ordered in time, unguessable, read back in any letter case."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.clicks.click_id import EPOCH, LENGTH, ClickIdGenerator, Codec, first_id_at, instant_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=1, max_size=64))
def test_every_id_comes_back_in_any_case(click_id: int, key: bytes) -> None:
    codec = Codec(key)
    word = codec.encode(click_id)
    assert len(word) == LENGTH
    assert word.isalnum()
    assert word == word.lower()
    assert codec.decode(word) == codec.decode(word.upper()) == codec.decode(word.title()) == click_id


def test_ids_have_the_same_words_in_whatever_order_they_are_encoded() -> None:
    edges = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (1 << 22) - 1, 1 << 22, 1 << 62, (1 << 63) - 1]
    codec = Codec(b"key")
    for order in (edges, edges[::-1], [*edges[::2], *edges[1::2]]):
        assert [codec.encode(click_id) for click_id in order] == [Codec(b"key").encode(click_id) for click_id in order]


@given(st.text(max_size=20))
def test_any_text_is_an_id_or_none(text: str) -> None:
    result = Codec(b"key").decode(text)
    assert result is None or Codec(b"key").encode(result) == text.lower().replace("i", "1").replace("l", "1").replace(
        "o", "0"
    )


def test_ids_are_unique_and_ordered_even_if_the_clock_goes_back() -> None:
    generator = ClickIdGenerator(7)
    seconds = NOW.timestamp()
    made = [generator.make(seconds - (n % 3) * 5) for n in range(20_000)]
    assert made == sorted(set(made))
    assert abs(instant_of(made[0]) - NOW) < timedelta(milliseconds=2)


def test_workers_never_make_the_same_id() -> None:
    seconds = NOW.timestamp()
    ids = [generator.make(seconds) for generator in map(ClickIdGenerator, range(1024)) for _ in range(3)]
    assert len(set(ids)) == len(ids)


@given(st.integers(1, 2_000_000_000_000_000))
def test_the_first_id_of_an_instant_parts_earlier_from_later(micros: int) -> None:
    at = EPOCH + timedelta(microseconds=micros)
    assert ClickIdGenerator(0).make(at.timestamp() + 0.002) >= first_id_at(at)
    assert first_id_at(at) <= first_id_at(at + timedelta(milliseconds=1))
    assert at - instant_of(first_id_at(at)) < timedelta(milliseconds=1)


def test_words_sort_as_the_clicks_came() -> None:
    codec, generator = Codec(b"some key"), ClickIdGenerator(7)
    words = [codec.encode(generator.make(NOW.timestamp() + n / 3000)) for n in range(2000)]
    assert words == sorted(words)
    assert len(set(words)) == len(words)


def test_no_one_can_make_up_an_id_from_one_they_have() -> None:
    codec = Codec(b"some key")
    first = first_id_at(NOW)
    words = [codec.encode(first + n) for n in range(200)]
    seals = [word[13:] for word in words]
    alike = [sum(a == b for a, b in zip(item, other, strict=True)) for item, other in itertools.pairwise(seals)]
    assert sum(alike) / len(alike) < 2
    assert codec.decode(words[1][:13] + seals[0]) is None
    assert {codec.decode(words[0][:n] + "7" + words[0][n + 1 :]) for n in range(LENGTH)} <= {None, first}
    assert Codec(b"other key").decode(words[0]) is None
