"""SQLite's account of its memory is left out where that is safe, and nowhere else."""

import subprocess
import sys

import pytest

_SCRIPT = """
import ctypes, sqlite3
from importlib.util import find_spec
from hub.runtime.process_tuning import leave_sqlite_memory_uncounted
{before}
print(leave_sqlite_memory_uncounted())
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE t (n)")
connection.execute("INSERT INTO t VALUES (7)")
print(ctypes.CDLL(find_spec("_sqlite3").origin).sqlite3_memory_used() > 0)
print(leave_sqlite_memory_uncounted())
print(connection.execute("SELECT n FROM t").fetchone()[0], *rows)
"""


def _printed(before: str) -> list[str]:
    script = _SCRIPT.format(before=before)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it stays as it is")
def test_the_first_connection_finds_memory_uncounted_and_a_second_call_changes_nothing() -> None:
    assert _printed("rows = ()") == ["True", "False", "True", "7"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it stays as it is")
def test_with_a_connection_open_already_nothing_is_touched() -> None:
    opened = (
        "first = sqlite3.connect(':memory:'); first.execute('CREATE TABLE t (n)'); rows = first.execute('SELECT 1')"
    )
    assert _printed(opened) == ["False", "True", "False", "7", "(1,)"]
