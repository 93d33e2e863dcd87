"""The helper process: runs jobs beside the event loop, is replaced when it dies, and ends jobs that take too long."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bot.core.message import Chart, Series
from bot.render.chart_image import draw
from hub.runtime.helper_process import SECONDS, HelperFailed, HelperProcess
from storage.db.loop_share import FULL_BATCH, LoopShare
from storage.db.unavailable import DatabaseUnavailable
from storage.ledger.errors import Refused, TooLong
from tests.hub.runtime import helper_jobs


@pytest.fixture
def helper() -> Iterator[HelperProcess]:
    made = HelperProcess()
    yield made
    made.close()


async def test_a_job_runs_in_another_process_of_low_priority(helper: HelperProcess) -> None:
    before = helper.pid
    pid, niceness = await helper.run(helper_jobs.whereabouts)
    assert before is None  # none before the first job
    assert pid == helper.pid != os.getpid()
    only_core = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
    assert niceness == (10 if only_core else 19)
    # In a session of its own, its niceness would count for nothing against the hub.
    assert os.getsid(pid) == os.getsid(0)
    assert os.getpgid(pid) == pid, "Ctrl-C is for the hub alone"
    if hasattr(os, "SCHED_IDLE") and not only_core:
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert await helper.run(helper_jobs.repeated, b"x" * 3_000_000, 2) == b"x" * 6_000_000
    assert (await helper.run(helper_jobs.whereabouts))[0] == pid


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux says which cores a process may use")
async def test_on_an_only_core_it_has_a_tenth_of_it_beside_a_busy_hub(helper: HelperProcess) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pid, niceness = await helper.run(helper_jobs.whereabouts)
    finally:
        os.sched_setaffinity(0, cores)
    assert (niceness, os.sched_getscheduler(pid)) == (10, os.SCHED_OTHER)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) == 1, reason="takes two cores, on Linux"
)
async def test_while_clicks_come_in_full_batches_it_keeps_off_the_core_of_the_event_loop(helper: HelperProcess) -> None:
    allowed = os.sched_getaffinity(0)
    assert set(map(frozenset, await helper.run(helper_jobs.cores))) == {frozenset(allowed)}
    helper.loop_share = LoopShare()
    of_loop = min(allowed)
    os.sched_setaffinity(0, {of_loop})
    try:
        helper.loop_share.batch_began(FULL_BATCH)
        beside = await helper.run(helper_jobs.cores)
        helper.loop_share = LoopShare()
        afterwards = await helper.run(helper_jobs.cores)
    finally:
        os.sched_setaffinity(0, allowed)
    assert set(map(frozenset, beside)) == {frozenset(allowed - {of_loop})}
    assert set(map(frozenset, afterwards)) == {frozenset(allowed)}


async def test_an_error_comes_back_as_it_was_raised(helper: HelperProcess) -> None:
    with pytest.raises(Refused, match="wrong") as caught:
        await helper.run(helper_jobs.refuse, "amount")
    assert caught.value.field == "amount"


@pytest.mark.parametrize("job", [helper_jobs.fail, helper_jobs.answer_unreadably])
async def test_a_job_that_fails_fails_alone(helper: HelperProcess, job: Callable[[], object]) -> None:
    with pytest.raises(HelperFailed):
        await helper.run(job)
    assert await helper.run(helper_jobs.repeated, b"x", 2) == b"xx"


async def test_a_database_that_is_away_is_no_failure_of_a_job(
    helper: HelperProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL cannot be reached"):
        await helper.run(helper_jobs.meet_no_database)
    assert "Traceback" not in capfd.readouterr().err


async def test_a_process_that_died_is_replaced(helper: HelperProcess) -> None:
    pid, _ = await helper.run(helper_jobs.whereabouts)
    os.kill(pid, signal.SIGKILL)
    assert (await helper.run(helper_jobs.whereabouts))[0] != pid


async def test_a_process_without_work_ends_and_the_next_job_starts_another(helper: HelperProcess) -> None:
    await helper.run(helper_jobs.end_when_idle_for, 0.05)
    pid = helper.pid
    assert pid is not None
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)
    assert (await helper.run(helper_jobs.whereabouts))[0] != pid


async def test_a_job_that_takes_too_long_is_ended_and_the_next_one_runs() -> None:
    helper = HelperProcess()
    try:
        pid, _ = await helper.run(helper_jobs.whereabouts)
        helper._seconds = 1.0  # not before it has started, which takes its time
        with pytest.raises(TooLong, match="fewer days"):
            await helper.run(helper_jobs.compute_for, 60.0, advice="ask for fewer days")
        helper._seconds = SECONDS
        assert (await helper.run(helper_jobs.whereabouts))[0] != pid
    finally:
        helper.close()


async def test_a_caller_that_leaves_ends_its_job(helper: HelperProcess, tmp_path: Path) -> None:
    pid, _ = await helper.run(helper_jobs.whereabouts)
    started = tmp_path / "started"
    waiting = asyncio.create_task(helper.run(helper_jobs.mark_and_compute, str(started)))
    while not started.exists():
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await helper.run(helper_jobs.whereabouts))[0] != pid


async def test_a_chart_is_drawn_although_the_process_was_killed(helper: HelperProcess) -> None:
    chart = Chart("FTDs", ("1 Oct", "2 Oct", "3 Oct"), (Series("FTDs", (1.0, None, 3.0)),))
    picture = await helper.run(draw, chart)
    assert picture.startswith(b"\x89PNG")
    pid = helper.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await helper.run(draw, chart) == picture
