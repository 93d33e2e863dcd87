"""Runs pytest as `make test` and `make test-slow` do: a test that fails is run once more, alone.

One that passes then is unsteady: it fails no run, but its name is printed at the end, since that is a fault to be
fixed. More than `MOST` failed tests, an error of collection, a worker that crashed or nothing to run fail at once.
`UNSTEADY` names a file that gets the names too, a line each.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: So many failed tests are run once more; with one more the run is stopped.
MOST = 5


class Failures:
    """What failed in a run: tests by their ids, and what no second try can make good."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.tests:
            self.tests.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.faults.append(f"{report.nodeid} cannot be collected")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self.faults.append(f"worker {node.gateway.id} crashed")


def main(arguments: list[str]) -> int:
    """The exit code: pytest's own, or 0 where every failed test passed when it was run once more."""
    failures = Failures()
    code = int(pytest.main([*arguments, f"--maxfail={MOST + 1}", "--max-worker-restart=0"], plugins=[failures]))
    if code != pytest.ExitCode.TESTS_FAILED or failures.faults or not 0 < len(failures.tests) <= MOST:
        if code:
            faults = failures.faults or [f"{len(failures.tests)} tests failed, exit code {code}"]
            _print("Nothing is run once more", faults)
        return code
    steady = [test for test in failures.tests if not _passes(test)]
    unsteady = [test for test in failures.tests if test not in steady]
    if unsteady:
        _print("UNSTEADY: failed at first and passed alone, a fault to be fixed", unsteady)
        if path := os.environ.get("UNSTEADY"):
            with Path(path).open("a", encoding="utf-8") as names:
                names.writelines(f"{test}\n" for test in unsteady)
    if steady:
        _print("FAILED twice", steady)
    return code if steady else 0


def _passes(test: str) -> bool:
    _print("Once more, alone", [test])
    return subprocess.run([sys.executable, "-m", "pytest", test], check=False).returncode == 0


def _print(heading: str, lines: list[str]) -> None:
    print(f"\n==== {heading} ====", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
