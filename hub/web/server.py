"""One serving process: HTTP, jobs and bots in one event loop, so that one process is all there is."""

import asyncio
import errno
import os
import signal
import socket
import threading

from sqlalchemy.engine import make_url

from hub.runtime import boot, error_reports, process_tuning
from hub.runtime.settings import Settings
from hub.runtime.tracing import tracer
from hub.web import sockets
from hub.web.app import create_app
from hub.web.listen import listen
from storage.db import serving_lock
from storage.db.database_url import shown_url
from storage.db.spool_file import spool_folder, unwritable
from storage.ledger.errors import CasinoFluxError

_LEAVING = 3.0  # seconds the interpreter is given to end by itself


async def serve(
    settings: Settings, *, host: str, port: int, only: str | None = None, announce: bool = True, away: bool = False
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT, then drain: open requests are answered, batches committed.

    `away`: start from the snapshot, since the database does not answer.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    lock = _lock(settings.database_url)
    if not away:
        await boot.upgrade_in_other_process(settings)
    tracer.start()
    error_reports.start()
    app = create_app(settings, only=only, away=away)
    async with app.lifespan():
        process_tuning.settle_down()
        loop_lag = app.runtime.state["loop_lag"]
        await loop_lag.start()  # not before: no request waits yet, and the start holds the loop for long
        if only in {"jobs", "bots"}:
            await stopping.wait()
        else:
            serving = await listen(app, host=host, port=port)
            if announce:
                print(f"CasinoFlux listens on {_welcome(settings, host, port)}", flush=True)  # noqa: T201
            await stopping.wait()
            await serving.stop()
        await loop_lag.stop()
    if lock is not None:
        os.close(lock)
    leave_soon()
    await asyncio.to_thread(tracer.stop)
    error_reports.stop()


def _lock(url: str) -> int | None:
    """On SQLite, what holds off other processes that serve. Raises CasinoFluxError while one does."""
    if make_url(url).get_backend_name() != "sqlite":
        return None
    folder = spool_folder(url)
    try:
        return serving_lock.take(folder)
    except OSError as error:
        raise unwritable(folder, error) from None


def _welcome(settings: Settings, host: str, port: int) -> str:
    """Where it listens, where its data is, what to do next."""
    database = shown_url(settings.database_url)
    return (
        f"{sockets.shown(host, port)}\nDatabase: {database}\n"
        "Next: 'casinoflux run cockpit' prints a link that signs you in to the cockpit; "
        "'casinoflux run member invite role=owner' invites a colleague"
    )


def leave_soon() -> None:
    """Everything is stored: a database driver's thread that a broken-off read left behind must not keep us here."""
    leaving = threading.Timer(_LEAVING, os._exit, (0,))
    leaving.daemon = True
    leaving.start()


def check_port(host: str, port: int) -> None:
    """Workers share the port (SO_REUSEPORT), so one in use would go unnoticed. Raises CasinoFluxError."""
    if sockets.handed_over():
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = "--port" if error.errno in {errno.EADDRINUSE, errno.EACCES} else "--host"
            raise CasinoFluxError(f"cannot listen on {host}:{port} ({error.strerror}): choose another {fix}") from None
