"""A campaign's rotation in the cockpit: drafted, tried and saved, with and without a browser, by two at once."""

import re
from collections.abc import Iterator
from html import unescape
from itertools import count
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.hub.cockpit.screen import AGENT, Screen, violations
from tests.journeys.deployment import Deployment
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

OFFERS = {"alpine": "Alpine Spins", "baltic": "Baltic Crown", "verde": "Casa Verde"}
RULES = "country=FI -> baltic:1; device=tablet -> verde:1"


@pytest.fixture(scope="module")
def rotated(empty_hub: Deployment) -> Deployment:
    """A deployment with three offers."""
    empty_hub.post("account/add", name="North", platform="postback_only")
    for tag, casino in OFFERS.items():
        url = f"https://{tag}.example.test/?s={{click_id}}"
        made = empty_hub.post("offer/add", casino=casino, account="north", url=url, tag=tag)
        empty_hub.post("offer/edit", offer=made["code"], name=tag)
    return empty_hub


@pytest.fixture
def codes(rotated: Deployment) -> dict[str, str]:
    """The offers' codes by their names."""
    return {offer["name"]: offer["code"] for offer in rotated.get("offer/list", limit=200)["items"]}


@pytest.fixture
def person(rotated: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rotated.url, timeout=30) as client:
        assert client.post("/cockpit/sign-in", data={"token": rotated.token}).status_code == 303
        yield client


def campaign(hub: Deployment, name: str, codes: dict[str, str], rules: str = RULES) -> str:
    for offer, code in codes.items():
        rules = re.sub(rf"\b{offer}\b", code, rules)
    made = hub.post("campaign/create", name=name, offers=[f"{codes['alpine']}:3", codes["baltic"]], rules=rules)
    return str(made["code"])


def fields(page: str) -> dict[str, list[str]]:
    """What a browser would send of the rotation's form without a button pressed."""
    form = page[page.index('<form id="rotation"') :]
    form = form[: form.index("</form>")]
    sent: dict[str, list[str]] = {}
    for tag in re.finditer(r"<input[^>]*>|<select.*?</select>", form, re.DOTALL):
        name = re.search(r'name="([^"]+)"', tag[0])
        chosen = re.search(r'<option value="([^"]*)" selected', tag[0]) if tag[0].startswith("<select") else None
        value = chosen or (re.search(r' value="([^"]*)"', tag[0]) if tag[0].startswith("<input") else None)
        if name:
            sent.setdefault(name[1], []).append(unescape(value[1]) if value else "")
    return sent


def send(person: httpx.Client, path: str, form: dict[str, Any], do: str) -> httpx.Response:
    return person.post(path, data={**form, "do": do})


def test_a_rule_is_added_moved_tried_and_saved_in_a_browser(
    browser: Browser, rotated: Deployment, codes: dict[str, str]
) -> None:
    code = campaign(rotated, "Spring", codes)
    screen = Screen(browser, rotated).sign_in()
    page = screen.page
    screen.open(f"/cockpit/campaign/{code}")
    page.get_by_role("link", name="Edit the rotation").click()
    answer = page.locator("#answer")
    expect(answer).to_contain_text("No rule fits")
    expect(answer).to_contain_text("75 %")

    page.get_by_role("button", name="Add a rule").click()
    third = page.get_by_role("textbox", name="Condition of rule 3")
    expect(third).to_be_visible()
    third.fill("contry=DE")
    page.get_by_label("Add an offer to rule 3").select_option(codes["verde"])
    expect(page.locator(".rules .fault")).to_contain_text("did you mean 'country'?")
    assert third.get_attribute("aria-invalid") == "true"
    third.fill("sub1=news-*")
    third.press("Tab")
    expect(page.locator(".rules .fault")).to_have_count(0)
    page.get_by_label("Add an offer to rule 3").select_option(codes["alpine"])
    weight = page.get_by_label("Weight of verde in rule 3")
    weight.fill("4")
    weight.press("Tab")
    expect(page.locator(".rules > li").nth(2)).to_contain_text("80 %")

    page.get_by_label("Sub1", exact=True).fill("news-7")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(answer).to_contain_text("Rule 3 decides.")
    expect(answer.locator("li").first).to_contain_text("verde")
    expect(answer.locator("li").first).to_contain_text("80 %")
    page.get_by_label("Device").select_option("tablet")
    expect(answer).to_contain_text("Rule 2 decides.")
    up = page.get_by_role("button", name="Move rule 3 up")
    up.focus()
    up.press("Enter")  # by keys alone
    expect(page.get_by_role("textbox", name="Condition of rule 2")).to_have_value("sub1=news-*")
    expect(answer).to_contain_text("Rule 2 decides.")
    expect(answer.locator("li").first).to_contain_text("80 %")
    page.locator(".rules .grip").nth(1).hover()
    page.mouse.down()
    page.mouse.move(*_corner(page, 0), steps=5)
    page.mouse.up()
    expect(page.get_by_role("textbox", name="Condition of rule 1")).to_have_value("sub1=news-*")
    assert (screen.overflow(), violations(page)) == ([], [])
    assert rotated.get("campaign/show", campaign=code)["rules"][0]["if"] == {"country": ["FI"]}  # nothing saved yet

    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("Saved the rotation of Spring")
    saved = rotated.get("campaign/show", campaign=code)["rules"]
    assert saved[0]["offers"] == [
        {"offer": codes["verde"], "weight": 4}, {"offer": codes["alpine"], "weight": 1},
    ]  # fmt: skip
    url = rotated.get("campaign/show", campaign=code)["url"]
    numbers = count()

    def target() -> str:  # of a visitor who has no cookie yet: one who has keeps the offer
        agent = {"user-agent": f"{AGENT} {next(numbers)}"}
        answer = httpx.get(url, params={"sub1": "news-1"}, headers=agent, follow_redirects=False, timeout=60)
        return answer.headers["location"].split("/")[2].split(".")[0]

    wait_for(lambda: target() == "verde", "the redirect to follow the new rule")
    assert {target() for _ in range(8)} <= {"verde", "alpine"}
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(".rules > li")).to_have_count(2)
    assert rotated.get("campaign/show", campaign=code)["rules"][0]["if"] == {"country": ["FI"]}
    assert screen.complaints == []
    screen.close()


