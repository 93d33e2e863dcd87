"""`python -m tests.cluster check | up | test [fault …] | down`: the laboratory from the command line.

`check` says whether one can be built here, and what is lacking.
"""

import signal
import sys
import time

import httpx

from tests.cluster import laboratory, namespaces, trial
from tests.cluster.accounting import Room
from tests.cluster.faults import FAULTS, Fault
from tests.cluster.laboratory import Laboratory
from tests.cluster.processes import Ended
from tests.cluster.requirements import missing
from tests.cluster.trial import Result

COLUMNS = ("fault", "clicks: answered, kept, lost, twice", "postbacks: answered, kept, lost, twice",
           "requests with an error", "p99 of clicks meanwhile", "longest time without a write", "remarks")  # fmt: skip


def main(words: list[str]) -> int:
    if lacks := missing():
        print(f"the laboratory needs {', '.join(lacks)}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    match words:
        case ["check"]:
            return 0
        case ["up"]:
            up()
        case ["down"]:
            laboratory.take_down()
        case ["test", *names]:
            return try_faults(names)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def up() -> Laboratory:
    began = time.monotonic()
    made = laboratory.build()
    print(f"the cluster stands after {time.monotonic() - began:.0f} seconds\n{laboratory.addresses()}", flush=True)
    return made


def try_faults(names: list[str]) -> int:
    """Every fault, or those named; 1 if anything was lost, doubled or wrong. A laboratory of its own is taken down."""
    known = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in names if name not in known]:
        print(f"no such fault: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    stood = bool(namespaces.existing())
    try:
        lab = laboratory.attach() if stood else up()
        well = try_all(lab, [known[name] for name in names] or list(FAULTS))
        if not well:
            print(lab.processes.logs(), file=sys.stderr)
        return 0 if well else 1
    finally:
        if not stood:
            laboratory.take_down()


def try_all(lab: Laboratory, faults: list[Fault]) -> bool:
    """Each fault in turn; at the end all rooms are looked at once more, for what came late. Whether all went well."""
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    results: list[Result] = []
    rooms: list[Room] = []
    whole = True
    for number, fault in enumerate(faults):
        try:
            result, room = trial.try_fault(lab, fault, number)
        except (Ended, RuntimeError, OSError, httpx.HTTPError) as error:  # the next one may go well all the same
            print(f"| {fault.title} | not tried to the end: {type(error).__name__}: {error} |", flush=True)
            whole = False
            continue
        print(row(result), flush=True)
        results.append(result)
        rooms.append(room)
    for result, room in zip(results, rooms, strict=True):
        late = [f"later, {remark}" for remark in trial.wrong_messages(room) if remark not in result.remarks]
        if late:
            result.remarks += late
            print(f"{result.title}: {'; '.join(late)}")
    return whole and all(not result.remarks for result in results)


def row(result: Result) -> str:
    """A line of the table."""
    figures = [
        f"{account.answered:,}, {account.kept:,}, {len(account.lost)}, {len(account.twice)}"
        for account in (result.clicks, result.postbacks)
    ]
    cells = (
        result.title, *figures, str(result.errors), f"{result.p99 * 1000:,.0f} ms", f"{result.gap:.1f} s",
        " ".join("; ".join(result.remarks).split()) or "none",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
