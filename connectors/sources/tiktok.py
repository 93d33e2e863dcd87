"""TikTok Events API 2.0 (v1.3). Fields as a third party documents them: docs.tealium.com, TikTok Events connector.

The answer is 200 whatever happens; `code` is 0 when the event was taken.
"""

from collections.abc import Mapping
from datetime import datetime

from connectors.sources.rules import encoded, fresh, hashed, seconds, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending, Success


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event. Raises Refused for a missing setting or an event over 28 days old."""
    fresh(sending, now, days=28, api="TikTok")
    user = without_empty({
        "ttclid": sending.click_id,
        "ttp": sending.extra.get("ttp"),
        "external_id": hashed(sending.player_id) if sending.player_id else None,
        "user_agent": sending.user_agent,
    })  # fmt: skip
    event = without_empty({
        "event": sending.name,
        "event_time": seconds(sending.occurred_at),
        "event_id": sending.key,
        "user": user,
        "page": without_empty({"url": settings.get("page_url")}),
        "properties": {} if sending.amount is None else {"value": value(sending), "currency": sending.currency},
    })  # fmt: skip
    body = {
        "event_source": "web", "event_source_id": setting(settings, "pixel_code", "TikTok"),
        **without_empty({"test_event_code": settings.get("test_event_code")}), "data": [event],
    }  # fmt: skip
    return Outgoing(
        method="POST",
        url="https://business-api.tiktok.com/open_api/v1.3/event/track/",
        headers={"Content-Type": "application/json", "Access-Token": setting(settings, "access_token", "TikTok")},
        body=encoded(body),
        success=Success(json_equals={"code": 0}),
    )
