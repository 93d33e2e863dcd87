"""Real proxies before a real hub, set up as docs/proxies.md says: visitors, uploads, live events, and a restart."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.conftest import new_postgres
from tests.journeys.deployment import ROOT, Deployment, started_sqlite
from tests.journeys.steps import BROWSER
from tests.journeys.test_serve import campaign
from tests.waiting import free_port, wait_for

pytestmark = pytest.mark.slow

PROGRAMS = {name: os.environ.get(name.upper()) or shutil.which(name, path=f"{os.environ.get('PATH')}:/usr/sbin")
            for name in ("caddy", "haproxy", "nginx")}  # fmt: skip
VISITOR, LIAR = "127.0.0.9", "6.6.6.6"
BESIDE_DOCS = """daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1; user root;
events {{}}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
scgi_temp_path {folder}/s; uwsgi_temp_path {folder}/u;
{docs}
}}"""


class HeldHub(Deployment):
    """One whose address is held by systemd, whose part we take: it waits while the hub is restarted."""

    forked = False

    def hold(self) -> None:
        self._address = socket.create_server(("127.0.0.1", self.port), backlog=4096)

    def let_go(self) -> None:
        self._address.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def _begin(self, *words: str, out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes]:
        number = self._address.fileno()
        handed = f'exec 3<&{number}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        return subprocess.Popen(
            ["bash", "-c", handed, "systemd", sys.executable, "-m", "hub", *words],
            cwd=self.folder, env=self.environment, stdout=out, stderr=err, pass_fds=(number,),
        )  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HeldHub]:
    hub = HeldHub(started_sqlite(tmp_path), tmp_path, STORE_IP_PREFIX="1", LIMIT_ADDRESS="0")
    hub.hold()
    try:
        hub.start()
        campaign(hub)
        yield hub
    finally:
        hub.let_go()


def block(language: str) -> str:
    """The sample of that language in docs/proxies.md."""
    text = (ROOT / "docs/proxies.md").read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def configured(name: str, folder: Path, port: int, hub_port: int) -> list[str]:
    """The documentation's configuration on a plain port, and the command that runs it."""
    address, file = f"127.0.0.1:{port}", folder / f"{name}.conf"
    if name == "caddy":
        text = (ROOT / "Caddyfile").read_text(encoding="utf-8").replace("{\n", "{\n\tadmin off\n", 1)
        text = re.sub(r"\ttls \{.*?\n\t\}\n", "", text, flags=re.S).replace("https:// {", f"http://:{port} {{")
        command = ["run", "--config", str(file), "--adapter", "caddyfile"]
    elif name == "haproxy":
        text = re.sub(r"bind .*", f"bind {address}", block("haproxy"))
        command = ["-db", "-f", str(file)]
    else:
        docs = re.sub(r"listen .*", f"listen {address};", re.sub(r"ssl_.*\n", "", block("nginx")))
        text = BESIDE_DOCS.format(folder=folder, docs=docs)
        command = ["-c", str(file)]
    file.write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{hub_port}"), encoding="utf-8")
    return [str(PROGRAMS[name]), *command]


@contextmanager
def proxied(name: str, folder: Path, hub: Deployment) -> Iterator[str]:
    """The proxy's address."""
    port = free_port()
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(configured(name, folder, port, hub.port), env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(url), name, told=(folder / "proxy.log").read_text)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


class Visitors(threading.Thread):
    """Click through the proxy until they are stopped, on one connection or with a new one each time."""

    def __init__(self, url: str, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self.url, self.keep = url, keep
        self.statuses: Counter[int | str] = Counter()
        self.stopped = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, headers={"user-agent": BROWSER}, timeout=60) as client:
            while not self.stopped.wait(0.01):
                headers = {} if self.keep else {"connection": "close"}
                try:
                    self.statuses[client.get("/c/c", headers=headers).status_code] += 1
                except httpx.HTTPError as error:
                    self.statuses[type(error).__name__] += 1


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_hub_behind_the_proxy_of_the_documentation(name: str, hub: HeldHub, tmp_path: Path) -> None:
    if PROGRAMS[name] is None:
        pytest.skip(f"{name} is not installed (or name it in {name.upper()})")
    with proxied(name, tmp_path, hub) as url:
        headers = {"user-agent": BROWSER, "x-forwarded-for": LIAR, "authorization": f"Bearer {hub.token}"}
        transport = httpx.HTTPTransport(local_address=VISITOR)
        with httpx.Client(base_url=url, headers=headers, timeout=60, transport=transport) as visitor:
            assert visitor.get("/c/c").status_code == 302
            assert visitor.head("/c/c").status_code == 302
            wait_for(lambda: prefixes(hub) == {"127.0.0.0/24"}, "the visitor's own address")
            large = visitor.post("/api/v1/campaign/edit", json={"campaign": "c", "note": "x" * 15_000_000})
            assert (large.status_code, large.json()["field"]) == (400, "note")
            assert visitor.post("/api/v1/campaign/edit", json={"note": "x" * 40_000_000}).status_code == 413
        with httpx.Client(base_url=url, timeout=60) as person:
            assert person.post("/cockpit/sign-in", data={"token": hub.token}).status_code == 303
            with person.stream("GET", "/cockpit/events", headers={"accept-encoding": "gzip, br, zstd"}) as live:
                assert next(line for line in live.iter_lines() if line.startswith("data: {"))
        crowd = [Visitors(url, keep=n < 4) for n in range(6)]
        for visitor_thread in crowd:
            visitor_thread.start()
        wait_for(lambda: all(each.statuses[302] > 20 for each in crowd), "clicks")
        assert hub.stop() == 0
        hub.start()
        before = [each.statuses[302] for each in crowd]
        wait_for(lambda: all(each.statuses[302] > n + 20 for each, n in zip(crowd, before, strict=True)), "clicks")
        for each in crowd:
            each.stopped.set()
            each.join(60)
        assert {status for each in crowd for status in each.statuses} == {302}


def test_workers_share_an_address_that_systemd_holds(postgres: str, started_postgres: str, tmp_path: Path) -> None:
    with new_postgres(postgres, started_postgres) as url:
        hub = HeldHub(url, tmp_path, LIMIT_ADDRESS="0")
        hub.hold()
        try:
            hub.start("--workers", "2")
            campaign(hub)
            crowd = [Visitors(hub.url, keep=False) for _ in range(4)]
            for visitor in crowd:
                visitor.start()
            wait_for(lambda: all(each.statuses[302] > 20 for each in crowd), "clicks", told=hub.log)
            assert hub.stop() == 0
            hub.start("--workers", "2")
            before = [each.statuses[302] for each in crowd]
            wait_for(lambda: all(each.statuses[302] > n + 20 for each, n in zip(crowd, before, strict=True)), "clicks")
            for each in crowd:
                each.stopped.set()
                each.join(60)
            assert not any(each.statuses["ConnectError"] for each in crowd)
        finally:
            hub.let_go()


def prefixes(hub: Deployment) -> set[str]:
    with sqlite3.connect(hub.settings["DATABASE_URL"].partition("///")[2]) as database:
        return {row[0] for row in database.execute("SELECT ip_prefix FROM clicks")}
