"""Serving a stand-in from a thread of the test's process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hub.cli.standins.web import Responder, serve


@contextmanager
def answering(responder: Responder) -> Iterator[str]:
    """The address of a server on loopback that answers so."""
    server = serve(responder, 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
