"""Recordings of platforms' answers and what comes of them, side by side.

In tests/connectors/<platform>/ stand the answers of a case in the order they are given, named
`<case>[.<n>][.<status>].<ext>`, with `connection.json` (or `<case>.connection.json`) for the account, and beside them
`<case>.expected.json`: what was asked and the report, or the error. A new case needs no code; `CASINOFLUX_RECORD=1`
writes what came of it, to be read before it is kept.
"""

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from connectors.base import Connection, Window
from connectors.http import Http
from connectors.registry import platform
from storage.ledger.errors import CasinoFluxError
from storage.ledger.facts import Figures, Report
from tests.connectors.web import Request, answer, serving

HERE = Path(__file__).parent
WINDOW = Window(first=date(2026, 10, 1), last=date(2026, 10, 2))
KINDS = {"json": "application/json", "csv": "text/csv", "xml": "text/xml", "html": "text/html", "txt": "text/plain"}
_FILE = re.compile(
    r"(?P<case>[a-z_]+)(?:\.(?P<n>\d{1,2}))?(?:\.(?P<status>[2-5]\d\d))?\.(?P<kind>json|csv|xml|html|txt)"
)


def cases() -> list[tuple[str, str]]:
    """Every (platform, case) there is a recording of."""
    results = set()
    for path in HERE.glob("*/*"):
        match = _FILE.fullmatch(path.name)
        if match and match["case"] != "connection":
            results.add((path.parent.name, match["case"]))
    return sorted(results)


def answers(name: str, case: str) -> list[bytes]:
    """The recorded answers of a case as they go over the wire."""
    results = []
    for path in (HERE / name).glob(f"{case}.*"):
        match = _FILE.fullmatch(path.name)
        if match and match["case"] == case:
            content = answer(path.read_bytes(), status=int(match["status"] or 200), kind=KINDS[match["kind"]])
            results.append((int(match["n"] or 1), content))
    return [content for _, content in sorted(results)]


def connection(name: str, case: str, url: str) -> Connection:
    """The account of a case, at the address the recordings are served from."""
    own = HERE / name / f"{case}.connection.json"
    text = (own if own.exists() else HERE / name / "connection.json").read_text()
    arguments = msgspec.json.decode(text.replace("https://platform.example.test", url))
    arguments["options"] = {"requests_per_second": 10_000} | arguments.get("options", {})
    return msgspec.convert(arguments, Connection)


async def played(name: str, case: str) -> dict[str, Any]:
    """Fetch a case from a server that gives its answers in turn; what was asked, and what came of it."""
    remaining = iter(answers(name, case))
    last = answers(name, case)[-1]
    async with serving(lambda _request: next(remaining, last)) as web:
        account = connection(name, case, web.url)
        async with Http(allow_private=True, first_wait=0.01, seconds=60.0) as http:
            try:
                if case == "players":
                    told_players = await platform(name).fetch_players(http, account, window(name, case))
                    return {"asked": [shown(each, web.url) for each in web.asked],
                            **msgspec.json.decode(msgspec.json.encode(told_players))}  # fmt: skip
                report = await platform(name).fetch(http, account, window(name, case))
                again = platform(name).read(report.raw, account, window(name, case))
                assert again == msgspec.structs.replace(report, digest=""), "what was kept raw reads the same"
                outcome: dict[str, Any] = told(report)
            except CasinoFluxError as error:
                outcome = {"error": str(error).replace(web.url, "https://platform.example.test")}
                outcome["permanent"] = getattr(error, "permanent", None)
    requests = list(dict.fromkeys(shown(request, web.url) for request in web.asked))
    return {"asked": requests, **outcome}


def window(name: str, case: str) -> Window:
    own = HERE / name / f"{case}.window.txt"
    if not own.exists():
        return WINDOW
    first, last = own.read_text().split()
    return Window(first=date.fromisoformat(first), last=date.fromisoformat(last))


def shown(request: Request, url: str) -> str:
    """A request as a line; the headers that matter behind it."""
    named = (
        "authorization",
        "api-key",
        "x-api-key",
        "affiliateid",
        "x-eflow-api-key",
        "x-trackbox-username",
        "x-trackbox-password",
    )
    headers = "".join(f" {name}={request.headers[name]}" for name in named if name in request.headers)
    return f"{request.method} {request.target}{headers} {request.body.decode()}".replace(url, "").strip()


def told(report: Report) -> dict[str, Any]:
    """A report as it is written beside its recording: figures in micro-units, what is not reported left out."""
    rows = [
        {"day": row.day.isoformat(), "tag": row.tag, "currency": row.currency}
        | {name: getattr(row, name) for name in ("tag_name", "sub", "part") if getattr(row, name)}
        | figures(row.figures)
        for row in report.rows
    ]
    results: dict[str, Any] = {"rows": rows}
    if report.totals is not None:
        results["totals"] = figures(report.totals)
    if report.warnings:
        results["warnings"] = list(report.warnings)
    if report.damage:
        results["damage"] = report.damage
    return results


def figures(figures: Figures) -> dict[str, int]:
    return {name: value for name, value in msgspec.structs.asdict(figures).items() if value is not None}


def recording() -> bool:
    return os.environ.get("CASINOFLUX_RECORD") == "1"
