"""Reports as they have to be asked for: the end of a window, page by page, day by day."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import date, timedelta
from functools import partial

from connectors.base import Connection, Window
from connectors.pages import Page, bundle, unbundle
from storage.ledger.errors import ConnectorError

AskPage = Callable[[int], Awaitable[tuple[bytes, bool]]]
AskDay = Callable[[date, int], Awaitable[tuple[bytes, bool]]]

MAX_PAGES = 2000


def last_requested_day(connection: Connection, window: Window) -> date:
    """The `to` to send, where programmes differ on whether it is included.

    Unless the account says (`to_is_exclusive`), one day more is asked for: a report that includes it has rows outside
    the window, which are left out; one that does not has the last day whole.
    """
    if str(connection.option("to_is_exclusive", True)).lower() in {"false", "0", "no"}:
        return window.last
    return window.last + timedelta(days=1)


async def ask_pages(ask: AskPage, *, name: str = "report") -> list[Page]:
    """Every page, each under `name`; `ask` returns the body of the page of a number, and whether another follows."""
    pages = []
    for number in range(1, MAX_PAGES + 1):
        body, more = await ask(number)
        pages.append(Page(name, body))
        if not more:
            return pages
    raise ConnectorError(f"the {name} has more than {MAX_PAGES} pages: sync fewer days at once", raw=body)


async def ask_days(window: Window, ask: AskDay) -> bytes:
    """Every page of every day, as one body, for reports without a dependable day column."""
    pages: list[Page] = []
    for chunk in window.chunks(1):
        pages += await ask_pages(partial(ask, chunk.first), name=chunk.first.isoformat())
    return bundle([*pages, Page("end", b"")])


def days_of(raw: bytes) -> Iterator[tuple[date, bytes]]:
    """The pages again, each with its day."""
    for page in unbundle(raw):
        if page.name == "report":
            raise ConnectorError("the kept report does not say its day", raw=raw)
        if page.name != "end":
            yield date.fromisoformat(page.name), page.body
