"""A team's first campaign, made in a browser from nothing: the quick journey through the cockpit."""

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.screen import AGENT, Screen, link_of_the_past
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


def test_a_first_campaign_from_nothing(browser: Browser, empty_hub: Deployment) -> None:
    screen = Screen(browser, empty_hub).sign_in()
    page = screen.page
    assert screen.heading == "Today"
    page.get_by_role("link", name="Add a platform account").click()
    page.get_by_label("Platform", exact=False).first.select_option("postback_only")
    expect(page.get_by_label("Platform", exact=False).first).to_have_value("postback_only")
    page.get_by_label("Name").fill("North Play")
    page.get_by_role("button", name="Add account").click()
    assert screen.heading == "North Play"

    screen.open("/cockpit/do/offer/add")
    page.get_by_label("Casino").fill("Alpine Spins")
    page.get_by_label("Account").select_option("north-play")
    page.get_by_label("URL").fill("alpine.example.test without a scheme")
    page.get_by_label("Tag", exact=True).fill("spring")
    page.get_by_role("button", name="Add offer").click()
    expect(page.locator(".field.wrong .fault")).to_contain_text("url")  # the error stands at its field
    expect(page.get_by_label("Casino")).to_have_value("Alpine Spins")  # and nothing typed is lost
    assert page.locator(".field.wrong input").get_attribute("aria-invalid") == "true"
    page.get_by_label("URL").fill("https://alpine.example.test/?s={click_id}")
    page.get_by_role("button", name="Add offer").click()
    assert screen.heading == "Alpine Spins spring"

    screen.open("/cockpit")
    page.get_by_role("link", name="New campaign").click()
    page.get_by_label("Name").fill("Spring <b>Push</b>")
    page.get_by_role("group", name="Offers").get_by_label("Alpine Spins spring").check()
    page.get_by_role("button", name="Create campaign").click()
    assert screen.heading == "Spring <b>Push</b>"  # markup in a name is text
    link = page.locator("dd code").first.inner_text()
    assert link == f"{empty_hub.url}/c/spring-b-push-b"

    screen.open("/cockpit")
    expect(page.locator(".live li").first).to_contain_text("Waiting")
    page.wait_for_timeout(600)  # the events are connected
    answer = httpx.get(link, headers={"user-agent": AGENT}, follow_redirects=False, timeout=60)
    assert answer.status_code == 302, answer.text
    expect(page.locator(".live li").first).to_contain_text("Spring <b>Push</b>")
    screen.complaints = [text for text in screen.complaints if "400 (Bad Request)" not in text]  # the wrong URL
    assert screen.complaints == []
    screen.close()


def test_an_edit_can_be_taken_back_from_its_toast(browser: Browser, empty_hub: Deployment) -> None:
    empty_hub.post("source/add", name="PushNet")
    screen = Screen(browser, empty_hub).sign_in()
    screen.open("/cockpit/do/source/edit?source=pushnet")
    screen.page.get_by_label("Name").fill("Push Network")
    screen.page.get_by_role("button", name="Save").click()
    assert screen.heading == "Push Network"
    screen.page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(screen.page.locator("h1")).to_have_text("PushNet")
    assert "Undone" in screen.toast
    assert screen.complaints == []
    screen.close()


def test_the_command_line_completes_and_answers(browser: Browser, empty_hub: Deployment) -> None:
    screen = Screen(browser, empty_hub).sign_in()
    page = screen.page
    page.keyboard.press("Control+k")
    box = page.get_by_role("dialog", name="Command line")
    box.get_by_role("combobox").fill("settin")
    expect(box.get_by_role("option").first).to_contain_text("settings")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box.get_by_role("combobox")).to_have_value("settings ")
    page.keyboard.press("Enter")
    expect(box.locator("output")).to_contain_text("UTC days, EUR")
    box.get_by_role("combobox").fill("stat 7d")
    page.keyboard.press("Enter")
    expect(box.locator("output")).to_contain_text("did you mean 'stats'?")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    assert screen.complaints == []
    screen.close()


def test_a_link_signs_in_once_and_not_after_ten_minutes(browser: Browser, empty_hub: Deployment) -> None:
    link = empty_hub.run("cockpit")["url"]
    screen = Screen(browser, empty_hub).sign_in(link)
    assert screen.heading == "Today"
    for refused in (link, link_of_the_past(empty_hub, 11 * 60)):
        other = Screen(browser, empty_hub)
        other.page.goto(refused)
        assert "used already, or is older than ten minutes" in other.page.locator("[role=alert]").inner_text()
        other.close()
    screen.page.get_by_role("button", name="Sign out").click()
    expect(screen.page.locator("h1")).to_have_text("CasinoFlux cockpit")
    screen.close()


def test_pages_read_without_javascript(browser: Browser, empty_hub: Deployment) -> None:
    screen = Screen(browser, empty_hub, javascript=False).sign_in()
    for path in ("/cockpit", "/cockpit/reports", "/cockpit/campaign", "/cockpit/do/campaign/create", "/cockpit/team"):
        screen.open(path)
        assert re.fullmatch(r"[A-Z].+", screen.heading), path
    screen.open("/cockpit/reports?range=30d&by=day")
    screen.page.get_by_role("textbox", name="Range").fill("7d")
    screen.page.get_by_role("button", name="Show").click()
    assert "range=7d" in screen.page.url
    screen.close()
