"""Pages hosted elsewhere: snippet, messages, a click without a redirect, the call of the page's own server."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from hub.sites import own_files
from hub.sites.own_page import script
from storage.ledger.errors import Refused
from storage.tables import clicks, site_views
from tests.hub.asgi import Got, fetch, served
from tests.hub.jobs.test_domain_orders import of
from tests.hub.sites.test_funnel import PHONE, measuring, visits_of_campaigns
from tests.hub.sites.test_images import send
from tests.hub.sites.test_sites import PUBLIC, Team
from tests.standins.browser import CHROMIUM, MISSING, chromium
from tests.storage.catalogue.test_site_files import packed
from tests.waiting import eventually

Opened = Callable[[], Any]
PAGE = "https://blog.example.test/best?lang=de"
ORIGIN = "https://blog.example.test"


def test_the_snippet_has_two_kilobytes_at_most() -> None:
    assert len(script().encode()) <= 2_000


async def tell(team: Team, *, origin: str = ORIGIN, **report: Any) -> int:
    body = msgspec.json.encode({"i": "v1", "m": 4000, **report})
    headers = {"user-agent": PHONE, "origin": origin}
    return (await team.get("/s/top/b", method="POST", headers=headers, body=body)).status


async def campaign(team: Team, **headers: str) -> Got:
    return await fetch(team.runtime.state["clicks"], "/c/spring?click_id=src-1", host="track.example.test",
                       headers={"user-agent": PHONE, **headers})  # fmt: skip


async def test_a_page_elsewhere_is_measured_like_a_site(opened: Opened, tmp_path: Path) -> None:
    async with measuring(opened, tmp_path) as team:
        site = await team.say(f"site edit top page={PAGE}")
        assert (site.url, site.snippet) == (PAGE, f'<script async src="{PUBLIC}/s/top/page.js"></script>')
        await team.runtime.state["clicks"].refresh()
        landing = (await campaign(team)).header("location")
        assert landing.startswith(f"{PAGE}&click=")
        assert (await team.get("/s/top")).header("location") == PAGE
        assert (await team.get("/s/top/page.js")).header("cross-origin-resource-policy") == "cross-origin"
        click = landing.rpartition("=")[2]
        assert await tell(team, origin="https://other.example.test", c=click, n=1) == 403
        names = [f"step {number}" for number in range(40)]
        assert await tell(team, c=click, n=1, k=["lucky-star"], e=[*names, "x" * 90]) == 204
        assert await tell(team, c=click, k=["lucky-star"], e=names, m=5000) == 204
        await team.sites.visits.count()
        await team.sites.beacon.store()
        report = await team.say("site report top 7d")
        assert [(each.event, each.views) for each in report.events][:1] == [("step 0", 1)]
        assert len(report.events) == 30
        async with team.runtime.database.read() as tx:
            view = (await tx.execute(select(site_views))).one()
        assert (view.campaign_id, view.clicked) == (1, ["lucky-star"])
        assert await visits_of_campaigns(team) == 1


async def test_the_pages_script_gets_a_click_without_a_redirect_and_others_do_not(
    opened: Opened, tmp_path: Path
) -> None:
    async with measuring(opened, tmp_path) as team:
        await team.say(f"site edit top page={PAGE}")
        await team.runtime.state["clicks"].refresh()
        got = await campaign(team, accept="application/json", origin=ORIGIN)
        assert (got.status, got.header("access-control-allow-origin"), got.cookies()) == (200, ORIGIN, [])
        word = msgspec.json.decode(got.body)["click"]
        async with team.runtime.database.read() as tx:
            row = (await tx.execute(select(clicks))).one()
        assert team.runtime.state["clicks"].state.codec.decode(word) == row.id
        assert row.source_click_id == "src-1"
        assert (await campaign(team, accept="application/json", origin="https://evil.example.test")).status == 302
        assert (await campaign(team, accept="text/html", origin=ORIGIN)).status == 302


async def test_a_pages_own_server_tells_of_a_visit_by_one_call(opened: Opened, tmp_path: Path) -> None:
    async with measuring(opened, tmp_path) as team:
        site = await team.say(f"site edit top page={PAGE}")
        await team.runtime.state["clicks"].refresh()
        call = site.preview_url.removeprefix(PUBLIC) + "/visit"
        visit = {"ip": "203.0.113.9", "user_agent": PHONE, "campaign": "spring", "query": {"click_id": "s-7"}}

        async def post(path: str, body: Any) -> tuple[int, Any]:
            got = await team.get(path, method="POST", body=msgspec.json.encode(body))
            return got.status, msgspec.json.decode(got.body or b"null")

        status, answer = await post(call, visit)
        assert (status, sorted(answer["links"])) == (200, ["lucky-star", "wild-win"])
        assert answer["links"]["wild-win"] == f"{PUBLIC}/go/top/wild-win?click={answer['click']}"
        async with team.runtime.database.read() as tx:
            assert (await tx.execute(select(clicks.c.source_click_id))).scalar_one() == "s-7"
        assert (await post("/s/top/visit", visit))[0] == 405
        assert (await post(call, {**visit, "campaign": "nothing"}))[1] == {"error": "campaign: no campaign 'nothing'"}
        assert (await post(call, {"ip": "203.0.113.9"}))[0] == 400


@pytest.mark.parametrize("page", ["ftp://blog.example.test", "https://blog.example.test/#top", "blog"])
async def test_an_address_that_cannot_be_a_page_is_refused(opened: Opened, tmp_path: Path, page: str) -> None:
    async with measuring(opened, tmp_path) as team:
        with pytest.raises(Refused) as refusal:
            await team.say(f"site edit top page={page}")
        assert refusal.value.field == "page"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
async def test_the_snippet_works_in_a_browser_at_a_foreign_origin(sqlite_url: str, tmp_path: Path) -> None:
    async with measuring(of(sqlite_url), tmp_path) as team:
        taken = team.runtime.state["clicks"]

        async def hub(scope: Any, receive: Any, send: Any) -> None:
            app = taken if scope["path"].startswith(("/c/", "/go/")) else team.sites
            await app(scope, receive, send)

        async with served(hub) as port:
            ours = f"http://127.0.0.1:{port}"
            html = (
                f"<!doctype html><title>Blog</title><a data-offer=lucky-star>Play</a><a id=own "
                f"href='https://casino.example.test/?s={{click_id}}'>Own</a>"
                f"<script src='{ours}/s/top/page.js' data-campaign=spring></script>"
            ).encode()
            policy = f"default-src 'none'; script-src {ours}; connect-src {ours}".encode()

            async def blog(_scope: Any, _receive: Any, send: Any) -> None:
                headers = [(b"content-type", b"text/html"), (b"content-security-policy", policy)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": html, "more_body": False})

            async with served(blog) as elsewhere, chromium() as tab:
                page = f"http://localhost:{elsewhere}/"
                await team.say(f"site edit top page={page}")
                await taken.refresh()
                agent = (
                    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
                )
                await tab.say("Emulation.setUserAgentOverride", userAgent=agent)
                await tab.open(f"{page}?click_id=src-9")

                async def linked() -> str | None:
                    found = await tab.run("document.querySelector('[data-offer]').href")
                    return found if "click=" in found else None

                href = await eventually(linked, "the click in the offer's link")
                click = href.partition("click=")[2]
                assert href == f"{ours}/go/top/lucky-star?click={click}"
                assert await tab.run("document.getElementById('own').href") == f"https://casino.example.test/?s={click}"
                await tab.run("casinoflux('signed up')")
                row = await _view(team)
                assert (row.events, row.campaign_id) == (["signed up"], 1)
                assert await tab.run("document.cookie") == ""
                assert await tab.run("localStorage.getItem('cf_click')") == click
                await tab.open(page)  # comes back: the click is kept
                assert await tab.run("document.querySelector('[data-offer]').href") == href
                assert min(await _milliseconds(tab)) <= 25  # 0.6 at least, see docs/performance.md
                assert tab.complaints() == []


async def _milliseconds(tab: Any) -> list[float]:
    """How long the snippet takes on the page with two hundred links more, eleven times over."""
    await tab.run("for (let n = 0; n < 200; n++) document.body.append(document.querySelector('#own').cloneNode(true))")
    element = "Object.defineProperty(document, 'currentScript', {value: document.querySelector('script')})"
    await tab.run(f"{element}; 0")
    took = []
    for _ in range(11):
        took.append(
            float(
                await tab.run(f"(() => {{ const t = performance.now(); {script()}; return performance.now() - t }})()")
            )
        )
    return took


async def _view(team: Team) -> Any:
    async def view() -> Any:
        await team.sites.beacon.store()
        async with team.runtime.database.read() as tx:
            row = (await tx.execute(select(site_views))).first()
        return row if row is not None and row.events else None

    return await eventually(view, "an event of the snippet")


async def test_a_page_of_ones_own_files_has_our_footer_and_links_and_an_origin_of_its_own(
    opened: Opened, tmp_path: Path
) -> None:
    pages = {"index.html": b"<html><body><a href='{offer:wild-win}'>{site}</a></body></html>", "a.css": b"p{color:red}"}
    async with measuring(opened, tmp_path) as team:
        file = b64encode(packed(pages)).decode()
        with pytest.raises(Refused, match="is no offer of the site"):
            await send(
                team, "site files", None, site="top", file=b64encode(packed({"index.html": b"{offer:x}"})).decode()
            )
        stored = await send(team, "site files", None, site="top", file=file)
        assert stored.files == 2
        assert (await team.get("/s/top?click=01HZX3")).header("location") == "/s/top/?click=01HZX3"
        page = await team.get("/s/top/?click=01HZX3")
        assert page.text.index("/go/top/wild-win?click=01HZX3") < page.text.index("18+") < page.text.index("</body>")
        assert "/s/top/terms" in page.text
        assert "sandbox allow-scripts" in page.header("content-security-policy")
        assert (await team.get("/s/top/a.css")).header("content-type") == "text/css; charset=utf-8"
        assert (await team.get("/s/top/nothing.css")).status == 404
        assert (await team.get("/s/top/terms")).status == 200
        assert (await send(team, "site files", None, site="top", remove=True)).files == 0
        assert (await team.get("/s/top")).status == 200


async def test_files_of_a_page_are_packed_where_that_helps_and_kept_within_bounds(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_files, "MOST_BYTES", 250_000)
    pictures = {f"{n}.jpg": bytes([n]) * 100_000 for n in range(5)}
    files = {"index.html": b"<p>{site}</p>", "second.HTML": b"<body>{site}</body>", "a.css": b"p{}" * 90, **pictures}
    async with measuring(opened, tmp_path) as team:
        await send(team, "site files", None, site="top", file=b64encode(packed(files)).decode())
        zipped = {"accept-encoding": "gzip"}
        assert (await team.get("/s/top/a.css", headers=zipped)).header("content-encoding") == "gzip"
        assert "18+" in (await team.get("/s/top/second.HTML")).text
        for path, content in pictures.items():
            got = await team.get(f"/s/top/{path}", headers=zipped)
            assert (got.header("content-encoding"), got.body) == ("", content)
        assert 0 < team.sites.files._cache.size <= own_files.MOST_BYTES
        assert (await send(team, "site files", None, site="top", remove=True)).files == 0
        assert (await team.get("/s/top/1.jpg")).status == 404
