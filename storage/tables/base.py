"""What every table shares: the metadata and the columns of a team's named things."""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, MetaData, Table, Text, UniqueConstraint

from storage.tables.types import Instant, Json, Key

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def key() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


def team(*, only_on: str = "") -> Column[int]:
    """`only_on`: the one database that has the key to teams, where another key implies the team (decision 0006)."""
    return Column("team_id", BigInteger, ForeignKey("teams.id", info={"only_on": only_on}), nullable=False)


def reference(name: str, table: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, BigInteger, ForeignKey(f"{table}.id"), nullable=nullable)


def named(table: str, *columns: Any) -> Table:
    """A team's named entity: `name` as typed, `code` its slug, both unique per team."""
    return Table(
        table,
        metadata,
        key(),
        team(),
        Column("name", Text, nullable=False),
        Column("code", Text, nullable=False),
        Column("created_at", Instant, nullable=False),
        *columns,
        UniqueConstraint("team_id", "code"),
        UniqueConstraint("team_id", "name"),
    )


def sorting() -> tuple[Column[Any], ...]:
    """What a team sorts its entities by: one group by its code, tags as typed, a note, and whether it is archived."""
    return (
        Column("group_code", Text),
        Column("tags", Json, nullable=False, server_default="[]"),
        Column("note", Text),
        Column("archived_from", Text),  # its status before it was archived; null: it is not
    )


def index(*columns: str) -> Index:
    return Index(None, *columns)
