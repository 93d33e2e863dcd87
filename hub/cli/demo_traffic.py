"""The demo's players and their casino: real requests to the tracking link, the landing page and the postback URL."""

import html
import re
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

_SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/19.1 Mobile/15E148 Safari/604.1"
)
_CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
_BROWSERS = (
    _SAFARI,
    _CHROME.format("Linux; Android 16; Pixel 10").replace(" Safari", " Mobile Safari"),
    _CHROME.format("Windows NT 10.0; Win64; x64"),
)
_NETWORKS = ("84.128", "84.129", "84.130", "77.116")  # of Germany, and of Austria


def _address(n: int) -> str:
    """The address that the demo's player number `n` comes from, as a proxy reports it."""
    return f"{_NETWORKS[n % 4]}.{n // 250}.{n % 250 + 1}"


class Visitors:
    """Players of one campaign; click ids are learnt as a casino learns them: from the link it is opened with."""

    def __init__(self, link: str, postback: str) -> None:
        self._link = link
        self._postback = postback
        self._client = httpx.AsyncClient()
        self._landed: list[tuple[str, dict[str, str]]] = []  # where players are, and what their browsers send
        self._click_ids: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def click(self, count: int) -> int:
        """So many clicks on the tracking link; returns how many were redirected."""
        for n in range(count):
            browser = {"user-agent": f"{_BROWSERS[n % 3]} demo/{n}", "x-forwarded-for": _address(n)}
            answer = await self._client.get(
                self._link,
                params={"click_id": f"pn-{n:04d}", "cost": "0.35", "currency": "EUR", "sub1": f"banner-{n % 3}"},
                headers=browser,
            )
            if answer.status_code == 302:
                self._landed.append((urljoin(self._link, answer.headers["location"]), browser))
            self._client.cookies.clear()
        return len(self._landed)

    async def go_on(self, count: int) -> int:
        """So many of them follow the page's first outgoing link; returns how many reached the casino."""
        for landed, browser in self._landed[:count]:
            page = await self._client.get(landed, headers=browser)
            match = re.search(r'href="([^"]*/go/[^"]+)"', page.text)
            if match is None:
                continue
            onward = await self._client.get(urljoin(landed, html.unescape(match[1])), headers=browser)
            if onward.status_code == 302:
                self._click_ids += parse_qs(urlsplit(onward.headers["location"]).query).get("sub", [])
            self._client.cookies.clear()
        return len(self._click_ids)

    async def convert(self, *, registrations: int, first_deposits: int) -> int:
        """The casino's postbacks; returns how many were accepted."""
        events: list[tuple[str, str, str | None]] = [
            ("registration", id_, None) for id_ in self._click_ids[:registrations]
        ]
        events += [("first_deposit", id_, "50.00") for id_ in self._click_ids[:first_deposits]]
        accepted = 0
        for event, click_id, amount in events:
            query = {"click_id": click_id, "event": event, "txn_id": f"{event}-{click_id}"}
            query |= {"amount": amount, "currency": "EUR"} if amount else {}
            answer = await self._client.get(self._postback, params=query)
            accepted += answer.json().get("outcome") == "accepted"
        return accepted
