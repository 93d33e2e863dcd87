"""Visitors are remembered for a day, in the memory of the process that serves an SQLite database."""

import random

from storage.clicks.visitors import OFFER, OFFER_BITS, SPAN, VisitorMemory


def test_all_of_a_day_are_known_with_the_offer_they_saw_and_their_click() -> None:
    chance = random.Random(5)
    rows = [(chance.getrandbits(63) | 1, n * (SPAN // 1000), n % 7) for n in range(5_000)]
    memory = VisitorMemory()
    for n in range(0, len(rows), 100):
        memory.remember_all(rows[n : n + 100], 0)
    assert all(memory.find(visitor, click) == click << OFFER_BITS | offer for visitor, click, offer in rows)
    assert all(memory.find(visitor, click + 1) is None for visitor, click, _ in rows)
    assert memory.find(12345, 0) is None


def test_what_is_older_than_a_day_is_forgotten_and_nothing_younger() -> None:
    memory, day = VisitorMemory(), 6 * SPAN
    step = SPAN // 100
    for n in range(5_000):
        memory.remember_all([(n + 1, n * step, 0)], n * step - day)
    latest = 4_999 * step
    known = [memory.find(n + 1, latest - day) for n in range(5_000) if n * step >= latest - day]
    assert all(entry is not None and entry & OFFER == 0 for entry in known)
    assert memory.find(1, 0) is None
    assert sum(len(span) for span in memory._spans) < 1_200
