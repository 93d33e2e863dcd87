"""What the laboratory needs of the machine underneath."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.processes import PATH

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

NAMESPACES = "the right to make network namespaces and to mount file systems in memory"

#: Package of Debian 12 → a file of it.
PACKAGES = {
    "patroni": "/usr/bin/patroni", "python3-etcd": "/usr/lib/python3/dist-packages/etcd/__init__.py",
    "python3-psycopg2": "/usr/lib/python3/dist-packages/psycopg2/__init__.py", "etcd-server": "/usr/bin/etcd",
    "postgresql-15": "/usr/lib/postgresql/15/bin/postgres", "haproxy": "/usr/sbin/haproxy",
    "iproute2": "/usr/sbin/ip", "util-linux": "/usr/bin/nsenter", "libfaketime": str(FAKETIME),
}  # fmt: skip


def missing() -> list[str]:
    """What is not there, in words; empty if the laboratory can be built. Installs packages where it may."""
    if os.geteuid():
        return ["root: it makes network namespaces"]
    if shutil.which("ip", path=PATH) and not _may_make_namespaces():
        return [NAMESPACES]
    if _lacking() and shutil.which("apt-get", path=PATH):
        _install(_lacking())
    lacks = [f"the package {name}" for name in _lacking()]
    return lacks or ([] if _may_make_namespaces() else [NAMESPACES])


def _lacking() -> list[str]:
    return [name for name, file in PACKAGES.items() if not Path(file).exists()]


def _install(packages: list[str]) -> None:
    """Install without starting a service: neither PostgreSQL nor HAProxy is to run on the machine itself."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        print(f"installing {', '.join(packages)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
        words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        subprocess.run(words, env=environment, check=False, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            policy.unlink()


def _may_make_namespaces() -> bool:
    name, place = f"cfl-probe-{os.getpid()}", tempfile.mkdtemp(prefix="cfl-probe-")
    made = _succeeds("ip", "netns", "add", name)
    mounted = _succeeds("mount", "-t", "tmpfs", "-o", "size=1m", "casinoflux-probe", place)
    if made:
        _succeeds("ip", "netns", "del", name)
    if mounted:
        _succeeds("umount", place)
    Path(place).rmdir()
    return made and mounted


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, env={"PATH": PATH}, check=False).returncode == 0
