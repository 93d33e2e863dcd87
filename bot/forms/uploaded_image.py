"""Uploaded images: checked before they are decoded, and encoded again, so that nothing but pixels is stored.

Headers are read as in RFC 2083 (PNG), the GIF89a specification and RFC 9649 (WebP). Pillow is imported with the first
picture: it costs memory that a hub without pictures need not spend.
"""

import asyncio
import hashlib
import io
import re
from typing import TYPE_CHECKING

from storage.catalogue.images import Image
from storage.ledger.errors import Refused

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MOST_BYTES = 5_000_000
MOST_PIXELS = 25_000_000
LOGO, HERO = 512, 1280  # longest side in pixels
_KINDS = ("PNG", "JPEG", "WEBP", "GIF")
_SVG = re.compile(rb"<svg[\s>]|<!doctype svg", re.IGNORECASE)
_one_at_a_time = asyncio.Semaphore(1)  # the largest picture takes 100 MB while it is made smaller


async def reencoded(raw: bytes, *, longest: int) -> Image:
    """The image as it is stored: WebP, at most `longest` pixels wide and high, without metadata.

    Raises Refused at `image` for what is too large, no picture, damaged, or of a kind that may hold scripts.
    """
    check(raw)
    async with _one_at_a_time:
        return await asyncio.to_thread(_made, raw, longest)


def check(raw: bytes) -> None:
    """Check size, kind and pixels by the header. Raises Refused at `image`."""
    if not raw:
        raise _refused("it is empty")
    if len(raw) > MOST_BYTES:
        raise refuse_large(len(raw), "image")
    kind = _kind(raw)
    if kind is None:
        if _SVG.search(raw[:4096]):
            raise _refused("SVG can hold scripts and is not taken: send it as PNG or WebP")
        raise _refused("it is no PNG, JPEG, WebP or GIF, whatever its name says")
    width, height = _header_size(raw, kind)
    if width * height > MOST_PIXELS:
        raise _too_many(width, height)


def _kind(raw: bytes) -> str | None:
    """By content: names and declared types are the sender's to choose."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if raw.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "WEBP" if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP" else None


def _header_size(raw: bytes, kind: str) -> tuple[int, int]:
    """Width and height by the header; 0 × 0 where only the decoder can tell (a JPEG's header is all that Pillow
    reads before it is asked for pixels)."""
    if kind == "PNG":
        return int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])
    if kind == "GIF":
        return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
    return _webp_size(raw) if kind == "WEBP" else (0, 0)


def _webp_size(raw: bytes) -> tuple[int, int]:
    chunk = raw[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(raw[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(raw[26:28], "little") & 0x3FFF, int.from_bytes(raw[28:30], "little") & 0x3FFF


def _made(raw: bytes, longest: int) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageOps

    Pillow.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with Pillow.open(io.BytesIO(raw), formats=_KINDS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise _too_many(opened.width, opened.height)
            opened.draft("RGB", (longest, longest))
            upright = ImageOps.exif_transpose(opened)
            picture = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except Refused:
        raise
    except Pillow.DecompressionBombError:
        raise _refused(f"it has more than {MOST_PIXELS // 1_000_000} megapixels: make it smaller") from None
    except Exception as error:  # Pillow's decoders raise whatever the damage leads to
        raise _refused("it is damaged or cut off: save it and send it again") from error
    return _encoded(picture, longest)


def _encoded(picture: "Picture", longest: int) -> Image:
    picture.thumbnail((longest, longest))
    picture.info.clear()
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82, method=4)
    content = out.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return Image(hash=digest, content=content, width=picture.width, height=picture.height)


def refuse_large(size: int, field: str) -> Refused:
    """What to raise for a file of more than MOST_BYTES."""
    most = MOST_BYTES // 1_000_000
    return Refused(f"{field}: it has {size / 1e6:.1f} MB, the most is {most} MB: make it smaller", field=field)


def _too_many(width: int, height: int) -> Refused:
    most = MOST_PIXELS // 1_000_000
    return _refused(f"it has {width:,} × {height:,} pixels, more than {most} megapixels: make it smaller")


def _refused(why: str) -> Refused:
    return Refused(f"image: {why}", field="image")
