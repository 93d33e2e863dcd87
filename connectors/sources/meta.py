"""Meta Conversions API. Fields: developers.facebook.com, Conversions API, "Using the API" (February 2026).

Time rule: at most seven days old. The click id is wrapped as `fbc`: fb.1.<click time in ms>.<fbclid>.
"""

from collections.abc import Mapping
from datetime import datetime

from connectors.sources.rules import encoded, fresh, hashed, seconds, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending, Success

VERSION = "v25.0"


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event. Raises Refused for a missing setting or an event over seven days old."""
    fresh(sending, now, days=7, api="Meta")
    pixel = setting(settings, "pixel_id", "Meta")
    token = setting(settings, "access_token", "Meta")
    event = without_empty({
        "event_name": sending.name,
        "event_time": seconds(sending.occurred_at),
        "event_id": sending.key,
        "action_source": "website",
        "event_source_url": settings.get("page_url"),
        "user_data": without_empty({
            "fbc": _fbc(sending),
            "fbp": sending.extra.get("fbp"),
            "client_user_agent": sending.user_agent,
            "external_id": [hashed(sending.player_id)] if sending.player_id else None,
        }),
        "custom_data": {} if sending.amount is None else {"value": value(sending), "currency": sending.currency},
    })  # fmt: skip
    body = without_empty({"data": [event], "test_event_code": settings.get("test_event_code")})
    return Outgoing(
        method="POST",
        url=f"https://graph.facebook.com/{settings.get('api_version') or VERSION}/{pixel}/events?access_token={token}",
        headers={"Content-Type": "application/json"},
        body=encoded(body),
        success=Success(json_equals={"events_received": 1}),
    )


def _fbc(sending: Sending) -> str:
    if sending.click_id.startswith("fb.") or not sending.click_id:
        return sending.click_id
    clicked = sending.clicked_at or sending.occurred_at
    return f"fb.1.{seconds(clicked) * 1000 + clicked.microsecond // 1000}.{sending.click_id}"
