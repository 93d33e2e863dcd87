"""What the stand-ins share: a small HTTP server run as a process, its port printed as a line of JSON on stdout."""

import argparse
import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class StubRequest(NamedTuple):
    """A request as a stand-in sees it."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def parameter(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.query if key == name), default)

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


class StubAnswer(NamedTuple):
    """The answer: a status, a body (anything but bytes becomes JSON), further headers."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = {}
    cut: int | None = None  # send only so many bytes of the body and break off


Responder = Callable[[StubRequest], StubAnswer]


def serve(responder: Responder, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body go in two writes: without this each answer waits 40 ms

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qsl(parts.query, keep_blank_values=True)
            answer = responder(StubRequest(self.command, parts.path, query, headers, body))
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if answer.cut is None else content[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True

        do_GET = do_POST = do_HEAD = do_PUT = _handle  # noqa: N815 - names of the standard library

        def log_message(self, *_arguments: Any) -> None:
            """Quiet: stdout is for the port."""

    return ThreadingHTTPServer((host, port), Handler)


def main(make: Callable[[], Responder]) -> None:
    """Run a stand-in until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    server = serve(make(), arguments.port, arguments.host)
    port = server.server_address[1]
    print(json.dumps({"port": port, "url": f"http://{arguments.host}:{port}"}), flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        sys.exit(0)
