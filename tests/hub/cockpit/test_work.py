"""A day's work in the cockpit: reports, held figures, sites, postbacks, people who get in each other's way."""

import csv
import io
import signal

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.screen import AGENT, Screen
from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


def rows(screen: Screen) -> dict[str, list[str]]:
    """The report's rows by their first cell."""
    table = screen.page.locator("table.pinned tbody tr")
    lines = [row.locator("td").all_inner_texts() for row in table.all()]
    return {cells[0]: cells[1:] for cells in lines}


def test_a_report_is_drilled_down_saved_and_exported(owner: Screen) -> None:
    page = owner.page
    owner.open("/cockpit/reports?range=30d&by=campaign")
    totals = page.locator("tfoot td").all_inner_texts()
    page.get_by_role("link", name="Alpine Native").click()
    assert "campaign=alpine-native" in page.url
    assert page.get_by_label("Group by").input_value() == "day"
    days = page.locator("table.pinned tbody tr")
    assert 29 <= days.count() <= 31  # just after midnight no one has clicked today
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("A column by formula").fill("Margin = profit / commission * 100")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("columnheader", name="Margin")).to_be_visible()

    page.get_by_role("link", name="Save this view").click()
    page.get_by_label("Name").fill("Alpine by day")
    page.get_by_role("button", name="Save view").click()
    chip = page.get_by_role("group", name="Saved views").get_by_role("link", name="Alpine by day")
    expect(chip).to_have_attribute("aria-current", "true")
    assert "Alpine by day" in owner.toast
    owner.open("/cockpit/reports")
    page.get_by_role("link", name="Alpine by day").click()
    expect(page.get_by_role("columnheader", name="Margin")).to_be_visible()

    owner.open("/cockpit/reports?range=30d&by=campaign")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    exported = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert [row["campaign"] for row in exported if row["campaign"]] == [
        "alpine-native",
        "baltic-search",
        "verde-native",
    ]
    assert sum(int(row["clicks"]) for row in exported if row["campaign"]) == int(totals[1].replace(",", ""))


def test_campaigns_are_put_into_a_group_tagged_archived_and_found(owner: Screen) -> None:
    page = owner.page
    owner.open("/cockpit/campaign")
    for name in ("Alpine Native", "Verde Native"):
        page.get_by_label(f"Choose {name}").check()
    page.get_by_label("With the chosen").select_option("campaign edit")
    page.get_by_label("Put into group").fill("Nordics")
    page.get_by_label("Set tags").fill("+native,+summer")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("main")).to_contain_text("Sets group=Nordics, tags=+native,+summer")
    page.get_by_role("button", name="Confirm").click()
    assert "2 campaigns changed" in owner.toast
    owner.open("/cockpit/campaign")
    page.get_by_label("Group", exact=True).select_option("Nordics")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("tbody").get_by_role("link", name="summer").first.click()
    expect(page.locator(".chips .on")).to_have_count(2)

    page.get_by_label("Choose Verde Native").check()
    page.get_by_label("With the chosen").select_option("campaign archive")
    page.get_by_role("button", name="Do it").click()
    owner.open("/cockpit/campaign?status=archived")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Verde Native").click()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".head .state")).to_have_text("active")

    owner.open("/cockpit/reports?range=30d&by=group&tag=summer")
    expect(page.locator("table.pinned tbody tr")).to_have_count(1)
    page.get_by_label("Search everything").fill("summer")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Alpine Native").click()
    assert owner.heading == "Alpine Native"
    owner.open("/cockpit").page.keyboard.press("Control+k")
    box = page.get_by_role("dialog", name="Command line")
    box.get_by_role("combobox").fill("verde nat")
    box.get_by_role("option", name="Verde Native").first.click()
    expect(page.locator("h1")).to_have_text("Verde Native")


def test_a_wrong_formula_is_named(browser: Browser, hub: Deployment) -> None:
    screen = Screen(browser, hub).sign_in()
    screen.open("/cockpit/reports?own=Wrong=comission/clicks")
    assert "did you mean 'commission'" in screen.page.locator("[role=alert]").inner_text()
    screen.close()


def test_the_slider_shows_what_was_believed_and_marks_what_moved(owner: Screen) -> None:
    page = owner.page
    owner.open("/cockpit/reports?range=30d&by=campaign")
    now = rows(owner)["Alpine Native"]
    slider = page.get_by_role("slider", name="As believed on")
    slider.focus()
    page.keyboard.press("PageDown")  # some days at once: each press loads the page
    page.wait_for_url("**as_of=**")
    then = rows(owner)["Alpine Native"]
    assert then[0].splitlines()[0] < now[0]  # clicks of the last days were not there yet
    expect(page.locator("mark").first).to_be_visible()
    assert f"now {now[0]}" in then[0]
    page.get_by_role("link", name="Back to now").click()
    assert rows(owner)["Alpine Native"] == now


