"""DNS questions, asked of servers we choose (RFC 1035): what a name's own servers say, not what a cache remembers."""

import asyncio
import secrets
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import msgspec

from storage.ledger.errors import ConnectorError

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28}
_NAMES = {number: name for name, number in TYPES.items()}
PUBLIC = (("1.1.1.1", 53), ("8.8.8.8", 53), ("9.9.9.9", 53))
SECONDS = 2.5
TRIES = 2

Server = tuple[str, int]


class Record(msgspec.Struct, frozen=True):
    """One record of an answer; addresses and names as text."""

    name: str
    type: str
    ttl: int
    value: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A server's answer. `code` is 0 for fine, 3 for a name that does not exist."""

    code: int
    authoritative: bool
    truncated: bool
    answers: tuple[Record, ...]
    authority: tuple[Record, ...] = ()

    def values(self, type_: str) -> list[str]:
        return [answer.value for answer in self.answers if answer.type == type_]


async def ask(server: Server, name: str, type_: str) -> Reply:
    """One question to one server, over TCP if the answer does not fit. Raises ConnectorError if none comes."""
    question = _question(name, type_)
    for _ in range(TRIES):
        try:
            raw = await asyncio.wait_for(_over_udp(server, question), SECONDS)
            reply = read(raw)
            return read(await asyncio.wait_for(_over_tcp(server, question), SECONDS)) if reply.truncated else reply
        except (TimeoutError, OSError):
            continue
    raise ConnectorError(f"the name server {server[0]} does not answer about {name}")


async def ask_any(servers: Sequence[Server], name: str, type_: str) -> Reply:
    """The first answer of several servers, asked in turn. Raises ConnectorError if none gives one."""
    for server in servers:
        try:
            return await ask(server, name, type_)
        except ConnectorError as error:
            last = error
    raise last


def read(raw: bytes) -> Reply:
    """Raises ConnectorError for what is no DNS message."""
    try:
        _, flags, questions, answers, authority, _ = struct.unpack("!6H", raw[:12])
        at = 12
        for _ in range(questions):
            at = _name(raw, at)[1] + 4
        records, at = _records(raw, at, answers)
        about, _ = _records(raw, at, authority)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ConnectorError("a name server's answer cannot be read", raw=raw) from None
    return Reply(
        code=flags & 15,
        authoritative=bool(flags & 0x400),
        truncated=bool(flags & 0x200),
        answers=records,
        authority=about,
    )


def _question(name: str, type_: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    header = struct.pack("!6H", secrets.randbits(16), 0x0100, 1, 0, 0, 0)
    return header + labels + b"\x00" + struct.pack("!2H", TYPES[type_], 1)


def _records(raw: bytes, at: int, count: int) -> tuple[tuple[Record, ...], int]:
    records = []
    for _ in range(count):
        name, at = _name(raw, at)
        kind, _, ttl, length = struct.unpack("!HHIH", raw[at : at + 10])
        at += 10
        if kind in _NAMES:
            records.append(Record(name, _NAMES[kind], ttl, _value(raw, at, kind, length)))
        at += length
    return tuple(records), at


def _value(raw: bytes, at: int, kind: int, length: int) -> str:
    data = raw[at : at + length]
    if kind == TYPES["A"] and length == 4:
        return str(IPv4Address(data))
    if kind == TYPES["AAAA"] and length == 16:
        return str(IPv6Address(data))
    if kind == TYPES["TXT"]:
        return data[1 : 1 + data[0]].decode("utf-8", "replace")
    return _name(raw, at)[0]


def _name(raw: bytes, at: int) -> tuple[str, int]:
    """A name at a place and where it ends; pointers may only lead backwards, so that none leads round."""
    labels, end, limit = [], 0, at
    while raw[at]:
        if raw[at] >= 0xC0:
            end = end or at + 2
            target = struct.unpack("!H", raw[at : at + 2])[0] & 0x3FFF
            if target >= limit:
                raise IndexError
            at = limit = target
            continue
        labels.append(raw[at + 1 : at + 1 + raw[at]].decode("ascii"))
        at += raw[at] + 1
    return ".".join(labels).lower(), end or at + 1


class _Once(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers our question (same id)."""

    def __init__(self, question: bytes) -> None:
        self.question = question
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self.question[:2] and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(OSError(str(exc)))


async def _over_udp(server: Server, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Once(question), remote_addr=server)
    try:
        transport.sendto(question)
        return await protocol.answer
    finally:
        transport.close()


async def _over_tcp(server: Server, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(question)) + question)
        await writer.drain()
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise OSError("the name server closed the connection") from None
    finally:
        writer.close()
