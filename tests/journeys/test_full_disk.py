"""A disk that fills up under a running hub: redirects go on, no click is lost, and no postback is said to be kept."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.journeys.deployment import Deployment
from tests.journeys.steps import BROWSER
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SIZE = 24  # megabytes


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; skipped where mounting is not allowed."""
    place, image = tmp_path / "disk", tmp_path / "image"
    place.mkdir()
    if request.param == "ext4":
        with image.open("wb") as file:
            file.truncate(SIZE << 20)
        commands = [["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]]
    else:
        commands = [["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)]]
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"{command[0]} is refused here: {getattr(error, 'stderr', error)}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def fill(disk: Path) -> None:
    """Write until nothing more goes in."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_full_disk_loses_no_click_and_keeps_no_postback_it_cannot_keep(disk: Path, tmp_path: Path) -> None:
    hub = Deployment(f"sqlite+aiosqlite:///{disk / 'casinoflux.db'}", tmp_path)
    hub.start()
    assert hub.process is not None
    try:
        hub.post("account/add", platform="postback_only", name="main", timezone="UTC", currency="EUR")
        hub.post("offer/add", casino="Lucky", account="main", tag="x", url="https://lucky.example.test/?s={click_id}")
        link = str(hub.post("campaign/create", name="C", offers=["lucky-x"])["url"])
        postback = str(hub.get("postback/url", account="main")["url"]).partition("?")[0]
        with httpx.Client(headers={"user-agent": BROWSER}, timeout=30) as browser:

            def click(number: int) -> str:
                address = f"203.0.{number // 250}.{number % 250}"
                answer = browser.get(link, headers={"x-forwarded-for": address})
                assert answer.status_code == 302
                browser.cookies.clear()
                return parse_qs(urlsplit(answer.headers["location"]).query)["s"][0]

            def deposit() -> int:
                query = {"click_id": words[0], "event": "deposit", "amount": "10", "txn_id": "t1"}
                return browser.get(postback, params=query).status_code

            words = [click(number) for number in range(20)]
            fill(disk)
            ready = hub.http.get("/readyz")
            while ready.status_code == 200 and len(words) < 3_000:  # the write-ahead log may have room left
                words += [click(number) for number in range(len(words), len(words) + 50)]
                ready = hub.http.get("/readyz")
            words += [click(number) for number in range(len(words), len(words) + 50)]
            ready = hub.http.get("/readyz")
            assert ready.status_code == 503
            assert "full" in ready.json()["database_fault"]
            assert ready.json()["spooled"] > 0
            assert ready.json()["postbacks_spooled"] == 0
            assert [deposit() for _ in range(5)] == [200] * 5, "they are kept in the spool's reserve"
            assert hub.http.get("/readyz").json()["postbacks_spooled"] == 5
            assert hub.process.poll() is None
            assert hub.log().count("database or disk is full") <= 30, "a line a minute of each kind of work"
            (disk / "filler").unlink()
            wait_for(lambda: hub.http.get("/readyz").status_code == 200, "the spool to be drained", told=hub.log)
            assert deposit() == 200
        assert hub.get("stats", range="today", by="campaign")["totals"]["clicks"] == len(set(words)) == len(words)
        assert {hub.try_post("click/show", click_id=word).status_code for word in words[::10]} == {200}
        checked = hub.shell("db", "check")
        assert checked.returncode == 0, checked.stdout
        assert [item["outcome"] for item in hub.get("postback/log")["items"]] == ["duplicate"] * 5 + ["accepted"]
        assert hub.stop() == 0
        fill(disk)
        start = hub.shell("serve", "--port", str(hub.port))
        assert (start.returncode, start.stderr.count("\n")) == (1, 1)
        assert "room" in start.stderr
    finally:
        hub.process.kill()
        hub.process.wait()
        hub.http.close()
