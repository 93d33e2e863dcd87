"""Every page at a phone's width, a desk's and a wide screen's, light and dark: fits, stands still, can be read."""

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.pages import PAGES
from tests.hub.cockpit.screen import AGENT, Screen, violations
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1360, False), (2560, True)])
def test_every_page_fits_and_can_be_read(browser: Browser, hub: Deployment, width: int, dark: bool) -> None:
    """Contrast and structure are looked at once in dark and once in light: the widest screen has the phone's."""
    screen = Screen(browser, hub, width=width, dark=dark).sign_in()
    click = hub.get("conversion/list", limit=1)["items"][0]["click_id"]
    faults = []
    for name, path in {**PAGES, "story": f"/cockpit/story/{click}"}.items():
        screen.open(path).drawn()
        result = [*screen.overflow(), *screen.complaints]
        if width < 2560:
            result += map(str, violations(screen.page))
        if (shift := screen.layout_shift()) > 0.05:
            result.append(f"moved by {shift:.2f}")
        faults += [f"{name}: {fault}" for fault in result]
        screen.complaints.clear()
    screen.close()
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_tables_side_by_side_are_whole_at_a_desk(browser: Browser, hub: Deployment, width: int) -> None:
    screen = Screen(browser, hub, width=width).sign_in()
    for path in ("/cockpit", "/cockpit/team"):
        tables = screen.open(path).drawn().page.locator(".halves .wide")
        assert tables.count() > 0, path
        assert tables.evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)") == [0] * tables.count()
    screen.close()


@pytest.mark.parametrize("width", [360, 1360])
@pytest.mark.parametrize("path", ["/cockpit", "/cockpit/logs/clicks"])
def test_what_happens_now_comes_without_moving_anything(
    browser: Browser, hub: Deployment, path: str, width: int
) -> None:
    screen = Screen(browser, hub, width=width).sign_in()
    link = hub.post("campaign/link", campaign="alpine-native")["url"]
    first = screen.open(path).drawn().page.locator(".live li").first
    expect(first.locator("a")).to_have_count(1)
    first.scroll_into_view_if_needed()
    before = screen.layout_shift()
    for n in range(3):
        newest = str(first.get_attribute("id"))
        agent = {"user-agent": f"{AGENT} {path} {width} {n}"}
        assert httpx.get(link, headers=agent, follow_redirects=False, timeout=60).status_code == 302
        expect(first).not_to_have_id(newest)
    assert screen.layout_shift() == before
    screen.close()


@pytest.mark.parametrize("name", ["clicks", "postbacks", "report", "campaigns", "team"])
def test_a_page_that_comes_slowly_moves_nothing(browser: Browser, hub: Deployment, name: str) -> None:
    screen = Screen(browser, hub, width=360, dark=True).sign_in()
    screen.open(PAGES[name])  # style sheet and scripts are kept from here on
    screen.slow_down()
    screen.open(PAGES[name]).drawn()
    screen.page.wait_for_timeout(500)
    assert screen.layout_shift() < 0.01
    screen.close()


def test_pages_of_an_empty_team_lead_to_the_next_step(browser: Browser, empty_hub: Deployment) -> None:
    screen = Screen(browser, empty_hub, width=360).sign_in()
    for path in ("/cockpit", "/cockpit/reports", "/cockpit/revenue", "/cockpit/campaign", "/cockpit/offer",
                 "/cockpit/site", "/cockpit/domain", "/cockpit/source", "/cockpit/account", "/cockpit/alerts",
                 "/cockpit/digests", "/cockpit/logs/postbacks"):  # fmt: skip
        screen.open(path)
        assert screen.page.locator(".empty").count() > 0, path
        if "logs" not in path:
            assert screen.page.locator(".empty a.button").count() > 0, path
        assert (screen.overflow(), violations(screen.page)) == ([], []), path
    assert screen.complaints == []
    screen.close()


def test_long_names_and_other_scripts_fit(browser: Browser, empty_hub: Deployment) -> None:
    names = ["W" * 200, "حملة الربيع " + "ا" * 60, "<script>alert(1)</script> & \"quotes\""]  # fmt: skip
    codes = [empty_hub.post("source/add", name=name)["code"] for name in names]
    screen = Screen(browser, empty_hub, width=360).sign_in()
    for path in ("/cockpit/source", *(f"/cockpit/source/{code}" for code in codes)):
        screen.open(path)
        assert screen.overflow() == [], path
    assert screen.heading == names[-1]
    assert screen.complaints == []
    screen.close()
