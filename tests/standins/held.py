"""A server that is asked and keeps the hub waiting until it is let go: the hub can be killed in between."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """A request as it came: the address with its query, headers by their names in lower case, and the body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HeldServer:
    """Answers 204 once `go` is set; `asked` has each request from the moment it came."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.go = threading.Event()
        held = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.take()

            def do_POST(self) -> None:
                self.take()

            def take(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                held.asked.append(Asked(self.path, headers, self.rfile.read(int(headers.get("content-length", 0)))))
                held.go.wait(20)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_given: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def held_server() -> Iterator[HeldServer]:
    held = HeldServer()
    threading.Thread(target=held.server.serve_forever, daemon=True).start()
    try:
        yield held
    finally:
        held.go.set()
        held.server.shutdown()
        held.server.server_close()
