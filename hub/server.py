"""One serving process: granian inside our own event loop, so that one process is all there is."""

import asyncio
import gc
import signal
import socket

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from hub.app import create_app
from hub.settings import Settings
from storage.ledger.errors import CasinoFluxError

BACKLOG = 4096


async def serve(settings: Settings, *, host: str, port: int, only: str | None = None, announce: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, then drain: open requests are answered, batches committed."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopping.set)
    app = create_app(settings, only=only)
    async with app.lifespan():
        _spare_the_collector()
        if only in {"jobs", "bots"}:
            await stopping.wait()
            return
        server = Server(
            app, address=host, port=port, interface=Interfaces.ASGINL, backlog=BACKLOG, websockets=False,
            log_level=LogLevels.error,
        )  # fmt: skip
        serving = asyncio.create_task(server.serve())
        if announce:
            print(f"CasinoFlux listens on http://{host}:{port}", flush=True)  # noqa: T201
        await asyncio.wait({serving, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=10)


def check_port(host: str, port: int) -> None:
    """granian shares ports (SO_REUSEPORT), so a port in use would go unnoticed. Raises CasinoFluxError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CasinoFluxError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None


def _spare_the_collector() -> None:
    """What start-up made stays for good; scanning it again and again is what makes the slowest clicks slow."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
