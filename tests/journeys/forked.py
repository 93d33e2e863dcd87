"""Processes of `casinoflux` that are forks of one which has read the modules: to read them takes two seconds each time.

A fork has memory, files, signals and an exit code of its own, as a process has that is started. What depends on the
start itself is tested with `Deployment.forked` off.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1 << 18  # bytes of a request


class ForkedProcess:
    """A fork, with what tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid = connection, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._result(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        result = self._result(timeout)
        if result is None:
            raise subprocess.TimeoutExpired("casinoflux", timeout or 0)
        return result

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _result(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], seconds)[0]:
            self.returncode = int(self._connection.recv(100))
            self._connection.close()
        return self.returncode


def fork(arguments: list[str], *, folder: Path, environment: dict[str, str], out: int, err: int) -> ForkedProcess:
    """`casinoflux` with these arguments, writing to these file descriptors."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(_server())
    request = {"arguments": arguments, "folder": str(folder), "environment": environment}
    socket.send_fds(connection, [json.dumps(request).encode()], [out, err])
    return ForkedProcess(connection, int(connection.recv(100)))


@cache
def _server() -> str:
    """The socket of this process' fork server, which ends with it."""
    path = f"{tempfile.mkdtemp(prefix='cf-fork-')}/socket"
    command = [sys.executable, "-m", "tests.journeys.forked", path]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    atexit.register(child.kill)
    return path


def serve(path: str) -> None:
    """Fork for each connection until stdin is closed; tell each how its process ended."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(50)
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    children: dict[int, socket.socket] = {}
    while True:
        readable = select.select([sys.stdin, listener, woken], [], [])[0]
        if woken in readable:
            woken.recv(4096)
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with children.pop(ended[0]) as connection:
                connection.send(str(os.waitstatus_to_exitcode(ended[1])).encode())
        if sys.stdin in readable:
            return
        if listener in readable:
            connection = listener.accept()[0]
            content, files, _, _ = socket.recv_fds(connection, _LONGEST, 2)
            pid = os.fork()
            if not pid:
                for opened in (listener, woken, wakes, connection, *children.values()):
                    opened.close()
                _become(json.loads(content), files)
            children[pid] = connection
            connection.send(str(pid).encode())
            for file in files:
                os.close(file)


def _become(request: Any, files: list[int]) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = ["casinoflux", *request["arguments"]]
    import_module("hub.__main__").main()
    raise AssertionError("main exits")


if __name__ == "__main__":
    for name in ("hub.__main__", "hub.cli.doctor", "hub.web.server"):  # the first leaves out what nothing here calls
        import_module(name)
    serve(sys.argv[1])
