"""Pages in a real browser: they fit a phone, can be read, do not jump, and tell what visitors do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from storage.tables import site_views
from tests.hub.asgi import served
from tests.hub.jobs.test_domain_orders import of
from tests.hub.sites.test_funnel import measuring
from tests.hub.sites.test_images import picture, send
from tests.hub.sites.test_sites import Team
from tests.standins.browser import CHROMIUM, MISSING, Tab, chromium
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]

THEMES = ("offer-wall", "single-offer", "comparison", "review")
LOCALES = ("en", "de", "es", "pt", "fi", "sv")

#: Every text with less contrast to its background than WCAG AA asks for; gradients count with their first colour.
CONTRAST = r"""
(() => {
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const lum = c => { const [r,g,b] = c.map(v => { v /= 255; return v <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4 });
    return .2126*r + .7152*g + .0722*b };
  const ground = e => { for (; e; e = e.parentElement) { const s = getComputedStyle(e);
    const image = s.backgroundImage.match(/linear-gradient\([^)]*?(rgba?\([^)]*\))/);
    if (image) return rgb(image[1]).slice(0,3);
    const c = rgb(s.backgroundColor); if (c.length == 3 || c[3] > .99) return c.slice(0,3) } return [255,255,255] };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
    const s = getComputedStyle(e), a = lum(rgb(s.color).slice(0,3)), b = lum(ground(e));
    const ratio = (Math.max(a,b)+.05)/(Math.min(a,b)+.05), size = parseFloat(s.fontSize);
    const large = size >= 24 || (size >= 18.66 && s.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5))
      poor.push(`${e.tagName}.${e.className} ${e.textContent.trim().slice(0,30)} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""
#: Controls smaller than 24 by 24 pixels (WCAG 2.2, target size), links within a line of text apart.
SMALL = """
[...document.querySelectorAll('a, summary')].filter(e => {
  const r = e.getBoundingClientRect(), inline = getComputedStyle(e).display == 'inline';
  return r.width && !inline && (r.height < 24 || r.width < 24)
}).map(e => e.textContent.trim())
"""
#: Images in sight that did not load.
BROKEN = """
Promise.all([...document.images].map(e => (e.loading = 'eager', e.decode().then(() => '', () => e.src))))
  .then(all => all.filter(Boolean))
"""
SHIFT = """
new Promise(done => { let sum = 0;
  const seen = new PerformanceObserver(list => list.getEntries().forEach(e => sum += e.value));
  seen.observe({type: 'layout-shift', buffered: true});
  setTimeout(() => done(sum), 150) })
"""


@asynccontextmanager
async def at_the_screen(url: str, tmp_path: Path) -> AsyncIterator[tuple[Team, Tab, str]]:
    async with measuring(of(url), tmp_path) as team, served(team.sites) as port, chromium() as tab:
        await team.say('casino edit wild-win bonus="150 % up to €300 and €50 cashback every Sunday" wagering=35x')
        yield team, tab, f"http://127.0.0.1:{port}/s/top"


async def test_every_theme_and_locale_fits_and_can_be_read(sqlite_url: str, tmp_path: Path) -> None:
    async with at_the_screen(sqlite_url, tmp_path) as (team, tab, url):
        for theme in THEMES:
            for locale in LOCALES:
                await team.say(f"site edit top theme={theme} locale={locale}")
                for width, dark in ((360, False), (1200, True)):
                    await tab.open(url, width=width, dark=dark)
                    where = f"{theme} {locale} {width}"
                    assert await tab.run("document.documentElement.scrollWidth") <= width, where
                    assert await tab.run(CONTRAST) == [], where
                    assert await tab.run(SMALL) == [], where
            assert await tab.run(SHIFT) < 0.01, theme
            await tab.picture(tmp_path / f"{theme}.png")
            assert (tmp_path / f"{theme}.png").stat().st_size > 20_000
        assert tab.complaints() == []


async def test_the_other_pages_fit_too(sqlite_url: str, tmp_path: Path) -> None:
    async with at_the_screen(sqlite_url, tmp_path) as (_, tab, url):
        for page in ("terms", "privacy", "responsible-gambling"):
            for dark in (False, True):
                await tab.open(f"{url}/{page}", width=360, dark=dark)
                assert await tab.run("document.documentElement.scrollWidth") <= 360
                assert await tab.run(CONTRAST) == []
        assert tab.complaints() == []


async def test_a_page_asks_for_nothing_but_itself(sqlite_url: str, tmp_path: Path) -> None:
    async with at_the_screen(sqlite_url, tmp_path) as (_, tab, url):
        await tab.open(url)
        request: list[str] = await tab.run("performance.getEntriesByType('resource').map(e => e.name)")
        assert [item for item in request if not item.startswith("data:") and not item.endswith("/b")] == []
        assert await tab.run("performance.getEntriesByType('navigation')[0].transferSize") < 60_000


async def test_the_beacon_tells_what_a_visitor_did(sqlite_url: str, tmp_path: Path) -> None:
    async with at_the_screen(sqlite_url, tmp_path) as (team, tab, url):
        agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
        await tab.say("Emulation.setUserAgentOverride", userAgent=agent)
        await tab.open(url, width=360)
        await tab.run("window.scrollTo(0, document.body.scrollHeight)")
        await asyncio.sleep(0.8)
        await tab.run(
            "document.querySelector('[data-offer=lucky-star]').addEventListener('click', e => e.preventDefault())"
        )
        await tab.run("document.querySelector('[data-offer=lucky-star]').click()")
        view = await reported(team)
        assert view.scroll >= 99
        assert view.milliseconds > 500
        assert view.clicked == ["lucky-star"]
        assert "wild-win" in view.seen or "lucky-star" in view.seen
        assert (view.device, view.browser) == ("desktop", "Chrome")
        assert tab.complaints() == []


async def reported(team: Team) -> Any:
    """The view, once the click is among what the page reported."""

    async def view() -> Any:
        await team.sites.beacon.store()
        async with team.runtime.database.read() as tx:
            row = (await tx.execute(select(site_views))).first()
        return row if row is not None and row.clicked else None

    return await eventually(view, "the click in a page report")


async def test_a_logo_and_a_picture_load_and_move_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async with at_the_screen(sqlite_url, tmp_path) as (team, tab, url):
        await send(team, "casino logo", picture("PNG", (300, 300)), casino="lucky-star")
        await send(team, "site image", picture("JPEG", (2000, 800)), site="top", alt="Chips")
        for theme in THEMES:
            await team.say(f"site edit top theme={theme}")
            for width in (360, 1200):
                await tab.open(url, width=width, dark=False)
                where = f"{theme} {width}"
                assert await tab.run("document.documentElement.scrollWidth") <= width, where
                assert await tab.run(SHIFT) < 0.01, where
                assert await tab.run(BROKEN) == [], where
                await tab.picture(tmp_path / f"{theme}-{width}.png")
