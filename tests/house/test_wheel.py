"""The wheel: built from this checkout, installed elsewhere, it runs the demo without the checkout."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bot", "connectors", "hub", "storage")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=400)
    return next(folder.glob("casinoflux-*.whl"))


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    tracked = {name for name in listing.split("\0") if name and (ROOT / name).is_file()}
    assert {"connectors/sources/presets.json", "hub/cockpit/static/cockpit.js"} <= tracked
    assert tracked - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.slow
def test_the_demo_runs_from_an_installed_wheel_and_its_link_leads_to_a_month_of_history(
    wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=400)
    site = Path(_output(python, "import sysconfig; print(sysconfig.get_path('purelib'))", tmp_path))
    # Dependencies come from the tests' own environment: a .pth line makes them reachable, but not the checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    assert Path(_output(python, "import hub; print(hub.__file__)", tmp_path)).is_relative_to(home)
    demo = subprocess.Popen([str(home / "bin" / "casinoflux"), "demo"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    shown: list[str] = []
    try:
        for line in demo.stdout:
            shown.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        text = "".join(shown)
        assert "Up and running" in text, text
        link = re.search(r"http://127\.0\.0\.1:\d+/cockpit/enter/\S+", text)
        assert link is not None, text
        with httpx.Client(
            follow_redirects=True, headers={"user-agent": "Mozilla/5.0 Firefox/140.0"}, timeout=60
        ) as person:
            page = person.get(link[0])
            revenue = person.get(page.url.join("/cockpit/revenue"))
            campaigns = person.get(page.url.join("/cockpit/campaign"))
        assert (page.status_code, page.url.path) == (200, "/cockpit")
        assert "Alpine Native" in campaigns.text
        assert "suspect report held back" in page.text
        vanished = revenue.text.partition(">Vanished")[2].partition(">Restated")[0]
        assert "FTDs" in vanished, "a first deposit was withdrawn"
        assert "No settled figure has changed" not in revenue.text
    finally:
        demo.terminate()
        code = demo.wait(300)
    assert code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(link[0], timeout=60)  # its hub went with it


def _output(python: Path, code: str, folder: Path) -> str:
    command = [str(python), "-c", code]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=400).stdout.strip()
