"""Whose name a request came under: the deployment's own address, a team's domain, or a stranger's."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from storage.db.secrets import Box
from storage.ledger.hostnames import is_address

CHALLENGE = "/.well-known/casinoflux/"
EVERY_TEAM = 0
NO_TEAM = -1
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{0,5}))?")
_PRIVATE = (".local", ".localhost", ".internal", ".lan", ".home.arpa")
_MOST_VERDICTS = 1000


class Hosts:
    """Host names by team. The deployment's own address is its public URL, an IP address, or a name of a private
    network: every team's sites and links answer there. A team's domains serve that team alone, other names nothing."""

    def __init__(self, public_url: str) -> None:
        self.own = (urlsplit(public_url).hostname or "").lower()
        self._teams: Mapping[str, int] = {}
        self._verdicts: dict[bytes, int] = {}

    def replace(self, teams: Mapping[str, int]) -> None:
        """Take the domains as they are now: team ids by name."""
        self._teams, self._verdicts = teams, {}

    def __contains__(self, host: str | None) -> bool:
        return host in self._teams

    def team(self, scope: Any) -> int:
        """The id of the team whose domain a request is for, EVERY_TEAM at the deployment's own address, or NO_TEAM."""
        names = [value for name, value in scope["headers"] if name == b"host"]
        if len(names) == 1:
            verdict = self._verdicts.get(names[0])
            if verdict is not None:
                return verdict
        verdict = self._judge(host_of(scope))
        if len(names) == 1 and verdict != NO_TEAM and len(self._verdicts) < _MOST_VERDICTS:
            self._verdicts[names[0]] = verdict
        return verdict

    def admits(self, scope: Any, team_id: int, headers: Mapping[bytes, bytes] | None = None) -> bool:
        """Whether what is a team's answers under the name a request came under. `headers`: its own, if at hand."""
        verdict = None
        if headers is not None and len(headers) == len(scope["headers"]):  # none came twice
            verdict = self._verdicts.get(headers.get(b"host", b""))
        return (self.team(scope) if verdict is None else verdict) in (EVERY_TEAM, team_id)

    def _judge(self, host: str | None) -> int:
        if host is None:
            return NO_TEAM
        if host in self._teams:
            return self._teams[host]
        private = "." not in host or host.endswith(_PRIVATE) or is_address(host)
        return EVERY_TEAM if private or host == self.own else NO_TEAM


def host_of(scope: Any) -> str | None:
    """The request's host name as we write it; empty without one, None for what no honest browser sends.

    An empty header is none at all, as in the checks of load balancers (HTTP/1.0).
    """
    values = {value for name, value in scope["headers"] if name == b"host"}
    if len(values) != 1 or values == {b""}:
        return None if len(values) > 1 else ""
    return normal_host(values.pop().decode("latin-1"))


def normal_host(text: str) -> str | None:
    """Lower case, without port and trailing dot, IDNA letters in ASCII; None for what is no host name."""
    parts = _WITH_PORT.fullmatch(text.strip().lower())
    if parts is None or int(parts["port"] or 0) > 65_535:
        return None
    if parts["v6"] is not None:
        return parts["v6"] if is_address(parts["v6"]) else None
    host = parts["name"].removesuffix(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    return host if _HOST.fullmatch(host) and ".." not in host else None


def challenge(box: Box, name: str) -> str:
    """What only this deployment answers for a name, under CHALLENGE."""
    return hmac.new(box.derive("domains"), name.encode(), hashlib.sha256).hexdigest()[:32]
