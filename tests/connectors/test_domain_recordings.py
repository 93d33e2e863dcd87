"""Each registrar's API against recorded answers: what is asked of it, and what comes of what it says.

In tests/connectors/domains/<name>/ stand the answers of a case in the order they are given, named
`<case>[.<n>][.<status>].<ext>`; `.timeout` is an answer that never comes. A case begins with the call it is of: check,
register, order, zone or records. Beside them stands `<case>.expected.json`; `CASINOFLUX_RECORD=1` writes what came of
a case, to be read before it is kept.
"""

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from connectors.domains.base import Login, Quote, Zone
from connectors.domains.registry import REGISTRARS, registrar
from connectors.http import Http
from storage.ledger.errors import CasinoFluxError
from tests.connectors.recordings import KINDS, recording
from tests.connectors.web import Request, answer, serving

FOLDER = Path(__file__).parent / "domains"
_FILE = re.compile(
    r"(?P<case>[a-z_]+)(?:\.(?P<n>\d))?(?:\.(?P<status>[2-5]\d\d))?\.(?P<kind>json|xml|html|txt|timeout)"
)

NAME = "example.test"
KEYS = {
    "cloudflare": {"token": "cf-fake-token", "account_id": "acc1"},
    "porkbun": {"api_key": "pk1_fake", "secret_key": "sk1_fake"},
    "namecheap": {"api_user": "anna", "api_key": "nc-fake-key", "client_ip": "192.0.2.1"},
}
SECRETS = ("cf-fake-token", "pk1_fake", "sk1_fake", "nc-fake-key")
PAID = {"cloudflare": "/registrations ", "porkbun": "/domain/create/", "namecheap": "namecheap.domains.create"}
#: What there must be recordings of, for every registrar.
ALWAYS = {
    "check_available", "check_taken", "check_premium", "check_unauthorised", "check_down", "check_no_answer",
    "check_login_page", "register_done", "register_refused", "register_timed_out", "order_done", "order_absent",
    "zone_there", "records_put",
}  # fmt: skip


class Record(msgspec.Struct, frozen=True):
    type: str
    name: str
    value: str


async def play(kind: str, call: str, http: Http, login: Login) -> Any:
    connector = registrar(kind)
    match call:
        case "check":
            return await connector.check(http, login, [NAME])
        case "register":
            return await connector.register(http, login, Quote(name=NAME, available=True, price=9_730_000))
        case "order":
            return await connector.order(http, login, NAME)
        case "zone":
            return await connector.zone(http, login, f"go.{NAME}")
    records = [Record("A", NAME, "192.0.2.77"), Record("CNAME", f"go.{NAME}", "track.example.test")]
    return await connector.put_records(http, login, Zone(id="zone1" if kind == "cloudflare" else NAME), records)


def cases() -> list[tuple[str, str]]:
    results = set()
    for path in FOLDER.glob("*/*"):
        match = _FILE.fullmatch(path.name)
        if match:
            results.add((path.parent.name, match["case"]))
    return sorted(results)


def answers(kind: str, case: str) -> list[bytes | None]:
    """A case's answers in turn; None for one that never comes."""
    results: list[tuple[int, bytes | None]] = []
    for path in (FOLDER / kind).glob(f"{case}.*"):
        match = _FILE.fullmatch(path.name)
        if match and match["case"] == case:
            content = None
            if match["kind"] != "timeout":
                content = answer(path.read_bytes(), status=int(match["status"] or 200), kind=KINDS[match["kind"]])
            results.append((int(match["n"] or 1), content))
    return [content for _, content in sorted(results, key=lambda item: item[0])]


async def played(kind: str, case: str) -> dict[str, Any]:
    recorded = answers(kind, case)
    remaining = iter(recorded)

    over = asyncio.Event()
    seconds = 0.5 if None in recorded else 60

    async def never() -> bytes:
        await over.wait()
        return b""

    def answering(_request: object) -> bytes | Awaitable[bytes]:
        content = next(remaining, recorded[-1])
        return content if content is not None else never()

    async with serving(answering) as web, Http(allow_private=True, first_wait=0.01, seconds=seconds) as http:
        login = Login(base_url=f"{web.url}/api", credentials=KEYS[kind])
        try:
            result = await play(kind, case.partition("_")[0], http, login)
            outcome: dict[str, Any] = {"result": msgspec.to_builtins(result)}
        except CasinoFluxError as error:
            outcome = {"error": str(error), "permanent": getattr(error, "permanent", None)}
        over.set()
        requests = [f"{item.method} {item.target} {item.body.decode()}".strip() for item in web.asked]
    answer = msgspec.json.encode({"asked": requests, **outcome}).replace(web.url.encode(), b"https://api")
    results: dict[str, Any] = msgspec.json.decode(answer)
    return results


@pytest.mark.parametrize(("kind", "case"), cases())
async def test_a_recorded_answer_gives_what_stands_beside_it(kind: str, case: str) -> None:
    path = FOLDER / kind / f"{case}.expected.json"
    outcome = await played(kind, case)
    paid = [item for item in outcome["asked"] if PAID[kind] in item]
    assert len(paid) == case.startswith("register_"), "a purchase is asked for once, whatever is answered"
    answer = str({name: value for name, value in outcome.items() if name != "asked"})
    assert not any(item in answer for item in SECRETS)
    if recording():
        path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
    assert path.exists(), f"{path.name} is missing: CASINOFLUX_RECORD=1 writes it"
    assert outcome == msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize("kind", REGISTRARS)
def test_a_registrar_has_recordings_of_all_that_can_come(kind: str) -> None:
    recorded = {case for name, case in cases() if name == kind}
    assert recorded >= ALWAYS, f"{kind} lacks {', '.join(sorted(ALWAYS - recorded))}"


async def last_request(left: list[bytes | None]) -> Request:
    """What Namecheap is asked last when records are put and these are its answers."""
    async with serving(lambda _: left.pop(0) or b"") as web, Http(allow_private=True) as http:
        await play("namecheap", "records", http, Login(base_url=web.url, credentials=KEYS["namecheap"]))
    return web.asked[-1]


async def test_namecheap_keeps_the_mail_records_and_the_mail_setting() -> None:
    """`setHosts` without EmailType=MX drops MX records; many hosts do not fit into a URL."""
    for case, setting in (("records_put", "MX"), ("records_forwarded", "FWD")):
        written = await last_request(answers("namecheap", case))
        assert written.method == "POST"
        assert "nc-fake-key" not in written.target
        form = dict(parse_qsl(written.body.decode()))
        assert form["EmailType"] == setting
        assert {("@", "MX", "mail.example.test."), ("shop", "A", "198.51.100.2")} <= {
            (form[f"HostName{n}"], form[f"RecordType{n}"], form[f"Address{n}"]) for n in range(1, 5)
        }
