"""Logos and pictures: taken only if they are what they say, encoded again, shown on every name that is ours."""

import base64
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from bot.core.command import COMMANDS, run
from bot.core.context import Actor, Context, Deployment
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import audits, images
from tests.hub.sites.test_sites import NOW, PUBLIC, Team, at_work, published

HOST = "brand.example.test"


def picture(kind: str = "PNG", size: tuple[int, int] = (900, 300), mode: str = "RGB", **more: Any) -> bytes:
    out = io.BytesIO()
    Pillow.new(mode, size, 200 if mode in {"L", "P"} else (200, 40, 90, 128)[: len(mode)]).save(out, kind, **more)
    return out.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of some bytes whose header promises a huge picture, as a decompression bomb does."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


async def send(team: Team, command: str, image: Any, **more: Any) -> Any:
    noun = command.partition(" ")[0]
    arguments = {noun: more.pop(noun), **more} | ({} if image is None else {"image": image})
    result = (await run(COMMANDS[command], arguments, Context(
        database=team.runtime.database, deployment=Deployment(public_url=PUBLIC),
        actor=Actor(team_id=team.runtime.team_id, name="anna", role=Role.OWNER), face="api",
        ports=team.runtime.ports, box=team.runtime.box, clock=lambda: NOW,
    ))).result  # fmt: skip
    await team.sites.refresh()
    return result


async def test_a_logo_is_shown_on_the_page_from_our_own_address(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        site = await published(team)
        await team.go_live(HOST, site.id)
        sent = base64.b64encode(picture()).decode()
        casino = await send(team, "casino logo", sent, casino="lucky-star")
        page = await team.get("/", host=HOST)
        assert f'src="{casino.logo}"' in page.text
        assert "img-src data: 'self';" in page.header("content-security-policy")
        for host in (HOST, "track.example.test"):
            response = await team.get(casino.logo, host=host)
            assert (response.status, response.header("content-type")) == (200, "image/webp")
            assert "immutable" in response.header("cache-control")
            with Pillow.open(io.BytesIO(response.body)) as shown:
                assert (shown.format, shown.size) == ("WEBP", (512, 171))
        assert (await team.get(casino.logo, host="stranger.example.test")).status == 404
        assert (await team.get(f"/i/{'0' * 32}.webp", host=HOST)).status == 404
        assert (await team.get(casino.logo, host=HOST, method="HEAD")).body == b""
        again = await send(team, "casino logo", f"data:image/png;base64,{sent}", casino="lucky-star")
        assert again.logo == casino.logo
        removed = await send(team, "casino logo", None, casino="lucky-star", remove=True)
        assert removed.logo is None


async def test_a_picture_stands_below_the_headline_of_every_theme(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await published(team)
        site = await send(team, "site image", picture("JPEG", (2400, 1000)), site="top", alt='Chips "<b>')
        src = site.texts["image"]["src"]
        for theme in ("offer-wall", "single-offer", "comparison", "review"):
            await team.say(f"site edit top theme={theme} headline=Hello")
            text = (await team.get("/s/top")).text
            assert f'<img src="{src}" alt="Chips &#34;&lt;b&gt;" width="1280" height="533"' in text
        await send(team, "site image", None, site="top", remove=True)
        assert src not in (await team.get("/s/top")).text


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("WEBP", "RGBA")],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_every_usual_kind_is_taken_by_its_content(opened: Callable[[], Any], kind: str, mode: str) -> None:
    async with at_work(opened) as team:
        casino = await send(team, "casino logo", picture(kind, (40, 20), mode), casino="lucky-star")
        with Pillow.open(io.BytesIO((await team.get(casino.logo)).body)) as shown:
            assert shown.size == (40, 20)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_a_camera_wrote_into_a_picture_is_gone_and_it_stands_upright(opened: Callable[[], Any]) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "Anna's camera"
    raw = picture("JPEG", (60, 20), exif=exif.tobytes(), icc_profile=b"secret profile", comment=b"secret comment")
    assert b"Anna's camera" in raw
    async with at_work(opened) as team:
        casino = await send(team, "casino logo", raw, casino="lucky-star")
        stored = (await team.get(casino.logo)).body
        assert b"Anna" not in stored
        assert b"secret" not in stored
        with Pillow.open(io.BytesIO(stored)) as shown:
            assert shown.size == (20, 60)
            assert not shown.getexif()


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
BAD = {
    "empty": (b"", "it is empty|image: missing"),
    "text": (b"hello, no picture", "no PNG, JPEG, WebP or GIF"),
    "svg": (SVG, "SVG can hold scripts"),
    "page": (b"<!doctype html><script>alert(1)</script>", "no PNG"),
    "program": (b"MZ" + bytes(1000), "no PNG"),
    "tiff": (b"II*\0" + bytes(100), "no PNG"),
    "large": (b"\x89PNG\r\n\x1a\n" + bytes(5_000_000), "5.0 MB, the most is 5 MB"),
    "png bomb": (png_that_says(60_000, 60_000), "more than 25 megapixels"),
    "gif bomb": (b"GIF89a\xff\xff\xff\xff" + bytes(100), "65,535 × 65,535"),
    "webp bomb": (b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + b"\xff\x3f\0\xff\x3f\0" + bytes(50), "16,384 × 16,384"),
    "webp bomb of another kind": (b"RIFF\0\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(50), "16,384 × 16,384"),
    "jpeg bomb": (b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0" + bytes(9), "mega"),
    "more pixels than told": (png_that_says(4_000, 4_000), "damaged or cut off"),
    "cut off": (picture()[:200], "damaged or cut off"),
    "cut off jpeg": (picture("JPEG", (800, 800))[:300], "damaged or cut off"),
    "header only": (b"\x89PNG\r\n\x1a\n", "damaged or cut off"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_is_no_fit_picture_is_refused_with_the_reason(opened: Callable[[], Any], name: str) -> None:
    raw, answer = BAD[name]
    async with at_work(opened) as team:
        for values in (raw, base64.b64encode(raw).decode()):
            with pytest.raises(Refused, match=answer) as caught:
                await send(team, "casino logo", values, casino="lucky-star")
            assert caught.value.field == "image"
        assert (await team.say("casino show lucky-star")).logo is None
        async with team.runtime.database.read() as tx:
            assert (await tx.execute(select(images.c.id))).all() == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_is_no_base64_is_refused_at_its_field(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        with pytest.raises(Refused) as caught:
            await send(team, "casino logo", "not base64 at all!", casino="lucky-star")
        assert caught.value.field == "image"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_the_audit_trail_holds_no_pictures(opened: Callable[[], Any]) -> None:
    async with at_work(opened) as team:
        await send(team, "casino logo", base64.b64encode(picture()).decode(), casino="lucky-star")
        async with team.runtime.database.read() as tx:
            row = (await tx.execute(select(audits).order_by(audits.c.id.desc()).limit(1))).one()
        assert row.arguments == {"casino": "lucky-star", "image": "•••"}


def test_pillow_is_not_imported_before_the_first_picture() -> None:
    program = "import sys, bot.commands, hub.web.app; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
