"""How each account's postbacks are to be read: its platform's words, the team's mapping over them, its offers."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.db.cooperative import cooperative
from storage.ledger.postbacks.conversion_facts import AccountRules
from storage.ledger.postbacks.postback import Rules, rules
from storage.tables import accounts, offers

#: A platform's own words (`connectors.base.PostbackWords` as a dict) by its module name; hub knows them.
Words = Callable[[str], Mapping[str, Any]]


class PostbackAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its postbacks see it."""

    id: int
    team_id: int
    code: str
    key: str
    rules: Rules
    account_rules: AccountRules
    offer_ids: frozenset[int] = frozenset()
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    hmac_sealed: str | None = None  # the shared secret, encrypted
    hmac_parameter: str = "signature"
    fault: str = ""  # what is wrong with its mapping; the platform's words alone are used then


class AccountDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts, looked up by key and by id, and the offers whose caps count conversions."""

    by_key: Mapping[str, PostbackAccount]
    by_id: Mapping[int, PostbackAccount]
    capped: Mapping[int, str]  # offer -> registration | first_deposit


async def load(tx: AsyncConnection, words: Words) -> AccountDirectory:
    """Every account as it is set up now. Clicks are answered meanwhile."""
    offers_of: dict[int, set[int]] = {}
    capped: dict[int, str] = {}
    query = select(offers.c.id, offers.c.account_id, offers.c.cap, offers.c.cap_event)
    async for offer in cooperative(await tx.execute(query)):
        offers_of.setdefault(offer.account_id, set()).add(offer.id)
        if offer.cap is not None and offer.cap_event in {"registration", "first_deposit"}:
            capped[offer.id] = offer.cap_event
    all_accounts = [
        read_account(row, words, frozenset(offers_of.get(row.id, ())))
        async for row in cooperative(await tx.execute(select(accounts)))
    ]
    return AccountDirectory(
        by_key={account.key: account for account in all_accounts},
        by_id={account.id: account for account in all_accounts},
        capped=capped,
    )


def read_account(row: Row[Any], words: Words, offer_ids: frozenset[int]) -> PostbackAccount:
    """An account out of its row; a mapping that cannot be used is left out and named in `fault`."""
    mapping = dict((row.options or {}).get("postback") or {})
    fault = ""
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    try:
        how = rules(zone=ZoneInfo(row.timezone), currency=row.currency, words=words(row.platform), mapping=mapping)
        allow = tuple(ip_network(part, strict=False) for part in mapping.get("allow", ()))
    except ValueError as error:
        fault = f"the postback mapping of {row.code} cannot be used: {error}"
        how = rules(zone=ZoneInfo(row.timezone), currency=row.currency, words=words(row.platform), mapping={})
    return PostbackAccount(
        id=row.id,
        team_id=row.team_id,
        code=row.code,
        key=row.postback_key,
        rules=how,
        account_rules=AccountRules(has_ftd_event=how.has_ftd_event, repeats=how.repeats),
        offer_ids=offer_ids,
        allow=allow,
        hmac_sealed=mapping.get("hmac_sealed"),
        hmac_parameter=mapping.get("hmac_parameter") or "signature",
        fault=fault,
    )
