"""Kwai. Fields as seen in working public clients; the words for registration and first deposit are inferred.

`result` is 1 when the event was taken; the API knows no event id, so a try after a lost answer may count twice there.
"""

from collections.abc import Mapping
from datetime import datetime

from connectors.sources.rules import encoded, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending, Success


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event. Raises Refused for a missing setting."""
    del now  # no time rule is known
    body = {
        "access_token": setting(settings, "access_token", "Kwai"),
        "clickid": sending.click_id,
        "event_name": sending.name,
        "is_attributed": 1,
        "mmpcode": "PL",
        "pixelId": setting(settings, "pixel_id", "Kwai"),
        "pixelSdkVersion": "9.9.9",
        "testFlag": settings.get("test_flag", "").lower() in {"1", "true", "yes"},
        "trackFlag": False,
        **without_empty({
            "currency": None if sending.amount is None else sending.currency,
            "value": None if sending.amount is None else str(value(sending)),
        }),
    }  # fmt: skip
    return Outgoing(
        method="POST",
        url="https://www.adsnebula.com/log/common/api",
        headers={"Content-Type": "application/json"},
        body=encoded(body),
        success=Success(json_equals={"result": 1}),
    )
