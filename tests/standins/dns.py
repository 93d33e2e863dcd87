"""A name server on loopback that is resolver and authority at once; its records can be changed while it runs."""

import asyncio
import struct
from ipaddress import ip_address
from typing import Self

from connectors.domains.dns import TYPES, _name

Zone = dict[tuple[str, str], list[str]]


class NameServer(asyncio.DatagramProtocol):
    """`async with NameServer({("brand.test", "A"): ["192.0.2.1"]}) as server:`; it listens on `server.address`."""

    def __init__(self, records: Zone) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address: tuple[str, int] = self.transport.get_extra_info("sockname")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _name(data, 12)
        type_ = next(word for word, number in TYPES.items() if number == struct.unpack("!H", data[end : end + 2])[0])
        self.asked.append((name, type_))
        result = [(type_, value) for value in self.records.get((name, type_), [])]
        existing = any(key == name for key, _ in self.records)
        header = data[:2] + struct.pack("!5H", 0x8580 | (0 if existing else 3), 1, len(result), 0, 0)
        question = data[12 : end + 4]
        self.transport.sendto(header + question + b"".join(_record(item, value) for item, value in result), addr)


def _record(type_: str, value: str) -> bytes:
    if type_ in {"A", "AAAA"}:
        data = ip_address(value).packed
    else:
        data = b"".join(bytes([len(label)]) + label.encode() for label in value.split(".")) + b"\x00"
    return b"\xc0\x0c" + struct.pack("!HHIH", TYPES[type_], 1, 60, len(data)) + data
