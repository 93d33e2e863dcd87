"""Placement lists, budgets, and cost models by country, event and day."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day, Instant, Json, Key

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    for column in (
        sa.Column("country_costs", Json),
        sa.Column("cost_event", sa.Text()),
        sa.Column("budget_day", sa.BigInteger()),
        sa.Column("budget_total", sa.BigInteger()),
    ):
        op.add_column("campaigns", column)
    op.create_table(
        "campaign_costs",
        _reference("campaign_costs", "campaign_id", "campaigns"),
        sa.Column("since", Day, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("cost", sa.BigInteger()),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("event", sa.Text()),
        sa.Column("country_costs", Json),
        sa.PrimaryKeyConstraint("campaign_id", "since", name="pk_campaign_costs"),
    )
    op.create_table(
        "placement_lists",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        _reference("placement_lists", "team_id", "teams"),
        _reference("placement_lists", "source_id", "sources", nullable=True),
        _reference("placement_lists", "campaign_id", "campaigns", nullable=True),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_index("ix_placement_lists_team_id", "placement_lists", ["team_id"])
    op.create_table(
        "placements",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        _reference("placements", "list_id", "placement_lists"),
        sa.Column("placement", sa.Text(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", Instant, nullable=False),
        sa.UniqueConstraint("list_id", "placement", name="uq_placements_list_id_placement"),
    )
    op.create_table(
        "budget_counts",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("period", Day, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "period", name="pk_budget_counts"),
    )


def _reference(table: str, name: str, to: str, *, nullable: bool = False) -> sa.Column[int]:
    key = sa.ForeignKey(f"{to}.id", name=f"fk_{table}_{name}")
    return sa.Column(name, sa.BigInteger(), key, nullable=nullable)
