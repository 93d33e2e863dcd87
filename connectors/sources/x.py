"""X Ads web conversions (API 12). Fields as seen in working public clients; a pixel token instead of OAuth 1.

X gives every event an id of its own (tw-xxxxx-yyyyy): settings `event_first_deposit`, `event_registration` …
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from connectors.sources.rules import encoded, fresh, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One conversion. Raises Refused for a missing setting or an event over 90 days old."""
    fresh(sending, now, days=90, api="X")
    moment = sending.occurred_at.astimezone(UTC)
    conversion = without_empty({
        "conversion_time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z",
        "event_id": setting(settings, f"event_{sending.event}", "X"),
        "conversion_id": sending.key,
        "identifiers": [{"twclid": sending.click_id}],
        "value": None if sending.amount is None else str(value(sending)),
        "currency": None if sending.amount is None else sending.currency,
    })  # fmt: skip
    return Outgoing(
        method="POST",
        url=f"https://ads-api.x.com/12/measurement/conversions/{setting(settings, 'pixel_id', 'X')}",
        headers={"Content-Type": "application/json", "X-Pixel-Token": setting(settings, "pixel_token", "X")},
        body=encoded({"conversions": [conversion]}),
    )
