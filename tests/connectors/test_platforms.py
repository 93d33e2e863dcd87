"""Every connector against its recordings: what it asks, what it reads, and what it says of an error."""

import msgspec
import pytest

from connectors.registry import PLATFORMS, platform
from tests.connectors.recordings import HERE, cases, played, recording

#: What each connector that fetches must have recordings of.
ALWAYS = {"normal", "empty", "corrected", "unauthorised", "login_page", "truncated", "throttled"}


@pytest.mark.parametrize(("name", "case"), cases())
async def test_a_recorded_answer_gives_the_report_beside_it(name: str, case: str) -> None:
    path = HERE / name / f"{case}.expected.json"
    got = await played(name, case)
    if recording():
        path.write_bytes(msgspec.json.format(msgspec.json.encode(got), indent=1) + b"\n")
    assert path.exists(), f"{path.name} is missing: CASINOFLUX_RECORD=1 writes it"
    assert got == msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize("name", [name for name in PLATFORMS if name not in {"csv_upload", "postback_only"}])
def test_a_connector_has_recordings_of_all_that_can_come(name: str) -> None:
    recorded = {case for platform_name, case in cases() if platform_name == name}
    assert recorded >= ALWAYS, f"{name} lacks {', '.join(sorted(ALWAYS - recorded))}"


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_a_platform_says_what_forms_and_sync_need(name: str) -> None:
    found = platform(name)
    assert found.name == name
    assert found.title == PLATFORMS[name]
    for field in msgspec.structs.fields(found.credentials):
        assert "description=" in repr(field.type), f"{name}.{field.name} has no description"
