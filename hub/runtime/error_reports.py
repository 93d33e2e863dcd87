"""Faults of the hub to Sentry, where SENTRY_DSN is set: the type, the place in the code and our own words.

Local variables, requests, breadcrumbs and the text of an error are left out: they may hold credentials, or what
belongs to players (https://docs.sentry.io/platforms/python/data-management/sensitive-data/).
"""

import os
from collections.abc import MutableMapping
from typing import Any

from storage.ledger.errors import CasinoFluxError

DSN = "SENTRY_DSN"
_LEFT_OUT = ("request", "breadcrumbs", "user", "extra", "modules", "server_name")


def start(**options: Any) -> bool:
    """Report from now on, if the environment names a project. Raises CasinoFluxError without the package."""
    if not os.environ.get(DSN):
        return False
    try:
        import sentry_sdk
    except ImportError:
        raise CasinoFluxError(
            f"{DSN} is set, but sentry-sdk is not installed: pip install 'casinoflux[sentry]', or unset it"
        ) from None
    sentry_sdk.init(
        before_send=_without_data, default_integrations=False, include_local_variables=False,
        include_source_context=False, max_breadcrumbs=0, **options,
    )  # fmt: skip
    return True


def processor(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For structlog, before exceptions are written out: an error that is logged with its exception is reported."""
    error = event.get("exc_info")
    if isinstance(error, BaseException) and os.environ.get(DSN):
        import sentry_sdk

        with sentry_sdk.new_scope() as scope:
            scope.set_tag("event", str(event.get("event", "")))
            scope.capture_exception(error)
    return event


def stop() -> None:
    """Send what waits, for two seconds at most."""
    if os.environ.get(DSN):
        import sentry_sdk

        sentry_sdk.flush(timeout=2)


def _without_data(event: Any, _hint: Any) -> Any:
    for name in _LEFT_OUT:
        event.pop(name, None)
    for error in event.get("exception", {}).get("values", ()):
        error["value"] = "left out: the log has it"
    return event
