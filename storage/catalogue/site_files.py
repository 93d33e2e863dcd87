"""A team's own page as files: an archive is read with limits on everything in it, and kept file by file."""

import io
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.ledger.errors import Refused
from storage.tables import site_files

MAX_FILES = 500
MAX_FILE = 5_000_000  # bytes of one file, unpacked
MAX_TOTAL = 30_000_000  # bytes of all, unpacked
LONGEST_PATH = 200  # characters
MAX_LIST = 400_000  # bytes of an archive's list of its files
INDEX = "index.html"
#: What may be in a page, by the end of its name.
KINDS = {
    "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8", "json": "application/json", "txt": "text/plain; charset=utf-8",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "avif": "image/avif", "svg": "image/svg+xml", "ico": "image/x-icon", "woff": "font/woff", "woff2": "font/woff2",
    "ttf": "font/ttf", "mp4": "video/mp4", "webm": "video/webm",
}  # fmt: skip
_LEFT_OUT = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError,
)  # fmt: skip
_LONGEST_END = 22 + 65_535 + 22  # the last record with its comment, and room
_OFFER = re.compile(r"\{offer:([^{}\s]{1,100})\}")


def kind_of(path: str) -> str | None:
    """The media type of a file by the end of its name; None for one that may not be in a page."""
    return KINDS.get(path.rpartition(".")[2].lower()) if "." in path else None


def is_page(path: str) -> bool:
    """Whether a file is HTML, however its name is written: it gets the footer, and its links are filled."""
    return (kind_of(path) or "").startswith("text/html")


def read_archive(raw: bytes) -> dict[str, bytes]:
    """The files of a ZIP by their paths, a lone folder around them taken away. Raises Refused at `file`.

    Sizes are those that come out, whatever the archive states of itself.
    """
    _check_list(raw)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = _unpacked(archive)
    except _DAMAGED as error:
        raise _refusal(f"this is no ZIP that can be read ({error})") from None
    files = _without_folder(files)
    if INDEX not in files:
        raise _refusal(f"there is no {INDEX} in it")
    for path, content in files.items():
        if is_page(path):
            try:
                content.decode()
            except UnicodeDecodeError:
                raise _refusal(f"{path} is not UTF-8") from None
    return files


def _check_list(raw: bytes) -> None:
    """The list of the files is read whole: Python takes ten times its size in memory for that. Its length stands in
    the archive's last record (APPNOTE.TXT 4.3.16)."""
    end = raw.rfind(b"PK\5\6", -_LONGEST_END)
    if end >= 0 and int.from_bytes(raw[end + 12 : end + 16], "little") > MAX_LIST:
        raise _refusal(f"its list of files is too long, at most {MAX_FILES} may be in it")


def _unpacked(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_left_out(entry.filename)]
    if len(entries) > MAX_FILES:
        raise _refusal(f"{len(entries):,} files, at most {MAX_FILES} may be in it")
    files: dict[str, bytes] = {}
    left = MAX_TOTAL
    for entry in entries:
        path = _checked_path(entry)
        if path in files:
            raise _refusal(f"{path} is in it twice")
        with archive.open(entry) as file:
            content = file.read(min(MAX_FILE, left) + 1)
        if len(content) > MAX_FILE:
            raise _refusal(f"{path} has over {MAX_FILE // 1_000_000} MB")
        left -= len(content)
        if left < 0:
            raise _refusal(f"its files have over {MAX_TOTAL // 1_000_000} MB together")
        files[path] = content
    return files


def _is_left_out(name: str) -> bool:
    return name.startswith(_LEFT_OUT[0]) or name.rpartition("/")[2] in _LEFT_OUT


def _checked_path(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    parts = PurePosixPath(name).parts
    if entry.flag_bits & 1:
        raise _refusal("it is encrypted")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise _refusal(f"{name[:80]!r} is a link to another file")
    odd = any(letter in name for letter in "\\:\x00?#%") or not name.isprintable()
    if name.startswith("/") or ".." in parts or odd or len(name) > LONGEST_PATH:
        raise _refusal(f"{name[:80]!r} is no plain path within the page")
    if kind_of(name) is None:
        raise _refusal(f"{name[:80]!r} is of a kind that a page may not have: there is {', '.join(KINDS)}")
    return "/".join(parts)


def _without_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    tops = {path.partition("/")[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        return files
    return {path.partition("/")[2]: content for path, content in files.items()}


def offers_named(files: Mapping[str, bytes]) -> set[str]:
    """Codes of the offers that the pages link to by `{offer:code}`."""
    pages = (content.decode() for path, content in files.items() if is_page(path))
    return {code.lower() for text in pages for code in _OFFER.findall(text)}


def fill(text: str, links: Mapping[str, str], values: Mapping[str, str]) -> str:
    """A page with its macros filled; `{offer:code}` of an offer that is not shown now leads nowhere."""
    text = _OFFER.sub(lambda match: links.get(match[1].lower(), "#"), text)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _refusal(text: str) -> Refused:
    return Refused(f"file: {text}", field="file")


async def replace(tx: AsyncConnection, site_id: int, files: Mapping[str, bytes]) -> None:
    """Put these files in the place of those the site had."""
    await tx.execute(delete(site_files).where(site_files.c.site_id == site_id))
    for path, content in files.items():
        await tx.execute(insert(site_files).values(site_id=site_id, path=path, content=content))


async def content(tx: AsyncConnection, site_id: int, path: str) -> bytes | None:
    f = site_files.c
    query = select(f.content).where(f.site_id == site_id, f.path == path)
    found: bytes | None = (await tx.execute(query)).scalar_one_or_none()
    return found


async def counts(tx: AsyncConnection) -> dict[int, int]:
    """How many files each site has that has any."""
    query = select(site_files.c.site_id, func.count()).group_by(site_files.c.site_id)
    return {row[0]: int(row[1]) for row in await tx.execute(query)}
