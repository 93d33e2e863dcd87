"""Cloudflare, Porkbun and Namecheap on loopback: one registrar's state behind three ways to talk to it."""

import asyncio
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec

XMLNS = 'xmlns="http://api.namecheap.com/xml.response"'


class RegistrarStandIn:
    """Domains that are `taken`, those `bought` here, and the records of each zone.

    `breaks_off`: the next purchase goes through, but its answer never comes. `price` is in cents.
    """

    def __init__(self) -> None:
        self.taken = {"taken.com"}
        self.bought: list[str] = []
        self.records: dict[str, list[dict[str, str]]] = {}
        self.price = 973
        self.breaks_off = False
        self.calls: list[str] = []
        self._next = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            length = next((int(line[15:]) for line in head if line.lower().startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            method, target, _ = head[0].split()
            status, answer = self._answer(method, target, body, "\n".join(head))
            if status:
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode()
                )
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    def _answer(self, method: str, target: str, body: bytes, head: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        self.calls.append(f"{method} {parts.path}")
        if parts.path.startswith("/cf/"):
            if "Bearer cf-token" not in head:
                return 403, b'{"success":false,"errors":[{"code":9109,"message":"Invalid access token"}]}'
            return self._cloudflare(method, parts.path[3:], dict(parse_qsl(parts.query)), body)
        if parts.path.startswith("/pb/"):
            return self._porkbun(parts.path[3:], msgspec.json.decode(body))
        form = parse_qsl(body.decode()) if method == "POST" else []
        return self._namecheap(dict([*parse_qsl(parts.query), *form]))

    def free(self, name: str) -> bool:
        return name not in self.taken and name not in self.bought

    def buy(self, name: str) -> bool:
        """Whether the answer is to be sent; a second purchase of a name shows in `bought`."""
        self.bought.append(name)
        broken, self.breaks_off = self.breaks_off, False
        return not broken

    def _put(self, zone: str, record: dict[str, str]) -> None:
        self._next += 1
        self.records.setdefault(zone, []).append({**record, "id": str(self._next)})

    def _cloudflare(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        arguments: dict[str, Any] = msgspec.json.decode(body) if body else {}
        if path.endswith("/domain-check"):
            cost = f"{self.price / 100:.2f}"
            pricing = {"currency": "USD", "registration_cost": cost, "renewal_cost": "10.11"}
            result = [
                {"name": item, "registrable": self.free(item), "tier": "standard",
                 "reason": None if self.free(item) else "domain_unavailable",
                 "pricing": pricing if self.free(item) else None}
                for item in arguments["domains"]
            ]  # fmt: skip
            return _fine({"domains": result})
        if path.endswith("/registrations"):
            if not self.buy(arguments["domain_name"]):
                return 0, b""
            return _fine({"state": "in_progress", "completed": False})
        if path.endswith("/registration-status"):
            name = path.split("/")[-2]
            if name not in self.bought:
                return 404, b'{"success":false,"errors":[{"code":7003,"message":"not found"}]}'
            return _fine({"state": "succeeded", "completed": True, "context": {"expires_at": "2027-10-01T00:00:00Z"}})
        return self._cloudflare_dns(method, path, query, arguments)

    def _cloudflare_dns(
        self, method: str, path: str, query: dict[str, str], values: dict[str, Any]
    ) -> tuple[int, bytes]:
        if path == "/zones":
            name = query.get("name") or values["name"]
            if method == "POST":
                self.records.setdefault(name, [])
            there = name in self.records
            zone = {"id": name, "name_servers": ["a.ns.test", "b.ns.test"], "status": "active"}
            return _fine(zone if method == "POST" else [zone] if there else [])
        _, _, zone_id, _, *rest = path.split("/")
        if method == "POST":
            self._put(zone_id, values)
        elif method == "DELETE":
            self.records[zone_id] = [record for record in self.records[zone_id] if record["id"] != rest[0]]
        return _fine([item for item in self.records.get(zone_id, []) if item["name"] == query.get("name")])

    def _porkbun(self, path: str, values: dict[str, Any]) -> tuple[int, bytes]:
        if values.get("apikey") != "pk1_fake":
            return 400, b'{"status":"ERROR","message":"Invalid API key. (002)"}'
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/domain/checkDomain/"):
            price = f"{self.price / 100:.2f}"
            answer = {"avail": "yes" if self.free(name) else "no", "price": price, "premium": "no",
                      "additional": {"renewal": {"price": "10.11"}}}  # fmt: skip
            return _said({"response": answer})
        if path.startswith("/domain/create/"):
            if values.get("cost") != self.price:
                return 400, b'{"status":"ERROR","message":"The cost does not match"}'
            return _said({}) if self.buy(name) else (0, b"")
        if path == "/domain/listAll":
            return _said({"domains": [{"domain": item, "expireDate": "2027-10-01 00:00:00"} for item in self.bought]})
        if path.startswith("/dns/create/"):
            full = f"{values['name']}.{name}" if values["name"] else name
            self._put(name, {"type": values["type"], "name": full, "content": values["content"]})
        if path.startswith("/dns/delete/"):
            zone = path.split("/")[3]
            self.records[zone] = [record for record in self.records[zone] if record["id"] != name]
        return _said({"records": self.records.get(name, [])})

    def _namecheap(self, values: dict[str, str]) -> tuple[int, bytes]:
        if values.get("ApiKey") != "nc-fake":
            return _xml(
                "", error='<Error Number="1011102">API Key is invalid or API access has not been enabled</Error>'
            )
        command = values["Command"]
        if command == "namecheap.domains.check":
            name = values["DomainList"]
            fine = "true" if self.free(name) else "false"
            return _xml(f'<DomainCheckResult Domain="{name}" Available="{fine}" IsPremiumName="false"/>')
        if command == "namecheap.users.getPricing":
            price = f"{self.price / 100:.2f}" if values["ActionName"] == "REGISTER" else "10.11"
            return _xml(f'<Price Duration="1" DurationType="YEAR" YourPrice="{price}" Currency="USD"/>')
        if command == "namecheap.domains.create":
            return _xml('<DomainCreateResult Registered="true"/>') if self.buy(values["DomainName"]) else (0, b"")
        if command == "namecheap.domains.getList":
            return _xml("".join(f'<Domain Name="{item}" Expires="10/01/2027"/>' for item in self.bought))
        zone = f"{values['SLD']}.{values['TLD']}"
        if command.endswith("setHosts"):
            self.records[zone] = []
            for n in range(1, 100):
                if f"HostName{n}" in values:
                    self._put(zone, {"name": values[f"HostName{n}"], "type": values[f"RecordType{n}"],
                                     "content": values[f"Address{n}"]})  # fmt: skip
        hosts = (f'<host Name="{h["name"]}" Type="{h["type"]}" Address="{h["content"]}" TTL="600" MXPref="10"/>'
                 for h in self.records.get(zone, []))  # fmt: skip
        return _xml("".join(hosts))


def _fine(result: Any) -> tuple[int, bytes]:
    return 200, msgspec.json.encode({"success": True, "errors": [], "messages": [], "result": result})


def _said(more: dict[str, Any]) -> tuple[int, bytes]:
    return 200, msgspec.json.encode({"status": "SUCCESS", **more})


def _xml(inner: str, *, error: str = "") -> tuple[int, bytes]:
    status = "ERROR" if error else "OK"
    text = f'<ApiResponse Status="{status}" {XMLNS}><Errors>{error}</Errors><CommandResponse>{inner}</CommandResponse>'
    return 200, f'<?xml version="1.0" encoding="utf-8"?>{text}</ApiResponse>'.encode()
