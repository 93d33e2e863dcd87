"""Making what an import decided to make, out of the tracker's entities."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import accounts, campaigns, casinos, names, offers, sources
from storage.catalogue.accounts import Login
from storage.db.secrets import Box
from storage.imports.imports import Settings
from storage.ledger.clicks.macros import check_url
from storage.ledger.clicks.rotation_rules import MAX_WEIGHT, read_rules
from storage.ledger.cost_models import CPA, MERGED
from storage.ledger.credentials import hide_credentials
from storage.ledger.errors import CasinoFluxError, Refused
from storage.ledger.imports.decisions import NO_NETWORK, Made, resolved
from storage.ledger.imports.tracker import (
    Problem,
    TrackerAccount,
    TrackerCampaign,
    TrackerOffer,
    TrackerSource,
    Weighted,
)
from storage.tables import accounts as account_table
from storage.tables import campaigns as campaign_table
from storage.tables import offers as offer_table
from storage.tables import sources as source_table

MOST_RULES = 200
MOST_NOTE = 2_000
_POSTBACK = "postback_only"
#: Where a postback to that tracker says what happened.
_EVENT_PARAMETER = {"keitaro": "status", "binom": "cnv_status", "voluum": "et", "redtrack": "type"}

#: The columns that later differences are looked for in, by kind.
_WATCHED = {
    "account": ("name",), "source": ("name", "parameters"), "offer": ("name", "url", "status", "account_id"),
    "campaign": ("name", "status", "rules", "source_id", "fallback_url"),
}  # fmt: skip


class EntityFactory:
    """Makes entities one by one; `ids` are those here, by `kind:key`, and grow with each."""

    def __init__(
        self, box: Box, row: Row[Any], settings: Settings, *, clock: Callable[[], datetime], zone: ZoneInfo,
        currency: str,
    ) -> None:  # fmt: skip
        self._box, self._row, self._settings = box, row, settings
        self._clock, self._zone, self._currency = clock, zone, currency
        self._codes: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        self.problems: list[Problem] = []

    async def make(self, tx: AsyncConnection, made: Made) -> tuple[int, dict[str, Any]]:
        """Make one; its id, and the columns by which a later edit of it is recognised."""
        kind, entity = made.kind, made.entity
        if isinstance(entity, TrackerAccount):
            entity_id, table = await self._account(tx, entity, made.name), account_table
        elif isinstance(entity, TrackerSource):
            entity_id, table = await self._source(tx, entity, made.name), source_table
        elif isinstance(entity, TrackerOffer):
            entity_id, table = await self._offer(tx, entity, made.name), offer_table
        else:
            entity_id, table = await self._campaign(tx, entity, made.name), campaign_table
        row = (await tx.execute(select(table).where(table.c.id == entity_id))).one()._mapping
        return entity_id, {name: msgspec.to_builtins(row[name]) for name in _WATCHED[kind]}

    def _warn(self, kind: str, name: str, why: str) -> None:
        self.problems.append(Problem(kind=kind, name=name, why=why))

    async def _account(self, tx: AsyncConnection, account: TrackerAccount, name: str) -> int:
        login = Login(timezone=self._zone.key, currency=account.currency or self._currency, options=self._mapping())
        return await accounts.add(
            tx, self._box, team_id=self._row.team_id, now=self._clock(), login=login,
            named={
                "name": name, "code": await names.code_for(tx, account_table, self._row.team_id, name),
                "platform": _POSTBACK, "note": _note(account.note), "tags": list(account.tags)[:20],
            },
        )  # fmt: skip

    def _mapping(self) -> dict[str, Any]:
        """How postbacks that were written for the tracker say their event, by the meanings of its statuses."""
        events = {word: event for word, event in self._settings.meaning.items() if event != "ignore"}
        parameter = _EVENT_PARAMETER.get(self._row.system)
        if not events or parameter is None:
            return {}
        usual = events.get("sale") if self._row.system == "keitaro" else None  # what Keitaro takes a bare one for
        mapping = {"parameters": {parameter: "event"}, "events": events, "default_event": usual}
        return {"postback": {name: value for name, value in mapping.items() if value}}

    async def _source(self, tx: AsyncConnection, source: TrackerSource, name: str) -> int:
        postbacks = self._postbacks(source, name)
        return await sources.add(tx, team_id=self._row.team_id, now=self._clock(), values={
            "name": name, "code": await names.code_for(tx, source_table, self._row.team_id, name),
            "preset": "custom", "parameters": source.parameters,
            "postbacks": sources.enabled(postbacks, sources.missing(postbacks, (), {})),
            "options": {"macros": source.macros, "needs": []}, "note": _note(source.note),
        })  # fmt: skip

    def _postbacks(self, source: TrackerSource, name: str) -> dict[str, Any]:
        """The source's postback for each event that its statuses mean."""
        if not source.postback_url:
            return {}
        if hide_credentials(source.postback_url) != source.postback_url:
            self._warn("source", name, "its postback holds a credential, which is not taken over: source edit")
            return {}
        meaning = self._settings.meaning
        words = source.statuses or tuple(meaning)
        events = {meaning[word.casefold()] for word in words if word.casefold() in meaning} - {"ignore"}
        if not events:
            self._warn("source", name, "its postback is left out, since no status is mapped to an event: source edit")
        return {event: {"url": source.postback_url} for event in sorted(events)}

    async def _offer(self, tx: AsyncConnection, offer: TrackerOffer, name: str) -> int:
        url, paused = offer.url, offer.paused or bool(offer.unknown)
        try:
            check_url(url)
        except Refused as error:
            self._warn("offer", name, f"it is made paused, and needs an address{f' ({error})' if url else ''}")
            url, paused = "https://example.invalid/", True
        casino = await casinos.ensure(tx, self._row.team_id, name, self._clock())
        account_id = self.ids.get(f"account:{offer.account}") or self.ids[f"account:{NO_NETWORK}"]
        tag = f"{self._row.system}-{self._row.id}-{offer.key}" if self._row.system == "csv" else (
            f"{self._row.system}-{self._row.host}-{offer.key}")  # fmt: skip
        return await offers.add(tx, team_id=self._row.team_id, now=self._clock(), values={
            "name": name, "code": await names.code_for(tx, offer_table, self._row.team_id, name),
            "casino_id": casino.id, "account_id": account_id, "url": url, "tag": tag[:200],
            "markets": sorted({market.upper() for market in offer.markets if len(market) == 2}),
            "deal": offer.deal or None, "cap": offer.cap,
            "cap_event": offer.cap_event if offer.cap else None, "cap_period": offer.cap_period if offer.cap else None,
            "alternative_id": self.ids.get(f"offer:{offer.alternative}"), "status": "paused" if paused else "active",
            "note": _note(offer.note),
        })  # fmt: skip

    async def _campaign(self, tx: AsyncConnection, campaign: TrackerCampaign, name: str) -> int:
        weights = {offer_id: min(n, MAX_WEIGHT) for offer_id, n in resolved(campaign.offers, self.ids).items()}
        if weights and not any(weights.values()):
            weights = dict.fromkeys(weights, 1)
        fallback = campaign.fallback_url
        if fallback:
            try:
                check_url(fallback, field="fallback_url", wants_click_id=False)
            except Refused as error:
                self._warn("campaign", name, f"its fallback is left out ({error})")
                fallback = ""
        values = {
            "name": name, "code": await names.code_for(tx, campaign_table, self._row.team_id, name),
            "status": "paused" if campaign.paused else "active", "site_id": None,
            "source_id": self.ids.get(f"source:{campaign.source}"), "fallback_url": fallback or None,
            "cost_model": campaign.cost_model, "cost": campaign.cost,
            "currency": campaign.currency or self._currency, "country_costs": None,
            "cost_event": "first_deposit" if campaign.cost_model == CPA else None, "budget_day": None,
            "budget_total": None, "rules": await self._rules(tx, campaign, name), "direct": False,
            "binding": campaign.binding, "note": _note(campaign.note),
        }  # fmt: skip
        now = self._clock()
        made = await campaigns.add(tx, team_id=self._row.team_id, now=now, values=values, weights=weights)
        if campaign.cost_model in MERGED:
            today = now.astimezone(self._zone).date()
            await campaigns.record_costs(tx, self._row.team_id, made, today, values)
        if campaign.paused:
            row = await names.by_id(tx, campaign_table, made)
            await campaigns.set_status(tx, row, "paused", now)
        return made

    async def _rules(self, tx: AsyncConnection, campaign: TrackerCampaign, name: str) -> list[Any]:
        """The campaign's rules as they are stored; what cannot be one here is noted and left out."""
        stored: list[Any] = []
        for rule in campaign.rules:
            shares = resolved(rule.offers, await self._offer_codes(tx, rule.offers))
            if not shares:
                self._warn("campaign", name, f"a rule leads to no offer: left out ({_words(rule.conditions)})")
                continue
            targets = [{"offer": code, "weight": min(weight, MAX_WEIGHT)} for code, weight in shares.items()]
            try:
                stored += read_rules([{"if": rule.conditions, "offers": targets}], list(shares))
            except CasinoFluxError as error:
                self._warn("campaign", name, f"a rule is left out: {error}")
        if len(stored) > MOST_RULES:
            self._warn("campaign", name, f"of its {len(stored)} rules the first {MOST_RULES} are taken")
        return stored[:MOST_RULES]

    async def _offer_codes(self, tx: AsyncConnection, shares: tuple[Weighted, ...]) -> Mapping[str, str]:
        keys = {share.offer: self.ids.get(f"offer:{share.offer}") for share in shares}
        lacking = {number for number in keys.values() if number is not None} - self._codes.keys()
        if lacking:
            query = select(offer_table.c.id, offer_table.c.code).where(offer_table.c.id.in_(lacking))
            self._codes |= {row.id: row.code for row in await tx.execute(query)}
        return {f"offer:{key}": self._codes[number] for key, number in keys.items() if number is not None}


def _note(text: str) -> str | None:
    return text[:MOST_NOTE] or None


def _words(conditions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in conditions.items())[:100]
