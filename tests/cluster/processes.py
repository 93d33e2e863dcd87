"""The programs of the laboratory: started on a machine, remembered in a file, ended by their own process id only."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.namespaces import NAME, inside

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # Patroni runs with the system's own Python
FOLDER = Path("/tmp") / f"casinoflux-cluster-{NAME}"


class Ended(RuntimeError):
    """A program ended by itself, or did not do what was waited for."""


class Processes:
    """Programs by name. Their ids and birthdays outlive this process, so that another one can end them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._file = folder / "processes.json"

    def _known(self) -> dict[str, list[float]]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}

    def start(
        self, name: str, machine: str, command: Sequence[str], *, user: str = "",
        environment: Mapping[str, str] | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        """Run a program on a machine in a session of its own; its output goes to `log/NAME`."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        log = self.folder / "log" / name
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                inside(machine, [*as_user, *command]), cwd=folder or self.folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
            )  # fmt: skip
        _favour(child.pid)
        self._remember(name, [child.pid, psutil.Process(child.pid).create_time()])

    def _remember(self, name: str, birth: list[float] | None) -> None:
        known = self._known()
        known.pop(name, None)
        if birth is not None:
            known[name] = birth
        written = self._file.with_suffix(".new")
        written.write_text(json.dumps(known))
        written.replace(self._file)  # whoever reads it meanwhile sees it whole

    def find(self, name: str) -> psutil.Process | None:
        """The program if it still runs."""
        pid, born = self._known().get(name, (0, 0))
        try:
            process = psutil.Process(int(pid)) if pid else None
        except psutil.NoSuchProcess:
            return None
        if process is None or abs(process.create_time() - born) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process

    def kill(self, name: str) -> None:
        """End a program and its children at once, as when its machine loses power."""
        if (process := self.find(name)) is not None:
            kill_family(process)
        self._remember(name, None)

    def stop(self, name: str, *, seconds: float = 30) -> None:
        """SIGTERM, and the time to drain; SIGKILL after that. Raises Ended if the second was needed."""
        process = self.find(name)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            if not over_within([process], seconds):
                kill_family(process)
                raise Ended(f"{name} did not stop within {seconds:g} seconds: {self.log(name)}")
        self._remember(name, None)

    def stop_all(self) -> None:
        """End whatever runs."""
        for name in self._known():
            self.kill(name)

    def log(self, name: str, size: int = 3000) -> str:
        """The end of a program's output."""
        path = self.folder / "log" / name
        return path.read_text(errors="replace")[-size:] if path.exists() else ""

    def logs(self) -> str:
        """The end of every program's output."""
        names = sorted(path.name for path in (self.folder / "log").glob("*"))
        return "\n".join(f"== {name}\n{self.log(name)}" for name in names)


def _favour(pid: int) -> None:
    """Give a session more of the processor than others of this machine: leases of five seconds bear no waiting."""
    with suppress(OSError):  # a kernel without groups of sessions, or the program has ended
        Path(f"/proc/{pid}/autogroup").write_text("-10")


def kill_family(process: psutil.Process) -> None:
    """SIGKILL to a process first, then to all that it had started."""
    children = process.children(recursive=True)
    for member in (process, *children):
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    over_within([process, *children], 10)


def over_within(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Wait until all have ended, or so many seconds; whether they have. One that is not ours may stay as a zombie."""
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(ask: Callable[[], Any], what: str, *, seconds: float = 60, pause: float = 0.2) -> Any:
    """Ask until the answer is true; it is returned. Raises Ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := ask():
            return answer
        if time.monotonic() > deadline:
            raise Ended(f"waited {seconds:g} seconds for {what}")
        time.sleep(pause)
