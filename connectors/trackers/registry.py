"""The trackers there are: what each needs to be asked, and how it is read."""

from collections.abc import Mapping
from types import ModuleType
from urllib.parse import urlsplit

from connectors.http import Http
from connectors.trackers import binom, keitaro, redtrack, statsdrone, voluum
from connectors.trackers.api import Login, Request, Tracker, base_url
from connectors.trackers.tables import FileOptions, read_table_file
from storage.ledger.errors import Refused
from storage.ledger.imports.tracker import Part

_APIS: Mapping[str, ModuleType] = {
    "keitaro": keitaro, "binom": binom, "voluum": voluum, "redtrack": redtrack,
}  # fmt: skip
#: Trackers whose one address serves all customers: the login says whose ids they are.
_SHARED: Mapping[str, tuple[str, str]] = {
    "voluum": ("api.voluum.com", "access_id"), "redtrack": ("api.redtrack.io", "key"),
}  # fmt: skip


def tracker(system: str) -> Tracker:
    """The module of a tracker with an API."""
    module: Tracker = _APIS[system]
    return module


async def probe(http: Http, system: str, login: Login) -> str:
    """Whether the login works, and the host its ids belong to. Raises Refused or ConnectorError."""
    await tracker(system).probe(http, login)
    return host_of(system, login)


def host_of(system: str, login: Login) -> str:
    """What stands, with the system, for whose ids these are."""
    if system in _SHARED:
        address, field = _SHARED[system]
        return f"{address} {login[field][:8]}"
    return urlsplit(base_url(login["url"])).netloc.lower()


def read_file(system: str, raw: bytes, options: FileOptions) -> list[Part]:
    """What an exported file holds. Raises Refused at `file`."""
    if system == "statsdrone":
        return statsdrone.read_file(raw, options.encoding)
    if system == "csv":
        return read_table_file(raw, options)
    raise Refused(f"file: {system} is read by its API", field="file")


__all__ = ["FileOptions", "Login", "Request", "host_of", "probe", "read_file", "tracker"]