def test_a_held_report_is_confirmed(owner: Screen) -> None:
    page = owner.page
    before = owner.hub.get("report/merged", **{"from": "2020-01-01", "to": "2020-01-02"})
    assert before["rows"] == []
    owner.open("/cockpit/revenue")
    panel = page.locator("section", has_text="Held report of casa-verde")
    expect(panel.get_by_role("row", name="FTDs")).to_contain_text("+100")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("h1")).to_contain_text("Confirm")
    expect(page.locator(".note.warning")).not_to_be_empty()  # the consequence, before anything is done
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".toast")).to_contain_text("Confirmed for casa-verde")
    assert page.url.endswith("/cockpit/revenue")
    assert owner.hub.get("sync/status", account="casa-verde")["items"][0]["state"] == "idle"


def test_a_site_is_published_from_its_editor(owner: Screen) -> None:
    page, hub = owner.page, owner.hub
    hub.post(
        "casino/edit",
        casino="alpine-spins",
        bonus="100 % up to €200",
        licence="MGA/1",
        terms_url="https://a.example.test/t",
    )
    hub.post("casino/review", casino="alpine-spins")
    owner.open("/cockpit/site/spin-compass/edit")
    for name in ("Baltic Crown", "Casa Verde"):
        page.get_by_role("listitem").filter(has_text=name).get_by_role("checkbox").check()
    page.get_by_label("Headline").fill("Where to spin in spring")
    page.get_by_label("Operator").fill("Spin Compass Ltd")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".note.ok")).to_contain_text("DE demands is there")
    expect(page.frame_locator("iframe[title='On a phone']").locator("body")).to_contain_text("Spin Compass")
    page.get_by_role("button", name="Publish").click()
    if page.locator("h1").inner_text().startswith("Confirm"):
        page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Version 1")).to_be_visible()
    assert hub.get("site/show", site="spin-compass")["status"] == "published"


def test_an_unmatched_postback_is_replayed(owner: Screen) -> None:
    page, hub = owner.page, owner.hub
    address = hub.post("postback/url", account="north-play")["url"].partition("?")[0]
    answer = httpx.get(address, params={"click_id": "0" * 20, "event": "registration"}, timeout=60)
    assert answer.json()["outcome"] == "unmatched"
    owner.open("/cockpit/logs/postbacks?outcome=unmatched")
    line = page.locator("tbody tr").first
    line.get_by_text("Raw").click()
    expect(line.locator("pre")).to_contain_text("event=registration")
    line.get_by_role("button", name="Replay").click()
    expect(page.locator(".toast")).to_be_visible()
    assert hub.get("audit", limit=1)["items"][0]["command"] == "postback replay"


def test_a_viewer_sees_and_changes_nothing(browser: Browser, hub: Deployment) -> None:
    token = hub.post("token/create", name="looker", role="viewer")["token"]
    screen = Screen(browser, hub).sign_in_with(token)
    page = screen.page
    for path in ("/cockpit", "/cockpit/campaign", "/cockpit/campaign/alpine-native", "/cockpit/revenue"):
        screen.open(path)
        for button in ("New campaign", "Pause", "Edit", "Confirm", "Sync all now"):
            assert page.get_by_role("button", name=button, exact=True).count() == 0, (path, button)
            assert page.get_by_role("link", name=button, exact=True).count() == 0, (path, button)
    assert screen.complaints == []
    csrf = page.locator("body").get_attribute("data-csrf")
    status = page.evaluate(
        "csrf => fetch('/cockpit/do/campaign/pause', {method: 'POST', body: new URLSearchParams({csrf, campaign: "
        "'alpine-native'})}).then(answer => answer.status)",
        csrf,
    )
    assert status == 403
    assert hub.get("campaign/show", campaign="alpine-native")["status"] == "active"
    screen.close()


def test_the_second_of_two_who_edit_the_same_is_told_what_changed(browser: Browser, hub: Deployment) -> None:
    first, second = Screen(browser, hub).sign_in(), Screen(browser, hub).sign_in()
    for screen in (first, second):
        screen.open("/cockpit/do/source/edit?source=searchhub")
    first.page.get_by_label("Name").fill("Search Hub One")
    first.page.get_by_role("button", name="Save").click()
    assert first.heading == "Search Hub One"
    second.page.get_by_label("Name").fill("Search Hub Two")
    second.page.get_by_role("button", name="Save").click()
    assert "Another member has changed this" in second.heading
    row = second.page.get_by_role("row", name="name")
    expect(row).to_contain_text("SearchHub")
    expect(row).to_contain_text("Search Hub One")
    assert hub.get("source/show", source="searchhub")["name"] == "Search Hub One"
    second.page.get_by_role("button", name="Save mine over it").click()
    expect(second.page.locator("h1")).to_have_text("Search Hub Two")
    first.close()
    second.close()


