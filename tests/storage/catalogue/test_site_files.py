"""Archives of pages: what is read of them, and what is refused with its name."""

import io
import stat
import zipfile
from collections.abc import Mapping

import pytest

from storage.catalogue.site_files import MAX_FILE, MAX_FILES, MAX_TOTAL, fill, offers_named, read_archive
from storage.ledger.errors import Refused

PAGE = b"<a href='{offer:lucky-star}'>Play</a>"


def packed(files: Mapping[str, bytes], *, link: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if path == link:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, content)
    return out.getvalue()


def test_a_page_is_read_without_the_folder_around_it() -> None:
    files = read_archive(packed({"land/index.html": PAGE, "land/css/a.css": b"p{}", "__MACOSX/x": b"", "land/": b""}))
    assert files == {"index.html": PAGE, "css/a.css": b"p{}"}
    assert offers_named(files) == {"lucky-star"}
    filled = fill(PAGE.decode() + "{offer:gone} {site}", {"lucky-star": "/go/x"}, {"site": "Top"})
    assert filled == "<a href='/go/x'>Play</a># Top"


@pytest.mark.parametrize(("files", "fault"), [
    ({"../index.html": PAGE}, "no plain path"), ({"/etc/index.html": PAGE}, "no plain path"),
    ({"a\\..\\index.html": PAGE}, "no plain path"), ({"C:/index.html": PAGE}, "no plain path"),
    ({"index.html": PAGE, "run.php": b"x"}, "of a kind"), ({"index.html": PAGE, "noend": b"x"}, "of a kind"),
    ({"page.html": PAGE}, "no index.html"), ({"index.html": b"\xff\xfe"}, "not UTF-8"),
    ({"index.html": bytes(MAX_FILE + 1)}, "has over 5 MB"),
    ({"index.html": PAGE, **{f"{n}.png": bytes(MAX_FILE) for n in range(MAX_TOTAL // MAX_FILE + 1)}}, "together"),
    ({"index.html": PAGE, **{f"{n}.txt": b"" for n in range(MAX_FILES)}}, "files, at most"),
])  # fmt: skip
def test_what_may_not_be_in_a_page_is_refused(files: dict[str, bytes], fault: str) -> None:
    with pytest.raises(Refused, match=fault) as refusal:
        read_archive(packed(files))
    assert refusal.value.field == "file"


def test_a_list_of_more_files_than_a_page_has_is_not_even_read() -> None:
    raw = packed({"index.html": PAGE})
    begins, ends = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    count = 9_000
    listed = raw[begins:ends] * count
    end = raw[ends : ends + 12] + len(listed).to_bytes(4, "little") + raw[ends + 16 :]
    with pytest.raises(Refused, match="list of files is too long"):
        read_archive(raw[:begins] + listed + end)


def test_a_damaged_file_is_read_whole_or_refused_however_it_is_packed() -> None:
    refused = 0
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("index.html", PAGE * 50)
        raw = bytearray(out.getvalue())
        for place in range(40, raw.index(b"PK\1\2")):
            damaged = bytes(raw[:place]) + bytes([raw[place] ^ 0xFF]) + bytes(raw[place + 1 :])
            try:
                assert read_archive(damaged) == {"index.html": PAGE * 50}
            except Refused:
                refused += 1
    assert refused > 30


def test_html_is_html_however_its_name_is_written() -> None:
    assert offers_named(read_archive(packed({"index.html": b"", "Second.HTML": PAGE}))) == {"lucky-star"}


def test_links_and_damaged_archives_are_refused() -> None:
    with pytest.raises(Refused, match="a link"):
        read_archive(packed({"index.html": b"/etc/passwd"}, link="index.html"))
    for raw in (b"", b"PK", packed({"index.html": PAGE * 50})[:-30]):
        with pytest.raises(Refused, match="no ZIP"):
            read_archive(raw)
