"""Clicks counted by placement, for automations."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_COUNTS = ("clicks", "unique_clicks", "bot_clicks", "cost")
_KEY = ("team_id", "sub", "day", "campaign_id", "source_id", "placement", "currency")


def upgrade() -> None:
    op.create_table(
        "placement_counts",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("placement", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_placement_counts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "placement_cursors",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("sub", sa.Text(), nullable=False),
        sa.Column("counted_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "sub", name="pk_placement_cursors"),
    )
