"""Answers of name servers and registries are read, and nonsense of theirs is an error that says so."""

import contextlib
import struct
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domains import dns, rdap
from connectors.domains.base import registered_until
from connectors.domains.registry import registrar
from connectors.reading import xml_root
from storage.ledger.errors import ConnectorError, Refused
from storage.ledger.hostnames import bought, is_bare, within

#: An answer for brand.example.test with a CNAME and an address, names compressed.
ANSWER = (
    struct.pack("!6H", 7, 0x8580, 1, 2, 0, 0)
    + b"\x05brand\x07example\x04test\x00\x00\x01\x00\x01"
    + b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x07\x04edge\xc0\x12"
    + b"\xc0\x30\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09"
)


def test_an_answer_with_compressed_names_is_read() -> None:
    reply = dns.read(ANSWER)
    assert (reply.code, reply.authoritative, reply.truncated) == (0, True, False)
    assert reply.values("CNAME") == ["edge.example.test"]
    assert reply.values("A") == ["192.0.2.9"]


def test_a_name_that_leads_round_in_circles_is_refused() -> None:
    loop = struct.pack("!6H", 7, 0x8580, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"
    with pytest.raises(ConnectorError):
        dns.read(loop)


@given(st.binary(max_size=300))
def test_whatever_a_name_server_sends_is_read_or_refused(tail: bytes) -> None:
    for raw in (tail, ANSWER[:12] + tail, ANSWER[: 12 + len(tail) % 60] + tail):
        with contextlib.suppress(ConnectorError):
            dns.read(raw)


@given(st.binary(max_size=200))
def test_whatever_a_registry_sends_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ConnectorError):
        rdap.read(raw)


def test_a_registration_is_read() -> None:
    result = rdap.read(
        b'{"events": [{"eventAction": "expiration", "eventDate": "2027-01-02T03:04:05Z"}], "status": ["active"]}'
    )
    assert (result.registered, result.until, result.status) == (True, date(2027, 1, 2), ("active",))


def test_the_registered_domain_of_a_host_is_known() -> None:
    assert bought("go.brand.com") == "brand.com"
    assert bought("www.brand.co.uk") == "brand.co.uk"
    assert is_bare("brand.co.uk")
    assert not is_bare("www.brand.de")
    assert within("a.b.brand.com") == "a.b"
    assert within("brand.com") == ""


def test_an_unknown_registrar_gets_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean porkbun"):
        registrar("porkbum")


def test_a_day_that_a_registrar_writes_otherwise_does_not_fail_a_paid_order() -> None:
    read = ("2027-10-01 12:00:00", "2027-10-01T00:00:00Z", "10/01/2027", "1 Oct 2027")
    assert {registered_until(text) for text in read} == {date(2027, 10, 1)}
    assert {registered_until(text) for text in (None, "", "soon", "0000-00-00 00:00:00")} == {None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused_in_every_encoding(encoding: str) -> None:
    bomb = '<!doctype a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'.encode(encoding)
    with pytest.raises(ConnectorError, match="document type"):
        xml_root(bomb)
    assert xml_root('<?xml version="1.0" encoding="utf-16"?><a>ok</a>'.encode(encoding)).text == "ok"
