"""One fault under load: cause it, fix it, account for everything."""

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster import accounting
from tests.cluster.accounting import Account, Room
from tests.cluster.faults import Fault
from tests.cluster.jobs import JobWatch
from tests.cluster.laboratory import ROWS, Laboratory
from tests.cluster.load import CLICKS, Attempt, Plan, read_journal
from tests.cluster.namespaces import MACHINES, NODES
from tests.cluster.nodes import APP
from tests.cluster.processes import Ended, wait_for
from tests.journeys.deployment import ROOT

BEFORE = 3.0  # seconds between the fault and the minute at which a digest and an alert are due
ANSWERED = {"click": 302, "postback": 200}
AFTER = 5.0  # seconds of load once all is fixed


class Result(msgspec.Struct, kw_only=True):
    """What came of one fault; `remarks` is empty when all is as it should be."""

    title: str
    clicks: Account
    postbacks: Account
    rows: Account
    passed_on: Account
    errors: int  # requests that were answered by an error, or not at all
    p99: float  # seconds, of clicks that began while the fault lasted
    gap: float  # seconds without a write
    remarks: list[str]


def try_fault(lab: Laboratory, fault: Fault, number: int) -> tuple[Result, Room]:
    """Cause a fault under load and account for what happened. Raises Ended if the cluster does not recover."""
    room = Room(f"C0FAULT{number}{int(time.time())}", -1_000_000 - int(time.time()))
    run = f"{fault.name}-{int(time.time())}"
    before_upgrade = lab.change_to_older_code() if fault.name == "upgrade" else ""
    lab.wait_whole()
    due = _subscribe(lab, room)
    watch = JobWatch(lab.hubs)
    watch.start()
    journal = _start_load(lab, run)
    try:
        time.sleep(max(0.0, due - BEFORE - time.time()))
        start = time.time()
        with fault.cause(lab, watch):
            time.sleep(fault.seconds)
        fixed = time.time()
        lab.wait_whole()
        time.sleep(max(AFTER, due + 3 - time.time()))
        if lab.processes.find("load") is None:
            raise Ended(f"the load ended by itself: {lab.processes.log('load')}")
    finally:
        lab.processes.stop("load", seconds=60)
        watch.stop()
    result = _account(lab, fault, run, read_journal(journal), (start, fixed))
    if fault.name == "upgrade" and not before_upgrade:
        result.remarks.append("the schema was not upgraded: the project's history is not here")
    if fault.name == "upgrade" and result.errors:
        result.remarks.append("requests were answered by an error")
    result.remarks += _left_undone(lab, watch, room)
    return result, room


def _subscribe(lab: Laboratory, room: Room) -> float:
    """A digest and an alert in each of two rooms, due at the next minute that leaves time for the load to begin.

    The alert is broken by the clicks that come until then: the next look at it is after the fault.
    """
    due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    if due - datetime.now(UTC) < timedelta(seconds=12):
        due += timedelta(minutes=1)
    seconds = due.timestamp() - time.time()
    threshold = accounting.clicks_so_far(lab) + int(CLICKS * (seconds - BEFORE) * 0.9)
    for channel in (f"slack:{room.channel}", f"telegram:{room.chat}"):
        lab.call("digest/subscribe", at=f"{due:%H:%M}", timezone="UTC", channel=channel)
        lab.call("alert/add", rule=f"clicks > {threshold}", channel=channel)
    return due.timestamp()


def _start_load(lab: Laboratory, run: str) -> Path:
    journal = lab.folder / "journals" / run
    journal.parent.mkdir(exist_ok=True)
    plan = Plan(
        run=run, link=lab.campaign.link, postback=lab.campaign.postback, hosts=[MACHINES[node] for node in NODES],
        login=APP, database=ROWS, journal=str(journal),
    )  # fmt: skip
    command = [sys.executable, "-m", "tests.cluster.load", json.dumps(msgspec.to_builtins(plan))]
    lab.processes.start("load", "vis", command, environment={"PYTHONPATH": str(ROOT)})
    wait_for(lambda: any(a.status == 302 for a in read_journal(journal)), "the first click")
    return journal


def _account(
    lab: Laboratory, fault: Fault, run: str, attempts: Sequence[Attempt], lasted: tuple[float, float]
) -> Result:
    start, fixed = lasted
    in_gap = [a.took for a in attempts if a.kind == "click" and start <= a.at <= fixed]
    result = Result(
        title=fault.title,
        clicks=accounting.wait_kept(lambda: accounting.clicks_of(lab, run, attempts), "every click"),
        postbacks=accounting.wait_kept(lambda: accounting.postbacks_of(lab, run, attempts), "every postback"),
        rows=accounting.rows_of(lab, run, attempts),
        passed_on=accounting.wait_kept(lambda: accounting.passed_on(run, attempts), "every conversion passed on"),
        errors=sum(a.status != ANSWERED[a.kind] for a in attempts if a.kind in ANSWERED),
        p99=accounting.percentile(in_gap),
        gap=accounting.gap(attempts, start),
        remarks=[],
    )
    for name in ("clicks", "postbacks", "rows", "passed_on"):
        account: Account = getattr(result, name)
        result.remarks += [f"{name} lost: {account.lost[:5]}"] if account.lost else []
        result.remarks += [f"{name} twice: {account.twice[:5]}"] if account.twice else []
    return result


def _left_undone(lab: Laboratory, watch: JobWatch, room: Room) -> list[str]:
    """What is wrong with reports, roll-ups, jobs and messages."""
    remarks = [f"jobs run by two hubs: {', '.join(shared)}"] if (shared := watch.shared()) else []
    remarks += _waited(lambda: accounting.report_agrees(lab), "the report differs from an independent count", 30)
    try:
        lab.hubs.shell("db", "check")
    except RuntimeError as error:
        remarks.append(f"db check: {str(error)[:300]}")
    remarks += _waited(lambda: all(accounting.messages(room).values()), "a message never came", 60)
    return remarks + wrong_messages(room)


def wrong_messages(room: Room) -> list[str]:
    """Digests and alerts of a room that did not come exactly once."""
    return [f"{what}: {times} times" for what, times in accounting.messages(room).items() if times != 1]


def _waited(ask: Any, otherwise: str, seconds: float) -> list[str]:
    try:
        wait_for(ask, otherwise, seconds=seconds, pause=1)
    except Ended:
        return [otherwise]
    return []
