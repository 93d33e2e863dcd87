"""Google Ads by the Data Manager API. Fields: the official package google-ads-datamanager 0.9.

The older upload in the Google Ads API is closed to new integrations since June 2026. Retractions stay with that API,
so reversals are not sent. An access token comes from a refresh token (OAuth 2.0, scope datamanager).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from connectors.sources.rules import encoded, fresh, setting, value, without_empty
from storage.ledger.errors import Refused
from storage.ledger.facts import Event
from storage.ledger.numbers import read_float
from storage.ledger.outbound.templates import INSTEAD, Outgoing, Sending, Success

_CONSENT = {"granted": "CONSENT_GRANTED", "denied": "CONSENT_DENIED"}


def request(sending: Sending, settings: Mapping[str, str], now: datetime) -> Outgoing:
    """One event; `settings["access_token"]` is fresh. Raises Refused for a missing setting, or a reversal."""
    if sending.event == Event.REVERSAL:
        raise Refused("Google takes no reversal here: retract it in Google Ads")
    fresh(sending, now, days=90, api="Google")
    event = {
        "transactionId": sending.key,
        "eventTimestamp": sending.occurred_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "WEB",
        "adIdentifiers": _identifiers(sending),
        **({} if sending.amount is None else {"conversionValue": value(sending), "currency": sending.currency}),
        **without_empty({"consent": _consent(settings)}),
    }
    return Outgoing(
        method="POST",
        url="https://datamanager.googleapis.com/v1/events:ingest",
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {setting(settings, 'access_token', 'Google')}",
        },
        body=encoded({"destinations": [_destination(sending, settings)], "events": [event], "validateOnly": False}),
        success=Success(json_equals={"requestId": "*"}),
    )


def _destination(sending: Sending, settings: Mapping[str, str]) -> dict[str, object]:
    action = settings.get(f"action_{sending.event}") or setting(settings, "conversion_action", "Google")
    login = settings.get("login_account_id")
    return without_empty({
        "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": setting(settings, "account_id", "Google")},
        "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": login} if login else None,
        "productDestinationId": action,
    })  # fmt: skip


def _identifiers(sending: Sending) -> dict[str, str]:
    """One of gclid, gbraid and wbraid; the last two (iOS visitors) come as parameters of their own."""
    for name in INSTEAD["google"]:
        if not sending.click_id and sending.extra.get(name):
            return {name: sending.extra[name]}
    return {"gclid": sending.click_id}


def _consent(settings: Mapping[str, str]) -> dict[str, str]:
    consent = _CONSENT.get(settings.get("consent", "").lower())
    return {"adUserData": consent, "adPersonalization": consent} if consent else {}


def token_request(settings: Mapping[str, str]) -> Outgoing:
    """How an access token is had from the refresh token. Raises Refused for a missing setting."""
    form = {name: setting(settings, name, "Google") for name in ("client_id", "client_secret", "refresh_token")}
    return Outgoing(
        method="POST",
        url="https://oauth2.googleapis.com/token",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode({"grant_type": "refresh_token", **form}),
    )


def read_token(body: bytes) -> tuple[str, float]:
    """The access token and for how many seconds it is good. Raises Refused for anything else."""
    try:
        answer = msgspec.json.decode(body)
        return str(answer["access_token"]), read_float(answer.get("expires_in", 3600))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise Refused("Google gave no access token: authorise the source again for a new refresh token") from None
