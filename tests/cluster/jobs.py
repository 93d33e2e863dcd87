"""Which hub runs the jobs: read from the hubs' own counters, once a second."""

import threading
import time
from collections import defaultdict
from typing import NamedTuple

from hub.jobs.scheduler import LEASE
from hub.jobs.timetable import TIMETABLE
from tests.cluster.hubs import Hubs
from tests.cluster.namespaces import HUBS

LEASED = [job.name for job in TIMETABLE if job.leased]


class Run(NamedTuple):
    """A hub has run a job between two looks."""

    at: float
    hub: str


class JobWatch:
    """Looks from `start` until `stop`."""

    def __init__(self, hubs: Hubs) -> None:
        self._hubs = hubs
        self._stopping = threading.Event()
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._counts: dict[tuple[str, str], float] = {}
        self._threads = [threading.Thread(target=self._watch, args=(hub,), daemon=True) for hub in HUBS]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, hub: str) -> None:
        while not self._stopping.wait(1.0):
            metrics, at = self._hubs.metrics(hub), time.time()
            for job in LEASED:
                value = metrics.get(f'casinoflux_job_runs_total{{job="{job}"}}')
                if value is not None:
                    self._note(job, Run(at, hub), value)

    def _note(self, job: str, run: Run, value: float) -> None:
        before = self._counts.get((run.hub, job))
        self._counts[run.hub, job] = value
        since = value - before if before is not None and value >= before else value  # it begins again with the process
        if before is not None and since:
            self._runs[job].append(run)

    def holder(self, job: str = "settle") -> str:
        """The hub that ran a job last; empty before the first run."""
        runs = sorted(self._runs[job])
        return runs[-1].hub if runs else ""

    def shared(self) -> list[str]:
        """Jobs that two hubs have run by turns: one, the other, and the first again within a lease."""
        return [job for job, runs in self._runs.items() if alternates(sorted(runs), LEASE.total_seconds())]


def alternates(runs: list[Run], within: float) -> bool:
    """Whether the work came back to the hub that had lost it within so many seconds."""
    spans: list[tuple[str, float, float]] = []  # hub, first run, last run
    for run in runs:
        if spans and spans[-1][0] == run.hub:
            spans[-1] = (run.hub, spans[-1][1], run.at)
        else:
            spans.append((run.hub, run.at, run.at))
    return any(
        first[0] == third[0] and third[1] - first[2] < within for first, third in zip(spans, spans[2:], strict=False)
    )
