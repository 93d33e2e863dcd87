"""A team of 2,000 campaigns, some with names in other scripts, with markup and of 200 characters: all stays usable."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.screen import Screen
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow

CAMPAIGNS = 2_000
NAMES = ("W" * 200, "حملة الربيع الكبيرة", "מבצע קיץ", "<img src=x onerror=alert(1)> & \"Sons\"")  # fmt: skip


@pytest.fixture(scope="module")
def large_hub(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The team with 30 days of history, and 2,000 campaigns more."""
    folder = tmp_path_factory.mktemp("large")
    shutil.copy(history, folder / "casinoflux.db")
    with sqlite3.connect(folder / "casinoflux.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(campaigns)")]
        kept = ",".join(f'"{name}"' for name in columns if name not in {"id", "name", "code"})
        for n in range(CAMPAIGNS):
            name = NAMES[n] if n < len(NAMES) else f"Campaign number {n}"
            database.execute(
                f"INSERT INTO campaigns (name, code, {kept}) SELECT ?, ?, {kept} FROM campaigns WHERE id = 1",
                (name, f"many-{n}"),
            )
    deployment = Deployment(f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}", folder)
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.stop()
        deployment.http.close()


def test_two_thousand_campaigns_are_listed_found_and_chosen(browser: Browser, large_hub: Deployment) -> None:
    screen = Screen(browser, large_hub, width=360).sign_in()
    page = screen.page
    screen.open("/cockpit/campaign")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(100)
    assert screen.overflow() == []
    first = rows.first.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(100)
    assert rows.first.inner_text() != first
    page.get_by_label("Find").fill("many-1999")
    page.get_by_role("button", name="Find").click()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Campaign number 1999").click()
    expect(page.locator("h1")).to_have_text("Campaign number 1999")

    for path in ("/cockpit", "/cockpit/reports?range=30d&by=campaign", "/cockpit/logs/clicks", "/cockpit/alerts"):
        screen.open(path)
        assert screen.overflow() == [], path
    screen.open("/cockpit/do/digest/subscribe")
    page.get_by_label("Campaigns").fill("many-1998,many-1999")
    page.get_by_label("Channel").fill("terminal")
    page.get_by_role("button", name="Send a digest").click()
    expect(page.locator("tbody tr").first).to_contain_text("1998")
    screen.complaints = [text for text in screen.complaints if "favicon" not in text]
    assert screen.complaints == []
    screen.close()


def test_the_command_line_names_one_of_two_thousand(browser: Browser, large_hub: Deployment) -> None:
    screen = Screen(browser, large_hub).sign_in()
    screen.page.keyboard.press("Control+k")
    box = screen.page.get_by_role("dialog", name="Command line")
    box.get_by_role("combobox").fill("campaign show many-1999")
    expect(box.get_by_role("option").first).to_contain_text("Campaign number 1999")
    box.get_by_role("combobox").press("Enter")
    expect(box.locator("output")).to_contain_text("Campaign number 1999")
    assert screen.complaints == []
    screen.close()


@pytest.mark.parametrize("n", range(len(NAMES)))
def test_a_campaign_of_any_name_is_shown_edited_and_reported(browser: Browser, large_hub: Deployment, n: int) -> None:
    screen = Screen(browser, large_hub, width=360).sign_in()
    page = screen.page
    screen.open(f"/cockpit/campaign/many-{n}")
    assert screen.heading == NAMES[n]
    assert screen.overflow() == []
    page.get_by_role("link", name="Edit", exact=True).click()
    expect(page.get_by_label("Name")).to_have_value(NAMES[n])
    assert screen.overflow() == []
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text(NAMES[n])
    assert screen.toast == "Nothing was changed"
    screen.open(f"/cockpit/do/campaign/edit?campaign=many-{n}")
    page.get_by_label("Cost", exact=True).fill("0.07")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text(NAMES[n])
    assert screen.hub.get("campaign/show", campaign=f"many-{n}")["name"] == NAMES[n]
    assert screen.complaints == []
    screen.close()
