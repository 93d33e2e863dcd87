"""The end of a window as it has to be asked for."""

from datetime import date, timedelta

from connectors.base import Connection, Window


def last_requested_day(connection: Connection, window: Window, *, exclusive: bool | None = None) -> date:
    """The `to` to send, where programmes differ on whether it is included.

    Unless the account says (`to_is_exclusive`), one day more is asked for: a report that includes it has rows outside
    the window, which are left out; one that does not has the last day whole.
    """
    chosen = connection.option("to_is_exclusive", True if exclusive is None else exclusive)
    if str(chosen).lower() in {"false", "0", "no"}:
        return window.last
    return window.last + timedelta(days=1)
