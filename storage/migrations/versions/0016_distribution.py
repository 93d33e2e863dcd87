"""Campaigns may have their clicks shared out by what offers earn; the weights of each moment are kept, and why."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant, Json, Key

revision = "0016"
down_revision = "0015"


def _reference(name: str, table: str) -> sa.Column[int]:
    target = sa.ForeignKey(f"{table}.id", name=f"fk_distribution_steps_{name}")
    return sa.Column(name, sa.BigInteger(), target, nullable=False)


def upgrade() -> None:
    for column in (
        sa.Column("distribute", sa.Text(), nullable=False, server_default="off"),
        sa.Column("distribute_by", sa.Text()),
        sa.Column("floor", sa.Integer()),
        sa.Column("most_change", sa.Integer()),
        sa.Column("holdout", sa.Integer()),
        sa.Column("distributed_since", Instant),
        sa.Column("compared", Json),
        sa.Column("distributed", Json),
    ):
        op.add_column("campaigns", column)
    op.create_table(
        "distribution_steps",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        _reference("team_id", "teams"),
        _reference("campaign_id", "campaigns"),
        sa.Column("at", Instant, nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("begins", sa.Boolean(), nullable=False),
        sa.Column("weights", Json, nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("note", sa.Text()),
    )  # fmt: skip
    op.create_index(
        "ix_distribution_steps_campaign_id_segment_at", "distribution_steps", ["campaign_id", "segment", "at"]
    )
