"""What is done to the cluster. Each fault is in place inside its `with`, and fixed after it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from tests.cluster import namespaces
from tests.cluster.jobs import JobWatch
from tests.cluster.laboratory import Laboratory
from tests.cluster.namespaces import HUBS, NODES
from tests.cluster.processes import Ended

CLOCKS_APART = 5.0  # seconds


class Fault(NamedTuple):
    """`seconds`: how long it lasts, beside the time it takes by itself."""

    name: str
    title: str
    seconds: float
    cause: Callable[[Laboratory, JobWatch], AbstractContextManager[None]]


@contextmanager
def kill_primary(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    node = lab.nodes.primary()
    lab.nodes.kill_node(node)
    yield
    lab.nodes.start_node(node)


@contextmanager
def cut_primary_off(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    """From the other nodes, from etcd and from two hubs; the third still reaches it."""
    node = lab.nodes.primary()
    others = [name for name in (*NODES, "e1", "vis", *HUBS[1:]) if name != node]
    namespaces.part(node, others)
    yield
    namespaces.join(node, others)


@contextmanager
def kill_standby(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    """The synchronous one, without which nothing is acknowledged."""
    node = lab.nodes.standby()
    lab.nodes.kill_node(node)
    yield
    lab.nodes.start_node(node)


@contextmanager
def kill_etcd(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    lab.processes.kill("etcd")
    yield
    lab.nodes.start_etcd()


@contextmanager
def kill_hub(lab: Laboratory, jobs: JobWatch) -> Iterator[None]:
    """The one that runs the jobs."""
    hub = jobs.holder() or HUBS[0]
    lab.hubs.kill(hub)
    yield
    lab.hubs.start(hub)


@contextmanager
def cut_hub_off(lab: Laboratory, jobs: JobWatch) -> Iterator[None]:
    """The one that runs the jobs, from all three nodes; visitors still reach it."""
    hub = jobs.holder() or HUBS[0]
    namespaces.part(hub, NODES)
    yield
    namespaces.join(hub, NODES)


@contextmanager
def set_clocks_apart(lab: Laboratory, jobs: JobWatch) -> Iterator[None]:
    """One hub is ahead, one behind; the one that runs the jobs dies, so that another clock takes them over."""
    ahead, behind, right = HUBS
    for hub, clock in ((ahead, CLOCKS_APART / 2), (behind, -CLOCKS_APART / 2)):
        lab.hubs.stop(hub)
        lab.hubs.start(hub, clock=clock)
        lab.hubs.wait_ready(hub)
    lab.hubs.kill(right)
    yield
    lab.hubs.start(right)
    lab.hubs.wait_ready(right)
    for hub in (ahead, behind):
        lab.hubs.stop(hub)
        lab.hubs.start(hub)
        lab.hubs.wait_ready(hub)


@contextmanager
def upgrade(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    """One hub after the other gets the new version; the first of them upgrades the schema under the others."""
    for hub in HUBS:
        lab.hubs.stop(hub)
        lab.hubs.start(hub)
        lab.hubs.wait_ready(hub)
    yield


@contextmanager
def fill_disk(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    node = lab.nodes.primary()
    lab.nodes.fill_disk(node)
    yield
    lab.nodes.clear_disk(node)
    if lab.processes.find(node) is None:
        lab.nodes.start_node(node)


@contextmanager
def switch_over(lab: Laboratory, _jobs: JobWatch) -> Iterator[None]:
    before = lab.nodes.primary()
    lab.nodes.switch()
    yield
    if lab.nodes.primary() == before:
        raise Ended("the switchover left the primary where it was")


FAULTS = (
    Fault("upgrade", "rolling upgrade of hubs and schema", 5, upgrade),
    Fault("switchover", "switchover on purpose", 10, switch_over),
    Fault("primary-killed", "primary killed", 20, kill_primary),
    Fault("primary-cut-off", "primary cut off from all but one hub", 20, cut_primary_off),
    Fault("standby-lost", "synchronous standby lost", 15, kill_standby),
    Fault("etcd-lost", "etcd lost", 15, kill_etcd),
    Fault("disk-full", "disk full on the primary", 20, fill_disk),
    Fault("hub-killed", "a hub killed", 25, kill_hub),
    Fault("clocks-apart", "clocks 5 s apart", 25, set_clocks_apart),
    Fault("hub-cut-off", "a hub cut off from the database for two minutes", 120, cut_hub_off),
)