def test_live_lines_come_back_after_a_lost_connection_and_catch_up(browser: Browser, hub: Deployment) -> None:
    screen = Screen(browser, hub).sign_in()
    link = hub.post("campaign/link", campaign="alpine-native")["url"]

    def click(sub: str) -> None:
        answer = httpx.get(
            link, params={"sub1": sub}, headers={"user-agent": f"{AGENT} {sub}"}, follow_redirects=False, timeout=60
        )
        assert answer.status_code == 302

    events = screen.page.locator(".live li:has(a)")
    expect(events).to_have_count(14)
    assert hub.process is not None
    hub.process.send_signal(signal.SIGTERM)
    hub.process.wait(120)
    existing = [item.get_attribute("id") for item in events.all()]
    hub.start()
    for sub in ("a", "b", "c"):
        click(sub)
    expect(events.nth(3)).to_have_id(str(existing[0]))
    ids = [item.get_attribute("id") for item in events.all()]
    assert len(set(ids)) == len(ids)  # nothing twice
    assert ids[3:] == existing[:11]
    screen.close()


def test_a_session_that_was_ended_leads_to_the_sign_in(browser: Browser, hub: Deployment) -> None:
    screen = Screen(browser, hub).sign_in()
    for session in hub.get("token/list", limit=200)["items"]:
        if session["kind"] == "session" and not session["revoked_at"]:
            hub.post("token/revoke", token=session["code"])
    screen.open("/cockpit/campaign")
    assert screen.heading == "CasinoFlux cockpit"
    screen.close()


def test_a_campaign_is_copied_from_its_page(owner: Screen) -> None:
    page = owner.page
    owner.open("/cockpit/campaign/verde-native")
    page.get_by_role("link", name="Copy", exact=True).click()
    page.get_by_label("Name").fill("Verde Two")
    page.locator("form.stack button.primary").click()
    expect(page.locator("h1")).to_have_text("Verde Two")
    copied = owner.hub.get("campaign/show", campaign="verde-two")
    assert copied["offers"] == owner.hub.get("campaign/show", campaign="verde-native")["offers"]


def test_an_alert_shows_the_days_it_would_have_fired_on(owner: Screen) -> None:
    code = owner.hub.post("alert/add", rule="clicks > 100", channel="terminal")["code"]
    owner.open("/cockpit/alerts")
    owner.page.get_by_role("link", name="clicks > 100").click()
    shown = owner.hub.get("alert/show", alert=code)
    assert shown["would_have_fired"] > 0
    owner.drawn()
    fired = shown["would_have_fired"]
    expect(owner.page.locator("section").first).to_contain_text(f"{fired} times: ")
    owner.page.get_by_role("button", name="Snooze").click()
    expect(owner.page.locator(".toast")).to_be_visible()


def test_an_automation_is_tried_armed_paused_and_taken_back(owner: Screen) -> None:
    page, hub = owner.page, owner.hub
    owner.open("/cockpit/automation")
    page.get_by_role("link", name="New automation").click()
    page.get_by_label("Rule", exact=True).fill("pause campaign when clicks > 20 todayy")
    page.get_by_role("button", name="Add automation").click()
    expect(page.locator(".fault, .note.error").first).to_contain_text("rule")  # the error stands at its field
    page.get_by_label("Rule", exact=True).fill("pause campaign when clicks > 20 today")
    page.locator("summary", has_text="More").click()
    page.get_by_label("Dry", exact=True).select_option("yes")
    page.get_by_label("Name", exact=True).fill("Enough for today")
    page.get_by_role("button", name="Add automation").click()
    expect(page.locator("h1")).to_have_text("Enough for today")
    owner.drawn()  # the acts of 30 days
    past = hub.get("automation/test", automation="automation-1")
    assert len(past["firings"]) > 20
    expect(page.get_by_text(f"{len(past['firings'])} acts")).to_be_visible()
    expect(page.locator(".head .state", has_text="dry run")).to_be_visible()

    page.get_by_role("button", name="Arm it").click()
    expect(page.locator(".head .state", has_text="dry run")).to_have_count(0)
    assert hub.get("automation/show", automation="automation-1")["dry"] is False
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".head .state").first).to_have_text("paused")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".head .state").first).to_have_text("active")
    page.get_by_role("button", name="Only dry run").click()
    expect(page.locator(".head .state", has_text="dry run")).to_be_visible()
    owner.open("/cockpit/automation")
    expect(page.get_by_role("row", name="Enough for today automation-1")).to_contain_text("dry run")
    page.get_by_role("link", name="Use it").first.click()
    expect(page.get_by_label("Dry", exact=True)).to_have_value("yes")
    owner.complaints = [text for text in owner.complaints if "400 (Bad Request)" not in text]  # the wrong rule
