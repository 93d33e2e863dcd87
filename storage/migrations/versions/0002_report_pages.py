"""Merged days know their version; report rows of the usual reports are kept by day."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("merged", sa.Column("version", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_merged_team_id_day_version"), "merged", ["team_id", "day", "version"])
    op.create_table(
        "report_pages",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("day", Day(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "form", "day", name=op.f("pk_report_pages")),
    )
    op.execute("INSERT INTO touched (team_id, day) SELECT team_id, day FROM merged")  # so that all days get a version
