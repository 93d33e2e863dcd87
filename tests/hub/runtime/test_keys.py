"""`casinoflux keys rotate`, and who may read the files."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def shell(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CASINOFLUX_")}
    return subprocess.run(
        [sys.executable, "-m", "hub", *words], cwd=folder, env={**clean, **settings, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_key_beside_the_database_is_replaced_and_the_old_one_dropped_by_the_second_run(tmp_path: Path) -> None:
    key = tmp_path / "casinoflux.db.key"
    assert shell(tmp_path, "run", "help").returncode == 0
    old = key.read_text().strip()
    first = shell(tmp_path, "keys", "rotate")
    assert (first.returncode, first.stderr) == (0, "")
    new, stored = key.read_text().strip().split(",")
    assert (stored, new != old) == (old, True)
    assert new not in first.stdout
    assert shell(tmp_path, "keys", "rotate").returncode == 0
    assert key.read_text().strip() == new
    assert shell(tmp_path, "db", "backup", "saved.zip").returncode == 0
    for name in ("casinoflux.db", "casinoflux.db.key", "saved.zip"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name


@pytest.mark.slow
def test_a_key_of_the_environment_is_not_ours_to_replace(tmp_path: Path) -> None:
    answer = shell(tmp_path, "keys", "rotate", CASINOFLUX_SECRET_KEY="old")
    assert answer.returncode == 1
    assert "restart" in answer.stdout
    assert shell(tmp_path, "keys", "rotate", CASINOFLUX_SECRET_KEY="new,old").returncode == 0
