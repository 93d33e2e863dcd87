"""The network of the laboratory: a namespace for each machine, all on one bridge, with no way out.

The bridge lies in a namespace of its own, so that the network of the machine underneath is never touched.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterable

NAME = os.environ.get("CLUSTER", "cfl")  # laboratories of different names stand side by side
PREFIX = f"{NAME}-"
SWITCH = f"{PREFIX}sw"
PASSIVE = "02:00:00:00:00:fe"  # a hardware address that no machine has: what is sent to it is lost without a word
_CLONE_NEWNET = 0x40000000

#: Name → address: database nodes, etcd, hubs, load balancer, the outside world, visitors, the operator.
MACHINES = {
    "n1": "10.77.0.11", "n2": "10.77.0.12", "n3": "10.77.0.13", "e1": "10.77.0.31",
    "h1": "10.77.0.21", "h2": "10.77.0.22", "h3": "10.77.0.23", "lb": "10.77.0.10",
    "out": "10.77.0.41", "vis": "10.77.0.51", "op": "10.77.0.61",
}  # fmt: skip
NODES = ("n1", "n2", "n3")
HUBS = ("h1", "h2", "h3")


def ip(*words: str, check: bool = True) -> str:
    """Run `ip`; what it prints. Raises RuntimeError with its message."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def existing() -> list[str]:
    """The namespaces of a laboratory that stands."""
    names = [line.split()[0] for line in ip("netns", "list").splitlines() if line]
    return [name for name in names if name.startswith(PREFIX)]


def connect() -> None:
    """Make every machine's namespace and join it to the bridge."""
    ip("netns", "add", SWITCH)
    ip("-n", SWITCH, "link", "set", "lo", "up")
    ip("-n", SWITCH, "link", "add", "br0", "type", "bridge")
    ip("-n", SWITCH, "link", "set", "br0", "up")
    for name, address in MACHINES.items():
        space = PREFIX + name
        ip("netns", "add", space)
        ip("-n", SWITCH, "link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", SWITCH, "link", "set", f"p-{name}", "master", "br0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")


def remove() -> None:
    """Remove all namespaces; interfaces and bridge go with them."""
    for name in existing():
        ip("netns", "del", name, check=False)


def enter(name: str) -> None:
    """Move this process into a machine's network; call it before any thread is started."""
    descriptor = os.open(f"/run/netns/{PREFIX}{name}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace of {name}")
    finally:
        os.close(descriptor)


def inside(name: str, command: Iterable[str]) -> list[str]:
    """A command as it is run on a machine."""
    return ["nsenter", f"--net=/run/netns/{PREFIX}{name}", *command]


def part(first: str, others: Iterable[str]) -> None:
    """Lose silently all that `first` and each of the others send each other: no refusal, no reset."""
    for other in others:
        _lose(first, other)
        _lose(other, first)


def join(first: str, others: Iterable[str]) -> None:
    """Undo `part`."""
    for other in others:
        for one, two in ((first, other), (other, first)):
            ip("-n", PREFIX + one, "neigh", "del", MACHINES[two], "dev", "eth0", check=False)


def _lose(sender: str, receiver: str) -> None:
    ip("-n", PREFIX + sender, "neigh", "replace", MACHINES[receiver], "lladdr", PASSIVE, "dev", "eth0",
       "nud", "permanent")  # fmt: skip
