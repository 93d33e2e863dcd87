"""A deployment as its owner runs it: `casinoflux serve` as a process, spoken to over HTTP and the shell."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400


class Deployment:
    """One database and the process on it; `days` shifts its clock, a restart applies it."""

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.days = 0
        self.settings = {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "journey-secret-key",
            "PUBLIC_URL": self.url,
            "ALLOW_PRIVATE_HOSTS": "1",
            "TRUSTED_PROXIES": "127.0.0.1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CASINOFLUX_")}
        ours = {f"CASINOFLUX_{name}": value for name, value in self.settings.items()}
        return {**clean, **ours, "CASINOFLUX_CLOCK_OFFSET": str(self.days * DAY), "PYTHONPATH": str(ROOT)}

    def start(self, *arguments: str) -> None:
        """Start serving and wait until it is ready."""
        command = [sys.executable, "-m", "hub", "serve", "--port", str(self.port), *arguments]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        wait_for(self._ready, "the hub to be ready", told=self.log)
        if not self.token:
            self.token = self.run("token", "create", "name=journey", "role=owner")["token"]

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"serve ended early:\n{self.log()}"
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(25)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def a_day_later(self, days: int = 1) -> None:
        """Stop, move the clock, start."""
        assert self.stop() == 0, self.log()
        self.days += days
        self.start()

    def log(self) -> str:
        return (self.folder / "serve.log").read_text(errors="replace")[-6000:]

    def run(self, *words: str) -> Any:
        """A command in the shell, its struct."""
        done = self.shell("run", *words, "--json")
        assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return json.loads(done.stdout)

    def shell(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hub", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def post(self, path: str, **arguments: Any) -> Any:
        """A command over HTTP, its struct."""
        answer = self.try_post(path, **arguments)
        assert answer.status_code == 200, f"{path} {arguments}: {answer.status_code} {answer.text}"
        return answer.json()

    def try_post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.http.post(f"/api/v1/{path}", json=arguments, headers={"authorization": f"Bearer {self.token}"})

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(f"/api/v1/{path}", params=query, headers={"authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200, f"{path} {query}: {answer.status_code} {answer.text}"
        return answer.json()

    def sync(self, account: str) -> Any:
        """Sync an account and wait for the end of it."""
        request = self.post("sync/now", account=account)["requested_at"]

        def done() -> Any:
            item = self.get("sync/status", account=account)["items"][0]
            over = item["state"] not in {"queued", "running"} and item["last_attempt_at"]
            return item if over and item["last_attempt_at"] >= request else None

        return wait_for(done, f"the sync of {account}", told=self.log)


def wait_for(ask: Callable[[], Any], what: str, *, seconds: float = 180, told: Callable[[], str] = str) -> Any:
    """Ask until it is true; `ask` raises when a process has ended, so `seconds` may be many."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} seconds for {what}\n{told()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def standin(name: str) -> Iterator[httpx.Client]:
    """A stand-in server as a process; a client for it."""
    package = "hub.cli" if name in {"affilka", "traffic_source"} else "tests"  # the demo has two of its own
    command = [sys.executable, "-m", f"{package}.standins.{name}", "--port", "0"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        started = json.loads(child.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{started['port']}", timeout=30) as client:
            yield client
    finally:
        child.terminate()
        child.wait(10)
