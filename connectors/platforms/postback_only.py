"""A platform without an API: its conversions come by postback, its revenue by nothing (or by `csv_upload`)."""

from connectors.base import Connection, Platform, Window
from connectors.http import Http
from storage.ledger.errors import ConnectorError
from storage.ledger.facts import Report


class PostbackOnly(Platform):
    name = "postback_only"
    title = "Postbacks only"
    has_api = False
    needs_base_url = False

    async def fetch(self, http: Http, connection: Connection, window: Window) -> Report:
        raise ConnectorError("this account has no reporting API: its figures come by postback only", permanent=True)

    def read(self, raw: bytes, connection: Connection, window: Window) -> Report:
        raise ConnectorError("this account has no reports to read: its figures come by postback only", permanent=True)


PLATFORM = PostbackOnly()
