"""Several processes on one port: workers for HTTP, one for jobs and bots; one that dies is replaced."""

import asyncio
import ctypes
import signal
import sys
from asyncio.subprocess import Process
from functools import partial

import structlog

from hub.web.sockets import handed_over, shown
from storage.db import tasks

log = structlog.get_logger()

GRACE = 18.0  # seconds to drain before a child is killed
FAST_DEATH = 2.0  # a child that dies sooner is waited for, so that a broken start does not spin


async def supervise(*, host: str, port: int, workers: int) -> int:
    """Run the children until SIGTERM or SIGINT; 0 when all of them drained."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    roles = ["hub"] * workers + ["jobs", "bots"]
    codes: list[int] = []

    async def keep_running(role: str) -> None:
        codes.append(await _keep(role, host, port, stopping))

    keepers = [tasks.start_loop(f"{role} process", partial(keep_running, role)) for role in roles]
    print(f"CasinoFlux listens on {shown(host, port)} with {workers} workers", flush=True)  # noqa: T201
    await asyncio.gather(*keepers)
    return max(codes)


async def _keep(role: str, host: str, port: int, stopping: asyncio.Event) -> int:
    """Start a child, start it again when it dies, end it when all is to stop."""
    loop = asyncio.get_running_loop()
    while True:
        born = loop.time()
        child = await _spawn(role, host, port)
        dead = asyncio.create_task(child.wait())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({dead, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if stopping.is_set():
            return await _end(child)
        log.error("a process died and is replaced", role=role, exit_code=child.returncode)
        if loop.time() - born < FAST_DEATH:
            await asyncio.sleep(FAST_DEATH)


async def _spawn(role: str, host: str, port: int) -> Process:
    arguments = ["-m", "hub", "serve", "--only", role, "--host", host, "--port", str(port), "--child"]
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.DEVNULL, pass_fds=tuple(handed_over())
    )


async def _end(child: Process) -> int:
    if child.returncode is None:
        child.terminate()
    try:
        code = await asyncio.wait_for(child.wait(), GRACE)
    except TimeoutError:
        child.kill()
        await child.wait()
        return 1
    return 0 if code in {0, -signal.SIGTERM} else 1  # one that was still starting has nothing to drain


def die_with_parent() -> None:
    """Have the kernel end this child when its supervisor is gone (Linux only; elsewhere it stays)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
