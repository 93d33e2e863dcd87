"""A deployment as its owner runs it: `casinoflux serve` as a process, spoken to over HTTP and the shell."""

import asyncio
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec

import bot.commands  # noqa: F401  registers every command
from bot.core.command import parse, parse_words
from bot.core.command import run as run_command
from hub.cli.cli import read_word
from hub.cli.shell_context import shell_context
from hub.runtime import boot
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.catalogue import teams
from tests.journeys.forked import ForkedProcess, fork
from tests.waiting import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400
SECRET_KEY = "journey-secret-key"


class Deployment:
    """One database and the process on it; `days` shifts its clock, a restart applies it."""

    forked = sys.platform == "linux"  # instead of started; see tests.journeys.forked

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.days = 0
        self.settings = {
            "DATABASE_URL": database_url,
            "SECRET_KEY": SECRET_KEY,
            "PUBLIC_URL": self.url,
            "ALLOW_PRIVATE_HOSTS": "1",
            "TRUSTED_PROXIES": "127.0.0.1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.token = ""
        self.http = httpx.Client(base_url=self.url, timeout=120)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CASINOFLUX_")}
        ours = {f"CASINOFLUX_{name}": value for name, value in self.settings.items()}
        return {**clean, **ours, "CASINOFLUX_CLOCK_OFFSET": str(self.days * DAY), "PYTHONPATH": str(ROOT)}

    def start(self, *arguments: str, away: bool = False) -> None:
        """Start serving and wait until it is ready; `away`: until it serves without its database."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = self._begin("serve", "--port", str(self.port), *arguments, out=log, err=log)
        wait_for(self._serves_away if away else self._ready, "the hub to be ready", told=self.log)
        if not self.token:
            self.token = self.run("token", "create", "name=journey", "role=owner")["token"]

    def _ready(self) -> bool:
        answer = self._readiness()
        return answer is not None and answer.status_code == 200

    def _serves_away(self) -> bool:
        answer = self._readiness()
        return answer is not None and "plans_of" in answer.json()

    def _readiness(self) -> httpx.Response | None:
        assert self.process is not None
        assert self.process.poll() is None, f"serve ended early:\n{self.log()}"
        try:
            return self.http.get("/readyz")
        except httpx.HTTPError:
            return None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def a_day_later(self, days: int = 1) -> None:
        """Stop, move the clock, start."""
        assert self.stop() == 0, self.log()
        self.days += days
        self.start()

    def log(self) -> str:
        return (self.folder / "serve.log").read_text(errors="replace")[-6000:]

    def run(self, *words: str) -> Any:
        """A command as the shell runs it (`--team`, a code, the words), without a process for it: its struct."""
        return on_a_loop(_run(self.environment, self.folder, words))

    def shell(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._begin(*words, out=out, err=err)
            try:
                code = process.wait(300)
            finally:
                process.kill()
            texts = [_text(file) for file in (out, err)]
        return subprocess.CompletedProcess(words, code, *texts)

    def _begin(self, *words: str, out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes] | ForkedProcess:
        if self.forked:
            files = {"out": out.fileno(), "err": err.fileno()}
            return fork(list(words), folder=self.folder, environment=self.environment, **files)
        command = [sys.executable, "-m", "hub", *words]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=out, stderr=err)

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

        def told() -> str:
            return f"{self.get('sync/status', account=account)}, asked for at {request}\n{self.log()}"

        return wait_for(done, f"the sync of {account}", told=told)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def on_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop in a thread: the caller's thread may have one (Playwright's has)."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@asynccontextmanager
async def _prepared(environment: dict[str, str], folder: Path) -> AsyncIterator[Runtime]:
    runtime = boot.new_runtime(read_settings(environment, folder))
    try:
        await boot.prepare(runtime)
        yield runtime
    finally:
        await runtime.database.close()


async def _run(environment: dict[str, str], folder: Path, words: tuple[str, ...]) -> Any:
    async with _prepared(environment, folder) as runtime:
        if words[0] == "--team":
            async with runtime.database.read() as tx:
                runtime.team_id = (await teams.find(tx, words[1])).id
            words = words[2:]
        command, fields = parse(words[0]) if len(words) == 1 else parse_words([read_word(word) for word in words])
        answer = await run_command(command, fields, shell_context(runtime))
    return msgspec.json.decode(msgspec.json.encode(answer.result))


def start_once(url: str) -> None:
    """Bring an empty database to what a hub makes of it when it starts: tables, first team, exchange rates."""

    async def work() -> None:
        environment = {"CASINOFLUX_DATABASE_URL": url, "CASINOFLUX_SECRET_KEY": SECRET_KEY}
        async with _prepared(environment, Path(tempfile.gettempdir())):
            pass

    on_a_loop(work())


@cache
def _started_sqlite() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cf-started-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    start_once(f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}")
    return folder / "casinoflux.db"


def started_sqlite(folder: Path) -> str:
    """The URL of a SQLite file in the folder on which a hub has been started before: a copy, made in no time."""
    return f"sqlite+aiosqlite:///{shutil.copy(_started_sqlite(), folder / 'casinoflux.db')}"


@contextmanager
def standin(name: str) -> Iterator[httpx.Client]:
    """A stand-in server as a process; a client for it."""
    package = "hub.cli" if name in {"affilka", "traffic_source"} else "tests"  # the demo has two of its own
    command = [sys.executable, "-m", f"{package}.standins.{name}", "--port", "0"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        started = json.loads(child.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{started['port']}", timeout=60) as client:
            yield client
    finally:
        child.terminate()
        child.wait(60)
