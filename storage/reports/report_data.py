"""What reports of a team read beside settled cells; several reports of one moment read it once."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import entities
from storage.catalogue.entities import Label
from storage.ledger.reports.attribution import Catalogue
from storage.ledger.reports.cells import Cell
from storage.ledger.reports.merge import merge_day
from storage.reports.day_facts import catalogue, day_facts
from storage.reports.facts_query import FactsQuery
from storage.tables import accounts, campaigns, casinos, groups, offers, sites, sources

_TABLES = {
    "campaign": campaigns, "site": sites, "offer": offers, "casino": casinos, "account": accounts, "source": sources,
    "group": groups,
}  # fmt: skip


class ReportData:
    """The team's offers and campaigns, what entities are called, and days merged on the spot, in one transaction."""

    def __init__(self, tx: AsyncConnection, team_id: int) -> None:
        self.tx = tx
        self._team_id = team_id
        self._catalogue: Catalogue | None = None
        self._labels: dict[str, dict[int, Label]] = {}
        self._sorting: dict[str, dict[int, tuple[str | None, frozenset[str]]]] = {}
        self._merged: dict[tuple[FactsQuery, date], Sequence[Cell]] = {}

    async def catalogue(self) -> Catalogue:
        self._catalogue = self._catalogue or await catalogue(self.tx, self._team_id)
        return self._catalogue

    async def labels(self) -> dict[str, dict[int, Label]]:
        """Codes and names by dimension and id."""
        if not self._labels:
            self._labels = {
                name: await entities.labels(self.tx, table, self._team_id) for name, table in _TABLES.items()
            }
        return self._labels

    async def sorting(self) -> dict[str, dict[int, tuple[str | None, frozenset[str]]]]:
        """Group code and folded tags of campaigns, sites and offers, by their ids."""
        if not self._sorting:
            for noun in ("campaign", "site", "offer"):
                c = _TABLES[noun].c
                rows = await self.tx.execute(select(c.id, c.group_code, c.tags).where(c.team_id == self._team_id))
                self._sorting[noun] = {
                    row.id: (row.group_code, frozenset(tag.casefold() for tag in row.tags)) for row in rows
                }
        return self._sorting

    async def merge(self, query: FactsQuery, day: date) -> Sequence[Cell]:
        """The cells of a day, of its facts."""
        key = query, day
        if key not in self._merged:
            self._merged[key] = merge_day(await day_facts(self.tx, query, day), await self.catalogue(), query.grain)
        return self._merged[key]
