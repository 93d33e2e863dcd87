"""Snap Conversions API v3. Fields as seen in working public clients, among them Segment's tests."""

from collections.abc import Mapping
from datetime import datetime

from connectors.sources.rules import encoded, fresh, hashed, seconds, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event. Raises Refused for a missing setting or an event over seven days old."""
    fresh(sending, now, days=7, api="Snap")
    pixel = setting(settings, "pixel_id", "Snap")
    event = without_empty({
        "event_name": sending.name,
        "event_time": seconds(sending.occurred_at),
        "event_id": sending.key,
        "action_source": "WEB",
        "event_source_url": settings.get("page_url"),
        "user_data": without_empty({
            "sc_click_id": sending.click_id,
            "sc_cookie1": sending.extra.get("sc_cookie1"),
            "client_user_agent": sending.user_agent,
            "external_id": [hashed(sending.player_id)] if sending.player_id else None,
        }),
        "custom_data": {} if sending.amount is None else {"value": value(sending), "currency": sending.currency},
    })  # fmt: skip
    return Outgoing(
        method="POST",
        url=f"https://tr.snapchat.com/v3/{pixel}/events?access_token={setting(settings, 'access_token', 'Snap')}",
        headers={"Content-Type": "application/json"},
        body=encoded({"data": [event]}),
    )
