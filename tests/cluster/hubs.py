"""Three hubs as their owner runs them, and the load balancer in front."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.cluster.namespaces import HUBS, MACHINES
from tests.cluster.nodes import database_url
from tests.cluster.processes import Processes, wait_for
from tests.cluster.requirements import FAKETIME
from tests.journeys.deployment import ROOT
from tests.standins.telegram import TOKEN

PORT = 8000
PUBLIC_URL = f"http://{MACHINES['lb']}:{PORT}"
OUTSIDE = {"affilka": 8101, "traffic_source": 8102, "slack": 8103, "telegram": 8104}

#: `/healthz`, not `/readyz`: a hub whose database is unavailable still answers clicks and postbacks.
BALANCER = """
global
  stats socket {folder}/lb.sock mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout check 1s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
frontend public
  bind {address}:{port}
  default_backend hubs
backend hubs
  balance roundrobin
  option httpchk
  http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host hub
  http-check expect status 200
  default-server inter 500ms fall 2 rise 1
{servers}
"""


def outside(name: str) -> str:
    """The address of a stand-in."""
    return f"http://{MACHINES['out']}:{OUTSIDE[name]}"


class Hubs:
    """The hubs on one database. `code`: the source tree they run from; an older one has an older schema."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.folder = processes.folder
        self.database = "hub"
        self.code = ROOT

    def settings(self) -> dict[str, str]:
        values = {
            "DATABASE_URL": database_url(self.database), "SECRET_KEY": "cluster-secret-key", "PUBLIC_URL": PUBLIC_URL,
            "ALLOW_PRIVATE_HOSTS": "1", "TRUSTED_PROXIES": MACHINES["lb"], "LIMIT_ADDRESS": "0", "LIMIT_TOKEN": "0",
            "SLACK_BOT_TOKEN": "xoxb-stand-in", "SLACK_SIGNING_SECRET": "stand-in-signing-secret",
            "SLACK_API_URL": f"{outside('slack')}/api/", "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_WEBHOOK_SECRET": "hook",
            "TELEGRAM_API_URL": f"{outside('telegram')}/bot", "TELEGRAM_FILE_URL": f"{outside('telegram')}/file/bot",
        }  # fmt: skip
        return {f"CASINOFLUX_{name}": value for name, value in values.items()}

    def environment(self, clock: float = 0) -> dict[str, str]:
        """`clock`: seconds that the hub's clock is ahead (faketime: the whole process sees it, timers excepted)."""
        shifted = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{clock:+g}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return {"PYTHONPATH": str(self.code), **self.settings(), **(shifted if clock else {})}

    def start(self, hub: str, *, clock: float = 0) -> None:
        place = self.folder / hub / self.database
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hub", "serve", "--host", MACHINES[hub], "--port", str(PORT)]
        self._processes.start(hub, hub, command, environment=self.environment(clock), folder=place)

    def stop(self, hub: str) -> None:
        self._processes.stop(hub)

    def kill(self, hub: str) -> None:
        self._processes.kill(hub)

    def born(self, hub: str) -> float:
        """When the hub's process was started, as seconds since 1970; 0 while it does not run."""
        process = self._processes.find(hub)
        return process.create_time() if process else 0.0

    def ready(self, hub: str) -> bool:
        """Whether requests go into the database: nothing waits outside it."""
        try:
            return httpx.get(f"http://{MACHINES[hub]}:{PORT}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, hub: str, seconds: float = 90) -> None:
        def ask() -> bool:
            if self._processes.find(hub) is None:
                raise RuntimeError(f"{hub} ended: {self._processes.log(hub)}")
            return self.ready(hub)

        wait_for(ask, f"{hub} to be ready", seconds=seconds)

    def metrics(self, hub: str) -> dict[str, float]:
        """What a hub measures; empty while it does not answer within a second."""
        try:
            text = httpx.get(f"http://{MACHINES[hub]}:{PORT}/metrics", timeout=1).text
        except httpx.HTTPError:
            return {}
        pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def shell(self, *words: str) -> str:
        """A command of `casinoflux` on the operator's machine; what it prints. Raises RuntimeError if it fails."""
        place = self.folder / "op"
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "hub", *words], cwd=place, env={**os.environ, **self.environment()},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout


class Balancer:
    """HAProxy before the hubs."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._folder = processes.folder

    def start(self) -> None:
        servers = "\n".join(f"  server {hub} {MACHINES[hub]}:{PORT} check" for hub in HUBS)
        settings = self._folder / "haproxy.cfg"
        text = BALANCER.format(folder=self._folder, address=MACHINES["lb"], port=PORT, servers=servers)
        settings.write_text(text)
        self._processes.start("lb", "lb", ["/usr/sbin/haproxy", "-db", "-f", str(settings)])

    def say(self, words: str) -> str:
        """A word to HAProxy's control socket, its answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(str(self._folder / "lb.sock"))
            control.sendall(f"{words}\n".encode())
            return control.makefile().read()


def start_standins(processes: Processes) -> None:
    """A platform, a traffic source and both chats, outside."""
    environment = {"PYTHONPATH": str(ROOT)}
    for name, port in OUTSIDE.items():
        package = "hub.cli" if name in {"affilka", "traffic_source"} else "tests"
        command = [sys.executable, "-m", f"{package}.standins.{name}", "--host", MACHINES["out"], "--port", str(port)]
        processes.start(name, "out", command, environment=environment)


VERSIONS = "storage/migrations/versions"


def older_code(target: Path) -> str:
    """The source of the latest version whose schema is older than today's, unpacked into `target`; its commit.

    Empty where the project's history is not there (a package, a shallow clone).
    """
    names = {path.name for path in (ROOT / VERSIONS).glob("[0-9]*.py")}
    for commit in _git("log", "--format=%H", "--", VERSIONS, "storage/db/schema.py").split():
        head = re.search(r'^HEAD = "(\d+)"', _git("show", f"{commit}:storage/db/schema.py"), re.MULTILINE)
        listed = _git("ls-tree", "--name-only", commit, f"{VERSIONS}/").split()
        there = {Path(name).name for name in listed} & names
        if head and there < names and there == {name for name in names if name[:4] <= head[1]}:
            target.mkdir(parents=True)
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
            subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)
            return commit
    return ""


def _git(*words: str) -> str:
    """What a git command prints; nothing if it fails."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout
