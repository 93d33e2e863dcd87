"""Files in deploy/: they name settings and files there are."""

import re
from pathlib import Path

from msgspec.structs import fields

from hub.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_settings_of_the_compose_file_exist() -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    hub = set(re.findall(r"^\s+(CASINOFLUX_[A-Z_]+):", text, re.MULTILINE)) - {"CASINOFLUX_HUB"}
    assert len(hub) > 5
    assert hub - {f"CASINOFLUX_{setting.name.upper()}" for setting in fields(Settings)} == set()


def test_the_image_is_built_from_files_there_are() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    sources = [name for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert {"bot", "connectors", "hub", "storage", "pyproject.toml"} <= set(sources)
    assert [name for name in sources if not (ROOT / name).exists()] == []
    pattern = re.search(r"sed -n '(s/.+/p)'", text)
    assert pattern is not None
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(r"^litestar==[0-9.]+ ", lock, re.MULTILINE)  # the form that the image's sed reads
