"""Credentials at rest: encrypted with the deployment's key, never shown again."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage.ledger.errors import CasinoFluxError

UNREADABLE = "stored credentials cannot be read: CASINOFLUX_SECRET_KEY is not the key they were saved with"


class UnreadableSecret(CasinoFluxError):
    """A stored secret that no key opens."""

    def __init__(self) -> None:
        super().__init__(UNREADABLE)


class Box:
    """Encrypts with Fernet under keys derived from CASINOFLUX_SECRET_KEY; derives keys for other uses.

    The setting may hold several keys, the newest first, with commas between: the first encrypts, each of them decrypts.
    """

    def __init__(self, secret_key: str) -> None:
        keys = secret_keys(secret_key)
        self._secret = keys[0].encode()
        # What was sealed while a comma was a letter of the one key stays readable.
        candidates = dict.fromkeys((*keys, secret_key))
        fernets = [Fernet(urlsafe_b64encode(_derive(key, "credentials"))) for key in candidates]
        self._newest, self._all = fernets[0], MultiFernet(fernets)

    def derive(self, purpose: str) -> bytes:
        """32 bytes of the newest key for one purpose, the same at every start."""
        return _derive(self._secret.decode(), purpose)

    def rotate(self, sealed: str) -> str | None:
        """The same secret under the newest key; None if it is already. Raises CasinoFluxError if no key opens it."""
        with suppress(InvalidToken):
            self._newest.decrypt(sealed.encode())
            return None
        return self.seal(self.open(sealed))

    def seal(self, value: Any) -> str:
        return self._newest.encrypt(msgspec.json.encode(value)).decode()

    def open(self, sealed: str) -> Any:
        """Raises UnreadableSecret when it was sealed under another key."""
        try:
            return msgspec.json.decode(self._all.decrypt(sealed.encode()))
        except InvalidToken:
            raise UnreadableSecret from None

    def open_or(self, sealed: str | None, default: Any) -> Any:
        """The secret; `default` where there is none, or no key opens it."""
        with suppress(CasinoFluxError):
            return self.open(sealed) if sealed else default
        return default

    def opens(self, *sealed: str | None) -> bool:
        """Whether all of these that are set can be opened."""
        unreadable = object()
        return all(self.open_or(secret, unreadable) is not unreadable for secret in sealed if secret)


def secret_keys(setting: str) -> list[str]:
    """The keys of CASINOFLUX_SECRET_KEY, the newest first."""
    return [key.strip() for key in setting.split(",") if key.strip()] or [setting]


def _derive(key: str, purpose: str) -> bytes:
    return hmac.new(key.encode(), b"casinoflux:" + purpose.encode(), hashlib.sha256).digest()


def new_token(prefix: str = "") -> str:
    """An unguessable URL-safe token of 32 random bytes."""
    return prefix + secrets.token_urlsafe(32)


def new_key() -> str:
    """An unguessable URL-safe key of at most 32 characters: what stands in a postback URL."""
    return secrets.token_hex(14)


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256 (tokens are random, so no salt is needed)."""
    return hashlib.sha256(token.encode()).hexdigest()
