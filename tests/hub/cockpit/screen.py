"""A person at the cockpit: Debian's Chromium driven by Playwright, signed in by a one-time link."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

from tests.journeys.deployment import Deployment
from tests.standins.browser import CHROMIUM

#: A person's browser: headless Chromium names itself as one that bots use, and a bot uses no one-time link up.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Screen:
    """One person's browser window. `complaints` holds what the browser logged: blocked scripts, failed requests."""

    def __init__(
        self, browser: Browser, hub: Deployment, *, width: int = 1360, height: int = 900, dark: bool = False,
        javascript: bool = True,
    ) -> None:  # fmt: skip
        self.hub = hub
        self.complaints: list[str] = []
        self._context = browser.new_context(
            base_url=hub.url, viewport=ViewportSize(width=width, height=height), user_agent=AGENT, locale="en-GB",
            color_scheme="dark" if dark else "light", java_script_enabled=javascript, accept_downloads=True,
        )  # fmt: skip
        self._context.set_default_timeout(120_000)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        if "Blocked script execution" in message.text and "sandboxed" in message.text:
            return  # the site editor shows previews that run no script
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def sign_in(self, link: str = "") -> "Screen":
        self.page.goto(link or self.hub.run("cockpit")["url"])
        return self

    def sign_in_with(self, token: str) -> "Screen":
        self.page.goto("/cockpit")
        self.page.get_by_text("Or sign in with an API token").click()
        self.page.get_by_label("API token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.complaints.clear()  # the browser logs the 401 of the sign-in page
        return self

    def open(self, path: str) -> "Screen":
        self.page.goto(path, wait_until="load")
        return self

    def slow_down(self) -> None:
        """A machine a sixth as fast, on a line of 30 kB a second."""
        session = self._context.new_cdp_session(self.page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": 6})
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {
            "offline": False, "latency": 50, "downloadThroughput": 30_000, "uploadThroughput": 30_000,
        })  # fmt: skip

    def drawn(self) -> "Screen":
        """Wait until the page's charts are drawn."""
        for chart in self.page.locator("[data-chart]").all():
            chart.locator("svg").wait_for()
        return self

    @property
    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    @property
    def toast(self) -> str:
        return self.page.locator(".toast span").inner_text()

    def overflow(self) -> list[str]:
        """What reaches beyond the window's right edge, boxes that scroll by themselves apart."""
        results: list[str] = self.page.evaluate(OVERFLOW)
        return results

    def layout_shift(self) -> float:
        """How far parts of the page have moved since it was first painted (0: nothing did)."""
        shift: float = self.page.evaluate(SHIFT)
        return shift

    def close(self) -> None:
        self._context.close()


OVERFLOW = """
() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const scrolls = (e) => { for (e = e.parentElement; e; e = e.parentElement)
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX)) return true; return false; };
  const wide = (e) => e.getBoundingClientRect().right > width + 1 && !scrolls(e);
  return [...document.querySelectorAll("body *")].filter(wide)
    .map((e) => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 40)}`).concat(["it scrolls sideways"]);
}
"""
SHIFT = """
() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((e) => { if (!e.hadRecentInput) sum += e.value; }))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 150);
})
"""


def link_of_the_past(hub: Deployment, seconds: int) -> str:
    """A sign-in link that was made so many seconds ago."""
    environment = hub.environment | {"CASINOFLUX_CLOCK_OFFSET": str(-seconds)}
    command = [sys.executable, "-m", "hub", "run", "cockpit"]
    shown = subprocess.run(command, cwd=hub.folder, env=environment, capture_output=True, text=True, check=True).stdout
    result = re.search(r"https?://\S+/cockpit/enter/\S+", shown)
    assert result is not None, shown
    return result[0]


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe finds that is serious or critical: rule, and the elements at fault."""
    from axe_playwright_python.sync_playwright import Axe

    result = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        {
            "rule": v["id"],
            "elements": [node["html"][:160] + " | " + node["failureSummary"][-160:] for node in v["nodes"][:4]],
        }
        for v in result
        if v["impact"] in {"serious", "critical"}
    ]
