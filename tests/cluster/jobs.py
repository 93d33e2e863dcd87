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
    """A process of a hub has run a job at least once between two looks, `earliest` and `latest`."""

    earliest: float
    latest: float
    hub: str
    born: float = 0
    """When the process was started: a hub that was started again is another runner."""

    @property
    def runner(self) -> tuple[str, float]:
        return self.hub, self.born


class JobWatch:
    """Looks from `start` until `stop`."""

    def __init__(self, hubs: Hubs) -> None:
        self._hubs = hubs
        self._stopping = threading.Event()
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._threads = [threading.Thread(target=self._watch, args=(hub,), daemon=True) for hub in HUBS]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, hub: str) -> None:
        before: Observation | None = None
        while not self._stopping.wait(1.0):
            asked, born = time.time(), self._hubs.born(hub)
            metrics = self._hubs.metrics(hub)
            if not metrics or born != self._hubs.born(hub):
                continue
            counts = {job: metrics.get(f'casinoflux_job_runs_total{{job="{job}"}}', 0.0) for job in LEASED}
            if before is not None and before.born == born:
                for job in LEASED:
                    if counts[job] > before.counts[job]:
                        self._runs[job].append(Run(before.asked, time.time(), hub, born))
            before = Observation(asked, born, counts)

    def holder(self, job: str = "settle") -> str:
        """The hub that ran a job last; empty before the first run."""
        runs = self._runs[job]
        return max(runs, key=lambda run: run.latest).hub if runs else ""

    def shared(self) -> list[str]:
        """Jobs that two hubs have run by turns, with who ran them when."""
        found = {job: alternates(runs, LEASE.total_seconds()) for job, runs in self._runs.items()}
        return [f"{job} ({' '.join(_words(run) for run in runs)})" for job, runs in found.items() if runs]


class Observation(NamedTuple):
    """What a hub had counted, and when it was asked."""

    asked: float
    born: float
    counts: dict[str, float]


def _words(run: Run) -> str:
    return f"{run.hub} {run.earliest:.1f}–{run.latest:.1f}"


def alternates(runs: list[Run], within: float) -> tuple[Run, ...]:
    """Three runs of which the second is another process' and the third the first one's again, within so many seconds.

    A process that has lost a lease gets it back after another's has lapsed, or after another has ended and given it
    back: neither lies within a lease of its own last run. Runs whose order is not certain are no proof.
    """
    ordered = sorted(runs)
    for n, first in enumerate(ordered):
        other: Run | None = None
        for run in ordered[n + 1 :]:
            if run.earliest - first.latest >= within:
                break
            if run.runner != first.runner and run.earliest >= first.latest:
                other = other or run
            elif run.runner == first.runner and other is not None and run.earliest >= other.latest:
                return first, other, run
    return ()
