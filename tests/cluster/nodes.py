"""Three PostgreSQL servers under Patroni with synchronous replication, and the etcd that Patroni decides with.

etcd has a machine of its own: beside the databases, a node that is cut off goes on reading that it is the leader.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from tests.cluster.namespaces import MACHINES, NODES
from tests.cluster.processes import Ended, Processes, kill_family, wait_for

BIN = Path("/usr/lib/postgresql/15/bin")
SIZE = "900m"  # of a node's file system, which is in memory: small enough to be filled
SUPERUSER, APP = ("postgres", "su"), ("app", "app")
REPLICATION, REWIND = ("repl", "repl"), ("rewind", "rewind")

#: A killed leader's key expires after `ttl` seconds; read once, when the cluster is made.
CONSENSUS: dict[str, Any] = {
    "ttl": 5, "loop_wait": 1, "retry_timeout": 2, "maximum_lag_on_failover": 1 << 20, "master_start_timeout": 0,
    "synchronous_mode": True,
}  # fmt: skip
PARAMETERS = {
    "max_connections": 120, "shared_buffers": "32MB", "wal_log_hints": "on", "hot_standby": "on", "max_wal_senders": 6,
    "max_replication_slots": 6, "wal_keep_size": "64MB", "max_wal_size": "256MB", "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s", "wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "500ms",
    "tcp_keepalives_idle": 2, "tcp_keepalives_interval": 1, "tcp_keepalives_count": 3, "tcp_user_timeout": "5s",
}  # fmt: skip


def database_url(name: str, hosts: tuple[str, ...] = NODES) -> str:
    """The URL of a database as a hub is given it: all nodes, whichever is the primary."""
    places = ",".join(f"{MACHINES[node]}:5432" for node in hosts)
    return f"postgresql://{APP[0]}:{APP[1]}@{places}/{name}"


class Nodes:
    """The database cluster."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.folder = processes.folder

    def start(self) -> None:
        """etcd, then all three nodes at once; which of them becomes the primary is theirs to decide."""
        self.start_etcd()
        for node in NODES:
            self._make_disk(node)
            self._write_settings(node)
            self.start_node(node)

    def start_etcd(self) -> None:
        peer, client = (f"http://{MACHINES['e1']}:{port}" for port in (2380, 2379))
        command = [
            "/usr/bin/etcd", "--name", "e1", "--data-dir", str(self.folder / "e1"), "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
            "--initial-cluster", f"e1={peer}", "--initial-cluster-state", "new", "--heartbeat-interval", "100",
            "--election-timeout", "1000", "--logger", "zap", "--log-outputs", "stderr",
        ]  # fmt: skip
        self._processes.start("etcd", "e1", command)

    def _make_disk(self, node: str) -> None:
        place = self.folder / node
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "casinoflux-cluster", str(place)]
        subprocess.run(words, check=True)
        shutil.chown(place, "postgres", "postgres")

    def unmount(self) -> None:
        for node in NODES:
            if (self.folder / node).is_mount():
                subprocess.run(["umount", str(self.folder / node)], check=True)

    def _write_settings(self, node: str) -> None:
        path = self.folder / f"{node}.yml"
        path.write_text(json.dumps(self._settings(node)))
        shutil.chown(path, "postgres")
        path.chmod(0o600)

    def _settings(self, node: str) -> dict[str, Any]:
        address, place = MACHINES[node], self.folder / node
        replication = {"use_pg_rewind": True, "use_slots": True, "remove_data_directory_on_rewind_failure": True,
                       "remove_data_directory_on_diverged_timelines": True, "parameters": PARAMETERS}  # fmt: skip
        network = "10.77.0.0/24 scram-sha-256"
        logins = {"superuser": SUPERUSER, "replication": REPLICATION, "rewind": REWIND}
        return {
            "scope": "cf", "namespace": "/lab/", "name": node,
            "restapi": {"listen": f"{address}:8008", "connect_address": f"{address}:8008"},
            "etcd3": {"hosts": f"{MACHINES['e1']}:2379"},
            "bootstrap": {
                "dcs": {**CONSENSUS, "postgresql": replication},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
                "pg_hba": ["local all all trust", f"host replication {REPLICATION[0]} {network}",
                           "host all all 127.0.0.1/32 scram-sha-256", f"host all all {network}"],
                "users": {APP[0]: {"password": APP[1], "options": ["createdb"]}},
            },
            "postgresql": {
                "listen": f"{address},127.0.0.1:5432", "connect_address": f"{address}:5432",
                "data_dir": str(place / "data"), "bin_dir": str(BIN), "pgpass": str(place / "pgpass"),
                "authentication": {role: {"username": name, "password": word} for role, (name, word) in logins.items()},
                "parameters": {"unix_socket_directories": str(place)},
                "basebackup": [{"checkpoint": "fast"}],  # else a new standby waits for the primary's next checkpoint
            },
            "watchdog": {"mode": "off"},
        }  # fmt: skip

    def start_node(self, node: str) -> None:
        command = ["/usr/bin/patroni", str(self.folder / f"{node}.yml")]
        self._processes.start(node, node, command, user="postgres", folder=self.folder / node)

    def kill_node(self, node: str) -> None:
        """Patroni first, else it would start PostgreSQL again; then the server with all its children."""
        self._processes.kill(node)
        lock = self.folder / node / "data" / "postmaster.pid"
        if lock.exists():
            pid = int(lock.read_text().split()[0])
            if psutil.pid_exists(pid):
                kill_family(psutil.Process(pid))

    def members(self) -> dict[str, dict[str, Any]]:
        """What Patroni says of each node: role, state, timeline, lag; empty while no node answers."""
        for node in NODES:
            try:
                answer = httpx.get(f"http://{MACHINES[node]}:8008/cluster", timeout=1)
                return {member["name"]: member for member in answer.json()["members"]}
            except (httpx.HTTPError, ValueError):
                continue
        return {}

    def primary(self) -> str:
        """The node that holds the leader's lock; empty while none answers that it does."""
        for node in NODES:
            try:
                if httpx.get(f"http://{MACHINES[node]}:8008/primary", timeout=1).status_code == 200:
                    return node
            except httpx.HTTPError:
                continue
        return ""

    def standby(self, role: str = "sync_standby") -> str:
        """A node of this role: `sync_standby`, or `replica`."""
        return next(name for name, member in self.members().items() if member["role"] == role)

    def healthy(self) -> bool:
        """One leader, one synchronous standby, all running, in step, on one timeline."""
        members = self.members().values()
        roles = sorted(member["role"] for member in members)
        timelines = {member.get("timeline") for member in members}
        return (
            roles == ["leader", "replica", "sync_standby"]
            and all(member["state"] in {"running", "streaming"} for member in members)
            and all(not member.get("lag") for member in members)
            and len(timelines) == 1
        )

    def wait_healthy(self, seconds: float = 90) -> None:
        try:
            wait_for(self.healthy, "the nodes to be in step", seconds=seconds, pause=0.5)
        except Ended as error:
            raise Ended(f"{error}: {self.members()}") from None

    def query(self, database: str, statement: str, *values: Any) -> list[Any]:
        """Run a statement on the primary as its superuser; the rows."""

        async def ask() -> list[Any]:
            user, password = SUPERUSER
            connection = await asyncpg.connect(
                host=MACHINES[self.primary()], user=user, password=password, database=database, timeout=5
            )
            try:
                return list(await connection.fetch(statement, *values))
            finally:
                await connection.close()

        return asyncio.run(ask())

    def create_database(self, name: str) -> None:
        """An empty database of the hubs' own user."""
        self.query("postgres", f'CREATE DATABASE "{name}" OWNER {APP[0]}')

    def switch(self) -> None:
        """Ask Patroni to hand the primary's part to the synchronous standby."""
        primary = self.primary()
        answer = httpx.post(f"http://{MACHINES[primary]}:8008/switchover", json={"leader": primary}, timeout=60)
        answer.raise_for_status()

    def fill_disk(self, node: str) -> None:
        """Leave not a byte on a node's file system."""
        place = self.folder / node
        size, chunk = 0, os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
        with (place / "filler").open("wb") as file:
            while chunk >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, chunk)
                    size += chunk
                except OSError:  # PostgreSQL was faster
                    chunk //= 2

    def clear_disk(self, node: str) -> None:
        (self.folder / node / "filler").unlink(missing_ok=True)
