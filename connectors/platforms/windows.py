"""Windows as they have to be asked for: the end of one, and reports asked for day by day."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import date, timedelta

from connectors.base import Connection, Window
from connectors.pages import Page, bundle, unbundle
from storage.ledger.errors import ConnectorError

AskDay = Callable[[date, int], Awaitable[tuple[bytes, bool]]]

MAX_PAGES = 1000


def last_requested_day(connection: Connection, window: Window, *, exclusive: bool | None = None) -> date:
    """The `to` to send, where programmes differ on whether it is included.

    Unless the account says (`to_is_exclusive`), one day more is asked for: a report that includes it has rows outside
    the window, which are left out; one that does not has the last day whole.
    """
    chosen = connection.option("to_is_exclusive", True if exclusive is None else exclusive)
    if str(chosen).lower() in {"false", "0", "no"}:
        return window.last
    return window.last + timedelta(days=1)


async def ask_days(window: Window, ask: AskDay) -> bytes:
    """Every page of every day, as one body, for reports without a dependable day column.

    `ask` returns a page's body and whether another follows.
    """
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