def _corner(page: Any, n: int) -> tuple[float, float]:
    box = page.locator(".rules > li").nth(n).bounding_box()
    return box["x"] + 5, box["y"] + 3


def test_the_whole_form_works_without_scripts(rotated: Deployment, person: httpx.Client, codes: dict[str, str]) -> None:
    code = campaign(rotated, "Plain", codes)
    path = f"/cockpit/campaign/{code}/rotation"
    form = fields(person.get(path).text)
    assert (form["if.0"], form["offer"], form["weight"]) == (
        ["country=FI"], [codes["alpine"], codes["baltic"], ""], ["3", "1", "1"],
    )  # fmt: skip
    form = fields(send(person, path, form, "down.0").text)
    assert (form["if.0"], form["if.1"]) == (["device=tablet"], ["country=FI"])
    form = fields(send(person, path, form, "copy.1").text)
    form = fields(send(person, path, form, f"off.-.{codes['baltic']}").text)
    form = fields(send(person, path, form, "remove.0").text)
    form = fields(send(person, path, form, "add").text)
    assert [form[f"if.{n}"] for n in range(3)] == [["country=FI"], ["country=FI"], [""]]
    wrong = send(person, path, form | {"if.2": ["returning"]}, "save")
    assert (wrong.status_code, "rule 3 names no offers" in wrong.text) == (400, True)
    form = fields(wrong.text) | {"if.2": ["returning"], "offer.2": [codes["verde"]], "weight.2": ["2x"]}
    wrong = send(person, path, form, "save")
    assert (wrong.status_code, "not a whole number" in wrong.text) == (400, True)
    assert fields(wrong.text)["weight.2"][0] == "2x"  # nothing typed is lost
    form["weight.2"] = ["2"]
    form["fallback_url"] = ["https://elsewhere.example.test/"]
    saved = send(person, path, form, "save")
    assert (saved.status_code, saved.headers["location"]) == (303, path)
    stored = rotated.get("campaign/show", campaign=code)
    assert [rule["if"] for rule in stored["rules"]] == [
        {"country": ["FI"]}, {"country": ["FI"]}, {"visitor": ["returning"]},
    ]  # fmt: skip
    assert (stored["offers"], stored["fallback_url"]) == ([f"{codes['alpine']}:3"], "https://elsewhere.example.test/")
    again = send(person, path, fields(person.get(path).text), "save")
    assert "Nothing was changed" in person.get(again.headers["location"]).text
    form = {name: values for name, values in fields(person.get(path).text).items() if not re.match(r"(if|offer)", name)}
    assert send(person, path, form, "save").status_code == 303
    emptied = rotated.get("campaign/show", campaign=code)
    assert (emptied["rules"], emptied["offers"]) == ([], [])


def test_two_who_edit_a_rotation_and_one_who_may_not(
    rotated: Deployment, person: httpx.Client, codes: dict[str, str]
) -> None:
    code = campaign(rotated, "Shared", codes)
    path = f"/cockpit/campaign/{code}/rotation"
    form = fields(person.get(path).text)
    rotated.post("campaign/edit", campaign=code, rules=f"os=ios -> {codes['verde']}")
    clash = send(person, path, form | {"weight": ["5", "1", "1"]}, "save")
    assert (clash.status_code, "Another member has changed this" in clash.text) == (409, True)
    assert "os=ios" in clash.text  # in words, as it stands now
    assert "country=FI" in clash.text  # and as it was
    token = rotated.post("token/create", name="looker", role="viewer")["token"]
    with httpx.Client(base_url=rotated.url, timeout=30) as viewer:
        viewer.post("/cockpit/sign-in", data={"token": token})
        page = viewer.get(path).text
        assert 'value="save"' not in page
        form = fields(page) | {"country": ["SE"]}
        assert "everybody else" in send(viewer, path, form, "try").text
        send(viewer, path, form | {"weight": ["9", "1", "1"]}, "save")
    assert rotated.get("campaign/show", campaign=code)["offers"][0].endswith(":3")
