"""Saved views: reports by name."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant, Key

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "views",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_views_team_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.UniqueConstraint("team_id", "code", name="uq_views_team_id_code"),
        sa.UniqueConstraint("team_id", "name", name="uq_views_team_id_name"),
    )
