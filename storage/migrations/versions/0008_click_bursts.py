"""Processes that share a PostgreSQL tell each other of addresses that click often."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "click_bursts",
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_click_bursts")),
    )
