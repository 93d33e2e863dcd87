"""Several answers of one report kept as one, so that it can be read again: each page under its name."""

import msgspec

from storage.ledger.errors import ConnectorError

_MAGIC = b"casinoflux pages 1\n"


class Page(msgspec.Struct, frozen=True):
    """One answer; `name` says what was asked (`report`, `campaigns`, a day)."""

    name: str
    body: bytes


def bundle(pages: list[Page]) -> bytes:
    """One page as it came; several one after the other, each behind a line with its name and its length."""
    if len(pages) == 1 and not pages[0].body.startswith(_MAGIC):
        return pages[0].body
    return _MAGIC + b"".join(b"%s %d\n%s\n" % (p.name.encode(), len(p.body), p.body) for p in pages)


def unbundle(raw: bytes) -> list[Page]:
    """The pages as they were bundled; an answer that stood alone is named `report`."""
    if not raw.startswith(_MAGIC):
        return [Page("report", raw)]
    pages, at = [], len(_MAGIC)
    while at < len(raw):
        end = raw.find(b"\n", at)
        name, _, length = raw[at:end].decode().rpartition(" ")
        if end < 0 or not length.isdecimal() or end + 1 + int(length) > len(raw):
            raise ConnectorError("the kept report is cut off", raw=raw, cut_off=True)
        start = end + 1
        pages.append(Page(name, raw[start : start + int(length)]))
        at = start + int(length) + 1
    return pages
