"""What strangers send cannot forge lines of the log, nor steer the terminal that shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

_LOGGING = """
import logging
import structlog
from hub.runtime.logs import quiet_logs

quiet_logs()
text = "a\\nlevel=error event=forged \\r \\x1b[31m \\x9b \\u2028 b\\x00"
structlog.get_logger().warning("event", path=text)
logging.getLogger("telegram").warning("update %s", text)
try:
    raise ValueError(text)
except ValueError:
    structlog.get_logger().exception("failed")
"""


def test_an_event_is_one_line_without_control_characters() -> None:
    done = subprocess.run([sys.executable, "-c", _LOGGING], capture_output=True, text=True, check=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 3, lines
    assert [line for line in lines if not line.isprintable()] == []
    assert all("forged" in line and "\\x1b" in line for line in lines)


_ON_A_FULL_DISK = """
import logging
import sys
import structlog
from hub.runtime.logs import quiet_logs

quiet_logs()
structlog.get_logger().warning("event")
logging.getLogger("telegram").warning("update")
sys.stdout = sys.stderr = None
print("went on", file=open(sys.argv[1], "w"))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    result = tmp_path / "result"
    with Path("/dev/full").open("w") as full:
        subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, str(result)], stdout=full, stderr=full, check=False)
    assert result.read_text() == "went on\n"
