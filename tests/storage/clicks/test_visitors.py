"""Who was seen is remembered for a day, by every process of the machine, over restarts."""

import random
from pathlib import Path

from storage.clicks.visitors import VisitorFile


def test_all_are_found_by_another_process_and_after_a_restart(tmp_path: Path) -> None:
    chance = random.Random(5)
    rows = [(chance.getrandbits(63) | 1, n + 1, n % 7) for n in range(60_000)]
    mine, theirs = VisitorFile(tmp_path / "a.seen"), VisitorFile(tmp_path / "a.seen")
    mine.open()
    theirs.open()
    for n in range(0, len(rows), 100):
        (mine, theirs)[n // 100 % 2].keep(rows[n : n + 100], 0)
    theirs.close()
    theirs.open()
    mine.follow()
    for one in (mine, theirs):
        assert all(one.look(visitor, 0) == offer for visitor, _, offer in rows)
        assert one.look(12345, 0) is None
        assert one.look(rows[0][0], rows[0][1] + 1) is None
    assert len(list(tmp_path.iterdir())) > 1


def test_files_of_long_ago_are_deleted(tmp_path: Path) -> None:
    seen = VisitorFile(tmp_path / "a.seen")
    seen.open()
    for n in range(0, 200_000, 1000):
        seen.keep([(n + k + 1, n + k + 1, 0) for k in range(1000)], max(0, n - 20_000))
    assert not (tmp_path / "a.seen.1").exists()
    assert seen.look(200_000, 190_000) == 0
    seen.close()
