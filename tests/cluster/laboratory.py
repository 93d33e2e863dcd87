"""The laboratory as a whole: set up, used, taken down."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.cluster import namespaces
from tests.cluster.hubs import PUBLIC_URL, Balancer, Hubs, older_code, outside, start_standins
from tests.cluster.namespaces import HUBS, MACHINES, NODES
from tests.cluster.nodes import APP, Nodes
from tests.cluster.processes import FOLDER, Processes, wait_for
from tests.journeys.deployment import ROOT

ROWS = "laboratory"  # the database of the load's own rows


class Campaign(msgspec.Struct, frozen=True):
    """What the load uses: the tracking link, the postback address, a token for the API."""

    link: str
    postback: str
    token: str


class State(msgspec.Struct):
    """What another run has to know of a laboratory that stands."""

    database: str
    campaign: Campaign


class Laboratory:
    """Everything together. Construct it inside the operator's network (`namespaces.enter`)."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.processes = Processes(folder)
        self.nodes = Nodes(self.processes)
        self.hubs = Hubs(self.processes)
        self.balancer = Balancer(self.processes)
        self._campaign: Campaign | None = None

    def set_up(self) -> None:
        """From nothing to three hubs on three nodes that are in step."""
        self.nodes.start()
        self.balancer.start()
        start_standins(self.processes)
        wait_for(self.nodes.primary, "a primary", seconds=90)
        self._make_rows()
        self.nodes.create_database(self.hubs.database)
        self.start_hubs()
        self.nodes.wait_healthy()

    def _make_rows(self) -> None:
        wait_for(self._app_known, "the hubs' own user of the database")
        self.nodes.create_database(ROWS)
        self.nodes.query(ROWS, "CREATE TABLE written (key text PRIMARY KEY)")
        self.nodes.query(ROWS, f"GRANT INSERT ON written TO {APP[0]}")

    def _app_known(self) -> bool:
        return bool(self.nodes.query("postgres", "SELECT 1 FROM pg_roles WHERE rolname = $1", APP[0]))

    def start_hubs(self) -> None:
        """The first makes the schema, the others follow at once; then what the load needs is set up."""
        first, *others = HUBS
        self.hubs.start(first)
        self.hubs.wait_ready(first)
        for hub in others:
            self.hubs.start(hub)
        for hub in others:
            self.hubs.wait_ready(hub)
        self._campaign = self._configure()
        self._keep(State(self.hubs.database, self._campaign))

    def change_to_older_code(self) -> str:
        """Have all hubs run the version before the newest migration, on a database of its own; its commit, or ""."""
        name = f"older{int(time.time())}"
        commit = older_code(self.folder / name)
        if commit:
            for hub in HUBS:
                self.hubs.stop(hub)
            self.hubs.code, self.hubs.database = self.folder / name, name
            self.nodes.create_database(name)
            self.start_hubs()
            self.hubs.code = ROOT
        return commit

    @property
    def campaign(self) -> Campaign:
        """What the load uses. Raises RuntimeError if nothing stands."""
        if self._campaign is None:
            path = self.folder / "state.json"
            if not path.exists():
                raise RuntimeError("no laboratory stands: make cluster")
            state = msgspec.json.decode(path.read_bytes(), type=State)
            self._campaign, self.hubs.database = state.campaign, state.database
        return self._campaign

    def _keep(self, state: State) -> None:
        (self.folder / "state.json").write_bytes(msgspec.json.encode(state))

    def call(self, path: str, **arguments: Any) -> Any:
        """A command over HTTP through the load balancer, its result. Raises RuntimeError with what was answered."""
        answer = httpx.post(
            f"{PUBLIC_URL}/api/v1/{path}", json=arguments, timeout=30,
            headers={"authorization": f"Bearer {self.campaign.token}"},
        )  # fmt: skip
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def read(self, path: str, **query: Any) -> Any:
        """The same for a command that only reads."""
        headers = {"authorization": f"Bearer {self.campaign.token}"}
        answer = httpx.get(f"{PUBLIC_URL}/api/v1/{path}", params=query, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def _configure(self) -> Campaign:
        made = msgspec.json.decode(self.hubs.shell("run", "token", "create", "name=cluster", "role=owner", "--json"))
        self._campaign = Campaign("", "", made["token"])
        source = outside("traffic_source")
        self.call("account/add", platform="affilka", name="affilka-main", base_url=outside("affilka"),
                  token="demo-statistic-token", timezone="UTC", currency="EUR")  # fmt: skip
        self.call("offer/add", casino="Lucky Star", account="affilka-main", tag="spring",
                  url="https://lucky-star.example.test/land?s={click_id}")  # fmt: skip
        self.call("source/add", name="PushNet", registration=source + "/conversion?cid={source_click_id}&e=reg")
        campaign = self.call("campaign/create", name="Cluster", offers=["lucky-star-spring"], source="pushnet",
                             cost_model="link")  # fmt: skip
        address = self.call("postback/url", account="affilka-main")["url"].partition("?")[0]
        return Campaign(campaign["url"], address, made["token"])

    def ready(self) -> bool:
        """Whether every hub writes into the database and nothing waits outside it."""
        return all(self.hubs.ready(hub) for hub in HUBS)

    def wait_whole(self, seconds: float = 120) -> None:
        """Nodes in step, hubs drained. Raises Ended."""
        self.nodes.wait_healthy(seconds)
        wait_for(self.ready, "all hubs to be ready", seconds=seconds)


def build(folder: Path = FOLDER) -> Laboratory:
    """Make the networks, enter the operator's, set everything up."""
    if namespaces.existing():
        raise RuntimeError("a laboratory stands already: make cluster-down")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    namespaces.connect()
    namespaces.enter("op")
    laboratory = Laboratory(folder)
    laboratory.set_up()
    return laboratory


def attach(folder: Path = FOLDER) -> Laboratory:
    """The one that stands. Raises RuntimeError if there is none."""
    if not namespaces.existing():
        raise RuntimeError("no laboratory stands: make cluster")
    namespaces.enter("op")
    laboratory = Laboratory(folder)
    _ = laboratory.campaign
    return laboratory


def take_down(folder: Path = FOLDER) -> None:
    """End every program, unmount, remove the networks and the folder."""
    processes = Processes(folder)
    nodes = Nodes(processes)
    if folder.exists():
        for node in NODES:
            nodes.kill_node(node)
        processes.stop_all()
        nodes.unmount()
        shutil.rmtree(folder)
    namespaces.remove()


def addresses() -> str:
    """Where things are, for whoever looks around."""
    shown = ", ".join(f"{name} {address}" for name, address in MACHINES.items())
    return f"{shown}\nhubs behind {PUBLIC_URL}, from inside: ip netns exec {namespaces.PREFIX}op …, folder {FOLDER}"
