"""Credentials at rest: encrypted with the deployment's key, never shown again."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from storage.ledger.errors import CasinoFluxError


class Box:
    """Encrypts with Fernet under a key derived from CASINOFLUX_SECRET_KEY; derives keys for other uses."""

    def __init__(self, secret_key: str) -> None:
        self._secret = secret_key.encode()
        self._fernet = Fernet(urlsafe_b64encode(self.derive("credentials")))

    def derive(self, purpose: str) -> bytes:
        """32 bytes of key for one purpose, the same at every start."""
        return hmac.new(self._secret, b"casinoflux:" + purpose.encode(), hashlib.sha256).digest()

    def seal(self, value: Any) -> str:
        return self._fernet.encrypt(msgspec.json.encode(value)).decode()

    def open(self, sealed: str) -> Any:
        """Raises CasinoFluxError when it was sealed under another key."""
        try:
            return msgspec.json.decode(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            raise CasinoFluxError(
                "stored credentials cannot be read: CASINOFLUX_SECRET_KEY is not the key they were saved with"
            ) from None


def new_token(prefix: str = "") -> str:
    """An unguessable URL-safe token of 32 random bytes."""
    return prefix + secrets.token_urlsafe(32)


def new_key() -> str:
    """An unguessable URL-safe key of at most 32 characters: what stands in a postback URL."""
    return secrets.token_hex(14)


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256 (tokens are random, so no salt is needed)."""
    return hashlib.sha256(token.encode()).hexdigest()
