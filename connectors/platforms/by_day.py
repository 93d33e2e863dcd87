"""Reports without a dependable day column are asked for one day at a time; each answer stands under its day."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import date

from connectors.base import Window
from connectors.pages import Page, bundle, unbundle
from storage.ledger.errors import ConnectorError

AskDay = Callable[[date, int], Awaitable[tuple[bytes, bool]]]

MAX_PAGES = 1000


async def ask_days(window: Window, ask: AskDay) -> bytes:
    """Every page of every day, kept as one; `ask` gives a page's body and whether another follows."""
    pages = []
    for chunk in window.chunks(1):
        for number in range(1, MAX_PAGES + 1):
            body, more = await ask(chunk.first, number)
            pages.append(Page(chunk.first.isoformat(), body))
            if not more:
                break
        else:
            raise ConnectorError(f"{chunk.first} has more than {MAX_PAGES} pages", raw=body)
    return bundle([*pages, Page("end", b"")])


def days_of(raw: bytes) -> Iterator[tuple[date, bytes]]:
    """The pages again, each with its day."""
    for page in unbundle(raw):
        if page.name == "report":
            raise ConnectorError("the kept report does not say its day", raw=raw)
        if page.name != "end":
            yield date.fromisoformat(page.name), page.body
