"""Calls of webhooks, signed as Standard Webhooks says (https://www.standardwebhooks.com). Pure."""

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from datetime import datetime

import msgspec

from storage.ledger.errors import Refused
from storage.ledger.outbound.templates import Outgoing

PREFIX = "whsec_"


class WebhookCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be signed when it is sent: the address, and the JSON that is sent."""

    url: str
    body: str


def new_secret() -> str:
    """A secret of 32 random bytes."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def check_secret(text: str) -> str:
    """A secret as typed: `whsec_` and 24 to 64 bytes in base64. Raises Refused, without repeating it."""
    if not 24 <= len(_bytes_of(text.strip())) <= 64:
        raise Refused("webhook_secret: a secret has 24 to 64 bytes", field="webhook_secret")
    return PREFIX + text.strip().removeprefix(PREFIX)


def _bytes_of(secret: str) -> bytes:
    try:
        return b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(
            "webhook_secret: a secret is whsec_ and base64: leave it out to have one made", field="webhook_secret"
        ) from None


def signed(call: WebhookCall, *, key: str, secret: str, now: datetime) -> Outgoing:
    """The request: `key` is the message's id, the same at every try, so that the receiver takes it once."""
    at = str(int(now.timestamp()))
    content = f"{key}.{at}.{call.body}".encode()
    digest = hmac.new(_bytes_of(secret), content, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json", "webhook-id": key, "webhook-timestamp": at,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }  # fmt: skip
    return Outgoing(method="POST", url=call.url, headers=headers, body=call.body)
