"""Every connector against its recordings: what it asks, what it reads, and what it says of an error."""

from pathlib import Path

import msgspec
import pytest

from connectors.base import Connection
from connectors.columns import Columns
from connectors.registry import PLATFORMS, platform
from tests.connectors.recordings import HERE, cases, played, recording

#: What each connector that fetches must have recordings of.
DOCUMENT = Path(__file__).parents[2] / "docs" / "connectors.md"
ALWAYS = {"normal", "empty", "corrected", "unauthorised", "login_page", "truncated", "throttled"}


@pytest.mark.parametrize(("name", "case"), cases())
async def test_a_recorded_answer_gives_the_report_beside_it(name: str, case: str) -> None:
    path = HERE / name / f"{case}.expected.json"
    outcome = await played(name, case)
    if recording():
        path.write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
    assert path.exists(), f"{path.name} is missing: CASINOFLUX_RECORD=1 writes it"
    assert outcome == msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name not in {"csv_upload", "postback_only"}])
def test_a_connector_has_recordings_of_all_that_can_come(name: str) -> None:
    recorded = {case for platform_name, case in cases() if platform_name == name}
    assert recorded >= ALWAYS, f"{name} lacks {', '.join(sorted(ALWAYS - recorded))}"


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_a_platform_says_what_forms_and_sync_need(name: str) -> None:
    connector = platform(name)
    assert connector.name == name
    assert connector.title == PLATFORMS[name]
    for field in msgspec.structs.fields(connector.credentials):
        assert "description=" in repr(field.type), f"{name}.{field.name} has no description"


def declared(name: str) -> str:
    """The line of docs/connectors.md about what a platform declares."""
    connector = platform(name)
    columns = connector.columns(Connection(timezone="UTC", currency="EUR"))
    measures = ", ".join(measure for measure in Columns.measure_names() if columns.measures.get(measure))
    whose = "" if connector.every_measure or not measures else " (those whose columns an answer has)"
    return f"| `{name}` | {connector.rows} | {measures or '–'}{whose} | {' and '.join(connector.always) or '–'} |"


def test_the_documents_say_what_each_platform_declares() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = text.index("<!-- declared"), text.index("<!-- /declared -->")
    lines = [declared(name) for name in PLATFORMS if platform(name).has_api or name == "csv_upload"]
    if recording():
        head = text[start:].splitlines()[:3]
        DOCUMENT.write_text(text[:start] + "\n".join([*head, *lines]) + "\n" + text[end:], encoding="utf-8")
        text = DOCUMENT.read_text(encoding="utf-8")
    assert text[start : text.index("<!-- /declared -->")].splitlines()[3:] == lines
