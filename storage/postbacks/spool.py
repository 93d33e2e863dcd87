"""Postbacks that came while the database could not be written: kept in a file, then placed once each."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.spool_file import SpoolFile
from storage.postbacks.postback_accounts import PostbackAccount
from storage.postbacks.requests import PostbackRequest, postback_request, refused
from storage.tables import postbacks


class SpooledPostback(msgspec.Struct, frozen=True, array_like=True):
    """A request as it came. `key` names its account; `refusal`: why it is never to be read, if so."""

    key: str
    received_at: datetime
    method: str
    query: bytes
    content_type: str
    body: bytes
    refusal: str

    @classmethod
    def of(cls, request: PostbackRequest) -> "SpooledPostback":
        return cls(
            request.account.key, request.received_at, request.method, request.query, request.content_type, request.body,
            request.refusal,
        )  # fmt: skip

    def request(self, account: PostbackAccount) -> PostbackRequest:
        """The request again, read by its account's rules of now."""
        request = postback_request(
            account, self.received_at, query=self.query, method=self.method, content_type=self.content_type,
            body=self.body,
        )  # fmt: skip
        return refused(request, self.refusal) if self.refusal else request


class PostbackSpool(SpoolFile[SpooledPostback]):
    """One process's postbacks that wait for the database."""

    suffix = "postbacks"
    decoder = msgspec.msgpack.Decoder(SpooledPostback)


async def not_stored(tx: AsyncConnection, requests: Sequence[PostbackRequest]) -> list[PostbackRequest]:
    """Those of `requests` that are not in the table: a commit whose answer was lost may have stored some.

    One account receives no two like requests in one microsecond.
    """
    p = postbacks.c
    moments = {request.received_at for request in requests}
    rows = await tx.execute(select(p.account_id, p.digest, p.received_at).where(p.received_at.in_(moments)))
    stored = {tuple(row) for row in rows}
    return [r for r in requests if (r.account.id, r.digest, r.received_at) not in stored]
