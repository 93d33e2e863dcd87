"""Documents lead somewhere: every relative link of the README and docs names a file there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    local = [link for link in found if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_every_setting_is_documented() -> None:
    from msgspec.structs import fields

    from hub.runtime.settings import Settings

    told = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    short = {name.removeprefix("…_") for name in re.findall(r"`(…_[A-Z_]+)`", told)}
    names = [f"CASINOFLUX_{one.name.upper()}" for one in fields(Settings)]
    assert [n for n in names if n not in told and not any(n.endswith(end) for end in short)] == []
