"""Microsoft Ads, UET conversions API (a pilot, open per account). Fields as seen in working public clients.

At most seven days old. `adStorageConsent` is `G`ranted or `D`enied.
"""

from collections.abc import Mapping
from datetime import datetime

from connectors.sources.rules import encoded, fresh, seconds, setting, value, without_empty
from storage.ledger.outbound.templates import Outgoing, Sending, Success


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event. Raises Refused for a missing setting or an event over seven days old."""
    fresh(sending, now, days=7, api="Microsoft")
    money = {} if sending.amount is None else {"value": value(sending), "currency": sending.currency}
    event = without_empty({
        "eventType": "custom",
        "eventName": sending.name,
        "eventId": sending.key,
        "eventTime": seconds(sending.occurred_at),
        "eventSourceUrl": settings.get("page_url"),
        "userData": without_empty({"msclkid": sending.click_id, "clientUserAgent": sending.user_agent}),
        "customData": {**money, "transactionId": sending.txn_id or sending.key},
        "adStorageConsent": settings.get("consent") or "G",
    })  # fmt: skip
    body = {"data": [event], "dataProvider": "casinoflux", "continueOnValidationError": True}
    return Outgoing(
        method="POST",
        url=f"https://capi.uet.microsoft.com/v1/{setting(settings, 'tag_id', 'Microsoft')}/events",
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {setting(settings, 'access_token', 'Microsoft')}",
        },
        body=encoded(body),
        success=Success(json_equals={"eventsReceived": 1}),
    )
