"""The real Caddy before a whole deployment: from an empty database to a measured HTTPS page, then full tracking."""

import base64
import io
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image as Pillow

from tests.hub.sites.test_tls import CADDY, caddy
from tests.journeys.conftest import Deploy
from tests.journeys.steps import BROWSER
from tests.journeys.test_site_on_its_domain import HOST, arrive, report, set_up
from tests.waiting import wait_for


class Visitor:
    """A browser that finds every name at Caddy's port, and trusts Caddy's own authority only."""

    def __init__(self, port: int, folder: Path) -> None:
        root = ssl.create_default_context(cafile=str(folder / "caddy/pki/authorities/local/root.crt"))
        self.http = httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=root, timeout=10)

    def ask(self, path: str, n: int, *, method: str = "GET", host: str = HOST, **more: Any) -> httpx.Response:
        headers = {"host": host, "user-agent": f"{BROWSER}{n}"}
        answer = self.http.request(method, path, headers=headers, extensions={"sni_hostname": host}, **more)
        self.http.cookies.clear()
        return answer

    def visit(self, n: int, path: str = "/", **answer: Any) -> str:
        """Open the page, and have its beacon tell what was seen of it."""
        page = self.ask(path, n)
        assert (page.status_code, "Lucky Star" in page.text) == (200, True)
        message = {"i": f"view-{n}", "m": 3000, "s": 60, "o": ["lucky-star"], **answer}
        assert self.ask("/b", n, method="POST", json=message).status_code == 204
        return page.text

    def go_on(self, n: int, page: str) -> str:
        """Follow the page's first offer; where it leads."""
        onward = re.search(r'href="(/go/guide/lucky-star[^"]*)"', page)
        assert onward
        answer = self.ask(onward[1], n)
        assert answer.status_code == 302
        return answer.headers["location"]


@pytest.mark.slow
@pytest.mark.skipif(CADDY is None, reason="Caddy is not installed (apt-get install caddy, or name it in CADDY)")
async def test_a_site_is_served_and_measured_over_https_from_its_first_visit_on(deploy: Deploy, tmp_path: Path) -> None:
    hub = deploy()
    hub.start()
    set_up(hub)
    logo = hub.post("casino/logo", casino="lucky-star", image=base64.b64encode(picture()).decode())["logo"]
    async with caddy(tmp_path, hub.port) as port:
        people = Visitor(port, tmp_path)
        with pytest.raises(httpx.ConnectError):
            people.ask("/", 0)
        hub.post("domain/add", name=HOST, site="guide")
        with pytest.raises(httpx.ConnectError):
            people.ask("/", 0, host="stranger.example.test")
        assert people.ask("/cockpit", 0).status_code == 404
        assert people.ask(logo, 0).headers["content-type"] == "image/webp"

        for n in range(4):
            page = people.visit(n, k=["lucky-star"] if n < 2 else [])
            if n < 2:
                people.go_on(n, page)
        wait_for(lambda: report(hub, visits=4, outgoing=2), "the funnel of fast launch", told=hub.log)

        link = hub.post("campaign/create", name="Spring", site="guide")["url"]
        postback = hub.post("postback/url", account="main")["url"].partition("?")[0]
        assert hub.stop() == 0
        hub.start()
        click = parse_qs(urlsplit(str(arrive(hub, link).headers["location"])).query)["click"][0]
        page = people.visit(9, f"/?click={click}", c=click, k=["lucky-star"])
        assert parse_qs(urlsplit(people.go_on(9, page)).query)["sub"] == [click]
        for event in ("registration", "first_deposit"):
            arguments = {"click_id": click, "event": event, "amount": "100", "currency": "EUR", "txn_id": event}
            assert hub.http.get(postback, params=arguments).json() == {"outcome": "accepted"}
        wait_for(lambda: funnel(hub), "the tracked funnel", told=hub.log)
        views = hub.get("site/analytics", site="guide", by="campaign", range="today")["rows"]
        assert {view["group"]["campaign"]: view["views"] for view in views} == {"": 4, "spring": 1}


def funnel(hub: Any) -> Any:
    result = report(hub, visits=5, outgoing=3, registrations=1)
    return result if result and result["first_deposits"] == 1 else None


def picture() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (64, 64), (200, 40, 90)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.slow
def test_a_body_of_fifty_megabytes_is_refused_and_the_hub_goes_on(deploy_sqlite: Deploy) -> None:
    hub = deploy_sqlite()
    hub.start()
    set_up(hub)
    refused = hub.try_post("casino/logo", casino="lucky-star", image="A" * 50_000_000)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    answer = hub.try_post("casino/logo", casino="lucky-star", image="iVBO" * 2_000_000)
    assert (answer.status_code, answer.json()["field"]) == (400, "image")
    assert "6.0 MB, the most is 5 MB" in answer.json()["detail"]
